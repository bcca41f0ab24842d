from __future__ import annotations

import random

import pytest

from claude_failover.core.settings import RateLimitFallback
from claude_failover.core.told import MAX_COOLDOWN, Where, end
from claude_failover.core.types import BackendName, Epoch, Instant, Kind, Monotonic, Outcome, Scope, Seconds, Verdict

WALL = 1_795_003_200.0
"""2026-11-18 12:00:00 UTC."""
NOW = Instant(Epoch(WALL), Monotonic(50.0))
RULES = RateLimitFallback(cooldown_time=300.0)
DEAF = RateLimitFallback(cooldown_time=300.0, respect_retry_after=False)
CLAUDE = Where(BackendName("claude"), Kind.ANTHROPIC, "claude-opus-5-5", "opus")
BEDROCK = Where(BackendName("bedrock"), Kind.BEDROCK, "claude-opus-5-5", "opus")


class Low(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return a


class High(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def lasts(
    verdict: Verdict,
    where: Where = CLAUDE,
    streak: int = 0,
    rules: RateLimitFallback = RULES,
    rng: random.Random | None = None,
) -> float:
    return end(where, verdict, streak, rules, rng or Low(), NOW) - WALL


def throttled(retry_after: float | None = None, until: float | None = None, *, per_day: bool = False) -> Verdict:
    return Verdict(
        Outcome.THROTTLED,
        scope=Scope.MODEL,
        retry_after=None if retry_after is None else Seconds(retry_after),
        until=None if until is None else Epoch(WALL + until),
        per_day=per_day,
    )


def plan(until: float | None, retry_after: float | None = None) -> Verdict:
    return Verdict(
        Outcome.PLAN_LIMIT,
        scope=Scope.BACKEND,
        until=None if until is None else Epoch(WALL + until),
        retry_after=None if retry_after is None else Seconds(retry_after),
    )


@pytest.mark.parametrize(
    ("verdict", "seconds"),
    [
        pytest.param(plan(3600.0), 3601.0, id="a window's reset, and a moment"),
        pytest.param(plan(None, 120.0), 121.0, id="retry-after, if no window is named"),
        pytest.param(plan(3600.0, 120.0), 3601.0, id="the window before retry-after"),
        pytest.param(plan(None), 301.0, id="cooldown_time, if nothing is named"),
        pytest.param(plan(-60.0), 301.0, id="a reset that has passed says nothing"),
        pytest.param(plan(1e9), MAX_COOLDOWN - 59.0, id="never more than the longest limit seen"),
        pytest.param(throttled(40.0), 40.0, id="a throttle lasts retry-after"),
        pytest.param(throttled(40.0, 55.0), 40.0, id="retry-after before the bucket's reset"),
        pytest.param(throttled(None, 55.0), 55.0, id="the bucket's reset, if it is all there is"),
        pytest.param(throttled(0.0), 1.0, id="retry-after 0 is still a refusal"),
        pytest.param(throttled(-5.0), 300.0, id="a negative wait says nothing"),
        pytest.param(throttled(float("nan")), 300.0, id="a wait that is no number says nothing"),
        pytest.param(throttled(float("inf")), 300.0, id="an endless wait says nothing"),
        pytest.param(throttled(None, float("nan")), 300.0, id="a moment that is no number says nothing"),
        pytest.param(throttled(), 300.0, id="cooldown_time for a throttle without an end"),
        pytest.param(throttled(9.0, per_day=True), 43_200.0, id="per day: until the next UTC midnight"),
        pytest.param(Verdict(Outcome.BILLING, until=Epoch(WALL + 1e6)), 900.0, id="billing: a quarter of an hour"),
    ],
)
def test_how_long_a_limit_lasts(verdict: Verdict, seconds: float) -> None:
    assert lasts(verdict) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("verdict", "seconds"),
    [
        pytest.param(throttled(40.0, 55.0), 300.0, id="a throttle lasts cooldown_time"),
        pytest.param(plan(3600.0, 120.0), 3601.0, id="a window's reset still holds"),
        pytest.param(plan(None, 120.0), 301.0, id="a plan's retry-after does not"),
    ],
)
def test_without_respect_for_retry_after(verdict: Verdict, seconds: float) -> None:
    assert lasts(verdict, rules=DEAF) == pytest.approx(seconds)


def test_throttles_of_bedrock_without_an_end_grow_to_a_minute() -> None:
    assert [lasts(throttled(), BEDROCK, streak) for streak in (0, 1, 2, 3, 4, 99)] == pytest.approx(
        [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    )


def test_other_limits_of_bedrock_without_an_end_last_cooldown_time() -> None:
    assert lasts(plan(None), BEDROCK) == pytest.approx(301.0)


def test_only_windows_that_everybody_knows_are_jittered() -> None:
    family = Verdict(Outcome.FAMILY_LIMIT, scope=Scope.FAMILY, family="opus", until=Epoch(WALL + 100.0))
    assert lasts(plan(100.0), rng=High()) == pytest.approx(130.0)
    assert lasts(family, rng=High()) == pytest.approx(130.0)
    assert lasts(throttled(100.0), rng=High()) == pytest.approx(100.0)
