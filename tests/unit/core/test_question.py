from __future__ import annotations

import random
from typing import Any

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.decision import Hold, RequestFacts, Try
from claude_failover.core.desk import Desk
from claude_failover.core.gates import Gate, Spot
from claude_failover.core.question import Question, only_there
from claude_failover.core.route import Route
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.spend import Refusal
from claude_failover.core.types import BackendName, Epoch, Kind, Monotonic, Outcome, Reason, Seconds, Verdict

CLAUDE, BEDROCK, EU = (BackendName(name) for name in ("claude", "bedrock", "eu"))
BACKENDS = (Backend(CLAUDE, Kind.ANTHROPIC), Backend(BEDROCK, Kind.BEDROCK), Backend(EU, Kind.BEDROCK))
M = "claude-opus-5-5"
ALL = (CLAUDE, BEDROCK, EU)
ONLY = Verdict(Outcome.CLIENT_ERROR, error_type="bedrock_only")


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.desk = Desk(Settings(backends=BACKENDS), random.Random(1), None)

    def ask(self, *tries: Try, route: Route | None = None, **facts: Any) -> Question:
        about = RequestFacts("x", M, "opus", **facts)
        return Question(self.desk, about, tries, self.clock.now(), route or Route(ALL, ALL), [])

    def block(self, backend: BackendName) -> None:
        self.desk.gates.block(backend, Verdict(Outcome.TLS_FAILED, "expired"), self.clock.now())


def tried(backend: BackendName, verdict: Verdict | Outcome = Outcome.SERVER_ERROR) -> Try:
    told = verdict if isinstance(verdict, Verdict) else Verdict(verdict, "because")
    return Try(backend, Reason.PRIMARY, told, Monotonic(0.0))


def test_all_steps_of_a_decision_see_the_same_world() -> None:
    w = World()
    q = w.ask()
    assert q.spot(CLAUDE) == Spot(CLAUDE, M, "opus")
    assert q.look(CLAUDE).gate is Gate.AVAILABLE
    w.block(CLAUDE)
    assert q.look(CLAUDE).gate is Gate.AVAILABLE
    assert w.ask().look(CLAUDE).gate is Gate.BLOCKED


def test_before_the_first_attempt_only_money_speaks_against_a_backend() -> None:
    q = World().ask()
    q.refused[EU] = Refusal(1, 1, Epoch(0.0))
    assert [q.untried(name) for name in ALL] == [True, True, False]


def test_what_was_tried_or_refused_makes_no_difference_any_more() -> None:
    q = World().ask(tried(CLAUDE))
    q.refused[EU] = Refusal(1, 1, Epoch(0.0))
    assert [q.untried(name) for name in ALL] == [False, True, False]


@pytest.mark.parametrize("verdict", [ONLY, Verdict(Outcome.REPAIRABLE)])
def test_what_bedrock_refuses_bedrock_refuses_elsewhere(verdict: Verdict) -> None:
    q = World().ask(tried(BEDROCK, verdict))
    assert [q.untried(name) for name in ALL] == [True, False, False]


def test_only_some_refusals_are_one_kinds_matter() -> None:
    assert only_there(ONLY)
    assert not only_there(Verdict(Outcome.CLIENT_ERROR))
    assert not only_there(Verdict(Outcome.SERVER_ERROR, error_type="bedrock_only"))


def test_a_backend_may_be_waited_for_after_a_passing_failure_twice_at_most() -> None:
    w = World()
    throttled = tried(BEDROCK, Outcome.THROTTLED)
    assert not w.ask().returnable(BEDROCK)
    assert w.ask(throttled).returnable(BEDROCK)
    assert w.ask(throttled, throttled).returnable(BEDROCK)
    assert not w.ask(throttled, throttled, throttled).returnable(BEDROCK)
    assert not w.ask(tried(BEDROCK, Outcome.DENIED)).returnable(BEDROCK)
    q = w.ask(throttled)
    q.refused[BEDROCK] = Refusal(1, 1, Epoch(0.0))
    assert not q.returnable(BEDROCK)


def test_a_backend_that_takes_no_more_is_full_for_whoever_has_a_choice() -> None:
    w = World()
    w.desk.in_flight[BEDROCK, M] = 5
    w.desk.throttled(BEDROCK, M, w.clock.now().monotonic)
    assert w.ask().full(BEDROCK)
    assert not w.ask().full(CLAUDE)
    assert not w.ask(stays="quota probe").full(BEDROCK)
    assert not w.ask(route=Route((BEDROCK,), (BEDROCK,), forced=True)).full(BEDROCK)


