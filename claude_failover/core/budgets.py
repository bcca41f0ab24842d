"""Budgets of attempts: how many retries a backend may be sent, and how fast traffic may move to one.

Neither knows why. An empty retry bucket means "straight to the next backend", never "give up"; a
ramp only delays. Money has a budget of its own (:mod:`~claude_failover.core.spend`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from claude_failover.core.types import Monotonic, Seconds

RETRY_CAPACITY: Final = 100
RETRY_COST: Final = 5
TIMEOUT_COST: Final = 10
SUCCESS_GAIN: Final = 1
"""Source: failover-policy, "Guards"; the shape is that of the AWS SDKs' standard retry mode."""

RAMP_STEP: Final = Seconds(0.25)
"""One more concurrent request per step."""

RAMP_FOR: Final = Seconds(10.0)
"""How long a ramp lasts; afterwards there is no bound."""


class RetryBudget:
    """A token bucket of one backend: retries and timeouts take, successes give back.

    It keeps a failing backend from being hit twice by everybody: after about twenty retries without a success
    in between, requests move on at the first failure.
    """

    def __init__(self) -> None:
        self.tokens = RETRY_CAPACITY

    @property
    def allows(self) -> bool:
        """Whether :meth:`take` would succeed."""
        return self.tokens >= RETRY_COST

    def take(self) -> bool:
        """Pay for one retry; false, and nothing taken, if the bucket does not hold that much."""
        if not self.allows:
            return False
        self.tokens -= RETRY_COST
        return True

    def timed_out(self) -> None:
        """An attempt was silent until its time limit: it cost more than a quick error."""
        self.tokens = max(0, self.tokens - TIMEOUT_COST)

    def succeeded(self) -> None:
        """An attempt ended well."""
        self.tokens = min(RETRY_CAPACITY, self.tokens + SUCCESS_GAIN)


@dataclass(slots=True)
class Ramp:
    """After a switch: 1 concurrent request, then one more every 250 ms, for 10 s.

    Twenty subagents that all move at once would trip a fresh quota (tokens are reserved per request). The ramp counts
    what is in flight; it never refuses, it says from when on there is room. Callers whose client cannot wait that
    long go at once: it is a courtesy to the backend, and fails open.
    """

    began: Monotonic | None = None

    def begin(self, now: Monotonic) -> None:
        """Traffic moves here now."""
        self.began = now

    def room(self, now: Monotonic) -> int | None:
        """How many may be in flight; ``None`` = any number."""
        if self.began is None or not 0.0 <= now - self.began < RAMP_FOR:
            return None
        return 1 + int((now - self.began) / RAMP_STEP)

    def opens(self, in_flight: int, now: Monotonic) -> Monotonic:
        """When one more may go: *now* if there is room, never later than the ramp's end."""
        room = self.room(now)
        if room is None or self.began is None or in_flight < room:
            return now
        return Monotonic(max(now, self.began + min(in_flight * RAMP_STEP, RAMP_FOR)))
