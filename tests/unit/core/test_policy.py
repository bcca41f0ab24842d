"""The law, row by row: what one request does after each signal, and what everybody else does."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from msgspec import structs

from claude_failover.clock import FakeClock
from claude_failover.core.gates import Gate
from claude_failover.core.policy import Go, Hold, Policy, RequestFacts, Stop, Try
from claude_failover.core.settings import (
    Backend,
    CostTracking,
    RateLimitFallback,
    Retry,
    RetryPolicy,
    Settings,
    Timeouts,
)
from claude_failover.core.spend import DayWindow, SpendBudget
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

CLAUDE, BEDROCK, EU = BackendName("claude"), BackendName("bedrock"), BackendName("eu")
OPUS, SONNET = "claude-opus-5-5", "claude-sonnet-5-5"
THREE = (Backend(CLAUDE, Kind.ANTHROPIC), Backend(BEDROCK, Kind.BEDROCK), Backend(EU, Kind.BEDROCK))


class Low(random.Random):
    """Dice that always show the least: retries after 0.75 s and 0.3 s, rests shorter by a fifth."""

    def uniform(self, a: float, b: float) -> float:
        return a


def day(_: Epoch) -> DayWindow:
    return DayWindow("2026-11-18", Epoch(1_795_040_000.0))


class World:
    """A policy, a clock, and a few requests."""

    def __init__(self, config: Settings | None = None, limit: int | None = None) -> None:
        self.clock = FakeClock()
        self.spend = None if limit is None else SpendBudget(limit, None, day)
        self.policy = Policy(config or Settings(), Low(), self.spend)
        self.count = 0

    def request(self, model: str = OPUS, **facts: Any) -> Request:
        self.count += 1
        family = next((name for name in ("opus", "sonnet") if name in model), None)
        return Request(self, RequestFacts(f"x{self.count}", model, family, **facts))

    def served_by(self, model: str = OPUS, **facts: Any) -> BackendName:
        """Where a new request goes that is then served at once."""
        request = self.request(model, **facts)
        request.go()
        request.succeed()
        assert request.went is not None
        return request.went.backend

    def gate(self, backend: BackendName, model: str = OPUS) -> Gate:
        found = [g.state for g in self.policy.view(self.clock.now()).gates if (g.backend, g.model) == (backend, model)]
        return found[0] if found else Gate.AVAILABLE

    def limit_primary(self, seconds: float = 7200.0) -> None:
        """The plan's session limit strikes; the request is rescued."""
        request = self.request()
        request.go()
        request.fail(self.plan(seconds))
        assert request.go().backend != CLAUDE
        request.succeed()

    def plan(self, seconds: float = 7200.0) -> Verdict:
        until = Epoch(self.clock.wall + seconds)
        return Verdict(Outcome.PLAN_LIMIT, "session limit used up", Scope.BACKEND, until=until)


class Request:
    """One client request."""

    def __init__(self, world: World, facts: RequestFacts) -> None:
        self.world, self.facts = world, facts
        self.tries: list[Try] = []
        self.went: Go | None = None
        self.said: list[Transition] = []

    def ask(self) -> Go | Hold | Stop:
        answer = self.world.policy.choose(self.facts, self.tries, self.world.clock.now())
        self.said = list(answer.transitions)
        if isinstance(answer, Go):
            self.went = answer
        return answer

    def go(self) -> Go:
        """Ask, waiting as told, until sent."""
        answer = self.ask()
        while isinstance(answer, Hold):
            self.world.clock.advance(answer.until - self.world.clock.monotonic)
            answer = self.ask()
        assert isinstance(answer, Go), answer
        return answer

    def hold(self) -> float:
        answer = self.ask()
        assert isinstance(answer, Hold), answer
        return answer.until - self.world.clock.monotonic

    def stop(self) -> Stop:
        answer = self.ask()
        assert isinstance(answer, Stop), answer
        return answer

    def fail(self, verdict: Verdict | Outcome) -> list[Transition]:
        assert self.went is not None
        now = self.world.clock.now()
        told = verdict if isinstance(verdict, Verdict) else Verdict(verdict, "because")
        out = self.world.policy.observe(self.went.permit, told, now)
        out += self.world.policy.settle(self.went.permit, 0, now)
        self.tries.append(Try(self.went.backend, self.went.reason, told, now.monotonic))
        return out

    def commit(self) -> list[Transition]:
        assert self.went is not None
        return self.world.policy.committed(self.went.permit, self.world.clock.now())

    def succeed(self) -> list[Transition]:
        assert self.went is not None
        out = self.commit()
        out += self.world.policy.observe(self.went.permit, Verdict(Outcome.SUCCESS), self.world.clock.now())
        return out


def throttled(seconds: float | None = None, **more: Any) -> Verdict:
    retry_after = None if seconds is None else Seconds(seconds)
    return Verdict(Outcome.THROTTLED, "too many", Scope.MODEL, retry_after=retry_after, **more)


# --- the plain path --------------------------------------------------------------------------------


def test_a_request_goes_to_the_primary() -> None:
    w = World()
    go = w.request().go()
    assert (go.backend, go.reason, go.fresh, go.refresh_credentials, go.permit.probe) == (
        CLAUDE,
        Reason.PRIMARY,
        False,
        False,
        False,
    )


def test_a_plan_limit_moves_this_request_and_all_others_at_once() -> None:
    w = World()
    first = w.request()
    first.go()
    (started,) = first.fail(w.plan())
    assert (started.kind, started.backend) == (TransitionKind.COOLDOWN_STARTED, CLAUDE)
    rescue = first.ask()
    assert isinstance(rescue, Go)
    assert (rescue.backend, rescue.reason, rescue.detail) == (BEDROCK, Reason.PLAN_LIMIT, "session limit used up")
    first.succeed()
    other = w.request(SONNET).go()
    assert (other.backend, other.reason) == (BEDROCK, Reason.COOLDOWN)
    assert other.detail == "claude: session limit used up"


