"""The reader of time, and the clock that tests move by hand."""

from __future__ import annotations

import time

import pytest

from claude_failover.clock import FakeClock, SystemClock, pause
from claude_failover.core.types import Epoch, Instant, Monotonic, Seconds
from tests.conftest import until_day_is_long


def test_the_system_clock_reads_both_clocks() -> None:
    before = (time.time(), time.monotonic())  # noqa: TID251 - what the clock is compared with
    now = SystemClock().now()
    after = (time.time(), time.monotonic())  # noqa: TID251 - what the clock is compared with
    assert before[0] <= now.wall <= after[0]
    assert before[1] <= now.monotonic <= after[1]


def test_a_fake_clock_moves_only_when_told_to() -> None:
    clock = FakeClock(wall=1_000.0, monotonic=10.0)
    assert clock.now() == clock.now() == Instant(Epoch(1_000.0), Monotonic(10.0))
    assert clock.advance(2.5) == clock.now() == Instant(Epoch(1_002.5), Monotonic(12.5))


def test_while_the_machine_sleeps_only_the_wall_clock_goes_on() -> None:
    clock = FakeClock(wall=1_000.0, monotonic=10.0)
    assert clock.sleep_machine(3_600.0) == Instant(Epoch(4_600.0), Monotonic(10.0))


def test_a_pause_takes_at_least_as_long_as_it_says() -> None:
    clock = SystemClock()
    before = clock.now().monotonic
    pause(Seconds(0.001))
    assert clock.now().monotonic - before >= 0.001


@pytest.mark.parametrize(
    ("into_day", "pause"),
    [(0.0, 5.0), (4.0, 1.0), (5.0, 0.0), (43_200.0, 0.0), (86_379.0, 0.0), (86_380.0, 25.0), (86_399.0, 6.0)],
)
def test_a_test_begins_where_the_day_is_long_enough(into_day: float, pause: float) -> None:
    assert until_day_is_long(into_day) == pause
