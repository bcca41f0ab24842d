"""How long a limit lasts: what the backend told, within reason, and what holds where it told nothing.

Whatever a header says, the answer lies between :data:`MIN_COOLDOWN` and :data:`MAX_COOLDOWN` from now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from claude_failover.core import limits
from claude_failover.core.settings import RateLimitFallback
from claude_failover.core.types import BackendName, Epoch, Instant, Kind, Outcome, Seconds, Verdict

if TYPE_CHECKING:
    import random

MAX_COOLDOWN: Final = Seconds(limits.MAX_TOLD + 60.0)
"""Longer than any limit that was seen, with its jitter; more is a mistake."""

MIN_COOLDOWN: Final = Seconds(1.0)
"""``retry-after: 0`` still means that this request was refused."""

BILLING_PAUSE: Final = Seconds(900.0)
"""Credits may be bought at any time: one real request every 15 minutes."""

GROWTH_FIRST: Final = Seconds(5.0)
GROWTH_MOST: Final = Seconds(60.0)
"""Bedrock names no end of a throttle: 5 s, doubling to 60 s while probes keep failing (bedrock.md 4.1)."""

JITTER: Final = (1.0, 30.0)
"""Seconds added to a plan window's reset: thousands of clients know the same moment."""


@dataclass(frozen=True, slots=True)
class Where:
    """Whose limit it is."""

    backend: BackendName
    kind: Kind
    model: str
    family: str | None


def end(
    where: Where, verdict: Verdict, streak: int, rules: RateLimitFallback, rng: random.Random, now: Instant
) -> Epoch:
    """When a limit that was told now ends.

    Args:
        where: Whose.
        verdict: What was told.
        streak: How many times in a row before; throttles without an end grow by it.
        rules: ``rate_limit_fallback`` of the configuration.
        rng: For the jitter of plan windows.
        now: Both clocks.
    """
    length = _told(verdict, rules, now.wall)
    if length is None:
        growing = where.kind is Kind.BEDROCK and verdict.outcome is Outcome.THROTTLED
        length = min(GROWTH_MOST, GROWTH_FIRST * 2.0 ** min(streak, 8)) if growing else rules.cooldown_time
    if verdict.outcome in {Outcome.PLAN_LIMIT, Outcome.FAMILY_LIMIT}:
        length += rng.uniform(*JITTER)
    return Epoch(now.wall + min(max(length, MIN_COOLDOWN), MAX_COOLDOWN))


def _told(verdict: Verdict, rules: RateLimitFallback, wall: Epoch) -> float | None:
    """Seconds; ``None`` if nothing sensible was told, or it is not to be respected."""
    if verdict.outcome is Outcome.BILLING:
        return BILLING_PAUSE
    if verdict.per_day:
        return limits.next_utc_midnight(wall) - wall
    until = limits.believable(verdict.until, wall)
    after = verdict.retry_after if verdict.retry_after is not None and verdict.retry_after >= 0.0 else None
    if verdict.outcome is Outcome.THROTTLED:
        # A bucket is full again long after it would take one more request: retry-after comes first.
        candidates = [after, None if until is None else until - wall] if rules.respect_retry_after else []
    else:
        candidates = [None if until is None else until - wall, after if rules.respect_retry_after else None]
    return next((seconds for seconds in candidates if seconds is not None and math.isfinite(seconds)), None)
