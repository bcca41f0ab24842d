"""Once more on the same backend: whether, after how long, and with what difference.

Claude Code retries ten times by itself, so ours multiply with the client's: none or one per class of failure
(claude.md 3.6). The rules are those of the tables in
failover-policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from claude_failover.core.commands import Failure
from claude_failover.core.decision import Try
from claude_failover.core.settings import Retry, RetryPolicy
from claude_failover.core.types import Outcome, Reason, Seconds, Verdict

if TYPE_CHECKING:
    import random

SHORT_THROTTLE: Final = Seconds(2.0)
"""A ``retry-after`` up to this is waited for; the next backend's cold prompt cache costs more."""

OVERLOAD_WAIT: Final = (0.75, 3.0)
ERROR_WAIT: Final = (0.3, 1.0)
"""First waits in seconds, jittered between these; each further one is longer by ``backoff_factor``."""

MAX_REPAIRS: Final = 2
"""Per backend; each drops exactly what the last refusal named."""

MAX_REFRESHES: Final = 1


@dataclass(frozen=True, slots=True)
class Again:
    """One more attempt on the same backend."""

    reason: Reason
    wait: Seconds = Seconds(0.0)
    """After the last one's end."""
    fresh: bool = False
    refresh_credentials: bool = False
    costs: bool = True
    """Whether the backend's retry bucket pays."""
    for_gate: bool = False
    """The wait is what the backend asked for: if its cooldown ends a moment later, wait for that."""


def again(tries: Sequence[Try], rules: RetryPolicy, rng: random.Random, *, offline: bool) -> Again | None:
    """Say whether the backend of the last try is to be tried once more; ``None`` = go on to the next.

    Args:
        tries: All of this request, the last one failed.
        rules: ``retry_policy`` of the configuration.
        rng: For the jitter of waits.
        offline: Nobody can be reached: trying twice only delays a clear error.
    """
    last = tries[-1].verdict
    here = [t for t in tries if t.backend == tries[-1].backend]
    done = sum(t.reason is Reason.RETRY for t in here)
    if last.outcome is Outcome.REPAIRABLE:
        repairs = sum(t.verdict.outcome is Outcome.REPAIRABLE for t in here)
        return Again(Reason.REPAIR, costs=False) if repairs <= MAX_REPAIRS else None
    if last.outcome is Outcome.CREDENTIALS:
        refused = sum(t.verdict.outcome is Outcome.CREDENTIALS for t in here)
        return Again(Reason.CREDENTIALS, refresh_credentials=True, costs=False) if refused <= MAX_REFRESHES else None
    if last.outcome is Outcome.UNREACHABLE:
        return _reconnect(last, done, rules.connection, rng, offline=offline)
    if last.outcome is Outcome.THROTTLED:
        return _throttled(last, done, rules.rate_limit, rng)
    manner = _MANNERS.get(last.outcome)
    return None if manner is None else _backoff(manner, done, rules, rng)


def _reconnect(last: Verdict, done: int, rules: Retry, rng: random.Random, *, offline: bool) -> Again | None:
    """A pooled connection that had died says nothing about the backend: its first repeat is free."""
    if last.error_type == Failure.STALE_CONNECTION.value and not done:
        return Again(Reason.RETRY, fresh=True, costs=False)
    if offline or done >= rules.retries:
        return None
    wait = 0.0 if not done else min(rules.max_wait, rng.uniform(*ERROR_WAIT) * rules.backoff_factor ** (done - 1))
    return Again(Reason.RETRY, Seconds(wait), fresh=True)


def _throttled(last: Verdict, done: int, rules: Retry, rng: random.Random) -> Again | None:
    """A wait that the backend names is agreed to if it is very short, or if limits are to be retried at all."""
    told = last.retry_after
    if told is not None and told <= SHORT_THROTTLE and not done:
        return Again(Reason.RETRY, told, costs=False, for_gate=True)
    if done >= rules.retries or last.per_day or (told is not None and told > rules.max_wait):
        return None
    wait = told if told is not None else _wait(OVERLOAD_WAIT, done, rules, rng)
    return Again(Reason.RETRY, wait, for_gate=True)


@dataclass(frozen=True, slots=True)
class _Manner:
    """How one outcome is retried."""

    first: tuple[float, float]
    rules: Callable[[RetryPolicy], Retry]
    fresh: bool = False


def _transient(rules: RetryPolicy) -> Retry:
    """One short retry in any case: such a 429 was judged per request."""
    return replace(rules.rate_limit, retries=max(1, rules.rate_limit.retries))


def _connection(rules: RetryPolicy) -> Retry:
    return rules.connection


def _overloaded(rules: RetryPolicy) -> Retry:
    return rules.overloaded


_MANNERS: Final = {
    Outcome.OVERLOADED: _Manner(OVERLOAD_WAIT, _overloaded),
    Outcome.TRANSIENT_LIMIT: _Manner(ERROR_WAIT, _transient),
    Outcome.SERVER_ERROR: _Manner(ERROR_WAIT, _connection),
    Outcome.LOCAL: _Manner(ERROR_WAIT, _connection),
    Outcome.CUT: _Manner(ERROR_WAIT, _connection, fresh=True),
    Outcome.MALFORMED: _Manner(ERROR_WAIT, _connection, fresh=True),
}
"""What is not here goes to the next backend at once: other limits, silence, a wrong certificate, a denial."""


def _backoff(manner: _Manner, done: int, rules: RetryPolicy, rng: random.Random) -> Again | None:
    own = manner.rules(rules)
    if done >= own.retries:
        return None
    return Again(Reason.RETRY, _wait(manner.first, done, own, rng), fresh=manner.fresh)


def _wait(first: tuple[float, float], done: int, rules: Retry, rng: random.Random) -> Seconds:
    return Seconds(min(rules.max_wait, rng.uniform(*first) * rules.backoff_factor**done))