def test_a_family_limit_moves_that_family_only() -> None:
    w = World()
    first = w.request()
    first.go()
    until = Epoch(w.clock.wall + 7200.0)
    first.fail(Verdict(Outcome.FAMILY_LIMIT, "Opus limit used up", Scope.FAMILY, family="opus", until=until))
    assert first.go().backend == BEDROCK
    assert w.served_by(SONNET) == CLAUDE
    assert w.served_by("claude-opus-4-6") == BEDROCK


@pytest.mark.parametrize(
    "outcome", [Outcome.CLIENT_ERROR, Outcome.ENTITLEMENT, Outcome.TOO_LONG, Outcome.CLIENT_GONE, Outcome.SUCCESS]
)
def test_after_these_nothing_follows(outcome: Outcome) -> None:
    w = World()
    request = w.request()
    request.go()
    assert request.fail(outcome) == []
    stop = request.stop()
    assert not stop.offline
    assert stop.spend is None
    assert w.served_by() == CLAUDE


@pytest.mark.parametrize(
    ("outcome", "wait", "fresh"),
    [
        (Outcome.OVERLOADED, 0.75, False),
        (Outcome.SERVER_ERROR, 0.3, False),
        (Outcome.TRANSIENT_LIMIT, 0.3, False),
        (Outcome.CUT, 0.3, True),
    ],
)
def test_one_retry_and_then_the_next_backend(outcome: Outcome, wait: float, fresh: bool) -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(outcome)
    assert request.hold() == pytest.approx(wait)
    assert request.hold() == pytest.approx(wait), "asking again changes nothing"
    again = request.go()
    assert (again.backend, again.reason, again.fresh) == (CLAUDE, Reason.RETRY, fresh)
    request.fail(outcome)
    assert request.go().backend == BEDROCK


def test_an_unreachable_backend_is_tried_again_at_once_on_a_fresh_connection() -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(Outcome.UNREACHABLE)
    again = request.ask()
    assert isinstance(again, Go)
    assert (again.backend, again.reason, again.fresh) == (CLAUDE, Reason.RETRY, True)


@pytest.mark.parametrize(
    "outcome", [Outcome.SILENT, Outcome.TLS_FAILED, Outcome.PIN_FAILED, Outcome.DENIED, Outcome.BILLING]
)
def test_straight_to_the_next_backend(outcome: Outcome) -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(outcome)
    rescue = request.ask()
    assert isinstance(rescue, Go)
    assert rescue.backend == BEDROCK
    names = {Outcome.PIN_FAILED: Reason.TLS_FAILED}
    assert rescue.reason is names.get(outcome, Reason(outcome.value) if outcome not in names else None)


def test_the_number_of_attempts_is_bounded_over_retries_repairs_and_backends() -> None:
    w = World(Settings(backends=THREE, timeouts=Timeouts(total_attempts=4)))
    request = w.request()
    seen = []
    for _ in range(4):
        seen.append(request.go().backend)
        request.fail(Outcome.SERVER_ERROR)
    assert seen == [CLAUDE, CLAUDE, BEDROCK, BEDROCK]
    assert "4 attempts" in request.stop().why


def test_no_retry_is_begun_that_the_client_would_not_wait_for() -> None:
    w = World()
    request = w.request(patience=Seconds(0.5))
    request.go()
    request.fail(Outcome.OVERLOADED)
    assert request.go().backend == BEDROCK


def test_an_empty_bucket_means_no_retry() -> None:
    w = World()
    for _ in range(10):
        request = w.request()
        request.go()
        request.fail(Outcome.SILENT)
        assert request.go().backend == BEDROCK
        request.succeed()
        w.clock.advance(1000.0)
        assert w.served_by() == CLAUDE
    assert w.policy.view(w.clock.now()).retry_tokens[CLAUDE] < 20
    w.policy._desk.budget(CLAUDE).tokens = 4
    request = w.request()
    request.go()
    request.fail(Outcome.SERVER_ERROR)
    assert request.go().backend == BEDROCK


def test_a_retry_costs_five_tokens_and_a_success_earns_one() -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(Outcome.SERVER_ERROR)
    request.go()
    assert w.policy.view(w.clock.now()).retry_tokens[CLAUDE] == 95
    request.succeed()
    assert w.policy.view(w.clock.now()).retry_tokens[CLAUDE] == 96


def test_a_retry_that_finds_the_breaker_open_goes_elsewhere() -> None:
    w = World()
    first, second = w.request(), w.request()
    first.go()
    second.go()
    first.fail(Outcome.OVERLOADED)
    assert first.hold() > 0
    second.fail(Outcome.OVERLOADED)
    w.clock.advance(0.75)
    assert first.go().backend == BEDROCK
    assert first.facts.exchange != second.facts.exchange


# --- throttles -------------------------------------------------------------------------------------


def test_a_very_short_throttle_is_waited_for_where_the_cache_is() -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(throttled(1.5))
    assert request.hold() == pytest.approx(1.5)
    w.clock.advance(1.5)
    again = request.go()
    assert (again.backend, again.reason, again.permit.probe) == (CLAUDE, Reason.RETRY, True)
    request.succeed()
    assert w.gate(CLAUDE) is Gate.AVAILABLE


def test_a_throttle_of_no_seconds_still_waits_for_its_cooldown() -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(throttled(0.0))
    assert request.hold() == pytest.approx(1.0)


def test_only_one_of_many_waits_turns_into_an_attempt() -> None:
    w = World()
    requests = [w.request() for _ in range(3)]
    for request in requests:
        request.go()
    for request in requests:
        request.fail(throttled(1.0))
    w.clock.advance(1.0)
    assert [request.go().backend for request in requests] == [CLAUDE, BEDROCK, BEDROCK]


def test_a_longer_throttle_goes_to_the_next_backend() -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(throttled(30.0))
    rescue = request.ask()
    assert isinstance(rescue, Go)
    assert (rescue.backend, rescue.reason) == (BEDROCK, Reason.THROTTLED)


