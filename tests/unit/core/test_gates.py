from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.cooldown import HELD_POLL
from claude_failover.core.gates import ANY_MODEL, Entry, Gate, Gates, Look, Spot, lease_of
from claude_failover.core.settings import Backend, CircuitBreaker, RateLimitFallback, Settings, Timeouts
from claude_failover.core.told import Where
from claude_failover.core.types import (
    BackendName,
    Epoch,
    Kind,
    Outcome,
    Reason,
    Scope,
    Seconds,
    Transition,
    TransitionKind,
    Verdict,
)

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
OPUS = "claude-opus-5-5"
SPOT = Spot(CLAUDE, OPUS, "opus")
PINNED = Settings(
    backends=(Backend(CLAUDE, Kind.ANTHROPIC, pinned_spki=("sha256/AAA",)), Backend(BEDROCK, Kind.BEDROCK))
)


class Low(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return a


class World:
    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = FakeClock()
        self.gates = Gates(settings or Settings(), Low())
        self.owners = 0

    def look(self, spot: Spot = SPOT) -> Look:
        return self.gates.look(spot, self.clock.now())

    def enter(self, spot: Spot = SPOT, *, anyway: bool = False) -> Entry:
        self.owners += 1
        entry, _ = self.gates.enter(spot, self.owners, self.clock.now(), anyway=anyway)
        return entry

    def limit(self, seconds: float = 30.0, spot: Spot = SPOT, scope: Scope = Scope.MODEL) -> list[Transition]:
        verdict = Verdict(Outcome.THROTTLED, "too many", scope, retry_after=Seconds(seconds))
        where = Where(spot.backend, Kind.ANTHROPIC, spot.model, spot.family)
        return self.gates.cooldowns.limit(where, verdict, (), self.clock.now())

    def trip(self, outcome: Outcome = Outcome.SERVER_ERROR, times: int = 5) -> list[Transition]:
        entries = [self.enter() for _ in range(times)]
        return [t for entry in entries for t in self.gates.failed(SPOT, entry, outcome, self.clock.now())]

    def block(self, outcome: Outcome, backend: BackendName = CLAUDE) -> Transition:
        (told,) = self.gates.block(backend, Verdict(outcome, "wrong"), self.clock.now())
        return told


def test_at_first_everything_is_available() -> None:
    assert World().look() == Look(Gate.AVAILABLE)


def test_a_cooldown_is_seen_with_its_end_and_how_long_to_wait_for_it() -> None:
    w = World()
    w.limit(30.0)
    look = w.look()
    assert (look.gate, look.wait, look.max_wait) == (Gate.COOLING, 30.0, 60.0)
    assert (look.reason, look.why, look.may_be_early) == (Reason.COOLDOWN, "too many", True)
    assert look.until == w.clock.wall + 30.0
    w.clock.advance(30.0)
    assert w.look().gate is Gate.READY
    assert w.look().passes


def test_while_one_request_tries_the_others_see_it() -> None:
    w = World()
    w.limit(1.0)
    w.clock.advance(1.0)
    entry = w.enter()
    assert entry.probe
    look = w.look()
    assert (look.gate, look.wait, look.passes, look.may_be_early) == (Gate.PROBING, HELD_POLL, False, False)


@pytest.mark.parametrize(
    ("outcome", "times", "rest", "max_wait", "why"),
    [(Outcome.SERVER_ERROR, 5, 12.0, 1.0, "failing"), (Outcome.OVERLOADED, 2, 8.0, 3.0, "overloaded")],
)
def test_a_breaker_is_seen_with_its_rest(outcome: Outcome, times: int, rest: float, max_wait: float, why: str) -> None:
    w = World()
    (told,) = w.trip(outcome, times)
    assert told.kind is TransitionKind.BREAKER_CHANGED
    assert (told.detail, told.until) == ("closed -> open", Epoch(w.clock.wall + rest))
    look = w.look()
    assert (look.gate, look.wait, look.max_wait, look.reason, look.why) == (
        Gate.OPEN,
        rest,
        max_wait,
        Reason.BREAKER,
        why,
    )
    w.clock.advance(rest)
    assert w.look().gate is Gate.READY
    assert w.enter().probe
    assert w.look().gate is Gate.PROBING


def test_the_worst_of_several_gates_is_the_one_that_is_seen() -> None:
    w = World()
    w.trip()
    w.limit(1.0)
    look = w.look()
    assert (look.gate, look.wait) == (Gate.OPEN, 12.0)
    assert look.until == w.clock.wall + 12.0
    w.clock.advance(2.0)
    assert (w.look().gate, w.look().wait) == (Gate.OPEN, 10.0), "one that is ready does not hide one that rests"


def test_a_probe_that_says_nothing_gives_its_place_to_the_next() -> None:
    w = World()
    w.trip()
    w.clock.advance(12.0)
    probe, forced = w.enter(), w.enter(anyway=True)
    w.gates.released(SPOT, forced, w.clock.now(), pause=False)
    assert w.look().gate is Gate.PROBING
    w.gates.released(SPOT, probe, w.clock.now(), pause=False)
    assert w.look().gate is Gate.READY


def test_every_gate_must_allow_an_early_try() -> None:
    w = World()
    w.trip()
    w.limit(5.0)
    w.enter(anyway=True)
    assert w.look().gate is Gate.OPEN
    assert not w.look().may_be_early


def test_entering_anyway_takes_a_free_place_of_a_cooldown_and_none_of_a_breaker() -> None:
    w = World()
    w.limit(30.0)
    first, second = w.enter(anyway=True), w.enter(anyway=True)
    assert (first.probe, second.probe) == (False, False)
    assert w.look().gate is Gate.PROBING
    w.gates.released(SPOT, second, w.clock.now(), pause=False)
    assert w.look().gate is Gate.PROBING
    w.gates.released(SPOT, first, w.clock.now(), pause=False)
    assert w.look().gate is Gate.COOLING
    assert first.held == second.held != ()


def test_content_ends_what_it_was_sent_in_spite_of() -> None:
    w = World()
    w.limit(1.0)
    w.trip()
    w.clock.advance(15.0)
    entry = w.enter()
    after, told = w.gates.served(SPOT, entry, w.clock.now(), complete=False)
    assert [t.kind for t in told] == [TransitionKind.COOLDOWN_ENDED, TransitionKind.BREAKER_CHANGED]
    assert w.look() == Look(Gate.AVAILABLE)
    assert after.held == ()
    # What comes later from the same attempt speaks of the closed breaker: four more open it.
    w.gates.failed(SPOT, after, Outcome.CUT, w.clock.now())
    assert [t.fields["to"] for t in w.trip(times=4)] == ["open"]


def test_silence_counts_double() -> None:
    w = World()
    assert [t.fields["fault"] for t in w.trip(Outcome.SILENT, 3)] == ["failure"]


def test_a_breaker_waits_while_it_is_weighed_who_is_to_blame() -> None:
    w = World()
    w.trip()
    w.clock.advance(12.0)
    entry = w.enter()
    w.gates.weigh(SPOT, entry, Seconds(10.0), w.clock.now())
    w.gates.released(SPOT, entry, w.clock.now(), pause=True, breaker=False)
    assert w.look().gate is Gate.PROBING
    w.clock.advance(10.0)
    assert w.look().gate is Gate.READY


def test_many_passing_429s_open_the_breaker() -> None:
    w = World()
    (told,) = w.gates.overloaded(SPOT, w.clock.now())
    assert told.fields == {"from": "closed", "to": "open", "fault": "overload"}


def test_a_denied_model_is_out_until_it_works() -> None:
    w = World()
    w.gates.deny(SPOT, "no access", every_model=False)
    look = w.look()
    assert (look.gate, look.wait, look.reason, look.why) == (Gate.DENIED, math.inf, Reason.DENIED, "no access")
    assert w.look(Spot(CLAUDE, "other", None)).passes
    w.gates.served(SPOT, w.enter(anyway=True), w.clock.now(), complete=True)
    assert w.look().passes


def test_an_account_that_is_refused_is_out_for_every_model() -> None:
    w = World()
    w.gates.deny(SPOT, "not signed up", every_model=True)
    assert w.look(Spot(CLAUDE, "other", None)).gate is Gate.DENIED


def test_an_account_that_is_served_after_all_is_in_again() -> None:
    w = World()
    entry = w.enter()
    w.gates.deny(SPOT, "not signed up", every_model=True)
    w.gates.served(SPOT, entry, w.clock.now(), complete=False)
    assert w.look().passes


def test_an_answer_over_an_old_connection_does_not_lift_a_block() -> None:
    w = World()
    entry = w.enter()
    w.block(Outcome.PIN_FAILED)
    w.gates.served(SPOT, entry, w.clock.now(), complete=True)
    assert w.look().gate is Gate.BLOCKED


def test_a_failed_certificate_blocks_for_five_minutes() -> None:
    w = World()
    told = w.block(Outcome.TLS_FAILED)
    assert (told.kind, told.until, told.fields) == (
        TransitionKind.BLOCKED,
        Epoch(w.clock.wall + 300.0),
        {"outcome": "tls_failed"},
    )
    look = w.look()
    assert (look.gate, look.wait, look.reason, look.may_be_early) == (Gate.BLOCKED, 300.0, Reason.TLS_FAILED, False)
    w.clock.advance(300.0)
    assert w.look().passes


def test_a_failed_pin_blocks_until_it_is_acknowledged() -> None:
    w = World(PINNED)
    assert w.block(Outcome.PIN_FAILED).until is None
    w.clock.advance(1e9)
    assert (w.look().gate, w.look().wait, w.look().until) == (Gate.BLOCKED, math.inf, None)
    assert w.gates.acknowledge(CLAUDE)
    assert not w.gates.acknowledge(CLAUDE)
    assert w.look().passes


def test_a_reload_tries_certificates_anew_but_not_the_same_pins() -> None:
    w = World(PINNED)
    w.block(Outcome.PIN_FAILED)
    w.block(Outcome.TLS_FAILED, BEDROCK)
    w.gates.configure(PINNED)
    assert w.look().gate is Gate.BLOCKED
    assert w.look(Spot(BEDROCK, OPUS, None)).passes
    repinned = replace(PINNED.backends[0], pinned_spki=("sha256/BBB",))
    w.gates.configure(replace(PINNED, backends=(repinned, PINNED.backends[1])))
    assert w.look().passes


def test_a_reload_forgets_what_was_known_about_backends_that_are_gone_or_elsewhere_now() -> None:
    w = World()
    w.trip()
    w.limit()
    w.block(Outcome.PIN_FAILED)
    w.enter(Spot(BEDROCK, OPUS, None))
    w.gates.configure(replace(Settings(), backends=(Backend(BEDROCK, Kind.BEDROCK),)))
    assert w.gates.known() == {(BEDROCK, OPUS)}
    w.gates.configure(replace(Settings(), backends=(Backend(BEDROCK, Kind.BEDROCK, max_output_tokens=1),)))
    assert w.gates.known() == {(BEDROCK, OPUS)}
    w.gates.configure(replace(Settings(), backends=(Backend(BEDROCK, Kind.BEDROCK, region="eu-west-1"),)))
    assert w.gates.known() == set()


def test_a_reload_gives_breakers_and_cooldowns_their_new_numbers() -> None:
    w = World()
    w.enter()
    rules = Settings(circuit_breaker=CircuitBreaker(failure_threshold=1), rate_limit_fallback=RateLimitFallback())
    w.gates.configure(rules)
    assert w.trip(times=1) != []


def test_a_pin_failure_survives_a_restart_while_the_pins_are_the_same() -> None:
    w = World(PINNED)
    w.block(Outcome.PIN_FAILED)
    w.block(Outcome.TLS_FAILED, BEDROCK)
    saved = w.gates.pinned()
    assert saved == [{"backend": "claude", "why": "wrong", "pins": ["sha256/AAA"]}]
    again = World(PINNED)
    again.gates.restore_pinned(saved)
    assert (again.look().gate, again.look().why) == (Gate.BLOCKED, "wrong")
    unpinned = World()
    unpinned.gates.restore_pinned(saved)
    assert unpinned.look().passes


@pytest.mark.parametrize("entries", [None, {}, [3, None], [{}], [{"backend": "gone", "pins": []}]])
def test_a_snapshot_that_makes_no_sense_is_left_out(entries: object) -> None:
    w = World()
    w.gates.restore_pinned(entries)
    assert w.gates.pinned() == []


def test_what_something_is_known_about() -> None:
    w = World()
    w.limit(scope=Scope.FAMILY)
    w.limit(scope=Scope.BACKEND)
    w.gates.deny(Spot(BEDROCK, "m", None), "no", every_model=False)
    w.block(Outcome.TLS_FAILED, BEDROCK)
    w.enter(Spot(BEDROCK, OPUS, None))
    assert w.gates.known() == {
        (CLAUDE, "opus"),
        (CLAUDE, ANY_MODEL),
        (BEDROCK, "m"),
        (BEDROCK, ANY_MODEL),
        (BEDROCK, OPUS),
    }


def test_a_backend_that_is_gone_counts_as_anthropic() -> None:
    w = World()
    assert w.gates.kind(BEDROCK) is Kind.BEDROCK
    assert w.gates.kind(BackendName("gone")) is Kind.ANTHROPIC


def test_a_probe_has_until_its_content_must_have_come_and_a_little_more() -> None:
    assert lease_of(Settings(timeouts=Timeouts(first_byte=100.0, first_content=50.0))) == 130.0
    assert lease_of(Settings(timeouts=Timeouts(first_byte=10.0, first_content=50.0))) == 80.0
