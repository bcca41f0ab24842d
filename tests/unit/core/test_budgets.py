from __future__ import annotations

from claude_failover.core.budgets import RAMP_FOR, RETRY_CAPACITY, Ceiling, Ramp, RetryBudget
from claude_failover.core.types import Monotonic

T = 1_000.0


def at(seconds: float) -> Monotonic:
    return Monotonic(T + seconds)


def ramp() -> Ramp:
    begun = Ramp()
    begun.begin(at(0))
    return begun


def test_a_full_bucket_pays_for_twenty_retries_and_no_more() -> None:
    budget = RetryBudget()
    assert [budget.take() for _ in range(21)] == [True] * 20 + [False]
    assert budget.tokens == 0
    assert not budget.allows


def test_five_successes_earn_one_retry() -> None:
    budget = RetryBudget()
    while budget.take():
        pass
    for _ in range(4):
        budget.succeeded()
    assert not budget.allows
    budget.succeeded()
    assert budget.take()
    assert budget.tokens == 0


def test_ten_timeouts_empty_the_bucket_and_it_never_owes() -> None:
    budget = RetryBudget()
    for _ in range(10):
        budget.timed_out()
    assert budget.tokens == 0
    budget.succeeded()
    budget.timed_out()
    assert budget.tokens == 0


def test_success_never_fills_beyond_the_brim() -> None:
    budget = RetryBudget()
    budget.succeeded()
    assert budget.tokens == RETRY_CAPACITY == 100


def test_a_ramp_that_never_began_has_room_for_any_number() -> None:
    assert Ramp().room(at(0)) is None
    assert Ramp().opens(1_000, at(0)) == at(0)


def test_a_ramp_lets_one_go_and_one_more_every_quarter_second() -> None:
    r = ramp()
    assert [r.room(at(s)) for s in (0.0, 0.24, 0.25, 1.0, 9.99)] == [1, 1, 2, 5, 40]


def test_a_ramp_is_over_after_ten_seconds() -> None:
    assert ramp().room(at(10.0)) is None
    assert ramp().opens(500, at(10.0)) == at(10.0)


def test_a_ramp_of_the_future_is_none() -> None:
    """Only a restored or mocked clock can do this; it must not hold anybody."""
    assert ramp().room(at(-1.0)) is None


def test_a_ramp_says_from_when_there_is_room() -> None:
    r = ramp()
    assert r.opens(0, at(0.1)) == at(0.1)
    assert r.opens(1, at(0.1)) == at(0.25)
    assert r.opens(4, at(0.6)) == at(1.0)


def test_nobody_waits_beyond_the_end_of_a_ramp() -> None:
    assert ramp().opens(10_000, at(3.0)) == at(RAMP_FOR)


def test_without_a_throttle_there_is_no_ceiling() -> None:
    assert Ceiling().room(at(0)) is None


def test_a_throttle_beside_eight_others_means_that_eight_fit() -> None:
    ceiling = Ceiling()
    ceiling.throttled(8, at(0))
    assert ceiling.room(at(0)) == 8
    ceiling.throttled(7, at(1))
    assert ceiling.room(at(1)) == 7


def test_a_ceiling_rises_slowly_and_then_faster() -> None:
    ceiling = Ceiling()
    ceiling.throttled(8, at(0))
    assert [ceiling.room(at(s)) for s in (29.0, 30.0, 60.0, 90.0, 300.0)] == [8, 9, 12, 17, 108]


def test_a_few_are_never_too_many_at_once() -> None:
    ceiling = Ceiling()
    ceiling.throttled(0, at(0))
    assert ceiling.room(at(0)) == 3
    assert ceiling.room(at(-5)) == 3