def test_five_passing_429s_in_a_minute_are_an_overload() -> None:
    w = World()
    told = []
    for _ in range(5):
        request = w.request()
        assert request.go().backend == CLAUDE
        told.append(request.fail(Outcome.TRANSIENT_LIMIT))
        w.clock.advance(10.0)
    assert told[:4] == [[]] * 4
    assert told[4][0].fields == {"from": "closed", "to": "open", "fault": "overload"}


def test_passing_429s_spread_over_minutes_are_nothing() -> None:
    w = World()
    for _ in range(10):
        request = w.request()
        request.go()
        assert request.fail(Outcome.TRANSIENT_LIMIT) == []
        w.clock.advance(16.0)


def test_with_the_fallback_off_limits_are_passed_on_and_set_nothing() -> None:
    w = World(Settings(rate_limit_fallback=RateLimitFallback(enabled=False)))
    for verdict in (w.plan(), throttled(1.0), Verdict(Outcome.TRANSIENT_LIMIT)):
        request = w.request()
        assert request.go().backend == CLAUDE
        assert request.fail(verdict) == []
        assert "rate_limit_fallback" in request.stop().why
    down = w.request()
    down.go()
    down.fail(Outcome.SILENT)
    assert down.go().backend == BEDROCK


# --- repairs and credentials -----------------------------------------------------------------------


def test_two_repairs_on_bedrock_and_then_no_other_bedrock() -> None:
    w = World(Settings(backends=THREE, timeouts=Timeouts(total_attempts=9)))
    w.limit_primary()
    request = w.request()
    assert request.go().backend == BEDROCK
    for _ in range(2):
        request.fail(Outcome.REPAIRABLE)
        again = request.go()
        assert (again.backend, again.reason) == (BEDROCK, Reason.REPAIR)
    request.fail(Outcome.REPAIRABLE)
    last = request.go()
    assert (last.backend, last.reason) == (CLAUDE, Reason.LAST_RESORT), "another region would refuse it, too"


def test_what_bedrock_refuses_for_good_another_kind_may_serve() -> None:
    key = BackendName("key")
    w = World(Settings(backends=(*THREE[:2], Backend(key, Kind.ANTHROPIC))))
    w.limit_primary()
    request = w.request()
    assert request.go().backend == BEDROCK
    request.fail(Verdict(Outcome.CLIENT_ERROR, "unknown field", error_type="bedrock_only"))
    rescue = request.go()
    assert (rescue.backend, rescue.reason) == (key, Reason.REPAIR)


def test_expired_credentials_are_refreshed_once() -> None:
    w = World(Settings(backends=THREE))
    w.limit_primary()
    request = w.request()
    request.go()
    request.fail(Outcome.CREDENTIALS)
    again = request.go()
    assert (again.backend, again.reason, again.refresh_credentials) == (BEDROCK, Reason.CREDENTIALS, True)
    request.fail(Outcome.CREDENTIALS)
    rescue = request.go()
    assert (rescue.backend, rescue.refresh_credentials) == (EU, False)


def test_a_model_that_is_denied_is_left_out_until_a_reload() -> None:
    w = World(Settings(backends=THREE))
    w.limit_primary()
    request = w.request()
    request.go()
    request.fail(Verdict(Outcome.DENIED, "no access", Scope.MODEL))
    assert request.go().backend == EU
    request.succeed()
    go = w.request().go()
    assert (go.backend, go.reason) == (EU, Reason.COOLDOWN)
    assert w.gate(BEDROCK) is Gate.DENIED
    w.policy.reload(Settings(backends=THREE), w.clock.now())
    assert w.gate(BEDROCK) is Gate.AVAILABLE


# --- coming back -----------------------------------------------------------------------------------


def test_one_real_request_comes_back_first_and_its_success_brings_all() -> None:
    w = World()
    w.limit_primary(3000.0)
    w.clock.advance(3002.0)
    probe = w.request()
    go = probe.go()
    assert (go.backend, go.reason, go.permit.probe) == (CLAUDE, Reason.PROBE, True)
    assert w.request().go().backend == BEDROCK
    assert [t.kind for t in probe.commit()] == [TransitionKind.COOLDOWN_ENDED, TransitionKind.RETURNED]
    w.clock.advance(1.0)
    assert w.request().go().backend == CLAUDE


def test_a_probe_that_is_limited_again_renews_the_cooldown() -> None:
    w = World()
    w.limit_primary(3000.0)
    w.clock.advance(3002.0)
    probe = w.request()
    probe.go()
    probe.fail(w.plan(9000.0))
    assert probe.go().backend == BEDROCK
    w.clock.advance(3599.0)
    assert w.served_by() == BEDROCK
    w.clock.advance(2.0)
    assert w.request().go().backend == CLAUDE


def test_nobody_returns_within_a_minute_of_leaving() -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(throttled(10.0))
    request.go()
    request.succeed()
    w.clock.advance(30.0)
    assert w.gate(CLAUDE) is Gate.READY
    staying = w.request().go()
    assert (staying.backend, staying.reason) == (BEDROCK, Reason.COOLDOWN)
    assert staying.detail == "claude was left a short while ago"
    w.clock.advance(30.0)
    assert w.request().go().reason is Reason.PROBE


def test_flapping_doubles_the_stay() -> None:
    w = World()
    for stay in (60.0, 120.0, 240.0):
        request = w.request()
        assert request.go().backend == CLAUDE
        request.fail(throttled(5.0))
        request.go()
        request.succeed()
        w.clock.advance(stay - 1.0)
        assert w.served_by() == BEDROCK
        w.clock.advance(1.0)
        assert w.served_by() == CLAUDE
        w.clock.advance(11.0)


def test_a_dwell_is_no_obstacle_where_nothing_else_can_serve() -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(throttled(10.0))
    request.go()
    request.fail(w.plan())
    w.clock.advance(11.0)
    assert w.request().go().backend == CLAUDE


