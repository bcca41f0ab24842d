from __future__ import annotations

import json
from typing import Any

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.dwell import Dwells
from claude_failover.core.types import BackendName, Reason, Seconds

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
M = "claude-opus-5-5"
BOTH = frozenset({CLAUDE, BEDROCK})
HOUR = Seconds(3600.0)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.dwells = Dwells()

    def leave(self) -> bool:
        return self.dwells.leave(CLAUDE, M, Reason.BREAKER, self.clock.now())

    def back(self) -> bool:
        return self.dwells.back(CLAUDE, M, self.clock.now())

    def remaining(self, most: Seconds = HOUR) -> float:
        return self.dwells.remaining(CLAUDE, M, self.clock.now(), most)


def test_a_backend_that_was_left_is_left_alone_for_a_minute() -> None:
    w = World()
    assert w.remaining() == 0.0
    assert w.leave()
    assert w.remaining() == 60.0
    w.clock.advance(45.0)
    assert w.remaining() == 15.0
    w.clock.advance(15.0)
    assert w.remaining() == 0.0


def test_leaving_twice_is_leaving_once() -> None:
    w = World()
    w.leave()
    w.clock.advance(30.0)
    assert not w.leave()
    assert w.remaining() == 30.0


def test_one_that_was_never_left_cannot_be_returned_to() -> None:
    w = World()
    assert not w.back()
    w.leave()
    assert w.back()
    assert not w.back()
    assert w.remaining() == 0.0


def test_whether_one_was_left_is_known_until_its_return() -> None:
    w = World()
    assert not w.dwells.is_away(CLAUDE, M)
    w.leave()
    w.clock.advance(3600.0)
    assert w.dwells.is_away(CLAUDE, M)
    assert not w.dwells.is_away(BEDROCK, M)
    w.back()
    assert not w.dwells.is_away(CLAUDE, M)


def test_flapping_doubles_the_stay_up_to_a_quarter_of_an_hour() -> None:
    w = World()
    stays = []
    for _ in range(6):
        w.leave()
        stays.append(w.remaining())
        w.clock.advance(stays[-1])
        w.back()
        w.clock.advance(100.0)
    assert stays == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]


def test_a_quarter_of_an_hour_without_trouble_is_no_flapping() -> None:
    w = World()
    w.leave()
    w.back()
    w.clock.advance(900.0)
    w.leave()
    assert w.remaining() == 60.0


def test_no_stay_keeps_a_real_request_away_for_longer_than_is_allowed() -> None:
    w = World()
    w.leave()
    assert w.remaining(Seconds(20.0)) == 20.0
    w.clock.advance(20.0)
    assert w.remaining(Seconds(20.0)) == 0.0


def test_why_it_was_left_is_remembered() -> None:
    w = World()
    assert w.dwells.reason(CLAUDE, M) is Reason.COOLDOWN
    w.leave()
    assert w.dwells.reason(CLAUDE, M) is Reason.BREAKER


def test_backends_that_are_gone_are_forgotten() -> None:
    w = World()
    w.leave()
    w.dwells.leave(BEDROCK, M, Reason.BREAKER, w.clock.now())
    w.dwells.forget(frozenset({BEDROCK}))
    assert [entry["backend"] for entry in w.dwells.snapshot()] == ["bedrock"]


def restored(w: World, passed: float) -> World:
    fresh = World()
    fresh.clock = FakeClock(w.clock.wall + passed, 3.0)
    fresh.dwells.restore(json.loads(json.dumps(w.dwells.snapshot())), BOTH, fresh.clock.now())
    return fresh


def test_a_stay_survives_a_restart() -> None:
    w = World()
    w.leave()
    later = restored(w, 20.0)
    assert later.remaining() == 40.0
    assert later.dwells.reason(CLAUDE, M) is Reason.BREAKER


def test_flapping_survives_a_restart() -> None:
    w = World()
    w.leave()
    w.back()
    later = restored(w, 20.0)
    later.leave()
    assert later.remaining() == 120.0


def test_a_clock_set_back_over_a_restart_prolongs_nothing() -> None:
    w = World()
    w.leave()
    assert restored(w, -5000.0).remaining() == 60.0


GOOD: dict[str, Any] = {
    "backend": "claude",
    "model": M,
    "away": None,
    "returned": None,
    "length": 60.0,
    "reason": "breaker",
}


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [None, 1, {}],
        [GOOD | {"away": "later"}],
        [GOOD | {"reason": "boredom"}],
        [GOOD | {"length": None}],
        [GOOD | {"backend": "gone"}],
    ],
)
def test_a_snapshot_that_makes_no_sense_is_left_out(entries: object) -> None:
    w = World()
    w.dwells.restore(entries, BOTH, w.clock.now())
    assert w.dwells.snapshot() == []
