from __future__ import annotations

import random

from claude_failover.clock import FakeClock
from claude_failover.core.decision import Go, RequestFacts
from claude_failover.core.desk import Desk
from claude_failover.core.gates import Gate
from claude_failover.core.policy import Policy
from claude_failover.core.settings import Settings
from claude_failover.core.types import BackendName, Epoch, Outcome, Reason, Scope, Seconds, Verdict
from claude_failover.core.views import GateView, OverrideView, current, view

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
OPUS = "claude-opus-5-5"


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.policy = Policy(Settings(), random.Random(1))
        self.desk: Desk = self.policy._desk

    def send(self, model: str = OPUS, forced: BackendName | None = None) -> Go:
        answer = self.policy.choose(RequestFacts("x", model, "opus", forced=forced), [], self.clock.now())
        assert isinstance(answer, Go)
        return answer

    def end(self, outcome: Outcome, scope: Scope = Scope.REQUEST, forced: BackendName | None = None) -> None:
        until = Epoch(self.clock.wall + 7200.0)
        go = self.send(forced=forced)
        self.policy.observe(go.permit, Verdict(outcome, "because", scope, "opus", until), self.clock.now())


def test_at_first_everything_is_available() -> None:
    w = World()
    seen = view(w.desk, w.clock.now())
    assert seen.current == CLAUDE
    assert [(g.backend, g.model, g.state, g.reason) for g in seen.gates] == [
        (CLAUDE, "*", Gate.AVAILABLE, None),
        (BEDROCK, "*", Gate.AVAILABLE, None),
    ]
    assert (seen.offline, seen.degraded, seen.conversations, seen.in_flight) == (False, False, 0, 0)
    assert seen.retry_tokens == {CLAUDE: 100, BEDROCK: 100}


def test_a_cooling_primary_shows_until_when_and_why() -> None:
    w = World()
    w.end(Outcome.PLAN_LIMIT, Scope.BACKEND)
    seen = view(w.desk, w.clock.now())
    assert seen.current == BEDROCK
    assert seen.degraded
    gate = seen.gates[0]
    assert (gate.state, gate.reason, gate.why) == (Gate.COOLING, Reason.COOLDOWN, "because")
    assert gate.until is not None
    assert 7201.0 <= gate.until - w.clock.wall <= 7230.0
    assert gate.next_try == 3600.0


def test_a_familys_limit_is_shown_under_the_familys_name() -> None:
    w = World()
    w.end(Outcome.FAMILY_LIMIT, Scope.FAMILY)
    seen = view(w.desk, w.clock.now())
    assert seen.per_model["opus"] == BEDROCK
    assert seen.per_model[OPUS] == BEDROCK
    assert seen.current == CLAUDE
    assert [g.state for g in seen.gates if g.model == "opus"] == [Gate.COOLING]


def test_what_only_a_person_can_mend_has_no_next_try() -> None:
    w = World()
    w.end(Outcome.PIN_FAILED)
    gate = view(w.desk, w.clock.now()).gates[0]
    assert (gate.state, gate.until, gate.next_try) == (Gate.BLOCKED, None, None)


def test_what_is_under_way_is_counted() -> None:
    w = World()
    w.send()
    seen = view(w.desk, w.clock.now())
    assert seen.in_flight == 1
    (gate,) = [g for g in seen.gates if g.model == OPUS]
    assert gate == GateView(CLAUDE, OPUS, Gate.AVAILABLE, None, Seconds(0.0), None, "", 1, Seconds(0.0))


def test_orders_show_with_their_end() -> None:
    w = World()
    until = Epoch(w.clock.wall + 60.0)
    w.policy.force(BEDROCK, None, until, w.clock.now())
    w.policy.force(CLAUDE, OPUS, None, w.clock.now())
    seen = view(w.desk, w.clock.now())
    assert seen.overrides == (OverrideView(BEDROCK, None, until), OverrideView(CLAUDE, OPUS, None))
    assert seen.current == BEDROCK
    assert seen.per_model == {OPUS: CLAUDE}


def test_a_backend_that_was_left_is_not_current_before_its_time() -> None:
    w = World()
    w.end(Outcome.TLS_FAILED)
    assert w.send().backend == BEDROCK
    w.desk.gates.acknowledge(CLAUDE)
    assert current(w.desk, OPUS, w.clock.now()) == BEDROCK
    assert view(w.desk, w.clock.now()).gates[1].away == 60.0
    w.end(Outcome.TLS_FAILED, forced=BEDROCK)
    assert current(w.desk, OPUS, w.clock.now()) == CLAUDE


def test_with_nothing_available_the_one_that_recovers_is_current() -> None:
    w = World()
    w.end(Outcome.TLS_FAILED)
    w.end(Outcome.THROTTLED, Scope.MODEL, forced=BEDROCK)
    assert current(w.desk, OPUS, w.clock.now()) == CLAUDE
    w.clock.advance(7200.0)
    w.desk.gates.block(CLAUDE, Verdict(Outcome.TLS_FAILED), w.clock.now())
    assert current(w.desk, OPUS, w.clock.now()) == BEDROCK