def test_a_conversation_in_a_tool_loop_stays_where_its_cache_is() -> None:
    w = World()
    w.limit_primary(600.0)
    w.served_by(session="me")
    w.clock.advance(700.0)
    assert w.served_by() == CLAUDE
    w.clock.advance(11.0)
    loop = w.request(session="me", in_tool_loop=True).go()
    assert (loop.backend, loop.reason) == (BEDROCK, Reason.STICKY)
    assert w.served_by(session="me") == CLAUDE


def test_a_tool_loop_moves_when_its_backend_cannot_serve() -> None:
    w = World()
    w.served_by(session="me")
    w.limit_primary()
    go = w.request(session="me", in_tool_loop=True).go()
    assert (go.backend, go.reason) == (BEDROCK, Reason.COOLDOWN)


def test_a_tool_loop_at_the_primary_is_no_switch_and_waits_for_no_dwell() -> None:
    w = World()
    w.served_by(session="me")
    request = w.request()
    request.go()
    request.fail(throttled(2.5))
    request.go()
    w.clock.advance(3.0)
    assert w.request().go().backend == BEDROCK
    assert w.request(session="me", in_tool_loop=True).go().backend == CLAUDE


def test_after_a_cut_the_same_conversation_starts_elsewhere_for_a_while() -> None:
    w = World()
    request = w.request(session="me")
    request.go()
    request.commit()
    request.fail(Outcome.CUT)
    repeat = w.request(session="me", in_tool_loop=True).go()
    assert (repeat.backend, repeat.reason) == (BEDROCK, Reason.CUT)
    assert w.served_by(session="other") == CLAUDE
    w.clock.advance(91.0)
    assert w.request(session="me").go().backend == CLAUDE


def test_a_cut_before_the_commit_moves_nobody() -> None:
    w = World()
    request = w.request(session="me")
    request.go()
    request.fail(Outcome.CUT)
    assert w.request(session="me").go().backend == CLAUDE


def test_after_a_switch_requests_go_one_by_one() -> None:
    w = World()
    first = w.request()
    first.go()
    first.fail(w.plan())
    assert first.go().backend == BEDROCK
    second, third = w.request(), w.request()
    assert second.hold() == pytest.approx(0.25)
    w.clock.advance(0.25)
    assert second.go().backend == BEDROCK
    assert third.hold() == pytest.approx(0.25)
    impatient = w.request(patience=Seconds(0.1))
    assert impatient.go().backend == BEDROCK


# --- breakers --------------------------------------------------------------------------------------


def overload(w: World) -> None:
    """Two overloads in a row."""
    request = w.request()
    request.go()
    request.fail(Outcome.OVERLOADED)
    request.go()
    request.fail(Outcome.OVERLOADED)
    assert request.go().backend == BEDROCK
    request.succeed()


def test_an_overload_that_outlives_its_retry_opens_the_breaker_of_that_model() -> None:
    w = World()
    overload(w)
    assert w.gate(CLAUDE) is Gate.OPEN
    go = w.request().go()
    assert (go.backend, go.reason, go.detail) == (BEDROCK, Reason.BREAKER, "claude: overloaded")
    assert w.served_by(SONNET) == CLAUDE


def test_after_the_rest_and_the_dwell_one_request_probes() -> None:
    w = World()
    overload(w)
    w.clock.advance(60.0)
    probe = w.request()
    go = probe.go()
    assert (go.backend, go.reason) == (CLAUDE, Reason.PROBE)
    assert probe.said[0].fields["to"] == "half_open"
    assert w.request().go().backend == BEDROCK
    assert [t.kind for t in probe.commit()] == [TransitionKind.BREAKER_CHANGED, TransitionKind.RETURNED]


def test_a_limit_never_moves_the_breaker_and_a_failure_never_the_cooldown() -> None:
    w = World()
    overload(w)
    w.clock.advance(60.0)
    probe = w.request()
    probe.go()
    (started,) = probe.fail(w.plan(100.0))
    assert started.kind is TransitionKind.COOLDOWN_STARTED
    w.clock.advance(131.0)
    probe = w.request()
    assert probe.go().reason is Reason.PROBE
    (changed,) = probe.fail(Outcome.SILENT)
    assert (changed.kind, changed.fields["to"]) == (TransitionKind.BREAKER_CHANGED, "open")
    assert probe.go().backend == BEDROCK


def test_unreachable_counts_only_if_another_backend_answers() -> None:
    w = World()
    changes: list[Transition] = []
    for _ in range(3):
        request = w.request()
        for _ in range(2):
            assert request.go().backend == CLAUDE
            assert request.fail(Outcome.UNREACHABLE) == []
        assert request.go().backend == BEDROCK
        changes += request.succeed()
        if changes:
            break
    assert [t.fields["to"] for t in changes] == ["open"]
    assert w.gate(CLAUDE) is Gate.OPEN


def test_if_none_can_be_reached_we_are_offline_and_nobody_is_penalised() -> None:
    w = World(Settings(timeouts=Timeouts(total_attempts=8)))
    for number in range(6):
        request = w.request()
        while isinstance(answer := request.ask(), Go):
            request.fail(Outcome.UNREACHABLE)
        assert isinstance(answer, Stop)
        assert answer.offline
        assert [t.kind for t in answer.transitions] == ([] if number else [TransitionKind.OFFLINE])
        # Once it is known, nothing is tried twice.
        assert len(request.tries) == (2 if number else 4)
    assert w.policy.view(w.clock.now()).offline
    back = w.request()
    assert back.go().backend == CLAUDE
    assert [t.kind for t in back.succeed()] == [TransitionKind.ONLINE]
    assert not w.policy.view(w.clock.now()).degraded


def test_a_request_for_one_backend_does_not_declare_everybody_offline() -> None:
    w = World()
    request = w.request(stays="quota probe")
    request.go()
    request.fail(Outcome.UNREACHABLE)
    request.go()
    request.fail(Outcome.UNREACHABLE)
    stop = request.stop()
    assert stop.offline
    assert stop.transitions == ()
    assert not w.policy.view(w.clock.now()).offline


