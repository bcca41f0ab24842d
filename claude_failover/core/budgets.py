"""Budgets of attempts: how many retries a backend is sent, how fast traffic moves to one, how much at once it takes.

None knows why. An empty retry bucket means "straight to the next backend", never "give up"; a ramp and a ceiling only
delay. Money has a budget of its own (:mod:`~claude_failover.core.spend`).
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

CEILING_LEAST: Final = 3
"""With fewer in flight a throttle is about tokens a minute, not about how many at once: the cooldown is enough."""

CEILING_STEP: Final = Seconds(30.0)
"""A ceiling rises by one in the first such step, by three more in the second, by five in the third …"""


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


@dataclass(slots=True)
class Ceiling:
    """How many requests at once a (backend, model) has been seen to take: learned from its throttles.

    A quota that throttled one request was serving those that were in flight beside it. Sending more than that only
    earns the next throttle, and with it a cooldown for everybody. So whoever finds it full goes to another backend, or
    waits for one to finish. The ceiling rises by itself, slowly at first, because quotas are shared and change.
    """

    most: int | None = None
    at: Monotonic = Monotonic(0.0)

    def throttled(self, beside: int, now: Monotonic) -> None:
        """One was refused while *beside* others were in flight."""
        self.most, self.at = max(CEILING_LEAST, beside), now

    def room(self, now: Monotonic) -> int | None:
        """How many may be in flight; ``None`` = it was never throttled."""
        if self.most is None:
            return None
        return self.most + int((max(0.0, now - self.at) / CEILING_STEP) ** 2)
