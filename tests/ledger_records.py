"""Records as an exchange makes them, for the ledger's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec.structs import replace

from claude_failover.core.prices import PriceTable
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Ended,
    Epoch,
    ExchangeRecord,
    Kind,
    Outcome,
    Reason,
    Seconds,
    Step,
    Usage,
)
from claude_failover.ledger import Ledger
from claude_failover.ledger_days import Zone
from claude_failover.ledger_rows import ATTEMPT_COLUMNS, EXCHANGE_COLUMNS, NULL, SUM_COLUMNS, Row, Value

CLAUDE = BackendName("claude")
BEDROCK = BackendName("bedrock")
UTC = Zone.of("UTC")
NOON = Epoch(1_795_348_800.0)
"""2026-11-22T12:00:00Z."""
DAY = "2026-11-22"
USD = 1_000_000_000

PRICES = PriceTable.build(
    yaml.safe_load((Path(__file__).parent.parent / "claude_failover/data/prices.yaml").read_text())
)

AT_CLAUDE = AttemptRecord(
    exchange="cfr_1",
    attempt=0,
    backend=CLAUDE,
    kind=Kind.ANTHROPIC,
    model="claude-opus-5-5",
    upstream_model="claude-opus-5-5",
    surface=None,
    reason=Reason.PRIMARY,
    outcome=Outcome.SUCCESS,
    detail="",
    status=200,
    started=NOON,
    ttfb=Seconds(0.2),
    ttft=Seconds(0.9),
    duration=Seconds(4.0),
    usage=Usage(input=10, output=200, cache_read=50_000, cache_write_5m=1_000),
    usage_state=Ended.COMPLETE,
    session="s1",
    cost_nusd=20_000_000,
    list_cost_nusd=20_000_000,
    committed=True,
)

AT_BEDROCK = replace(
    AT_CLAUDE,
    exchange="cfr_2",
    attempt=1,
    backend=BEDROCK,
    kind=Kind.BEDROCK,
    upstream_model="global.anthropic.claude-opus-5-5",
    reason=Reason.PLAN_LIMIT,
    paid=True,
    started=Epoch(NOON + 60),
    usage=Usage(input=10, output=200, cache_write_5m=52_000),
    cost_nusd=264_040_000,
    list_cost_nusd=264_040_000,
)

SERVED = ExchangeRecord(
    exchange="cfr_2",
    started=Epoch(NOON + 59),
    model="claude-opus-5-5",
    streaming=True,
    outcome="served",
    status=200,
    backend=BEDROCK,
    reason=Reason.PLAN_LIMIT,
    attempts=(),
    steps=(Step(Seconds(0.0), "opened", "claude"), Step(Seconds(0.3), "failed over", "bedrock", "5 h window used up")),
    duration=Seconds(5.0),
    overhead=Seconds(0.004),
    ttft=Seconds(1.2),
    session="s1",
    agent=None,
    request_class=None,
    failed_over=True,
)


def columns(row: Row) -> dict[str, Value | None]:
    """A row's values by the names of their columns, as they come out of the file again."""
    names = ATTEMPT_COLUMNS if len(row.values) == len(ATTEMPT_COLUMNS) else EXCHANGE_COLUMNS
    return {name: None if value == NULL else value for name, value in zip(names, row.values, strict=True)}


def sums(row: Row) -> dict[str, int]:
    """What a row adds to its day, by the names of the columns."""
    return dict.fromkeys(SUM_COLUMNS, 0) | dict(zip(SUM_COLUMNS, row.added, strict=False))


class Told:
    """What the ledger announced."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.facts: list[Mapping[str, str | int]] = []

    def __call__(self, name: str, facts: Mapping[str, str | int]) -> None:
        self.names.append(name)
        self.facts.append(facts)


def open_ledger(path: Path, now: float = NOON, announce: Callable[..., None] | None = None, **more: Any) -> Ledger:
    """A ledger in UTC, whose primary is ``claude``."""
    return Ledger.open(
        path,
        zone=UTC,
        primary=CLAUDE,
        now=Epoch(now),
        prices=PRICES,
        announce=announce or (lambda name, facts: None),
        **more,
    )