def test_an_answer_in_between_is_not_offline() -> None:
    w = World(Settings(timeouts=Timeouts(total_attempts=2)))
    request = w.request()
    request.go()
    request.fail(Outcome.UNREACHABLE)
    request.go()
    request.fail(Outcome.SERVER_ERROR)
    assert not request.stop().offline


def test_a_backend_that_answers_with_errors_is_not_offline() -> None:
    w = World()
    request = w.request()
    for outcome in (Outcome.UNREACHABLE, Outcome.UNREACHABLE, Outcome.SERVER_ERROR, Outcome.SERVER_ERROR):
        request.go()
        request.fail(outcome)
    assert not request.stop().offline


def test_only_failing_credentials_are_not_offline() -> None:
    w = World(Settings(backends=THREE[:1]))
    request = w.request()
    for _ in range(2):
        request.go()
        request.fail(Outcome.CREDENTIALS)
    assert not request.stop().offline


def test_with_a_backend_untried_we_are_not_offline() -> None:
    w = World(Settings(timeouts=Timeouts(total_attempts=2)))
    request = w.request()
    request.go()
    request.fail(Outcome.UNREACHABLE)
    request.go()
    request.fail(Outcome.UNREACHABLE)
    assert not request.stop().offline


def test_a_half_open_probe_that_reaches_nobody_is_forgiven_offline() -> None:
    w = World(Settings(timeouts=Timeouts(total_attempts=8)))
    overload(w)
    w.clock.advance(60.0)
    request = w.request()
    assert request.go().permit.probe
    while True:
        request.fail(Outcome.UNREACHABLE)
        if not isinstance(request.ask(), Go):
            break
    assert w.gate(CLAUDE) is Gate.READY


# --- certificates ----------------------------------------------------------------------------------


def test_a_failed_certificate_blocks_the_backend_for_five_minutes() -> None:
    w = World()
    request = w.request()
    request.go()
    (blocked,) = request.fail(Verdict(Outcome.TLS_FAILED, "certificate expired"))
    assert (blocked.kind, blocked.until) == (TransitionKind.BLOCKED, Epoch(w.clock.wall + 300.0))
    assert request.go().backend == BEDROCK
    go = w.request(SONNET).go()
    assert (go.backend, go.reason) == (BEDROCK, Reason.TLS_FAILED)
    w.clock.advance(300.0)
    assert w.served_by(SONNET) == CLAUDE


def test_a_failed_pin_blocks_until_somebody_acknowledges_it_even_over_a_restart() -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(Outcome.PIN_FAILED)
    w.clock.advance(1e6)
    assert w.served_by() == BEDROCK
    data = json.loads(json.dumps(w.policy.snapshot()))
    w.policy = Policy(Settings(), Low())
    w.policy.restore(data, w.clock.now())
    assert w.served_by() == BEDROCK
    assert w.policy.acknowledge(CLAUDE)
    assert not w.policy.acknowledge(CLAUDE)
    w.clock.advance(1e4)
    assert w.served_by() == CLAUDE


def test_nothing_goes_to_a_blocked_backend_not_even_by_order() -> None:
    w = World()
    request = w.request()
    request.go()
    request.fail(Outcome.PIN_FAILED)
    assert w.request(stays="quota probe").stop().why == "claude: because"
    assert isinstance(w.request(forced=CLAUDE).ask(), Stop)
    forced = w.request(forced=BEDROCK)
    forced.go()
    forced.fail(Outcome.SERVER_ERROR)
    other = w.request(forced=BEDROCK)
    other.go()
    other.fail(Outcome.PIN_FAILED)
    w.clock.advance(1.0)
    assert isinstance(forced.ask(), Stop)


# --- orders ----------------------------------------------------------------------------------------


def test_an_order_goes_over_cooldown_and_breaker() -> None:
    w = World()
    w.limit_primary()
    assert w.policy.force(CLAUDE, None, None, w.clock.now()) == []
    go = w.request().go()
    assert (go.backend, go.reason, go.detail) == (CLAUDE, Reason.FORCED, "forced by hand")
    assert not go.permit.probe


def test_an_order_never_goes_elsewhere() -> None:
    w = World()
    w.policy.force(CLAUDE, OPUS, None, w.clock.now())
    request = w.request()
    for _ in range(2):
        assert request.go().backend == CLAUDE
        request.fail(Outcome.SERVER_ERROR)
    assert isinstance(request.ask(), Stop)


def test_an_ordered_request_that_is_served_ends_the_cooldown() -> None:
    w = World()
    w.limit_primary()
    forced = w.request(forced=CLAUDE)
    assert forced.go().detail == "forced by the request's header"
    assert [t.kind for t in forced.succeed()] == [TransitionKind.COOLDOWN_ENDED]


def test_an_order_ends_by_itself_and_says_so() -> None:
    w = World()
    w.policy.force(BEDROCK, None, Epoch(w.clock.wall + 1800.0), w.clock.now())
    assert w.served_by() == BEDROCK
    w.clock.advance(1800.0)
    request = w.request()
    assert request.go().backend == CLAUDE
    assert [t.kind for t in request.said] == [TransitionKind.OVERRIDE_ENDED]


def test_auto_ends_an_order() -> None:
    w = World()
    w.policy.force(BEDROCK, None, None, w.clock.now())
    assert [t.kind for t in w.policy.force(None, None, None, w.clock.now())] == [TransitionKind.OVERRIDE_ENDED]
    assert w.served_by() == CLAUDE


def test_an_order_never_goes_over_the_spend_limit() -> None:
    w = World(limit=1_000)
    w.policy.force(BEDROCK, None, None, w.clock.now())
    stop = w.request(estimates={BEDROCK: 2_000}).stop()
    assert stop.spend is not None
    assert stop.spend.limit == 1_000


