from __future__ import annotations

import random
from typing import Any

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core import feedback
from claude_failover.core.decision import Permit
from claude_failover.core.desk import Desk, Flight
from claude_failover.core.gates import Gate, Spot
from claude_failover.core.settings import RateLimitFallback, Settings
from claude_failover.core.types import (
    BackendName,
    Outcome,
    Scope,
    Seconds,
    Transition,
    TransitionKind,
    Verdict,
)

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
M = "claude-opus-5-5"
ME = ("session", "")


class World:
    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = FakeClock()
        self.desk = Desk(settings or Settings(), random.Random(1), None)
        self.permits = 0

    def send(self, backend: BackendName = CLAUDE, *, anyway: bool = False) -> Flight:
        self.permits += 1
        spot = Spot(backend, M, "opus")
        entry, _ = self.desk.gates.enter(spot, self.permits, self.clock.now(), anyway=anyway)
        permit = Permit(self.permits, backend, M, "opus", "x", ME, entry.probe, entry.held, None, self.clock.now())
        return Flight(permit, spot, entry)

    def commit(self, flight: Flight) -> list[Transition]:
        return feedback.committed(self.desk, flight, self.clock.now())

    def end(self, flight: Flight, outcome: Outcome, **verdict: Any) -> list[Transition]:
        return feedback.observe(self.desk, flight, Verdict(outcome, "because", **verdict), self.clock.now())

    def gate(self, backend: BackendName = CLAUDE, model: str = M) -> Gate:
        return self.desk.gates.look(Spot(backend, model, "opus"), self.clock.now()).gate

    def throttle(self, seconds: float = 30.0) -> list[Transition]:
        return self.end(self.send(), Outcome.THROTTLED, scope=Scope.MODEL, retry_after=Seconds(seconds))


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.CLIENT_ERROR,
        Outcome.ENTITLEMENT,
        Outcome.TOO_LONG,
        Outcome.CLIENT_GONE,
        Outcome.LOCAL,
        Outcome.REPAIRABLE,
        Outcome.CREDENTIALS,
    ],
)
def test_these_move_nothing(outcome: Outcome) -> None:
    w = World()
    for _ in range(20):
        assert w.end(w.send(), outcome) == []
    assert w.gate() is Gate.AVAILABLE


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.is_limit])
def test_a_limit_moves_the_cooldown_and_nothing_else(outcome: Outcome) -> None:
    w = World()
    for _ in range(20):
        told = w.end(w.send(anyway=True), outcome)
        assert all(t.kind is TransitionKind.COOLDOWN_STARTED for t in told)
    assert w.gate() is Gate.COOLING


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.blames_backend and o is not Outcome.UNREACHABLE])
def test_a_failure_moves_the_breaker_and_nothing_else(outcome: Outcome) -> None:
    w = World()
    flights = [w.send() for _ in range(5)]
    told = [t for flight in flights for t in w.end(flight, outcome)]
    assert [t.kind for t in told] == [TransitionKind.BREAKER_CHANGED]
    assert w.desk.gates.cooldowns.standing() == []


def test_with_the_fallback_off_limits_set_nothing() -> None:
    w = World(Settings(rate_limit_fallback=RateLimitFallback(enabled=False)))
    assert w.throttle() == []
    assert w.gate() is Gate.AVAILABLE


def test_success_earns_a_retry_token_and_makes_the_conversation_at_home() -> None:
    w = World()
    w.desk.budget(CLAUDE).take()
    assert w.end(w.send(), Outcome.SUCCESS) == []
    assert w.desk.budget(CLAUDE).tokens == 96
    assert w.desk.conversations.home(ME, w.clock.now().monotonic) == CLAUDE


def test_silence_empties_the_bucket_faster() -> None:
    w = World()
    w.end(w.send(), Outcome.SILENT)
    assert w.desk.budget(CLAUDE).tokens == 90


