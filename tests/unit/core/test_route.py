from __future__ import annotations

import random
from typing import Any

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.decision import RequestFacts, Stop
from claude_failover.core.desk import Desk
from claude_failover.core.route import Route, find
from claude_failover.core.settings import Backend, CostTracking, Settings
from claude_failover.core.types import BackendName, Epoch, Kind

CLAUDE, BEDROCK, EU = (BackendName(name) for name in ("claude", "bedrock", "eu"))
BACKENDS = (Backend(CLAUDE, Kind.ANTHROPIC), Backend(BEDROCK, Kind.BEDROCK), Backend(EU, Kind.BEDROCK))
OPUS = "claude-opus-5-5"
ALL = (CLAUDE, BEDROCK, EU)


class World:
    def __init__(self, **more: Any) -> None:
        self.clock = FakeClock()
        self.desk = Desk(Settings(backends=BACKENDS, **more), random.Random(1), None)

    def find(self, model: str = OPUS, **facts: Any) -> Route:
        found = find(self.desk, RequestFacts("x", model, "opus", **facts), self.clock.now())
        assert isinstance(found, Route)
        return found

    def why_not(self, **facts: Any) -> str:
        found = find(self.desk, RequestFacts("x", OPUS, "opus", **facts), self.clock.now())
        assert isinstance(found, Stop)
        return found.why


def test_the_configured_order_is_the_order() -> None:
    assert World().find() == Route(ALL, ALL)


def test_a_request_that_stays_knows_only_the_primary_even_if_it_is_forced_elsewhere() -> None:
    w = World()
    w.desk.overrides.force(EU, None, None, w.clock.now())
    assert w.find(stays="quota probe", forced=BEDROCK) == Route((CLAUDE,), (CLAUDE,), why="quota probe")


def test_a_request_that_stays_where_it_cannot_be_served_is_sent_nowhere() -> None:
    why = World().why_not(stays="quota probe", unservable={CLAUDE: "no id"})
    assert why == "no backend can serve this request (claude: no id)"


def test_the_requests_own_header_goes_over_every_order() -> None:
    w = World()
    w.desk.overrides.force(EU, OPUS, None, w.clock.now())
    route = w.find(forced=BEDROCK)
    assert (route.order, route.forced) == ((BEDROCK,), True)


def test_an_unknown_or_unservable_name_in_the_header_is_an_error() -> None:
    w = World()
    assert w.why_not(forced=BackendName("nowhere")) == "no backend is named nowhere"
    assert "cannot serve this: no id" in w.why_not(forced=BEDROCK, unservable={BEDROCK: "no id"})


def test_an_order_holds_only_for_what_can_be_served_there() -> None:
    w = World()
    w.desk.overrides.force(BEDROCK, None, None, w.clock.now())
    assert w.find().order == (BEDROCK,)
    assert w.find(unservable={BEDROCK: "no id"}).order == (CLAUDE, EU)


@pytest.mark.parametrize(
    ("listed", "order"),
    [((EU,), (CLAUDE, EU)), ((EU, BEDROCK), (CLAUDE, EU, BEDROCK)), ((), (CLAUDE,)), ((EU, CLAUDE), (CLAUDE, EU))],
)
def test_a_models_own_list_follows_the_primary(listed: tuple[BackendName, ...], order: tuple[BackendName, ...]) -> None:
    w = World(fallbacks={OPUS: listed})
    assert w.find().order == order
    assert w.find("claude-haiku-5-5").order == ALL


def test_nobody_left_is_an_error_with_reasons() -> None:
    assert "eu: c" in World().why_not(unservable={CLAUDE: "a", BEDROCK: "b", EU: "c"})


def test_cheapest_first_keeps_the_configured_order_among_equals() -> None:
    w = World(cost_tracking=CostTracking(prefer_primary=False))
    assert w.find(estimates={CLAUDE: 5, BEDROCK: 5, EU: 5}).order == ALL
    assert w.find(estimates={CLAUDE: 5, BEDROCK: 4, EU: 3}).order == (EU, BEDROCK, CLAUDE)
    assert w.find(estimates={BEDROCK: 4, EU: 3}).order == (CLAUDE, EU, BEDROCK)


def test_extra_usage_is_avoided_while_it_lasts() -> None:
    w = World(cost_tracking=CostTracking(avoid_extra_usage=True))
    w.desk.note_extra_usage(CLAUDE, Epoch(w.clock.wall + 60.0), w.clock.now())
    assert w.find().order == (BEDROCK, EU, CLAUDE)
    w.clock.advance(60.0)
    assert w.find().order == ALL


def test_a_conversation_stays_at_home_in_a_tool_loop_only() -> None:
    w = World()
    w.desk.conversations.answered(("s", ""), EU, w.clock.now().monotonic)
    looping = w.find(session="s", in_tool_loop=True)
    assert (looping.order, looping.base, looping.home) == ((EU, CLAUDE, BEDROCK), ALL, EU)
    assert w.find(session="s").order == ALL
    assert w.find(session="other", in_tool_loop=True).order == ALL


def test_with_prefer_primary_off_a_conversation_stays_in_any_case() -> None:
    w = World(cost_tracking=CostTracking(prefer_primary=False))
    w.desk.conversations.answered(("s", ""), EU, w.clock.now().monotonic)
    assert w.find(session="s").order == (EU, CLAUDE, BEDROCK)


def test_a_conversation_at_home_at_the_first_backend_goes_the_usual_way() -> None:
    w = World()
    w.desk.conversations.answered(("s", ""), CLAUDE, w.clock.now().monotonic)
    route = w.find(session="s", in_tool_loop=True)
    assert (route.order, route.base, route.home) == (ALL, ALL, CLAUDE)


def test_a_home_that_cannot_serve_is_no_home() -> None:
    w = World()
    w.desk.conversations.answered(("s", ""), EU, w.clock.now().monotonic)
    route = w.find(session="s", in_tool_loop=True, unservable={EU: "no id"})
    assert (route.order, route.home) == ((CLAUDE, BEDROCK), None)


def test_who_cut_the_last_answer_comes_last_even_if_it_is_home() -> None:
    w = World()
    w.desk.conversations.answered(("s", ""), CLAUDE, w.clock.now().monotonic)
    w.desk.conversations.cut(("s", ""), CLAUDE, w.clock.now().monotonic)
    route = w.find(session="s", in_tool_loop=True)
    assert (route.order, route.home, route.avoids) == ((BEDROCK, EU, CLAUDE), None, CLAUDE)
    assert w.find(session="s", unservable={CLAUDE: "gone"}).avoids is None