# --- who may serve ---------------------------------------------------------------------------------


def test_a_request_that_stays_is_passed_to_the_primary_whatever_its_state() -> None:
    w = World()
    w.limit_primary()
    request = w.request(stays="quota probe")
    go = request.go()
    assert (go.backend, go.reason, go.detail) == (CLAUDE, Reason.PRIMARY, "quota probe")
    request.fail(throttled(1.0))
    assert isinstance(request.ask(), Stop), "its client knows how to wait"


def test_the_limit_of_a_request_that_stays_is_passed_on_at_once() -> None:
    w = World()
    request = w.request(stays="low priority")
    request.go()
    request.fail(throttled(20.0))
    assert request.stop().retry_after == pytest.approx(20.0)


def test_an_empty_fallback_list_never_leaves_the_primary() -> None:
    w = World(Settings(fallbacks={OPUS: ()}))
    request = w.request()
    request.go()
    request.fail(w.plan())
    assert isinstance(request.ask(), Stop)
    assert w.request().go().backend == CLAUDE
    assert w.served_by(SONNET) == BEDROCK


def test_a_fallback_list_has_an_order_of_its_own() -> None:
    w = World(Settings(backends=THREE, fallbacks={OPUS: (EU, BEDROCK)}))
    request = w.request()
    request.go()
    request.fail(w.plan())
    assert request.go().backend == EU


def test_a_backend_that_cannot_serve_the_request_is_left_out() -> None:
    w = World(Settings(backends=THREE))
    w.limit_primary()
    go = w.request(unservable={BEDROCK: "no such model"}).go()
    assert go.backend == EU


def test_if_nobody_can_serve_it_the_reasons_are_told() -> None:
    w = World()
    stop = w.request(unservable={CLAUDE: "gone", BEDROCK: "no such model"}).stop()
    assert "claude: gone; bedrock: no such model" in stop.why


# --- money -----------------------------------------------------------------------------------------


def test_money_is_reserved_before_it_is_sent_and_settled_after() -> None:
    w = World(limit=1_000)
    w.limit_primary()
    request = w.request(estimates={BEDROCK: 800})
    go = request.go()
    assert go.permit.reservation is not None
    assert w.spend is not None
    assert w.spend.view(w.clock.now()).held == 800
    w.policy.observe(go.permit, Verdict(Outcome.SUCCESS), w.clock.now())
    w.policy.settle(go.permit, 300, w.clock.now())
    w.policy.settle(go.permit, 300, w.clock.now())
    view = w.spend.view(w.clock.now())
    assert (view.held, view.spent) == (0, 300)


def test_free_backends_need_no_money() -> None:
    w = World(limit=0)
    go = w.request(estimates={BEDROCK: 800}).go()
    assert (go.backend, go.permit.reservation) == (CLAUDE, None)


def test_at_the_limit_nothing_is_sent_and_the_refusal_is_told() -> None:
    w = World(limit=1_000)
    request = w.request(estimates={BEDROCK: 2_000})
    request.go()
    request.fail(Outcome.SILENT)
    stop = request.stop()
    assert stop.spend is not None
    assert stop.spend.resets == 1_795_040_000.0
    assert [t.kind for t in stop.transitions] == [TransitionKind.SPEND_LIMIT]


def test_a_free_backend_further_down_still_serves() -> None:
    key = BackendName("key")
    w = World(Settings(backends=(*THREE[:2], Backend(key, Kind.ANTHROPIC))), limit=1_000)
    w.limit_primary()
    go = w.request(estimates={BEDROCK: 2_000}).go()
    assert (go.backend, go.reason) == (key, Reason.COOLDOWN)


def test_a_sessions_own_budget_is_respected() -> None:
    w = World(limit=1_000)
    w.limit_primary()
    go = w.request(estimates={BEDROCK: 2}, session="s", session_limit_nusd=1).go()
    assert go.reason is Reason.LAST_RESORT
    assert w.served_by(estimates={BEDROCK: 2}, session="s") == BEDROCK


def test_a_retry_needs_money_like_any_other_attempt() -> None:
    w = World(Settings(backends=THREE), limit=1_000)
    w.limit_primary()
    request = w.request(estimates={BEDROCK: 900})
    go = request.go()
    assert go.backend == BEDROCK
    now = w.clock.now()
    w.policy.observe(go.permit, Verdict(Outcome.SERVER_ERROR), now)
    w.policy.settle(go.permit, 500, now)
    request.tries.append(Try(BEDROCK, go.reason, Verdict(Outcome.SERVER_ERROR), now.monotonic))
    assert request.go().backend == EU
    assert w.policy.view(now).retry_tokens[BEDROCK] == 100


def test_what_was_waited_for_needs_money_too() -> None:
    w = World(limit=1_000)
    request = w.request(estimates={BEDROCK: 900})
    request.go()
    request.fail(w.plan())
    go = request.go()
    now = w.clock.now()
    w.policy.observe(go.permit, throttled(40.0), now)
    w.policy.settle(go.permit, 500, now)
    request.tries.append(Try(BEDROCK, go.reason, throttled(40.0), now.monotonic))
    assert request.hold() == pytest.approx(40.0)
    w.clock.advance(40.0)
    assert request.stop().spend is not None


def test_a_last_resort_needs_money_too() -> None:
    w = World(limit=1_000)
    both_throttled(w, 300.0, 90.0)
    request = w.request(estimates={BEDROCK: 2_000})
    go = request.go()
    assert (go.backend, go.reason) == (CLAUDE, Reason.LAST_RESORT)


def test_a_forced_request_waits_for_no_ramp() -> None:
    w = World()
    first = w.request()
    first.go()
    first.fail(w.plan())
    assert first.go().backend == BEDROCK
    forced = w.request(forced=BEDROCK).ask()
    assert isinstance(forced, Go)


