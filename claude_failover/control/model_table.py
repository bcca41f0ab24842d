"""The model table as a message: what the daemon answers to ``models``, and what the command shows without one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from claude_failover.control.api import Learned, ModelEntry, Models
from claude_failover.core.models import Catalog, Entry, Unmapped
from claude_failover.core.prices import PriceTable
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import Kind, Usage

_SAMPLE: Final = 1000
"""Tokens that a price is read from: few enough for the lowest price tier."""

_USD_PER_MTOK: Final = 1e6 / _SAMPLE * 1e-9
"""Nano-dollars for the sample -> dollars per million tokens."""


def model_table(settings: Settings, catalog: Catalog, prices: PriceTable, learned: Iterable[Learned] = ()) -> Models:
    """Build the table of every Bedrock backend, in the configured order."""
    entries = tuple(
        _entry(entry, backend, prices)
        for backend in settings.backends
        if backend.kind is Kind.BEDROCK
        for entry in catalog.entries(backend)
    )
    return Models(entries, tuple(learned))


def _entry(entry: Entry, backend: Backend, prices: PriceTable) -> ModelEntry:
    target = entry.target
    if isinstance(target, Unmapped):
        return ModelEntry(entry.claude_model, backend.name, "", note=target.why)
    read = prices.cost(entry.claude_model, backend.kind, backend.scope, Usage(input=_SAMPLE))
    written = prices.cost(entry.claude_model, backend.kind, backend.scope, Usage(output=_SAMPLE))
    return ModelEntry(
        entry.claude_model,
        backend.name,
        target.bedrock_id,
        tuple(surface.value for surface in target.surfaces),
        target.source,
        round(read.nusd * _USD_PER_MTOK, 6),
        round(written.nusd * _USD_PER_MTOK, 6),
        "price estimated" if read.estimated else "",
    )