def test_content_ends_a_cooldown_begins_a_ramp_and_forgets_the_plan() -> None:
    w = World()
    w.throttle(1.0)
    w.clock.advance(1.0)
    w.desk.plan("x").waiting = w.clock.now().monotonic
    told = w.commit(w.send())
    assert [t.kind for t in told] == [TransitionKind.COOLDOWN_ENDED]
    assert w.desk.ramps.peek((CLAUDE, M)) is not None
    assert w.desk.plan("x").waiting is None


def test_a_success_without_trouble_begins_no_ramp() -> None:
    w = World()
    w.end(w.send(), Outcome.SUCCESS)
    assert w.desk.ramps.peek((CLAUDE, M)) is None


def test_a_cut_after_the_commit_is_remembered_for_the_conversation() -> None:
    w = World()
    flight = w.send()
    w.commit(flight)
    w.end(flight, Outcome.STALLED)
    assert w.desk.conversations.avoids(ME, w.clock.now().monotonic) == CLAUDE


def test_a_cut_before_the_commit_is_not() -> None:
    w = World()
    w.end(w.send(), Outcome.CUT)
    assert w.desk.conversations.avoids(ME, w.clock.now().monotonic) is None


def test_a_probe_that_fails_by_itself_keeps_the_next_away_for_a_moment() -> None:
    w = World()
    w.throttle(1.0)
    w.clock.advance(1.0)
    w.end(w.send(), Outcome.SERVER_ERROR)
    assert w.gate() is Gate.COOLING
    w.clock.advance(5.0)
    assert w.gate() is Gate.READY


@pytest.mark.parametrize("outcome", [Outcome.CLIENT_GONE, Outcome.LOCAL, Outcome.CLIENT_ERROR, Outcome.REPAIRABLE])
def test_a_probe_that_says_nothing_gives_its_place_to_the_next_at_once(outcome: Outcome) -> None:
    w = World()
    w.throttle(1.0)
    w.clock.advance(1.0)
    w.end(w.send(), outcome)
    assert w.gate() is Gate.READY


@pytest.mark.parametrize(("per_day", "full"), [(False, True), (True, False)])
def test_a_throttle_teaches_how_many_fit_at_once(per_day: bool, full: bool) -> None:
    w = World()
    for _ in range(5):
        w.desk.take_off(w.send())
    w.end(w.send(), Outcome.THROTTLED, scope=Scope.MODEL, per_day=per_day)
    assert w.desk.is_full(CLAUDE, M, w.clock.now().monotonic) is full


# --- the network -----------------------------------------------------------------------------------


def test_unreachable_is_nobodys_fault_until_another_answers() -> None:
    w = World()
    for _ in range(5):
        assert w.end(w.send(), Outcome.UNREACHABLE) == []
    assert w.gate() is Gate.AVAILABLE
    told = w.commit(w.send(BEDROCK))
    assert [(t.kind, t.backend) for t in told] == [(TransitionKind.BREAKER_CHANGED, CLAUDE)]
    assert w.gate() is Gate.OPEN


def test_a_refusal_is_an_answer_too() -> None:
    w = World()
    for _ in range(5):
        w.end(w.send(), Outcome.UNREACHABLE)
    assert len(w.end(w.send(BEDROCK), Outcome.CLIENT_ERROR)) == 1


def test_a_stale_pooled_connection_says_nothing() -> None:
    w = World()
    for _ in range(5):
        w.end(w.send(), Outcome.UNREACHABLE, error_type="stale_connection")
    assert w.commit(w.send(BEDROCK)) == []


def test_a_half_open_probe_that_reaches_nobody_waits_for_the_proof() -> None:
    w = World()
    for flight in [w.send() for _ in range(5)]:
        w.end(flight, Outcome.SERVER_ERROR)
    w.clock.advance(20.0)
    w.end(w.send(), Outcome.UNREACHABLE)
    assert w.gate() is Gate.PROBING
    w.commit(w.send(BEDROCK))
    assert w.gate() is Gate.OPEN