def test_money_that_others_only_hold_is_waited_for() -> None:
    w = World(limit=1_000)
    w.limit_primary()
    holding = w.request(estimates={BEDROCK: 900})
    go = holding.go()
    assert go.backend == BEDROCK
    w.clock.advance(11.0)
    request = w.request(estimates={BEDROCK: 900})
    assert request.hold() == pytest.approx(1.0)
    w.policy.settle(go.permit, 10, w.clock.now())
    w.clock.advance(1.0)
    assert request.go().backend == BEDROCK


def test_money_that_others_hold_is_not_waited_for_for_ever() -> None:
    w = World(limit=1_000)
    w.limit_primary()
    w.request(estimates={BEDROCK: 900}).go()
    w.clock.advance(11.0)
    request = w.request(estimates={BEDROCK: 900})
    began = w.clock.monotonic
    assert request.go().reason is Reason.LAST_RESORT
    assert 29.0 <= w.clock.monotonic - began <= 31.0
    request.fail(w.plan())
    assert request.stop().spend is not None


def test_with_prefer_primary_off_the_cheapest_comes_first() -> None:
    config = Settings(backends=THREE, cost_tracking=CostTracking(prefer_primary=False))
    w = World(config)
    prices = {CLAUDE: 300, BEDROCK: 200, EU: 220}
    go = w.request(estimates=prices, session="me").go()
    assert (go.backend, go.reason) == (BEDROCK, Reason.PREFERRED)
    request = w.request(estimates=prices, session="me")
    request.go()
    request.succeed()
    moved = w.request(estimates=prices | {EU: 100}, session="me").go()
    assert moved.backend == BEDROCK, "a conversation does not move for a few cents"
    assert w.request(estimates=prices | {EU: 100}).go().backend == EU


def test_paid_extra_usage_of_the_plan_comes_last_if_it_is_to_be_avoided() -> None:
    w = World(Settings(cost_tracking=CostTracking(avoid_extra_usage=True)))
    w.policy.note_extra_usage(CLAUDE, Epoch(w.clock.wall + 600.0), w.clock.now())
    go = w.request().go()
    assert (go.backend, go.reason) == (BEDROCK, Reason.PREFERRED)
    w.clock.advance(600.0)
    assert w.served_by() == CLAUDE


# --- everything refuses ----------------------------------------------------------------------------


def both_throttled(w: World, primary: float, second: float) -> Request:
    request = w.request()
    request.go()
    request.fail(throttled(primary))
    request.go()
    request.fail(throttled(second))
    return request


def test_the_soonest_is_waited_for_within_the_most() -> None:
    w = World()
    request = both_throttled(w, 300.0, 40.0)
    assert request.hold() == pytest.approx(40.0)
    w.clock.advance(40.0)
    again = request.go()
    assert (again.backend, again.reason, again.permit.probe) == (BEDROCK, Reason.RETRY, True)
    request.succeed()
    assert w.gate(BEDROCK) is Gate.AVAILABLE


def test_others_wait_while_one_tries() -> None:
    w = World()
    both_throttled(w, 300.0, 40.0)
    first, second = w.request(), w.request()
    assert first.hold() == pytest.approx(40.0)
    w.clock.advance(40.0)
    assert first.go().backend == BEDROCK
    assert second.hold() == pytest.approx(0.5)
    w.clock.advance(0.5)
    first.commit()
    w.clock.advance(0.25)
    assert second.go().backend == BEDROCK


def test_nobody_waits_longer_than_the_client_does() -> None:
    w = World()
    both_throttled(w, 300.0, 40.0)
    impatient = w.request(patience=Seconds(39.0))
    go = impatient.go()
    assert (go.backend, go.reason) == (BEDROCK, Reason.LAST_RESORT)


def test_beyond_the_most_the_soonest_is_tried_once_a_minute_by_one_request() -> None:
    w = World()
    both_throttled(w, 300.0, 90.0)
    first = w.request()
    go = first.go()
    assert (go.backend, go.reason) == (BEDROCK, Reason.LAST_RESORT)
    first.fail(throttled(90.0))
    assert first.go().backend == CLAUDE, "then the other one"
    first.fail(throttled(300.0))
    assert first.stop().retry_after == pytest.approx(90.0)
    stop = w.request().stop()
    assert stop.retry_after == pytest.approx(90.0)
    w.clock.advance(60.0)
    assert w.request().hold() == pytest.approx(30.0)


def test_waits_add_up_to_no_more_than_the_most() -> None:
    w = World(Settings(retry_policy=RetryPolicy(rate_limit=Retry(0, 2.0, 60.0)), timeouts=Timeouts(total_attempts=9)))
    request = both_throttled(w, 3000.0, 40.0)
    assert request.hold() == pytest.approx(40.0)
    w.clock.advance(40.0)
    assert request.go().backend == BEDROCK
    request.fail(throttled(40.0))
    assert isinstance(request.ask(), Stop)


def test_resting_breakers_do_not_keep_a_request_from_being_sent() -> None:
    """Never worse than without us: with nothing healthy left, everybody may try the one that recovers soonest."""
    w = World(Settings(timeouts=Timeouts(total_attempts=9)))
    request = w.request()
    for _ in range(4):
        request.go()
        request.fail(Outcome.OVERLOADED)
    assert {w.gate(CLAUDE), w.gate(BEDROCK)} == {Gate.OPEN}
    assert isinstance(request.ask(), Stop)
    goes = [w.request().go() for _ in range(3)]
    assert [(go.backend, go.reason) for go in goes] == [(CLAUDE, Reason.LAST_RESORT)] * 3
    assert not any(go.permit.probe for go in goes)
    changes = w.policy.committed(goes[0].permit, w.clock.now())
    assert [t.fields["to"] for t in changes if t.kind is TransitionKind.BREAKER_CHANGED] == ["closed"]


