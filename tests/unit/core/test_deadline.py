from __future__ import annotations

from claude_failover.clock import FakeClock
from claude_failover.core.deadline import Deadline
from claude_failover.core.types import Epoch


def in_an_hour(clock: FakeClock) -> Deadline:
    return Deadline(Epoch(clock.wall + 3600.0), clock.now())


def test_a_deadline_counts_down_and_ends() -> None:
    clock = FakeClock()
    deadline = in_an_hour(clock)
    assert deadline.remaining(clock.now()) == 3600.0
    assert deadline.remaining(clock.advance(3599.0)) == 1.0
    assert not deadline.over(clock.now())
    assert deadline.over(clock.advance(1.0))
    assert deadline.remaining(clock.advance(100.0)) == 0.0


def test_it_ends_while_the_machine_sleeps() -> None:
    clock = FakeClock()
    deadline = in_an_hour(clock)
    assert deadline.remaining(clock.sleep_machine(3000.0)) == 600.0
    assert deadline.over(clock.sleep_machine(600.0))


def test_a_wall_clock_set_back_does_not_prolong_it() -> None:
    clock = FakeClock()
    deadline = in_an_hour(clock)
    clock.wall -= 86_400.0
    assert deadline.remaining(clock.now()) == 3600.0
    assert deadline.over(clock.advance(3600.0))


def test_a_wall_clock_set_forward_ends_it_early() -> None:
    clock = FakeClock()
    deadline = in_an_hour(clock)
    clock.wall += 3600.0
    assert deadline.over(clock.now())


def test_one_in_the_past_is_over_from_the_start() -> None:
    clock = FakeClock()
    assert Deadline(Epoch(clock.wall - 5.0), clock.now()).over(clock.now())
