"""Circuit breaker: what we *infer* about a (backend, model) from failures, one machine each.

Rule: every transition of this machine is in :data:`TRANSITIONS`, and :meth:`Breaker._move` is the only setter of
its state. It hears failures of the backend only: never a limit (the cooldown's matter), a caller's error, a client
that left, or our own machine.

Every attempt carries a :class:`Grant` with the *generation* in which it was sent; each transition starts a new one.
What comes back with an older grant is ignored: it speaks of a state of affairs that is over. Half-open lets exactly
one real request through. If its result never arrives, a lease gives the place free again. A request that was sent
while the circuit was open all the same (forced, or because nothing else was left) and is answered closes it: no
better probe exists.

Overload is told apart from other failures: it trips as soon as it outlives its retries on the same backend, and
rests shorter (10 s, doubling to 60 s), whatever some header says about resets.

Sources: failover-policy, "Everything else" (numbers); gobreaker (generations), failsafe-go (permits).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from claude_failover.core.members import at_hand
from claude_failover.core.settings import CircuitBreaker as Rules
from claude_failover.core.types import Monotonic, Seconds

if TYPE_CHECKING:
    import random

OVERLOAD_OPEN_FOR: Final = Seconds(10.0)
OVERLOAD_MAX_OPEN_FOR: Final = Seconds(60.0)
JITTER: Final = 0.2
"""Rests vary by 20 % each way, so that many clients do not come back at once."""

BUCKETS: Final = 10
"""The window is counted in this many parts: bounded memory at any rate of requests."""


@at_hand
class State(StrEnum):
    """The three states of every circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@at_hand
class Event(StrEnum):
    """What moves it."""

    TRIPPED = "tripped"
    REST_OVER = "rest_over"
    SERVED = "served"
    """The probe, or a request sent in spite of the open circuit, was answered."""
    PROBE_FAILED = "probe_failed"


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.CLOSED: {Event.TRIPPED: State.OPEN},
    State.OPEN: {Event.REST_OVER: State.HALF_OPEN, Event.SERVED: State.CLOSED},
    State.HALF_OPEN: {Event.SERVED: State.CLOSED, Event.PROBE_FAILED: State.OPEN},
}


@at_hand
class Fault(StrEnum):
    """What sort of failure; each has its own rest."""

    FAILURE = "failure"
    OVERLOAD = "overload"


@at_hand
class Readiness(StrEnum):
    """What a request would find; reading it changes nothing."""

    CLOSED = "closed"
    READY = "ready"
    """It rests no longer, and the place of the one probe is free."""
    PROBING = "probing"
    RESTING = "resting"


