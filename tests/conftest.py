"""What every test may count on."""

from __future__ import annotations

import signal
import time

import pytest

from claude_failover.clock import SystemClock

DAY = 86_400
BEFORE_MIDNIGHT = 20
"""Seconds before the end of a day in which no test begins: its daemon would count on under the next date."""

AFTER_MIDNIGHT = 5
"""Seconds at the beginning of a day: "two seconds ago" shall be today."""

# A shell that starts CI in the background has it, and every program that it starts, ignore what Ctrl-C sends.
signal.signal(signal.SIGINT, signal.default_int_handler)


def until_day_is_long(into_day: float) -> float:
    """Seconds to wait at *into_day* seconds after midnight, so that a test sees only one date."""
    if into_day < AFTER_MIDNIGHT:
        return AFTER_MIDNIGHT - into_day
    left = DAY - into_day
    return left + AFTER_MIDNIGHT if left <= BEFORE_MIDNIGHT else 0.0


@pytest.fixture(autouse=True)
def _one_date() -> None:
    """Wait if midnight, in UTC or here, is too near: sums of a day, and its limit, begin anew there."""
    wall = SystemClock().now().wall
    here = time.localtime(wall).tm_gmtoff
    pause = max(until_day_is_long((wall + offset) % DAY) for offset in (0, here))
    if pause:
        time.sleep(pause)  # noqa: TID251 - nothing runs yet
