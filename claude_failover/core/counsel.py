"""Counsel: everything that an exchange may ask while it decides, in one frozen bundle.

The daemon builds one from the configuration and swaps it whole on ``reload``; an exchange
keeps the one it was born with, so a reload never changes the rules in mid-request.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from claude_failover.core.models import Catalog
from claude_failover.core.policy import Policy
from claude_failover.core.prices import PriceTable
from claude_failover.core.repair import Denials
from claude_failover.core.settings import Settings
from claude_failover.core.types import BackendName, Epoch, Headers, Scope, Verdict

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


MET: Final = 256
"""Names of betas that are remembered as told; after so many, new ones are no news."""


class Memory:
    """The last limit that each (backend, model) told us, word for word; and which unknown betas were spoken of.

    While a backend cools down its requests go elsewhere; if nobody else can serve one, this
    is the honest answer, and it costs the limited backend no request.
    """

    def __init__(self) -> None:
        self.limits: OrderedDict[tuple[BackendName, str], ErrorAnswer] = OrderedDict()
        """By backend and model, the oldest first; as a rule there is none."""
        self._met: set[str] = set()

    def first_met(self, names: Iterable[str]) -> list[str]:
        """Which of *names* were never asked about before; each is answered once, so it is told once."""
        news = [name for name in names if name not in self._met][: MET - len(self._met)]
        self._met.update(news)
        return news

    def keep(self, model: str, answer: ErrorAnswer) -> None:
        """Remember *answer*, forgetting the oldest beyond :data:`REMEMBERED`."""
        self.limits[(answer.backend, model)] = answer
        self.limits.move_to_end((answer.backend, model))
        while len(self.limits) > REMEMBERED:
            self.limits.popitem(last=False)

    def recall(self, backend: BackendName, model: str, family: str | None, now: Epoch) -> ErrorAnswer | None:
        """The limit of that backend that still holds for this model and ends last: told for it, or reaching it."""
        holding = [
            (until, answer)
            for (name, told_for), answer in self.limits.items()
            if name == backend
            and (told_for == model or _reaches(answer.verdict, family))
            and (until := answer.verdict.until) is not None
            and until > now
        ]
        return max(holding, key=lambda held: held[0])[1] if holding else None


def _reaches(verdict: Verdict, family: str | None) -> bool:
    """Whether a limit that another model met holds for one of *family* too."""
    return verdict.scope is Scope.BACKEND or (verdict.scope is Scope.FAMILY and verdict.family == family)


@dataclass(frozen=True, slots=True)
class Counsel:
    """What an exchange may ask."""

    settings: Settings
    policy: Policy
    catalog: Catalog
    denials: Denials
    prices: PriceTable
    memory: Memory = field(default_factory=Memory)
