"""A question: one call of the policy's ``choose``, and what can be read from it.

Every gate is looked at once, so all steps of one decision see the same world.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from claude_failover.core.decision import REFUSED_ONLY_THERE, Hold, RequestFacts, Try
from claude_failover.core.desk import Desk, Plan
from claude_failover.core.gates import Gate, Look, Spot
from claude_failover.core.route import Route
from claude_failover.core.spend import Refusal
from claude_failover.core.types import BackendName, Instant, Monotonic, Outcome, Reason, Seconds, Transition, Verdict

PASSING_BY: Final = frozenset({Gate.COOLING, Gate.OPEN, Gate.PROBING})
"""Gates that time opens."""

_RETURNABLE: Final = frozenset(
    {
        Outcome.THROTTLED,
        Outcome.OVERLOADED,
        Outcome.TRANSIENT_LIMIT,
        Outcome.PLAN_LIMIT,
        Outcome.FAMILY_LIMIT,
        Outcome.SERVER_ERROR,
    }
)
"""A backend that failed so may be waited for, and asked once more."""

_LEFT: Final = {
    Outcome.STALLED: Reason.CUT,
    Outcome.PIN_FAILED: Reason.TLS_FAILED,
    Outcome.REPAIRABLE: Reason.REPAIR,
    Outcome.CLIENT_ERROR: Reason.REPAIR,
    Outcome.LOCAL: Reason.RETRY,
}
"""Reasons that are not named like the outcome for which a backend was left."""


class Question(msgspec.Struct, gc=False):
    """A request, its tries, and the moment."""

    desk: Desk
    facts: RequestFacts
    tries: Sequence[Try]
    now: Instant
    route: Route
    said: list[Transition]
    """What deciding has changed so far."""
    refused: dict[BackendName, Refusal] = msgspec.field(default_factory=dict)
    """Where money stood in the way."""
    looks: dict[BackendName, Look] = msgspec.field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """What was decided before, if it has to wait or to try again; most requests go at once and need none."""
        return self.desk.plan(self.facts.exchange)

    @property
    def tried(self) -> set[BackendName]:
        """Backends with an attempt behind them."""
        return {t.backend for t in self.tries}

    def spot(self, backend: BackendName) -> Spot:
        """Where at *backend* this request would go."""
        return Spot(backend, self.facts.model, self.facts.family)

    def look(self, backend: BackendName) -> Look:
        """What stands in the way there."""
        found = self.looks.get(backend)
        if found is None:
            found = self.looks[backend] = self.desk.gates.look(self.spot(backend), self.now)
        return found

    def untried(self, backend: BackendName) -> bool:
        """Whether *backend* can still make a difference."""
        if not self.tries:
            return backend not in self.refused
        kind = self.desk.gates.kind
        if only_there(self.tries[-1].verdict) and kind(backend) is kind(self.tries[-1].backend):
            return False  # What Bedrock refuses here, Bedrock refuses elsewhere.
        return backend not in self.tried and backend not in self.refused

    def returnable(self, backend: BackendName) -> bool:
        """Whether *backend* failed in a way that waiting may mend."""
        here = [t for t in self.tries if t.backend == backend]
        return len(here) in {1, 2} and here[-1].verdict.outcome in _RETURNABLE and backend not in self.refused

    def dwelling(self, backend: BackendName) -> bool:
        """Whether *backend* was left a short while ago; nobody who was ordered there asks."""
        if not self.desk.dwells.left or self.route.forced:
            return False
        return self.desk.dwelling(backend, self.facts.model, self.now)

    def full(self, backend: BackendName) -> bool:
        """Whether *backend* takes no more for now; nobody who was ordered there, or must stay, asks."""
        if not self.desk.ceilings.held or self.route.forced or self.facts.stays is not None:
            return False
        return self.desk.is_full(backend, self.facts.model, self.now.monotonic)

    def hold(self, wait: Seconds, most: Seconds, why: str) -> Hold | None:
        """Wait, unless *most* (over the whole request) or the client's patience is over before that."""
        since = self.plan.waiting if self.plan.waiting is not None else self.now.monotonic
        left = min(most - (self.now.monotonic - since), self.facts.patience)
        if wait > left:
            return None
        self.plan.waiting = since
        return Hold(Monotonic(self.now.monotonic + wait), why)

    def reason_for(self, backend: BackendName) -> tuple[Reason, str]:
        """Why *backend*: what was wrong with those before it, or what speaks for it."""
        if self.route.forced:
            return Reason.FORCED, self.route.why
        if self.tries:
            last = self.tries[-1].verdict
            return _LEFT.get(last.outcome) or Reason(last.outcome.value), last.detail
        if self.look(backend).gate is Gate.READY:
            return Reason.PROBE, self.look(backend).why
        if backend == self.route.home and backend != self.route.base[0]:
            return Reason.STICKY, "its prompt cache is there"
        first = self.route.order[0]
        return self._left_for(first) if first != backend else self._preferred(backend)

    def summary(self) -> str:
        """What went wrong, in one line."""
        told = [f"{t.backend}: {t.verdict.outcome.value}" for t in self.tries]
        told += [f"{b}: {look.why or look.gate.value}" for b, look in self.looks.items() if b not in self.tried]
        return "; ".join(told)

    def _left_for(self, first: BackendName) -> tuple[Reason, str]:
        """Why not the most preferred one."""
        if first in self.refused:
            return Reason.SPEND_LIMIT, self.refused[first].message
        look = self.look(first)
        if not look.passes:
            return look.reason, f"{first}: {look.why}"
        return self.desk.dwells.reason(first, self.facts.model), f"{first} was left a short while ago"

    def _preferred(self, backend: BackendName) -> tuple[Reason, str]:
        if self.route.avoids is not None and backend != self.route.base[0]:
            return Reason.CUT, f"{self.route.avoids} cut this conversation's last answer"
        if backend != self.desk.settings.primary.name:
            return Reason.PREFERRED, self.route.why
        return Reason.PRIMARY, self.route.why


def only_there(verdict: Verdict) -> bool:
    """Whether one kind of backend refused what another may well serve."""
    refused = verdict.outcome is Outcome.CLIENT_ERROR and verdict.error_type == REFUSED_ONLY_THERE
    return refused or verdict.outcome is Outcome.REPAIRABLE
