"""The books: every record and every change goes to whoever keeps it, in one place and in one order.

Nothing here waits: the ledger and the journal have queues of their own, the rest is memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Protocol

from claude_failover import events
from claude_failover.clock import Clock
from claude_failover.core import limits
from claude_failover.core.failures import lower
from claude_failover.core.limits import PlanLimits
from claude_failover.core.policy import Policy
from claude_failover.core.settings import Settings
from claude_failover.core.types import AttemptRecord, BackendName, ExchangeRecord, Headers, Transition
from claude_failover.daemon.accounts import Accounts
from claude_failover.daemon.history import History

_PREFIX: Final = len(limits.UNIFIED)


class Attempts(Protocol):
    """What is told of every attempt."""

    def attempted(self, record: AttemptRecord) -> None:
        """One attempt is over."""


class Exchanges(Protocol):
    """What is told of every request."""

    def concluded(self, record: ExchangeRecord) -> None:
        """One exchange is over."""


class Books:
    """What a driver writes into.

    Args:
        accounts: Money.
        history: The short memory.
        policy: Told when the plan's windows say that answers are charged extra.
        settings: In force now; replaced by a reload.
        clock: The daemon's.
    """

    def __init__(self, accounts: Accounts, history: History, policy: Policy, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.attempts: Iterable[Attempts] = ()
        """Who else hears of attempts: the metrics."""
        self.exchanges: Iterable[Exchanges] = ()
        """Who else hears of requests: the metrics, the alerts."""
        self.changed = asyncio.Event()
        """Something has changed that must survive a restart."""
        self._accounts = accounts
        self._history = history
        self._policy = policy
        self._clock = clock

    def record(self, record: AttemptRecord) -> None:
        """One attempt is over."""
        self._accounts.record(record)
        self._history.attempt(record)
        for one in self.attempts:
            one.attempted(record)
        if record.price_estimated and record.usage.prompt:
            events.emit("price.missed", model=record.model, backend=record.backend)
        events.attempted(record)

    def conclude(self, record: ExchangeRecord) -> None:
        """One exchange is over."""
        self._accounts.conclude(record)
        self._history.exchange(record)
        for one in self.exchanges:
            one.concluded(record)
        events.concluded(record)

    def announce(self, transition: Transition) -> None:
        """Something changed."""
        self.changed.set()
        events.announced(transition)

    def heard(self, backend: BackendName, headers: Headers) -> None:
        """A backend answered with these headers: what they say of the plan's windows."""
        # Of other headers hardly one is as long as the prefix alone.
        told = tuple([one for one in headers if len(one[0]) > _PREFIX and one[0].lower().startswith(limits.UNIFIED)])
        plan = _plan(told) if told else None
        if plan is None:
            return
        now = self._clock.now()
        before = self._history.heard(backend, plan, now.wall)
        if before is not plan and (before is None or _words(before) != _words(plan)):
            events.say("limit.changed", {"backend": backend, "status": plan.status or "allowed", **_words(plan)})
        if self.settings.cost_tracking.avoid_extra_usage:
            self._policy.note_extra_usage(backend, plan.resets if plan.paid_overage else None, now)


@lru_cache(maxsize=16)
def _plan(told: Headers) -> PlanLimits | None:
    """What these lines say; kept, because answer after answer says the same until a window is a hundredth fuller."""
    return limits.plan_limits(lower(told))


def _words(plan: PlanLimits) -> Mapping[str, str | bool]:
    """What of a plan's limits is worth a line in the log when it is no longer so."""
    rejected = ",".join(window.name for window in plan.rejected_windows)
    warned = ",".join(window.name for window in plan.windows if window.status == "allowed_warning")
    return {"rejected": rejected, "warned": warned, "extra_usage": plan.paid_overage}
