from __future__ import annotations

import json
import random
from typing import Any

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.cooldown import EARLY_EVERY, HELD_POLL, PROBE_PAUSE, Cooldown, Cooldowns, Held, Key
from claude_failover.core.settings import RateLimitFallback
from claude_failover.core.told import Where
from claude_failover.core.types import (
    BackendName,
    Epoch,
    Kind,
    Outcome,
    Scope,
    Seconds,
    Transition,
    TransitionKind,
    Verdict,
)

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
OPUS, SONNET = "claude-opus-5-5", "claude-sonnet-5-5"
LEASE = Seconds(210.0)


class Low(random.Random):
    """One second of jitter."""

    def uniform(self, a: float, b: float) -> float:
        return a


class World:
    """Cooldowns and a clock."""

    def __init__(self, **rules: Any) -> None:
        self.clock = FakeClock()
        self.rules = RateLimitFallback(**rules)
        self.cooldowns = Cooldowns(self.rules, LEASE, Low())

    def limit(
        self,
        verdict: Verdict,
        model: str = OPUS,
        held: tuple[Held, ...] = (),
        backend: BackendName = CLAUDE,
        family: str | None = "opus",
    ) -> list[Transition]:
        kind = Kind.ANTHROPIC if backend == CLAUDE else Kind.BEDROCK
        return self.cooldowns.limit(Where(backend, kind, model, family), verdict, held, self.clock.now())

    def plan(self, seconds: float = 7200.0) -> Verdict:
        return Verdict(
            Outcome.PLAN_LIMIT, "session limit used up", Scope.BACKEND, until=Epoch(self.clock.wall + seconds)
        )

    def family(self, name: str = "opus") -> Verdict:
        until = Epoch(self.clock.wall + 7200.0)
        return Verdict(Outcome.FAMILY_LIMIT, "Opus limit used up", Scope.FAMILY, family=name, until=until)

    def gates(self, model: str = OPUS, family: str | None = "opus", backend: BackendName = CLAUDE) -> list[Cooldown]:
        return self.cooldowns.gating(backend, model, family)

    def gate(self, model: str = OPUS) -> Cooldown:
        (gate,) = self.gates(model)
        return gate

    def take(self, owner: int = 1) -> tuple[Held, ...]:
        gates = self.gates()
        held = self.cooldowns.hold(gates)
        self.cooldowns.take(gates, owner, self.clock.now())
        return held

    @property
    def ready(self) -> bool:
        return self.gate().ready(self.clock.now())


def throttle(seconds: float | None = 30.0) -> Verdict:
    return Verdict(
        Outcome.THROTTLED, "too many", Scope.MODEL, retry_after=None if seconds is None else Seconds(seconds)
    )


# --- scopes --------------------------------------------------------------------------------------


def test_a_plan_limit_cools_every_model_of_the_backend() -> None:
    w = World()
    (started,) = w.limit(w.plan())
    assert started == Transition(
        TransitionKind.COOLDOWN_STARTED,
        CLAUDE,
        None,
        "session limit used up",
        Epoch(w.clock.wall + 7201.0),
        {"scope": "backend", "family": None, "outcome": "plan_limit"},
    )
    assert len(w.gates(OPUS)) == len(w.gates(SONNET, "sonnet")) == len(w.gates("x", None)) == 1
    assert w.gates(backend=BEDROCK) == []


def test_a_family_limit_cools_that_family_only() -> None:
    w = World()
    (started,) = w.limit(w.family())
    assert started.fields["family"] == "opus"
    assert len(w.gates("claude-opus-4-6", "opus")) == 1
    assert w.gates(SONNET, "sonnet") == []


def test_a_throttle_cools_that_model_only() -> None:
    w = World()
    (started,) = w.limit(throttle())
    assert started.model == OPUS
    assert len(w.gates(OPUS)) == 1
    assert w.gates("claude-opus-4-6", "opus") == []


