from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.decision import Permit
from claude_failover.core.desk import Desk, Flight
from claude_failover.core.gates import Spot
from claude_failover.core.settings import RateLimitFallback, Settings
from claude_failover.core.types import BackendName, Epoch, Outcome, Reason, TransitionKind, Verdict

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
M = "claude-opus-5-5"
SPOT = Spot(CLAUDE, M, "opus")


ORDER = {"backend": "bedrock", "model": None, "until": None, "set": None}


class World:
    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = FakeClock()
        self.desk = Desk(settings or Settings(), random.Random(1), None)

    def flight(self, number: int) -> Flight:
        entry, _ = self.desk.gates.enter(SPOT, number, self.clock.now())
        permit = Permit(number, CLAUDE, M, "opus", "x", None, False, (), None, self.clock.now())
        flight = Flight(permit, SPOT, entry)
        self.desk.take_off(flight)
        return flight


def test_what_takes_off_lands_once() -> None:
    w = World()
    first, second = w.flight(1), w.flight(2)
    assert w.desk.in_flight[CLAUDE, M] == 2
    assert w.desk.land(first.permit) is first
    assert w.desk.land(first.permit) is None
    assert w.desk.in_flight[CLAUDE, M] == 1
    w.desk.land(second.permit)
    assert dict(w.desk.in_flight) == {}


def test_each_backend_has_one_bucket_and_each_exchange_one_plan() -> None:
    w = World()
    assert w.desk.budget(CLAUDE) is w.desk.budget(CLAUDE)
    assert w.desk.budget(CLAUDE) is not w.desk.budget(BEDROCK)
    assert w.desk.plan("a") is w.desk.plan("a")
    assert w.desk.plan("a") is not w.desk.plan("b")


def test_a_stay_is_never_longer_than_a_real_request_may_be_kept_away() -> None:
    w = World(Settings(rate_limit_fallback=RateLimitFallback(max_retry_after=20.0)))
    assert w.desk.longest == 20.0
    w.desk.dwells.leave(CLAUDE, M, Reason.COOLDOWN, w.clock.now())
    assert w.desk.dwelling(CLAUDE, M, w.clock.now())
    assert not w.desk.dwelling(CLAUDE, M, w.clock.advance(20.0))


def test_traffic_returns_when_nothing_stands_in_the_way() -> None:
    w = World()
    assert w.desk.returned(SPOT, w.clock.now()) == []
    w.desk.dwells.leave(CLAUDE, M, Reason.COOLDOWN, w.clock.now())
    assert w.desk.returned(SPOT, w.clock.now()) == []
    w.clock.advance(60.0)
    w.desk.gates.block(CLAUDE, Verdict(Outcome.TLS_FAILED), w.clock.now())
    assert w.desk.returned(SPOT, w.clock.now()) == []
    w.desk.gates.acknowledge(CLAUDE)
    (told,) = w.desk.returned(SPOT, w.clock.now())
    assert (told.kind, told.backend, told.model) == (TransitionKind.RETURNED, CLAUDE, M)
    ramp = w.desk.ramps.peek((CLAUDE, M))
    assert ramp is not None
    assert ramp.room(w.clock.now().monotonic) == 1


def test_a_backend_is_full_when_as_many_are_in_flight_as_it_was_seen_to_take() -> None:
    w = World()
    now = w.clock.now().monotonic
    assert not w.desk.is_full(CLAUDE, M, now)
    flights = [w.flight(number) for number in range(4)]
    assert not w.desk.is_full(CLAUDE, M, now)
    w.desk.throttled(CLAUDE, M, now)
    assert w.desk.is_full(CLAUDE, M, now)
    assert not w.desk.is_full(BEDROCK, M, now)
    w.desk.land(flights[0].permit)
    assert not w.desk.is_full(CLAUDE, M, now)


def test_extra_usage_is_noted_until_it_is_not() -> None:
    w = World()
    w.desk.note_extra_usage(CLAUDE, Epoch(w.clock.wall + 60.0), w.clock.now())
    assert set(w.desk.extra_usage) == {CLAUDE}
    w.desk.note_extra_usage(CLAUDE, None, w.clock.now())
    w.desk.note_extra_usage(CLAUDE, None, w.clock.now())
    assert w.desk.extra_usage == {}


def test_a_new_configuration_forgets_what_is_gone() -> None:
    w = World()
    now = w.clock.now()
    w.desk.note_extra_usage(CLAUDE, Epoch(now.wall + 60.0), now)
    w.desk.note_extra_usage(BEDROCK, Epoch(now.wall + 60.0), now)
    w.desk.dwells.leave(CLAUDE, M, Reason.COOLDOWN, now)
    w.desk.overrides.force(CLAUDE, None, None, now)
    only = replace(Settings(), backends=Settings().backends[1:])
    assert [t.kind for t in w.desk.configure(only)] == [TransitionKind.OVERRIDE_ENDED]
    assert set(w.desk.extra_usage) == {BEDROCK}
    assert w.desk.dwells.snapshot() == []
    assert w.desk.names == {BEDROCK}


def test_a_snapshot_is_json_and_comes_back() -> None:
    w = World()
    now = w.clock.now()
    w.desk.overrides.force(BEDROCK, M, None, now)
    w.desk.dwells.leave(CLAUDE, M, Reason.COOLDOWN, now)
    w.desk.gates.block(CLAUDE, Verdict(Outcome.PIN_FAILED, "other key"), now)
    data = json.loads(json.dumps(w.desk.snapshot()))
    again = World()
    assert data["schema"] == 1
    again.desk.restore(data, again.clock.now())
    assert again.desk.snapshot() == w.desk.snapshot()


@pytest.mark.parametrize(
    "data", [{}, {"schema": 2, "overrides": [ORDER]}, {"schema": 1}, {"schema": 1, "cooldowns": 7}]
)
def test_a_snapshot_that_makes_no_sense_is_left_alone(data: dict[str, object]) -> None:
    w = World()
    before = w.desk.snapshot()
    w.desk.restore(data, w.clock.now())
    assert w.desk.snapshot() == before