class Grant(msgspec.Struct, frozen=True, gc=False):
    """Leave to send, under a given state of the breaker."""

    generation: int
    owner: int
    """Whose; only the owner of the probe can fail it."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """A transition that took place."""

    before: State
    after: State
    rest: Seconds | None = None
    """With ``OPEN``: for how long."""
    fault: Fault | None = None


@dataclass(slots=True)
class _Bucket:
    start: Monotonic
    failed: int = 0
    total: int = 0


class Breaker:
    """One circuit breaker.

    Args:
        rules: Thresholds and rests from the configuration.
        overloads: Overloads in a row that trip it.
        lease: How long a probe may hold its place without a result.
        rng: For the jitter of rests.
    """

    def __init__(self, rules: Rules, overloads: int, lease: Seconds, rng: random.Random) -> None:
        self.state = State.CLOSED
        self.generation = 0
        self.fault = Fault.FAILURE
        """Of the last trip."""
        self._rng = rng
        self._until = Monotonic(0.0)
        self._rest = Seconds(0.0)
        self._closed_at: Monotonic | None = None
        self._doublings = dict.fromkeys(Fault, 0)
        self._probe: int | None = None
        self._leased = Monotonic(0.0)
        self._run = 0
        self._overloads = 0
        self._window: deque[_Bucket] = deque()
        self.configure(rules, overloads, lease)

    def configure(self, rules: Rules, overloads: int, lease: Seconds) -> None:
        """Take new numbers; what it knows stays."""
        self._rules = rules
        self._overload_threshold = overloads
        self._lease = lease

    # --- asking ----------------------------------------------------------------------------------

    def readiness(self, now: Monotonic) -> Readiness:
        """What a request would find now. Takes nothing: ``status`` may ask as often as it likes."""
        if self.state is State.CLOSED:
            return Readiness.CLOSED
        if self.state is State.OPEN:
            return Readiness.RESTING if now < self._until else Readiness.READY
        return Readiness.PROBING if self._probe is not None and now < self._leased else Readiness.READY

    def remaining(self, now: Monotonic) -> Seconds:
        """Until the rest is over."""
        return Seconds(max(0.0, self._until - now)) if self.state is State.OPEN else Seconds(0.0)

    # --- sending ---------------------------------------------------------------------------------

    def acquire(self, owner: int, now: Monotonic) -> tuple[Grant | None, list[Change]]:
        """Ask for leave to send; ``None`` while it rests or another probe is under way."""
        readiness = self.readiness(now)
        if readiness is Readiness.CLOSED:
            return Grant(self.generation, owner), []
        if readiness is not Readiness.READY:
            return None, []
        changes = [self._move(Event.REST_OVER, now)] if self.state is State.OPEN else []
        self._probe = owner
        self._leased = Monotonic(now + self._lease)
        return Grant(self.generation, owner), changes

    def grant(self, owner: int) -> Grant:
        """Leave to send whatever the state: forced, or nothing else is left. Never takes the probe's place."""
        return Grant(self.generation, owner)

    # --- what came back --------------------------------------------------------------------------

    def served(self, grant: Grant, now: Monotonic) -> list[Change]:
        """The attempt brought its first content: recovery is proven. Counts nothing while closed."""
        if grant.generation != self.generation or self.state is State.CLOSED:
            return []
        return [self._move(Event.SERVED, now)]

    def succeeded(self, grant: Grant, now: Monotonic) -> list[Change]:
        """The attempt ended well."""
        if self.state is not State.CLOSED or grant.generation != self.generation:
            return self.served(grant, now)
        self._run = self._overloads = 0
        self._count(now, failed=0, total=1)
        return []

    def failed(self, grant: Grant, fault: Fault, now: Monotonic, *, weight: int = 1) -> list[Change]:
        """The attempt failed, and the backend is to blame."""
        if grant.generation != self.generation:
            return []
        if self.state is State.HALF_OPEN:
            if grant.owner != self._probe:
                return []
            self.fault = fault
            return [self._move(Event.PROBE_FAILED, now)]
        if self.state is State.OPEN:
            return []
        self._run += weight
        self._overloads += weight if fault is Fault.OVERLOAD else 0
        self._count(now, failed=weight, total=weight)
        if not self._must_trip(now):
            return []
        self.fault = fault
        return [self._move(Event.TRIPPED, now)]

    def trip(self, fault: Fault, now: Monotonic) -> list[Change]:
        """Open at once: the evidence was counted elsewhere."""
        if self.state is not State.CLOSED:
            return []
        self.fault = fault
        return [self._move(Event.TRIPPED, now)]

    def release(self, grant: Grant) -> None:
        """The attempt ended and says nothing about the backend: a probe gives its place free."""
        if grant.owner == self._probe:
            self._probe = None

    def shorten_lease(self, grant: Grant, lease: Seconds, now: Monotonic) -> bool:
        """Keep the probe's place while its result is weighed; false if the grant does not hold it."""
        if grant.owner != self._probe:
            return False
        self._leased = Monotonic(min(self._leased, now + lease))
        return True

    # --- inside ----------------------------------------------------------------------------------

    def _must_trip(self, now: Monotonic) -> bool:
        if self._overloads >= self._overload_threshold or self._run >= self._rules.failure_threshold:
            return True
        self._forget(now)
        failed = sum(bucket.failed for bucket in self._window)
        total = sum(bucket.total for bucket in self._window)
        return total >= self._rules.failure_threshold and failed >= self._rules.failure_rate * total

    def _count(self, now: Monotonic, *, failed: int, total: int) -> None:
        self._forget(now)
        if not self._window or now - self._window[-1].start >= self._rules.window / BUCKETS:
            self._window.append(_Bucket(now))
        self._window[-1].failed += failed
        self._window[-1].total += total

    def _forget(self, now: Monotonic) -> None:
        while self._window and now - self._window[0].start >= self._rules.window:
            self._window.popleft()

    def _move(self, event: Event, now: Monotonic) -> Change:
        before = self.state
        self.state = TRANSITIONS[before][event]
        self.generation += 1
        self._probe = None
        if self.state is State.OPEN:
            self._rest = self._next_rest(before, now)
            self._until = Monotonic(now + self._rest)
            return Change(before, self.state, self._rest, self.fault)
        if self.state is State.CLOSED:
            self._closed_at = now
            self._run = self._overloads = 0
            self._window.clear()
        return Change(before, self.state)

    def _next_rest(self, before: State, now: Monotonic) -> Seconds:
        """Double while it keeps failing; start anew once it has held for longer than it last rested."""
        first, most = self._rests()
        held = before is State.CLOSED and (self._closed_at is None or now - self._closed_at > self._rest)
        if held:
            self._doublings = dict.fromkeys(Fault, 0)
        doublings = self._doublings[self.fault]
        self._doublings[self.fault] = min(doublings + 1, 32)
        return Seconds(min(most, first * 2.0**doublings * self._rng.uniform(1.0 - JITTER, 1.0 + JITTER)))

    def _rests(self) -> tuple[float, float]:
        if self.fault is Fault.OVERLOAD:
            return OVERLOAD_OPEN_FOR, OVERLOAD_MAX_OPEN_FOR
        return self._rules.open_for, self._rules.max_open_for