@pytest.mark.parametrize(
    ("verdict", "family", "key"),
    [
        (Verdict(Outcome.PLAN_LIMIT), "opus", Key(CLAUDE, Scope.BACKEND)),
        (Verdict(Outcome.BILLING), "opus", Key(CLAUDE, Scope.BACKEND)),
        (Verdict(Outcome.FAMILY_LIMIT), "opus", Key(CLAUDE, Scope.FAMILY, "opus")),
        (Verdict(Outcome.FAMILY_LIMIT), None, Key(CLAUDE, Scope.MODEL, OPUS)),
        (Verdict(Outcome.THROTTLED), "opus", Key(CLAUDE, Scope.MODEL, OPUS)),
    ],
)
def test_without_a_scope_the_kind_of_limit_says_how_far_it_reaches(
    verdict: Verdict, family: str | None, key: Key
) -> None:
    w = World()
    w.limit(verdict, family=family)
    assert [gate.key for gate in w.cooldowns.standing()] == [key]


# --- probes --------------------------------------------------------------------------------------


def test_nobody_may_try_before_the_end_and_one_may_after_it() -> None:
    w = World(max_retry_after=100_000.0)
    w.limit(w.plan(7200.0))
    w.clock.advance(7200.9)
    assert not w.ready
    w.clock.advance(0.2)
    assert w.ready
    w.take()
    assert not w.ready
    assert w.gate().wait(w.clock.now()) == HELD_POLL


def test_success_ends_it_for_all() -> None:
    w = World()
    w.limit(w.plan(60.0))
    w.clock.advance(61.0)
    held = w.take()
    (ended,) = w.cooldowns.served(held)
    assert (ended.kind, ended.backend) == (TransitionKind.COOLDOWN_ENDED, CLAUDE)
    assert w.gates() == []
    assert w.cooldowns.served(held) == []


def test_a_probes_limit_renews_it() -> None:
    w = World()
    w.limit(w.plan(60.0))
    w.clock.advance(61.0)
    held = w.take()
    (started,) = w.limit(w.plan(500.0), held=held)
    assert started.kind is TransitionKind.COOLDOWN_STARTED
    assert w.gate().until.remaining(w.clock.now()) == 501.0
    assert not w.gate().held(w.clock.now())
    # What the probe held is over: its success, should it come still, says nothing about the new one.
    assert w.cooldowns.served(held) == []


def test_a_renewal_may_end_sooner_than_what_was_told_before() -> None:
    w = World(max_retry_after=100.0)
    w.limit(w.plan(7200.0))
    w.clock.advance(100.0)
    held = w.take()
    w.limit(w.plan(50.0), held=held)
    assert w.gate().until.remaining(w.clock.now()) == 51.0


def test_a_long_cooldown_lets_one_request_through_every_max_retry_after() -> None:
    w = World(max_retry_after=3600.0)
    w.limit(w.plan(18_000.0))
    went = 0
    for _ in range(17_999):
        w.clock.advance(1.0)
        for owner in range(3):
            if w.ready:
                held = w.take(owner)
                w.cooldowns.released(held, owner, w.clock.now(), pause=False)
                went += 1
    assert went == 4


def test_a_probe_without_a_result_frees_its_place_after_the_lease() -> None:
    w = World()
    w.limit(throttle(1.0))
    w.clock.advance(1.0)
    w.take(1)
    w.clock.advance(LEASE - 0.1)
    assert not w.ready
    w.clock.advance(0.1)
    assert w.ready


def test_a_probe_that_failed_otherwise_keeps_the_next_away_for_a_moment() -> None:
    w = World()
    w.limit(throttle(1.0))
    w.clock.advance(1.0)
    w.cooldowns.released(w.take(1), 1, w.clock.now(), pause=True)
    assert w.gate().wait(w.clock.now()) == PROBE_PAUSE
    w.clock.advance(PROBE_PAUSE)
    assert w.ready


def test_a_pause_never_shortens_a_wait() -> None:
    w = World(max_retry_after=100.0)
    w.limit(w.plan(7200.0))
    w.clock.advance(100.0)
    w.cooldowns.released(w.take(1), 1, w.clock.now(), pause=True)
    assert w.gate().wait(w.clock.now()) == 100.0


