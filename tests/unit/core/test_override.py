from __future__ import annotations

import json
from typing import Any

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.override import Override, Overrides
from claude_failover.core.types import BackendName, Epoch, TransitionKind

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
OPUS, HAIKU = "claude-opus-5-5", "claude-haiku-5-5"
BOTH = frozenset({CLAUDE, BEDROCK})


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.orders = Overrides()

    def force(self, backend: BackendName, model: str | None = None, seconds: float | None = None) -> list[Any]:
        until = None if seconds is None else Epoch(self.clock.wall + seconds)
        return self.orders.force(backend, model, until, self.clock.now())

    def find(self, model: str = OPUS) -> BackendName | None:
        order = self.orders.find(model, self.clock.now())
        return order.backend if order else None


def test_an_order_holds_for_every_model() -> None:
    w = World()
    assert w.find() is None
    assert w.force(BEDROCK) == []
    assert w.find(OPUS) == w.find(HAIKU) == BEDROCK


def test_an_order_for_a_model_goes_before_the_general_one() -> None:
    w = World()
    w.force(BEDROCK)
    w.force(CLAUDE, HAIKU)
    assert (w.find(OPUS), w.find(HAIKU)) == (BEDROCK, CLAUDE)


def test_an_order_ends_when_its_time_is_over() -> None:
    w = World()
    w.force(BEDROCK, seconds=1800.0)
    w.clock.advance(1799.0)
    assert w.find() == BEDROCK
    assert w.orders.expire(w.clock.now()) == []
    w.clock.advance(1.0)
    assert w.find() is None
    assert w.orders.standing(w.clock.now()) == []
    (ended,) = w.orders.expire(w.clock.now())
    assert (ended.kind, ended.backend) == (TransitionKind.OVERRIDE_ENDED, BEDROCK)
    assert w.orders.expire(w.clock.now()) == []


def test_an_order_without_an_end_stands_until_told_otherwise() -> None:
    w = World()
    w.force(BEDROCK)
    w.clock.advance(1e7)
    assert w.find() == BEDROCK
    assert w.orders.expire(w.clock.now()) == []
    assert w.orders.standing(w.clock.now()) == [Override(BEDROCK, None, None)]


def test_a_new_order_ends_the_old_one_for_the_same_model() -> None:
    w = World()
    w.force(BEDROCK)
    (ended,) = w.force(CLAUDE)
    assert ended.backend == BEDROCK
    assert w.find() == CLAUDE


def test_auto_ends_every_order_and_auto_for_a_model_its_own() -> None:
    w = World()
    w.force(BEDROCK)
    w.force(CLAUDE, HAIKU)
    assert [t.model for t in w.orders.end(HAIKU)] == [HAIKU]
    assert w.orders.end(HAIKU) == []
    w.force(CLAUDE, HAIKU)
    assert len(w.orders.end(None)) == 2
    assert w.find() is None


def test_orders_for_backends_that_are_gone_end() -> None:
    w = World()
    w.force(BEDROCK)
    w.force(CLAUDE, HAIKU)
    assert [t.backend for t in w.orders.keep(frozenset({CLAUDE}))] == [BEDROCK]
    assert w.find(HAIKU) == CLAUDE


def restored(w: World, passed: float) -> World:
    fresh = World()
    fresh.clock = FakeClock(w.clock.wall + passed, 5.0)
    fresh.orders.restore(json.loads(json.dumps(w.orders.snapshot())), BOTH, fresh.clock.now())
    return fresh


def test_orders_survive_a_restart() -> None:
    w = World()
    w.force(BEDROCK, seconds=1800.0)
    w.force(CLAUDE, HAIKU)
    later = restored(w, 1000.0)
    assert (later.find(OPUS), later.find(HAIKU)) == (BEDROCK, CLAUDE)
    later.clock.advance(800.0)
    assert (later.find(OPUS), later.find(HAIKU)) == (None, CLAUDE)


def test_an_order_that_ended_while_we_were_down_is_gone() -> None:
    w = World()
    w.force(BEDROCK, seconds=1800.0)
    assert restored(w, 1800.0).find() is None


def test_a_clock_set_back_over_a_restart_does_not_prolong_an_order() -> None:
    w = World()
    w.force(BEDROCK, seconds=1800.0)
    later = restored(w, -86_400.0)
    later.clock.advance(1800.0)
    assert later.find() is None


@pytest.mark.parametrize(
    "entries",
    [
        {},
        [7, None, {}],
        [{"backend": "claude", "model": None, "until": "noon", "set": 0.0}],
        [{"backend": "claude", "model": None, "until": 5.0, "set": None}],
        [{"backend": "gone", "model": None, "until": None, "set": None}],
    ],
)
def test_a_snapshot_that_makes_no_sense_is_left_out(entries: object) -> None:
    w = World()
    w.orders.restore(entries, BOTH, w.clock.now())
    assert w.orders.snapshot() == []
