from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from claude_failover.core.decision import Try
from claude_failover.core.retries import Again, again
from claude_failover.core.settings import Retry, RetryPolicy
from claude_failover.core.types import BackendName, Monotonic, Outcome, Reason, Seconds, Verdict

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")


class Low(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return a


class High(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def tried(outcome: Outcome, reason: Reason = Reason.PRIMARY, backend: BackendName = CLAUDE, **verdict: Any) -> Try:
    return Try(backend, reason, Verdict(outcome, **verdict), Monotonic(0.0))


def ask(
    tries: Sequence[Try] | Try,
    rules: RetryPolicy | None = None,
    rng: random.Random | None = None,
    *,
    offline: bool = False,
) -> Again | None:
    listed = [tries] if isinstance(tries, Try) else tries
    return again(listed, rules or RetryPolicy(), rng or Low(), offline=offline)


@pytest.mark.parametrize(
    ("outcome", "low", "high", "fresh"),
    [
        (Outcome.OVERLOADED, 0.75, 3.0, False),
        (Outcome.SERVER_ERROR, 0.3, 1.0, False),
        (Outcome.TRANSIENT_LIMIT, 0.3, 1.0, False),
        (Outcome.LOCAL, 0.3, 1.0, False),
        (Outcome.CUT, 0.3, 1.0, True),
        (Outcome.MALFORMED, 0.3, 1.0, True),
        (Outcome.UNREACHABLE, 0.0, 0.0, True),
    ],
)
def test_one_retry_after_a_short_wait(outcome: Outcome, low: float, high: float, fresh: bool) -> None:
    first = tried(outcome)
    assert ask(first, rng=Low()) == Again(Reason.RETRY, Seconds(low), fresh=fresh)
    assert ask(first, rng=High()) == Again(Reason.RETRY, Seconds(high), fresh=fresh)
    assert ask([first, tried(outcome, Reason.RETRY)]) is None


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.PLAN_LIMIT,
        Outcome.FAMILY_LIMIT,
        Outcome.BILLING,
        Outcome.SILENT,
        Outcome.STALLED,
        Outcome.TLS_FAILED,
        Outcome.PIN_FAILED,
        Outcome.DENIED,
    ],
)
def test_what_a_second_try_cannot_mend_goes_to_the_next_backend(outcome: Outcome) -> None:
    many = RetryPolicy(Retry(5), Retry(5), Retry(5))
    assert ask(tried(outcome), many) is None


def test_tries_elsewhere_do_not_count() -> None:
    before = [tried(Outcome.OVERLOADED), tried(Outcome.OVERLOADED, Reason.RETRY)]
    assert ask([*before, tried(Outcome.OVERLOADED, Reason.OVERLOADED, BEDROCK)]) is not None


def test_waits_grow_by_the_factor_up_to_the_most() -> None:
    rules = RetryPolicy(overloaded=Retry(4, 2.0, 5.0))
    tries = [tried(Outcome.OVERLOADED)]
    waits = []
    for _ in range(4):
        found = ask(tries, rules)
        assert found is not None
        waits.append(found.wait)
        tries.append(tried(Outcome.OVERLOADED, Reason.RETRY))
    assert waits == [0.75, 1.5, 3.0, 5.0]
    assert ask(tries, rules) is None


def test_reconnecting_is_tried_at_once_and_then_after_waits() -> None:
    rules = RetryPolicy(connection=Retry(3, 2.0, 1.0))
    tries = [tried(Outcome.UNREACHABLE)]
    waits = []
    for _ in range(3):
        found = ask(tries, rules)
        assert found is not None
        waits.append(found.wait)
        tries.append(tried(Outcome.UNREACHABLE, Reason.RETRY))
    assert waits == [0.0, 0.3, 0.6]


def test_a_stale_pooled_connection_is_repeated_for_free_even_offline() -> None:
    stale = tried(Outcome.UNREACHABLE, error_type="stale_connection")
    none = RetryPolicy(connection=Retry(0))
    assert ask(stale, none, offline=True) == Again(Reason.RETRY, fresh=True, costs=False)
    assert ask([stale, tried(Outcome.UNREACHABLE, Reason.RETRY, error_type="stale_connection")], none) is None


def test_offline_nothing_is_tried_twice() -> None:
    assert ask(tried(Outcome.UNREACHABLE), offline=True) is None
    assert ask(tried(Outcome.SERVER_ERROR), offline=True) is not None


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.0])
def test_a_very_short_throttle_is_waited_for_once(seconds: float) -> None:
    first = tried(Outcome.THROTTLED, retry_after=Seconds(seconds))
    assert ask(first) == Again(Reason.RETRY, Seconds(seconds), costs=False, for_gate=True)
    assert ask([first, tried(Outcome.THROTTLED, Reason.RETRY, retry_after=Seconds(seconds))]) is None


@pytest.mark.parametrize("seconds", [2.1, None])
def test_any_other_throttle_goes_to_the_next_backend(seconds: float | None) -> None:
    assert ask(tried(Outcome.THROTTLED, retry_after=None if seconds is None else Seconds(seconds))) is None


def test_with_retries_for_limits_a_throttle_is_waited_for_up_to_the_most() -> None:
    rules = RetryPolicy(rate_limit=Retry(2, 2.0, 10.0))
    assert ask(tried(Outcome.THROTTLED, retry_after=Seconds(9.0)), rules) == Again(
        Reason.RETRY, Seconds(9.0), for_gate=True
    )
    assert ask(tried(Outcome.THROTTLED, retry_after=Seconds(11.0)), rules) is None
    assert ask(tried(Outcome.THROTTLED), rules) == Again(Reason.RETRY, Seconds(0.75), for_gate=True)
    assert ask(tried(Outcome.THROTTLED, per_day=True), rules) is None


def test_a_passing_429_gets_one_short_retry_whatever_is_configured_for_limits() -> None:
    none = RetryPolicy(rate_limit=Retry(0))
    assert ask(tried(Outcome.TRANSIENT_LIMIT), none) == Again(Reason.RETRY, Seconds(0.3))
    more = RetryPolicy(rate_limit=Retry(2))
    tries = [tried(Outcome.TRANSIENT_LIMIT), tried(Outcome.TRANSIENT_LIMIT, Reason.RETRY)]
    assert ask(tries, more) == Again(Reason.RETRY, Seconds(0.6))


def test_two_repairs_and_then_no_more() -> None:
    def refused(reason: Reason) -> Try:
        return tried(Outcome.REPAIRABLE, reason, BEDROCK)

    tries = [tried(Outcome.PLAN_LIMIT), refused(Reason.PLAN_LIMIT)]
    assert ask(tries) == Again(Reason.REPAIR, costs=False)
    tries.append(refused(Reason.REPAIR))
    assert ask(tries) == Again(Reason.REPAIR, costs=False)
    tries.append(refused(Reason.REPAIR))
    assert ask(tries) is None


def test_credentials_are_refreshed_once() -> None:
    first = tried(Outcome.CREDENTIALS, backend=BEDROCK)
    assert ask(first) == Again(Reason.CREDENTIALS, refresh_credentials=True, costs=False)
    assert ask([first, tried(Outcome.CREDENTIALS, Reason.CREDENTIALS, BEDROCK)]) is None