def test_only_the_holder_gives_the_place_free() -> None:
    w = World()
    w.limit(throttle(1.0))
    w.clock.advance(1.0)
    held = w.take(1)
    w.cooldowns.released(held, 2, w.clock.now(), pause=False)
    assert not w.ready
    w.cooldowns.released(held, 1, w.clock.now(), pause=False)
    assert w.ready


def test_one_request_a_minute_may_be_early() -> None:
    w = World()
    w.limit(w.plan())
    now = w.clock.advance(10.0)
    assert w.gate().may_be_early(now)
    held = w.take(1)
    assert not w.gate().may_be_early(now)
    w.cooldowns.released(held, 1, now, pause=False)
    assert not w.gate().may_be_early(now)
    assert w.gate().may_be_early(w.clock.advance(EARLY_EVERY))


def test_an_early_request_that_is_refused_is_remembered() -> None:
    w = World()
    w.limit(w.plan())
    held = w.take(1)
    w.limit(w.plan(), held=held)
    assert not w.gate().may_be_early(w.clock.advance(59.0))
    assert w.gate().may_be_early(w.clock.advance(1.0))


# --- told twice ----------------------------------------------------------------------------------


def test_the_same_limit_told_by_requests_under_way_only_extends() -> None:
    w = World()
    w.limit(throttle(30.0))
    generation = w.gate().generation
    w.clock.advance(10.0)
    assert w.limit(throttle(15.0)) == []
    assert w.gate().until.remaining(w.clock.now()) == 20.0
    assert w.limit(throttle(40.0)) == []
    assert w.gate().until.remaining(w.clock.now()) == 40.0
    assert w.gate().generation == generation


def test_throttles_without_an_end_grow_by_failed_probes_only() -> None:
    w = World()
    w.limit(throttle(None), backend=BEDROCK)
    w.limit(throttle(None), backend=BEDROCK)
    (gate,) = w.gates(backend=BEDROCK)
    assert gate.until.remaining(w.clock.now()) == 5.0
    now = w.clock.advance(5.0)
    held = w.cooldowns.hold([gate])
    w.cooldowns.take([gate], 1, now)
    w.limit(throttle(None), held=held, backend=BEDROCK)
    (gate,) = w.gates(backend=BEDROCK)
    assert gate.until.remaining(now) == 10.0


def test_a_success_ends_the_growth() -> None:
    """A shared quota is full again and again: growing over successes would starve us of what it does give."""
    w = World()
    w.limit(throttle(None), backend=BEDROCK)
    gates = w.gates(backend=BEDROCK)
    w.clock.advance(5.0)
    held = w.cooldowns.hold(gates)
    w.cooldowns.take(gates, 1, w.clock.now())
    w.limit(throttle(None), held=held, backend=BEDROCK)
    w.clock.advance(10.0)
    w.cooldowns.served(w.cooldowns.hold(w.gates(backend=BEDROCK)))
    w.limit(throttle(None), backend=BEDROCK)
    assert w.gates(backend=BEDROCK)[0].until.remaining(w.clock.now()) == 5.0


def test_a_familys_limit_proves_that_the_plans_own_windows_allow_again() -> None:
    w = World()
    w.limit(w.plan(60.0))
    w.clock.advance(61.0)
    ended, started = w.limit(w.family(), held=w.take())
    assert (ended.kind, started.kind) == (TransitionKind.COOLDOWN_ENDED, TransitionKind.COOLDOWN_STARTED)
    assert [gate.key.scope for gate in w.gates()] == [Scope.FAMILY]


def test_a_familys_limit_proves_nothing_about_money() -> None:
    w = World()
    w.limit(Verdict(Outcome.BILLING, scope=Scope.BACKEND))
    w.clock.advance(900.0)
    w.limit(w.family(), held=w.take())
    assert {gate.key.scope for gate in w.gates()} == {Scope.BACKEND, Scope.FAMILY}


# --- detection_threshold -------------------------------------------------------------------------


def test_the_third_limit_starts_it_if_three_are_needed() -> None:
    w = World(detection_threshold=3)
    assert w.limit(throttle()) == w.limit(throttle()) == []
    assert w.limit(throttle(), model=SONNET) == []
    assert len(w.limit(throttle())) == 1


