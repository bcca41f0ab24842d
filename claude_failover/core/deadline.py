"""Deadlines: wall-clock moments that a clock set back cannot push away.

What a server told ends at a moment of the wall clock, also while the machine sleeps and across a restart. But wall
clocks jump. So a deadline remembers when it was set, on both clocks, and is over as soon as either says so: after a
jump back the monotonic clock ends it, a jump forward ends it early, which costs one early look.
"""

from __future__ import annotations

import msgspec

from claude_failover.core.types import Epoch, Instant, Seconds


class Deadline(msgspec.Struct, frozen=True):
    """A wall-clock moment, and when it was set: it is over as soon as either clock says so."""

    at: Epoch
    set: Instant

    def remaining(self, now: Instant) -> Seconds:
        """Seconds to go, from 0 to the length it was set with."""
        length = self.at - self.set.wall
        return Seconds(max(0.0, min(self.at - now.wall, length - (now.monotonic - self.set.monotonic))))

    def over(self, now: Instant) -> bool:
        """Whether nothing remains."""
        return self.remaining(now) <= 0.0
