"""The only reader of time, and the only place that rolls dice for itself.

Two clocks, two types: a cooldown ends at a wall-clock moment that a server named
(:data:`~claude_failover.core.types.Epoch`), a breaker's rest is measured
(:data:`~claude_failover.core.types.Monotonic`). Everything that decides is
handed an :class:`~claude_failover.core.types.Instant` and reads nothing itself.
"""

from __future__ import annotations

import time
from typing import Protocol

from claude_failover.core.types import Epoch, Instant, Monotonic, Seconds


class Clock(Protocol):
    """What the edges ask for the time; tests hand in one that they move by hand."""

    def now(self) -> Instant:
        """Read both clocks together."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Instant:
        """Read both clocks together."""
        # Named by the types of the fields alone: calling the types costs as much as both clocks, and every step asks.
        return Instant(time.time(), time.monotonic())  # type: ignore[arg-type]  # noqa: TID251 - this is the clock


class FakeClock:
    """A clock that only moves when told to."""

    def __init__(self, wall: float = 1_795_000_000.0, monotonic: float = 1_000.0) -> None:
        self.wall = wall
        self.monotonic = monotonic

    def now(self) -> Instant:
        """Read both clocks together."""
        return Instant(Epoch(self.wall), Monotonic(self.monotonic))

    def advance(self, seconds: float) -> Instant:
        """Let time pass on both clocks."""
        self.wall += seconds
        self.monotonic += seconds
        return self.now()

    def sleep_machine(self, seconds: float) -> Instant:
        """Suspend the machine: the wall clock goes on, the monotonic one stands still."""
        self.wall += seconds
        return self.now()


def pause(seconds: Seconds) -> None:
    """Block the calling thread; for the command line, which waits for a daemon."""
    time.sleep(seconds)  # noqa: TID251 - this is the clock