def test_a_half_open_probe_that_reaches_nobody_waits_for_the_proof_for_a_moment_only() -> None:
    w = World()
    for flight in [w.send() for _ in range(5)]:
        w.end(flight, Outcome.SERVER_ERROR)
    w.clock.advance(20.0)
    w.end(w.send(), Outcome.UNREACHABLE)
    w.clock.advance(9.9)
    assert w.gate() is Gate.PROBING
    w.clock.advance(0.1)
    assert w.gate() is Gate.READY


def test_content_alone_does_not_end_a_run_of_failures() -> None:
    """Streams that begin and are cut, one after the other: the fifth opens the breaker."""
    w = World()
    told = []
    for _ in range(5):
        flight = w.send()
        w.commit(flight)
        told += w.end(flight, Outcome.CUT)
    assert [t.fields["to"] for t in told] == ["open"]


def test_the_first_answer_ends_being_offline() -> None:
    w = World()
    w.end(w.send(), Outcome.UNREACHABLE)
    w.desk.network.go_offline()
    (told,) = w.commit(w.send(BEDROCK))
    assert (told.kind, told.backend) == (TransitionKind.ONLINE, BEDROCK)
    assert not w.desk.network.offline


@pytest.mark.parametrize(
    "outcome", [Outcome.SILENT, Outcome.TLS_FAILED, Outcome.CLIENT_GONE, Outcome.LOCAL, Outcome.CREDENTIALS]
)
def test_what_is_no_answer_proves_nothing_about_the_network(outcome: Outcome) -> None:
    w = World()
    w.desk.network.go_offline()
    w.end(w.send(), outcome)
    assert w.desk.network.offline


# --- passing 429s ----------------------------------------------------------------------------------


def test_five_passing_429s_in_a_minute_open_the_breaker() -> None:
    w = World()
    told = [w.end(w.send(), Outcome.TRANSIENT_LIMIT) for _ in range(5)]
    assert [len(t) for t in told] == [0, 0, 0, 0, 1]
    assert told[4][0].fields["fault"] == "overload"


def test_the_sixth_does_not_count_the_first_five_again() -> None:
    w = World()
    for _ in range(5):
        w.end(w.send(), Outcome.TRANSIENT_LIMIT)
    w.commit(w.send(anyway=True))
    assert w.gate() is Gate.AVAILABLE
    assert w.end(w.send(), Outcome.TRANSIENT_LIMIT) == []


def test_five_in_exactly_a_minute_are_an_overload() -> None:
    w = World()
    told = []
    for _ in range(5):
        told += w.end(w.send(), Outcome.TRANSIENT_LIMIT)
        w.clock.advance(15.0)
    assert len(told) == 1


def test_five_in_more_than_a_minute_are_nothing() -> None:
    w = World()
    for _ in range(8):
        assert w.end(w.send(), Outcome.TRANSIENT_LIMIT) == []
        w.clock.advance(15.1)


def test_a_success_in_between_starts_the_count_anew() -> None:
    w = World()
    for _ in range(4):
        w.end(w.send(), Outcome.TRANSIENT_LIMIT)
    w.end(w.send(), Outcome.SUCCESS)
    assert w.end(w.send(), Outcome.TRANSIENT_LIMIT) == []


# --- what a person must mend -----------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.TLS_FAILED, Outcome.PIN_FAILED])
def test_a_failed_certificate_blocks_the_backend(outcome: Outcome) -> None:
    w = World()
    assert [t.kind for t in w.end(w.send(), outcome)] == [TransitionKind.BLOCKED]
    assert w.gate() is Gate.BLOCKED


@pytest.mark.parametrize(("scope", "other"), [(Scope.MODEL, Gate.AVAILABLE), (Scope.BACKEND, Gate.DENIED)])
def test_a_denial_reaches_as_far_as_it_says(scope: Scope, other: Gate) -> None:
    w = World()
    assert w.end(w.send(), Outcome.DENIED, scope=scope) == []
    assert w.gate() is Gate.DENIED
    assert w.gate(model="another") is other