def test_the_only_backend_is_asked_whatever_its_state() -> None:
    w = World(Settings(backends=THREE[:1]))
    request = w.request()
    request.go()
    request.fail(w.plan())
    assert request.stop().retry_after == pytest.approx(7201.0)
    goes = [w.request().go() for _ in range(3)]
    assert {go.backend for go in goes} == {CLAUDE}
    ended = w.policy.committed(goes[0].permit, w.clock.now())
    assert [t.kind for t in ended] == [TransitionKind.COOLDOWN_ENDED]


# --- as many as fit --------------------------------------------------------------------------------


def crowded(w: World) -> list[Request]:
    """Bedrock serves five at once and throttles the sixth; then its throttle is over."""
    w.limit_primary()
    w.clock.advance(11.0)
    serving = [w.request() for _ in range(5)]
    for request in serving:
        assert request.go().backend == BEDROCK
        request.commit()
    sixth = w.request()
    sixth.go()
    sixth.fail(throttled(5.0))
    w.clock.advance(5.0)
    return serving


def test_a_full_backend_is_not_sent_what_it_would_throttle() -> None:
    w = World()
    serving = crowded(w)
    fresh = w.request()
    assert fresh.hold() == pytest.approx(0.5)
    serving[0].succeed()
    w.clock.advance(0.5)
    go = fresh.go()
    assert (go.backend, go.permit.probe) == (BEDROCK, True)


def test_a_request_that_was_throttled_waits_until_one_has_finished() -> None:
    w = World()
    w.limit_primary()
    w.clock.advance(11.0)
    serving = [w.request() for _ in range(5)]
    for request in serving:
        request.go()
        request.commit()
    sixth = w.request()
    sixth.go()
    sixth.fail(throttled(5.0))
    assert sixth.hold() == pytest.approx(5.0)
    w.clock.advance(5.0)
    assert sixth.hold() == pytest.approx(0.5)
    serving[0].succeed()
    assert sixth.go().backend == BEDROCK


def test_a_full_backend_is_passed_over_for_another_one() -> None:
    w = World(Settings(backends=THREE))
    crowded(w)
    w.clock.advance(60.0)
    w.policy._desk.throttled(BEDROCK, OPUS, w.clock.now().monotonic)
    assert w.request().go().backend == EU


def test_nobody_waits_for_a_full_backend_for_ever() -> None:
    w = World()
    crowded(w)
    for _ in range(119):
        w.policy._desk.throttled(BEDROCK, OPUS, w.clock.now().monotonic)
        w.clock.advance(0.5)
    request = w.request(patience=Seconds(0.1))
    assert request.go().backend == BEDROCK


def test_what_has_waited_long_enough_goes_into_a_full_backend() -> None:
    w = World()
    w.limit_primary()
    w.clock.advance(11.0)
    for request in [w.request() for _ in range(5)]:
        request.go()
        request.commit()
    sixth = w.request()
    sixth.go()
    sixth.fail(throttled(59.8))
    w.clock.advance(sixth.hold())
    w.policy._desk.throttled(BEDROCK, OPUS, w.clock.now().monotonic)
    assert sixth.go().backend == BEDROCK


# --- permits ---------------------------------------------------------------------------------------


def test_a_permit_counts_once() -> None:
    w = World()
    go = w.request().go()
    now = w.clock.now()
    assert w.policy.view(now).in_flight == 1
    assert w.policy.observe(go.permit, w.plan(), now) != []
    assert w.policy.observe(go.permit, w.plan(9e5), now) == []
    assert w.policy.committed(go.permit, now) == []
    assert w.policy.view(now).in_flight == 0
    assert w.policy.settle(go.permit, 5, now) == []


def test_a_permit_from_before_a_restart_says_nothing() -> None:
    w = World()
    go = w.request().go()
    w.policy = Policy(Settings(), Low())
    assert w.policy.observe(go.permit, w.plan(), w.clock.now()) == []
    assert w.served_by() == CLAUDE


def test_a_request_that_was_left_out_gives_its_place_free() -> None:
    """Translation finds that Bedrock cannot take it: the exchange says so with LOCAL, and asks again."""
    w = World()
    w.limit_primary(600.0)
    w.clock.advance(700.0)
    probe = w.request()
    assert probe.go().permit.probe
    assert probe.went is not None
    w.policy.observe(probe.went.permit, Verdict(Outcome.LOCAL), w.clock.now())
    probe.facts = structs.replace(probe.facts, unservable={CLAUDE: "cannot take it"})
    assert probe.go().backend == BEDROCK
    assert w.request().go().permit.probe


# --- reload and restart ----------------------------------------------------------------------------


def test_what_was_told_survives_a_restart() -> None:
    w = World()
    w.limit_primary(3000.0)
    w.policy.force(BEDROCK, SONNET, Epoch(w.clock.wall + 600.0), w.clock.now())
    data = json.loads(json.dumps(w.policy.snapshot()))
    w.clock = FakeClock(w.clock.wall + 100.0, 5.0)
    w.policy = Policy(Settings(), Low())
    w.policy.restore(data, w.clock.now())
    assert w.served_by() == BEDROCK
    assert w.request(SONNET).go().reason is Reason.FORCED
    w.clock.advance(2902.0)
    probe = w.request()
    assert probe.go().reason is Reason.PROBE
    assert TransitionKind.RETURNED in [t.kind for t in probe.succeed()]


def test_a_reload_ends_orders_for_what_is_gone() -> None:
    w = World(Settings(backends=THREE))
    w.policy.force(EU, None, None, w.clock.now())
    ended = w.policy.reload(Settings(), w.clock.now())
    assert [(t.kind, t.backend) for t in ended] == [(TransitionKind.OVERRIDE_ENDED, EU)]
    assert w.served_by() == CLAUDE


def test_requests_under_way_survive_a_reload_that_removes_their_backend() -> None:
    w = World(Settings(backends=THREE))
    request = w.request(forced=EU)
    request.go()
    w.policy.reload(Settings(), w.clock.now())
    assert request.fail(throttled(5.0)) != []
    assert request.stop().why == "no backend is named eu"
    free = w.request()
    free.tries = request.tries
    assert free.go().backend == CLAUDE
