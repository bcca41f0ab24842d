"""Overrides: a person says which backend to use, for all requests or for a model, for a while or until told otherwise.

An override goes over cooldowns and breakers. It never goes over the spend limit, a failed certificate, or a request's
own reason to stay at the primary. A request's own header goes over all overrides. Ends are wall-clock moments and
survive a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from claude_failover.core.bounded import Bounded
from claude_failover.core.deadline import Deadline
from claude_failover.core.types import BackendName, Epoch, Instant, Transition, TransitionKind

MAX_MODELS: Final = 128
"""Models with an override of their own."""

ALL: Final = ""
"""Key of the override for every model."""


@dataclass(frozen=True, slots=True)
class Override:
    """What somebody ordered."""

    backend: BackendName
    model: str | None
    """``None`` = every model."""
    until: Deadline | None
    """``None`` = until told otherwise."""


class Overrides:
    """The orders that stand."""

    def __init__(self) -> None:
        self._orders: Bounded[str, Override] = Bounded(MAX_MODELS)

    def force(self, backend: BackendName, model: str | None, until: Epoch | None, now: Instant) -> list[Transition]:
        """Order it; an order for the same model ends."""
        ended = self.end(model) if self._orders.peek(model or ALL) is not None else []
        deadline = None if until is None else Deadline(until, now)
        self._orders.put(model or ALL, Override(backend, model, deadline))
        return ended

    def end(self, model: str | None) -> list[Transition]:
        """End the order for *model*; with ``None``, every order."""
        keys = [model] if model is not None else list(self._orders)
        return [_ended(order, "by hand") for key in keys if (order := self._orders.pop(key)) is not None]

    def expire(self, now: Instant) -> list[Transition]:
        """End what is over."""
        if not self._orders.held:
            return []
        return [
            _ended(order, "its time is over")
            for key, order in self._orders.items()
            if order.until is not None and order.until.over(now) and self._orders.pop(key) is not None
        ]

    def find(self, model: str, now: Instant) -> Override | None:
        """The order that holds for *model*: its own before the general one."""
        if not self._orders.held:
            return None
        for key in (model, ALL):
            order = self._orders.peek(key)
            if order is not None and not (order.until is not None and order.until.over(now)):
                return order
        return None

    def standing(self, now: Instant) -> list[Override]:
        """All that hold, for ``status``."""
        return [o for _, o in self._orders.items() if o.until is None or not o.until.over(now)]

    def keep(self, backends: frozenset[BackendName]) -> list[Transition]:
        """End orders for backends that are not configured any more."""
        return [
            _ended(order, "the backend is not configured any more")
            for key, order in self._orders.items()
            if order.backend not in backends and self._orders.pop(key) is not None
        ]

    def snapshot(self) -> list[dict[str, Any]]:
        """What must survive a restart, as JSON values."""
        return [
            {
                "backend": order.backend,
                "model": order.model,
                "until": None if order.until is None else order.until.at,
                "set": None if order.until is None else order.until.set.wall,
            }
            for _, order in self._orders.items()
        ]

    def restore(self, entries: object, backends: frozenset[BackendName], now: Instant) -> None:
        """Take back what :meth:`snapshot` said; what makes no sense, or is over, is left out."""
        for entry in entries if isinstance(entries, list) else []:
            try:
                backend = BackendName(str(entry["backend"]))
                model = None if entry["model"] is None else str(entry["model"])
                until = None if entry["until"] is None else _deadline(float(entry["until"]), float(entry["set"]), now)
            except (KeyError, TypeError, ValueError):
                continue
            if backend in backends and not (until is not None and until.over(now)):
                self._orders.put(model or ALL, Override(backend, model, until))


def _deadline(until: float, since: float, now: Instant) -> Deadline:
    """The rest of it; a clock that was set back does not make it longer than it was ordered."""
    return Deadline(Epoch(now.wall + min(until - now.wall, until - since)), now)


def _ended(order: Override, why: str) -> Transition:
    return Transition(TransitionKind.OVERRIDE_ENDED, order.backend, order.model, detail=why)
