from __future__ import annotations

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.clock import FakeClock
from claude_failover.core.cooldown import Cooldowns
from claude_failover.core.settings import RateLimitFallback
from claude_failover.core.told import MAX_COOLDOWN, MIN_COOLDOWN, Where
from claude_failover.core.types import BackendName, Epoch, Kind, Outcome, Scope, Seconds, Verdict

CLAUDE = BackendName("claude")
LEASE = Seconds(60.0)

limits = st.sampled_from([outcome for outcome in Outcome if outcome.is_limit])
numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(-10.0, 1e6))


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    until, after = draw(numbers), draw(numbers)
    return Verdict(
        draw(limits),
        "told",
        draw(st.sampled_from(list(Scope))),
        family=draw(st.sampled_from([None, "opus", "sonnet"])),
        until=None if until is None else Epoch(until),
        retry_after=None if after is None else Seconds(after),
        per_day=draw(st.booleans()),
    )


rules = st.builds(
    RateLimitFallback,
    detection_threshold=st.integers(1, 3),
    cooldown_time=st.floats(0.0, 1e7),
    respect_retry_after=st.booleans(),
    max_retry_after=st.floats(1.0, 1e5),
)


@settings(max_examples=200)
@given(verdicts(), rules, st.sampled_from(list(Kind)), st.integers())
def test_a_cooldown_ends_after_now_and_within_the_maximum_whatever_was_told(
    verdict: Verdict, rule: RateLimitFallback, kind: Kind, seed: int
) -> None:
    clock = FakeClock()
    cooldowns = Cooldowns(rule, LEASE, random.Random(seed))
    for _ in range(3):
        cooldowns.limit(Where(CLAUDE, kind, "m", "opus"), verdict, (), clock.now())
    (gate,) = cooldowns.standing()
    slack = 1e-3  # An Epoch has microseconds to spare, not more.
    assert MIN_COOLDOWN - slack <= gate.until.remaining(clock.now()) <= MAX_COOLDOWN + slack
    assert 0.0 < gate.wait(clock.now()) <= max(rule.max_retry_after, MIN_COOLDOWN) + slack


moves = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "limit", "served", "gone", "failed", "lost"]),
        st.floats(0.0, 40.0),
        st.floats(-100.0, 100.0),
    ),
    max_size=50,
)


@settings(max_examples=200)
@given(moves, st.floats(5.0, 200.0), st.integers())
def test_at_most_one_request_tries_per_probe_interval(
    script: list[tuple[str, float, float]], most: float, seed: int
) -> None:
    """Whatever comes back, and however the wall clock jumps back: while the told end is ahead, tries are apart."""
    clock = FakeClock()
    cooldowns = Cooldowns(RateLimitFallback(max_retry_after=most), LEASE, random.Random(seed))
    where = Where(CLAUDE, Kind.ANTHROPIC, "m", None)

    def plan(seconds: float = 1e5) -> Verdict:
        return Verdict(Outcome.PLAN_LIMIT, scope=Scope.BACKEND, until=Epoch(clock.wall + seconds))

    cooldowns.limit(where, plan(), (), clock.now())
    last: float | None = None
    owner, under_way = 0, False
    held = cooldowns.hold([])
    for what, pause, jump in script:
        clock.advance(pause)
        clock.wall += min(jump, 0.0)
        gates = cooldowns.gating(CLAUDE, "m", None)
        if not gates:
            cooldowns.limit(where, plan(), (), clock.now())
            last = None
            continue
        if what == "arrive":
            for _ in range(3):
                if all(gate.ready(clock.now()) for gate in gates):
                    assert last is None or clock.monotonic - last >= most - 1e-3
                    last = clock.monotonic
                    owner += 1
                    held = cooldowns.hold(gates)
                    cooldowns.take(gates, owner, clock.now())
                    under_way = True
        elif under_way:
            under_way = False
            if what == "limit":
                cooldowns.limit(where, plan(), held, clock.now())
            elif what == "served":
                cooldowns.served(held)
            elif what != "lost":
                cooldowns.released(held, owner, clock.now(), pause=what == "failed")


@settings(max_examples=100)
@given(st.lists(verdicts(), max_size=8), st.floats(-1e6, 1e6), st.integers())
def test_what_is_restored_never_lasts_longer_than_what_was_saved(told: list[Verdict], passed: float, seed: int) -> None:
    clock = FakeClock()
    rule = RateLimitFallback()
    before = Cooldowns(rule, LEASE, random.Random(seed))
    for number, verdict in enumerate(told):
        before.limit(Where(CLAUDE, Kind.ANTHROPIC, f"m{number % 3}", "opus"), verdict, (), clock.now())
    after = Cooldowns(rule, LEASE, random.Random(seed))
    restarted = FakeClock(clock.wall + passed, 3.0)
    after.restore(json.loads(json.dumps(before.snapshot())), frozenset({CLAUDE}), restarted.now())
    old = {gate.key: gate.until.remaining(clock.now()) for gate in before.standing()}
    new = {gate.key: gate.until.remaining(restarted.now()) for gate in after.standing()}
    assert old.keys() == new.keys()
    assert all(0.0 <= new[key] <= old[key] + 1e-3 for key in new)
    assert after.snapshot() == [] or all(entry["until"] >= restarted.wall for entry in after.snapshot())
