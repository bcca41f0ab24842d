from __future__ import annotations

import random

import pytest

from claude_failover.core.breaker import (
    TRANSITIONS,
    Breaker,
    Change,
    Event,
    Fault,
    Grant,
    Readiness,
    State,
)
from claude_failover.core.settings import CircuitBreaker as Rules
from claude_failover.core.types import Monotonic, Seconds

RULES = Rules(failure_threshold=5, failure_rate=0.5, window=30.0, open_for=15.0, max_open_for=120.0)
LEASE = Seconds(210.0)


class Middle(random.Random):
    """Dice that always show the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class High(random.Random):
    """Dice that always show the most."""

    def uniform(self, a: float, b: float) -> float:
        return b


def breaker(rules: Rules = RULES, overloads: int = 2, rng: random.Random | None = None) -> Breaker:
    return Breaker(rules, overloads, LEASE, rng or Middle())


def at(seconds: float) -> Monotonic:
    return Monotonic(seconds)


def send(b: Breaker, now: float, owner: int = 1) -> Grant:
    grant, _ = b.acquire(owner, at(now))
    assert grant is not None
    return grant


def fail(b: Breaker, times: int, now: float, fault: Fault = Fault.FAILURE) -> list[Change]:
    changes: list[Change] = []
    for _ in range(times):
        changes += b.failed(b.grant(9), fault, at(now))
    return changes


def opened(now: float = 0.0) -> Breaker:
    b = breaker()
    fail(b, 5, now)
    assert b.state is State.OPEN
    return b


# --- tripping ------------------------------------------------------------------------------------


def test_the_fifth_failure_in_a_row_opens_it_for_fifteen_seconds() -> None:
    b = breaker()
    assert fail(b, 4, 0.0) == []
    assert fail(b, 1, 1.0) == [Change(State.CLOSED, State.OPEN, Seconds(15.0), Fault.FAILURE)]
    assert b.remaining(at(1.0)) == 15.0
    assert b.readiness(at(15.9)) is Readiness.RESTING
    assert b.readiness(at(16.0)) is Readiness.READY


def test_a_success_ends_a_run() -> None:
    b = breaker(Rules(failure_threshold=5, failure_rate=1.0))
    fail(b, 4, 0.0)
    assert b.succeeded(send(b, 0.0), at(0.0)) == []
    assert fail(b, 4, 1.0) == []
    assert b.state is State.CLOSED


def test_half_of_the_window_failing_opens_it() -> None:
    """Alternating: never two in a row, but four of eight."""
    b = breaker(Rules(failure_threshold=8, failure_rate=0.5))
    changes: list[Change] = []
    for second in range(4):
        b.succeeded(send(b, second), at(second))
        changes += fail(b, 1, second)
    assert [change.after for change in changes] == [State.OPEN]


def test_the_rate_needs_as_many_attempts_as_the_run() -> None:
    b = breaker(Rules(failure_threshold=5, failure_rate=0.1))
    assert fail(b, 4, 0.0) == []


def test_failures_leave_the_window_after_its_length() -> None:
    b = breaker(Rules(failure_threshold=4, failure_rate=0.5, window=30.0))
    fail(b, 3, 0.0)
    b.succeeded(send(b, 29.0), at(29.0))
    # Now at 30 s the three are out: one failure of two attempts, and a run of one.
    assert fail(b, 1, 30.0) == []


def test_the_window_is_counted_in_a_bounded_number_of_parts() -> None:
    b = breaker(Rules(failure_threshold=10_000, failure_rate=1.0))
    for tick in range(5_000):
        b.succeeded(send(b, tick / 50), at(tick / 50))
    assert len(b._window) <= 11


def test_silence_counts_double() -> None:
    b = breaker()
    for _ in range(2):
        assert b.failed(send(b, 0.0), Fault.FAILURE, at(0.0), weight=2) == []
    assert b.failed(send(b, 0.0), Fault.FAILURE, at(0.0), weight=2) != []


def test_the_second_overload_in_a_row_opens_it_for_ten_seconds() -> None:
    b = breaker()
    assert fail(b, 1, 0.0, Fault.OVERLOAD) == []
    assert fail(b, 1, 1.0, Fault.OVERLOAD) == [Change(State.CLOSED, State.OPEN, Seconds(10.0), Fault.OVERLOAD)]


def test_a_success_between_overloads_forgives_the_first() -> None:
    b = breaker()
    fail(b, 1, 0.0, Fault.OVERLOAD)
    b.succeeded(send(b, 0.0), at(0.0))
    assert fail(b, 1, 1.0, Fault.OVERLOAD) == []


def test_evidence_counted_elsewhere_opens_a_closed_one_only() -> None:
    b = breaker()
    assert b.trip(Fault.OVERLOAD, at(0.0))[0].rest == 10.0
    assert b.trip(Fault.OVERLOAD, at(1.0)) == []


# --- resting -------------------------------------------------------------------------------------


def rests(fault: Fault, times: int) -> list[float]:
    """Fail every probe as soon as it may go."""
    b = breaker()
    found = [b.trip(fault, at(0.0))[0].rest]
    now = 0.0
    for _ in range(times - 1):
        now += b.remaining(at(now))
        found.append(b.failed(send(b, now), fault, at(now))[0].rest)
    return [rest for rest in found if rest is not None]


def test_rests_double_up_to_the_cap() -> None:
    assert rests(Fault.FAILURE, 5) == [15.0, 30.0, 60.0, 120.0, 120.0]


def test_overload_rests_double_to_a_minute() -> None:
    assert rests(Fault.OVERLOAD, 5) == [10.0, 20.0, 40.0, 60.0, 60.0]


def test_each_fault_doubles_by_itself() -> None:
    b = breaker()
    b.trip(Fault.FAILURE, at(0.0))
    assert b.failed(send(b, 15.0), Fault.OVERLOAD, at(15.0))[0].rest == 10.0
    assert b.failed(send(b, 25.0), Fault.FAILURE, at(25.0))[0].rest == 30.0


def test_rests_vary_by_a_fifth_and_never_pass_the_cap() -> None:
    b = breaker(rng=High())
    assert b.trip(Fault.FAILURE, at(0.0))[0].rest == pytest.approx(18.0)
    for _ in range(6):
        now = b._until
        b.failed(send(b, now), Fault.FAILURE, now)
    assert b._rest == 120.0


def test_tripping_again_soon_after_recovery_goes_on_doubling() -> None:
    b = opened(0.0)
    b.served(send(b, 15.0), at(15.0))
    assert fail(b, 5, 20.0)[0].rest == 30.0


def test_tripping_again_after_a_good_while_starts_anew() -> None:
    b = opened(0.0)
    b.served(send(b, 15.0), at(15.0))
    assert fail(b, 5, 31.0)[0].rest == 15.0


# --- half-open -----------------------------------------------------------------------------------


def test_after_the_rest_exactly_one_request_goes() -> None:
    b = opened()
    grant, changes = b.acquire(7, at(15.0))
    assert grant == Grant(generation=2, owner=7)
    assert changes == [Change(State.OPEN, State.HALF_OPEN)]
    assert b.acquire(8, at(15.0)) == (None, [])
    assert b.readiness(at(15.0)) is Readiness.PROBING


def test_nobody_goes_while_it_rests() -> None:
    assert opened().acquire(7, at(14.0)) == (None, [])


def test_reading_the_state_takes_no_place() -> None:
    b = opened()
    assert [b.readiness(at(15.0)) for _ in range(3)] == [Readiness.READY] * 3
    assert b.state is State.OPEN
    assert send(b, 15.0).owner == 1


def test_content_for_the_probe_closes_it() -> None:
    b = opened()
    grant = send(b, 15.0)
    assert b.served(grant, at(16.0)) == [Change(State.HALF_OPEN, State.CLOSED)]
    assert b.readiness(at(16.0)) is Readiness.CLOSED


def test_a_failed_probe_opens_it_for_twice_as_long() -> None:
    b = opened()
    assert b.failed(send(b, 15.0), Fault.FAILURE, at(16.0)) == [
        Change(State.HALF_OPEN, State.OPEN, Seconds(30.0), Fault.FAILURE)
    ]


def test_a_released_probe_gives_its_place_to_the_next() -> None:
    b = opened()
    b.release(send(b, 15.0, owner=7))
    assert b.readiness(at(15.0)) is Readiness.READY
    assert send(b, 15.0, owner=8).owner == 8
    assert b.state is State.HALF_OPEN


def test_somebody_else_cannot_release_the_probe() -> None:
    b = opened()
    send(b, 15.0, owner=7)
    b.release(b.grant(8))
    assert b.readiness(at(15.0)) is Readiness.PROBING


def test_a_probe_whose_result_never_comes_loses_its_place() -> None:
    b = opened()
    lost = send(b, 15.0, owner=7)
    assert b.readiness(at(15.0 + LEASE - 1)) is Readiness.PROBING
    second, changes = b.acquire(8, at(15.0 + LEASE))
    assert second is not None
    assert changes == []
    # The lost one's failure is stale, and the place stays taken ...
    assert b.failed(lost, Fault.FAILURE, at(226.0)) == []
    b.release(lost)
    assert b.readiness(at(226.0)) is Readiness.PROBING
    # ... but its success is proof.
    assert b.served(lost, at(227.0)) != []


def test_a_lease_can_be_cut_short_by_its_owner_only() -> None:
    b = opened()
    grant = send(b, 15.0)
    assert not b.shorten_lease(b.grant(8), Seconds(1.0), at(15.0))
    assert b.shorten_lease(grant, Seconds(10.0), at(15.0))
    assert b.readiness(at(24.9)) is Readiness.PROBING
    assert b.readiness(at(25.0)) is Readiness.READY
    assert b.shorten_lease(grant, Seconds(1000.0), at(15.0))
    assert b.readiness(at(25.0)) is Readiness.READY


# --- generations ---------------------------------------------------------------------------------


def test_failures_of_requests_sent_before_the_trip_are_ignored() -> None:
    b = breaker()
    early = send(b, 0.0)
    fail(b, 5, 0.0)
    assert b.failed(early, Fault.FAILURE, at(1.0)) == []
    assert b.remaining(at(1.0)) == 14.0


def test_a_success_of_a_request_sent_before_the_trip_closes_nothing() -> None:
    b = breaker()
    early = send(b, 0.0)
    fail(b, 5, 0.0)
    assert b.succeeded(early, at(1.0)) == []
    assert b.state is State.OPEN


def recovered() -> tuple[Breaker, Grant]:
    """Closed again, with a grant from before it tripped."""
    b = breaker()
    early = send(b, 0.0)
    fail(b, 5, 0.0)
    b.served(send(b, 15.0), at(15.0))
    assert b.state is State.CLOSED
    return b, early


def test_after_recovery_old_failures_count_nothing() -> None:
    b, early = recovered()
    for _ in range(9):
        assert b.failed(early, Fault.FAILURE, at(16.0)) == []


def test_after_recovery_old_successes_forgive_nothing() -> None:
    b, early = recovered()
    fail(b, 4, 16.0)
    assert b.succeeded(early, at(16.0)) == []
    assert fail(b, 1, 16.0) != []


def test_a_request_sent_in_spite_of_the_open_circuit_proves_recovery() -> None:
    b = opened()
    assert b.served(b.grant(3), at(5.0)) == [Change(State.OPEN, State.CLOSED)]


def test_a_request_sent_in_spite_of_the_open_circuit_cannot_make_it_worse() -> None:
    b = opened()
    assert b.failed(b.grant(3), Fault.FAILURE, at(5.0)) == []
    assert b.remaining(at(5.0)) == 10.0


def test_content_counts_nothing_while_closed() -> None:
    b = breaker()
    grant = send(b, 0.0)
    fail(b, 4, 0.0)
    assert b.served(grant, at(0.0)) == []
    assert fail(b, 1, 0.0) != []


def test_new_rules_hold_from_now_on() -> None:
    b = breaker()
    b.configure(Rules(failure_threshold=1), 1, LEASE)
    assert fail(b, 1, 0.0) != []


def test_every_state_can_be_left_and_only_by_the_table() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(TRANSITIONS[state] for state in State)
    assert Event.PROBE_FAILED not in TRANSITIONS[State.CLOSED]
    assert {s for table in TRANSITIONS.values() for s in table.values()} == set(State)
