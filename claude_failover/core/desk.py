"""The desk: everything that the policy remembers between two questions, in one place.

:mod:`~claude_failover.core.policy` decides from it, :mod:`~claude_failover.core.feedback` writes down what came back.
What must survive a restart is in :meth:`Desk.snapshot`: cooldowns, overrides, pin failures, dwell. What is inferred
(breakers, suspicions, ramps) is not: after a restart it is inferred anew.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from claude_failover.core.bounded import Bounded
from claude_failover.core.budgets import Ceiling, Ramp, RetryBudget
from claude_failover.core.deadline import Deadline
from claude_failover.core.decision import Permit
from claude_failover.core.dwell import Dwells
from claude_failover.core.gates import Entry, Gate, Gates, Spot
from claude_failover.core.network import Network
from claude_failover.core.override import Overrides
from claude_failover.core.retries import Again
from claude_failover.core.settings import Settings
from claude_failover.core.spend import Refusal, Reservation
from claude_failover.core.sticky import Conversations
from claude_failover.core.types import BackendName, Epoch, Instant, Monotonic, Seconds, Transition, TransitionKind

if TYPE_CHECKING:
    import random

SCHEMA: Final = 1
"""Of the snapshot."""

MAX_PLANS: Final = 8_192
MAX_PLACES: Final = 512


class Spend(Protocol):
    """What the policy needs of :class:`~claude_failover.core.spend.SpendBudget`."""

    def reserve(
        self,
        amount_nusd: int,
        now: Instant,
        *,
        session: str | None = None,
        session_limit_nusd: int | None = None,
    ) -> Reservation | Refusal:
        """Hold money for one attempt, or say why not."""
        ...

    def settle(self, reservation: Reservation, actual_nusd: int, now: Instant) -> list[Transition]:
        """Replace a hold by what the attempt really cost."""
        ...


class Flight(msgspec.Struct, gc=False):
    """An attempt under way."""

    permit: Permit
    spot: Spot
    entry: Entry
    committed: bool = False


class Plan(msgspec.Struct):
    """What was decided for a request that waits, so that asking twice gives one answer."""

    tries: int = -1
    """For how many tries *again* was worked out."""
    again: Again | None = None
    waiting: Monotonic | None = None
    """Since when it waits for any backend to recover."""


@dataclass(slots=True)
class Desk:
    """See the module."""

    settings: Settings
    rng: random.Random
    spend: Spend | None
    gates: Gates = field(init=False)
    order: tuple[BackendName, ...] = field(init=False)
    """The configured backends, the most preferred first."""
    network: Network = field(default_factory=Network)
    dwells: Dwells = field(default_factory=Dwells)
    conversations: Conversations = field(default_factory=Conversations)
    overrides: Overrides = field(default_factory=Overrides)
    flights: dict[int, Flight] = field(default_factory=dict)
    in_flight: Counter[tuple[BackendName, str]] = field(default_factory=Counter)
    plans: Bounded[str, Plan] = field(default_factory=lambda: Bounded(MAX_PLANS))
    ramps: Bounded[tuple[BackendName, str], Ramp] = field(default_factory=lambda: Bounded(MAX_PLACES))
    ceilings: Bounded[tuple[BackendName, str], Ceiling] = field(default_factory=lambda: Bounded(MAX_PLACES))
    transients: Bounded[tuple[BackendName, str], deque[Monotonic]] = field(default_factory=lambda: Bounded(MAX_PLACES))
    extra_usage: dict[BackendName, Deadline] = field(default_factory=dict)
    """Backends that answer from paid extra usage, until when."""
    retry: dict[BackendName, RetryBudget] = field(default_factory=dict)
    permits: int = 0
    """How many were given out; the last one's id."""

    def __post_init__(self) -> None:
        self.gates = Gates(self.settings, self.rng)
        self.order = tuple(backend.name for backend in self.settings.backends)

    @property
    def names(self) -> frozenset[BackendName]:
        """The configured backends."""
        return frozenset(self.order)

    @property
    def longest(self) -> Seconds:
        """The longest time without one real request let through."""
        return Seconds(self.settings.rate_limit_fallback.max_retry_after)

    def budget(self, backend: BackendName) -> RetryBudget:
        """The retry bucket of *backend*."""
        found = self.retry.get(backend)
        if found is None:
            found = self.retry[backend] = RetryBudget()
        return found

    def plan(self, exchange: str) -> Plan:
        """The plan of *exchange*, a new one at first."""
        found = self.plans.get(exchange)
        if found is None:
            found = Plan()
            self.plans.put(exchange, found)
        return found

    def dwelling(self, backend: BackendName, model: str, now: Instant) -> bool:
        """Whether it was left so short a while ago that it should not be returned to yet."""
        return self.dwells.remaining(backend, model, now, self.longest) > 0.0

    def take_off(self, flight: Flight) -> None:
        """An attempt is under way."""
        self.flights[flight.permit.id] = flight
        self.in_flight[flight.spot.backend, flight.spot.model] += 1

    def land(self, permit: Permit) -> Flight | None:
        """It is over; ``None`` if we do not know it (told twice, or from before a restart)."""
        flight = self.flights.pop(permit.id, None)
        if flight is not None:
            key = (flight.spot.backend, flight.spot.model)
            self.in_flight[key] -= 1
            if not self.in_flight[key]:
                self.in_flight.pop(key)  # the Counter's own del is written in Python
        return flight

    def throttled(self, backend: BackendName, model: str, now: Monotonic) -> None:
        """*backend* has just refused one request for being too many."""
        ceiling = Ceiling()
        ceiling.throttled(self.in_flight[backend, model], now)
        self.ceilings.put((backend, model), ceiling)

    def is_full(self, backend: BackendName, model: str, now: Monotonic) -> bool:
        """Whether as many are in flight there as it has been seen to take."""
        ceiling = self.ceilings.peek((backend, model))
        room = None if ceiling is None else ceiling.room(now)
        return room is not None and self.in_flight[backend, model] >= room

    def begin_ramp(self, backend: BackendName, model: str, now: Monotonic) -> None:
        """Traffic moves to *backend* now."""
        ramp = Ramp()
        ramp.begin(now)
        self.ramps.put((backend, model), ramp)

    def returned(self, spot: Spot, now: Instant) -> list[Transition]:
        """Traffic goes back to a backend that it had left, if nothing stands in the way any more."""
        if not self.dwells.left or not self.dwells.is_away(spot.backend, spot.model):
            return []
        if self.gates.look(spot, now).gate is not Gate.AVAILABLE or self.dwelling(spot.backend, spot.model, now):
            return []
        self.dwells.back(spot.backend, spot.model, now)
        self.begin_ramp(spot.backend, spot.model, now.monotonic)
        return [Transition(TransitionKind.RETURNED, spot.backend, spot.model, detail="recovered")]

    # --- changes from outside ----------------------------------------------------------------------

    def configure(self, settings: Settings) -> list[Transition]:
        """Take a new configuration."""
        self.settings = settings
        self.order = tuple(backend.name for backend in settings.backends)
        self.gates.configure(settings)
        self.dwells.forget(self.names)
        for name in [name for name in self.extra_usage if name not in self.names]:
            del self.extra_usage[name]
        return self.overrides.keep(self.names)

    def note_extra_usage(self, backend: BackendName, until: Epoch | None, now: Instant) -> None:
        """*backend* answers from paid extra usage until then; ``None`` = not any more."""
        if until is None:
            self.extra_usage.pop(backend, None)
        else:
            self.extra_usage[backend] = Deadline(until, now)

    def snapshot(self) -> dict[str, Any]:
        """What must survive a restart, as plain JSON values."""
        return {
            "schema": SCHEMA,
            "cooldowns": self.gates.cooldowns.snapshot(),
            "overrides": self.overrides.snapshot(),
            "dwell": self.dwells.snapshot(),
            "pins": self.gates.pinned(),
        }

    def restore(self, data: Mapping[str, Any], now: Instant) -> None:
        """Take back a snapshot. One of another schema is left alone; broken entries are left out."""
        if data.get("schema") != SCHEMA:
            return
        self.gates.cooldowns.restore(data.get("cooldowns"), self.names, now)
        self.overrides.restore(data.get("overrides"), self.names, now)
        self.dwells.restore(data.get("dwell"), self.names, now)
        self.gates.restore_pinned(data.get("pins"))