def test_a_backend_that_was_left_is_not_returned_to_at_once_but_for_an_order() -> None:
    w = World()
    assert not w.ask().dwelling(CLAUDE)
    w.desk.dwells.leave(CLAUDE, M, Reason.COOLDOWN, w.clock.now())
    assert w.ask().dwelling(CLAUDE)
    assert not w.ask().dwelling(BEDROCK)
    assert not w.ask(route=Route((CLAUDE,), (CLAUDE,), forced=True)).dwelling(CLAUDE)


def test_waits_add_up_over_a_request() -> None:
    w = World()
    assert w.ask().hold(Seconds(40.0), Seconds(60.0), "soon") == Hold(Monotonic(w.clock.monotonic + 40.0), "soon")
    w.clock.advance(40.0)
    assert w.ask().hold(Seconds(20.0), Seconds(60.0), "soon") is not None
    assert w.ask().hold(Seconds(20.1), Seconds(60.0), "soon") is None


def test_a_wait_that_is_not_begun_does_not_count() -> None:
    w = World()
    assert w.ask(patience=Seconds(10.0)).hold(Seconds(11.0), Seconds(60.0), "soon") is None
    assert w.desk.plan("x").waiting is None


def test_the_primary_needs_no_reason() -> None:
    assert World().ask().reason_for(CLAUDE) == (Reason.PRIMARY, "")


def test_an_order_is_the_reason() -> None:
    route = Route((EU,), (EU,), forced=True, why="forced by hand")
    assert World().ask(route=route).reason_for(EU) == (Reason.FORCED, "forced by hand")


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.STALLED, Reason.CUT),
        (Outcome.PIN_FAILED, Reason.TLS_FAILED),
        (Outcome.REPAIRABLE, Reason.REPAIR),
        (Outcome.LOCAL, Reason.RETRY),
        (Outcome.OVERLOADED, Reason.OVERLOADED),
    ],
)
def test_after_a_failure_it_is_the_reason(outcome: Outcome, reason: Reason) -> None:
    assert World().ask(tried(CLAUDE, outcome)).reason_for(BEDROCK) == (reason, "because")


def test_every_outcome_after_which_something_may_follow_has_a_reason() -> None:
    final = {Outcome.SUCCESS, Outcome.ENTITLEMENT, Outcome.TOO_LONG, Outcome.CLIENT_GONE}
    for outcome in set(Outcome) - final:
        assert isinstance(World().ask(tried(CLAUDE, outcome)).reason_for(BEDROCK)[0], Reason)


def test_a_recovering_backend_is_probed() -> None:
    w = World()
    w.desk.gates.overloaded(Spot(CLAUDE, M, "opus"), w.clock.now())
    w.clock.advance(60.0)
    assert w.ask().reason_for(CLAUDE) == (Reason.PROBE, "overloaded")


def test_a_conversation_at_home_elsewhere_sticks() -> None:
    route = Route((EU, CLAUDE, BEDROCK), ALL, home=EU)
    assert World().ask(route=route).reason_for(EU)[0] is Reason.STICKY
    at_primary = Route(ALL, ALL, home=CLAUDE)
    assert World().ask(route=at_primary).reason_for(CLAUDE)[0] is Reason.PRIMARY


def test_what_is_wrong_with_the_most_preferred_is_the_reason() -> None:
    w = World()
    w.block(CLAUDE)
    assert w.ask().reason_for(BEDROCK) == (Reason.TLS_FAILED, "claude: expired")
    q = World().ask()
    q.refused[CLAUDE] = Refusal(2, 1, Epoch(0.0))
    assert q.reason_for(BEDROCK)[0] is Reason.SPEND_LIMIT
    w = World()
    w.desk.dwells.leave(CLAUDE, M, Reason.BREAKER, w.clock.now())
    assert w.ask().reason_for(BEDROCK) == (Reason.BREAKER, "claude was left a short while ago")


def test_another_first_choice_is_preferred_or_follows_a_cut() -> None:
    cheaper = Route((EU, CLAUDE), (EU, CLAUDE))
    assert World().ask(route=cheaper).reason_for(EU)[0] is Reason.PREFERRED
    cut = Route((BEDROCK, EU, CLAUDE), ALL, avoids=CLAUDE)
    assert World().ask(route=cut).reason_for(BEDROCK) == (Reason.CUT, "claude cut this conversation's last answer")


def test_a_cut_elsewhere_is_no_reason_for_the_primary() -> None:
    route = Route((CLAUDE, BEDROCK, EU), (CLAUDE, EU, BEDROCK), avoids=EU)
    assert World().ask(route=route).reason_for(CLAUDE)[0] is Reason.PRIMARY


def test_the_summary_names_what_was_tried_and_what_was_seen() -> None:
    w = World()
    w.block(EU)
    q = w.ask(tried(CLAUDE))
    q.look(CLAUDE)
    q.look(BEDROCK)
    q.look(EU)
    assert q.summary() == "claude: server_error; bedrock: available; eu: expired"
