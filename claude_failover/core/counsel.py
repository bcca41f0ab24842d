"""Counsel: everything that an exchange may ask while it decides, in one frozen bundle.

The daemon builds one from the configuration and swaps it whole on ``reload``; an exchange
keeps the one it was born with, so a reload never changes the rules in mid-request.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from claude_failover.core.models import Catalog
from claude_failover.core.policy import Policy
from claude_failover.core.prices import PriceTable
from claude_failover.core.repair import Denials
from claude_failover.core.settings import Settings
from claude_failover.core.types import BackendName, Epoch, Headers, Verdict

REMEMBERED: Final = 64
"""Error answers kept to be told again; one per (backend, model)."""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An upstream's error as it came: what the client gets when nobody could help."""

    backend: BackendName
    status: int
    headers: Headers
    body: bytes
    verdict: Verdict


class Memory:
    """The last limit that each (backend, model) told us, word for word.

    While a backend cools down its requests go elsewhere; if nobody else can serve one, this
    is the honest answer, and it costs the limited backend no request.
    """

    def __init__(self) -> None:
        self._limits: OrderedDict[tuple[BackendName, str], ErrorAnswer] = OrderedDict()

    def keep(self, model: str, answer: ErrorAnswer) -> None:
        """Remember *answer*, forgetting the oldest beyond :data:`REMEMBERED`."""
        self._limits[(answer.backend, model)] = answer
        self._limits.move_to_end((answer.backend, model))
        while len(self._limits) > REMEMBERED:
            self._limits.popitem(last=False)

    def recall(self, backend: BackendName, model: str, now: Epoch) -> ErrorAnswer | None:
        """The last limit of that backend that still holds: for this model, else one that covers every model."""
        exact = self._limits.get((backend, model))
        others = [answer for (name, _), answer in self._limits.items() if name == backend]
        for answer in ([exact] if exact else []) + others:
            until = answer.verdict.until
            covers = answer is exact or answer.verdict.scope.value == "backend"
            if covers and until is not None and until > now:
                return answer
        return None


@dataclass(frozen=True, slots=True)
class Counsel:
    """What an exchange may ask."""

    settings: Settings
    policy: Policy
    catalog: Catalog
    denials: Denials
    prices: PriceTable
    memory: Memory = field(default_factory=Memory)