def test_a_success_in_between_starts_the_count_anew() -> None:
    w = World(detection_threshold=2)
    w.cooldowns.worked(CLAUDE, OPUS)
    w.limit(throttle())
    w.cooldowns.worked(CLAUDE, OPUS)
    assert w.limit(throttle()) == []


def test_limits_far_apart_do_not_add_up() -> None:
    w = World(detection_threshold=2, cooldown_time=300.0)
    w.limit(throttle())
    w.clock.advance(300.1)
    assert w.limit(throttle()) == []
    assert len(w.limit(throttle())) == 1


# --- across a restart ----------------------------------------------------------------------------


def after_restart(w: World, passed: float) -> World:
    """A new process: its monotonic clock starts elsewhere."""
    data = json.loads(json.dumps(w.cooldowns.snapshot()))
    fresh = World(max_retry_after=w.rules.max_retry_after)
    fresh.clock = FakeClock(w.clock.wall + passed, 7.0)
    fresh.cooldowns.restore(data, frozenset({CLAUDE, BEDROCK}), fresh.clock.now())
    return fresh


def test_a_cooldown_survives_a_restart() -> None:
    w = World(max_retry_after=3600.0)
    w.limit(w.plan(7199.0))
    later = after_restart(w, 1000.0)
    gate = later.gate()
    assert (gate.key, gate.outcome, gate.why) == (
        Key(CLAUDE, Scope.BACKEND),
        Outcome.PLAN_LIMIT,
        "session limit used up",
    )
    assert gate.until.remaining(later.clock.now()) == 6200.0
    assert gate.wait(later.clock.now()) == 2600.0


def test_one_that_ended_in_between_still_wants_its_one_probe() -> None:
    w = World()
    w.limit(w.plan(600.0))
    later = after_restart(w, 3600.0)
    assert later.ready
    later.take()
    assert not later.ready


def test_a_clock_set_back_over_the_restart_does_not_prolong_it() -> None:
    w = World(max_retry_after=100_000.0)
    w.limit(w.plan(599.0))
    later = after_restart(w, -86_400.0)
    assert later.gate().until.remaining(later.clock.now()) == 600.0


def test_new_numbers_hold_for_what_is_restored() -> None:
    w = World(max_retry_after=3600.0)
    w.limit(w.plan(7200.0))
    fresh = World(max_retry_after=60.0)
    fresh.cooldowns.restore(w.cooldowns.snapshot(), frozenset({CLAUDE}), fresh.clock.now())
    assert fresh.gate().wait(fresh.clock.now()) == 60.0


@pytest.mark.parametrize(
    "entries",
    [
        None,
        "cooldowns",
        [None, 3, "x", {}],
        [{"backend": "claude", "scope": "galaxy"}],
        [{"until": "soon", "set": 0, "probe": 0}],
        [
            {
                "backend": "claude",
                "scope": "backend",
                "name": "",
                "outcome": "plan_limit",
                "why": "",
                "until": float("nan"),
                "set": 0.0,
                "probe": 0.0,
                "streak": 0,
            }
        ],
    ],
)
def test_a_snapshot_that_makes_no_sense_is_left_out(entries: object) -> None:
    w = World()
    w.cooldowns.restore(entries, frozenset({CLAUDE}), w.clock.now())
    assert w.cooldowns.standing() == []


def test_a_backend_that_is_gone_is_left_out() -> None:
    w = World()
    w.limit(w.plan())
    fresh = World()
    fresh.cooldowns.restore(w.cooldowns.snapshot(), frozenset({BEDROCK}), fresh.clock.now())
    assert fresh.cooldowns.standing() == []


def test_a_backend_can_be_forgotten() -> None:
    w = World()
    w.limit(w.plan())
    w.limit(throttle(), backend=BEDROCK)
    w.cooldowns.forget(CLAUDE)
    assert [gate.key.backend for gate in w.cooldowns.standing()] == [BEDROCK]


def test_new_rules_hold_from_now_on() -> None:
    w = World()
    w.cooldowns.configure(RateLimitFallback(cooldown_time=42.0), LEASE)
    w.limit(throttle(None))
    assert w.gate().until.remaining(w.clock.now()) == 42.0
