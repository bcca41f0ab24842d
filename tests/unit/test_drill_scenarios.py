"""The list of scenarios: complete, and true to itself."""

from __future__ import annotations

import pytest

from claude_failover.drill.fire import choose
from claude_failover.drill.scenarios import ALL, SLOW, Scenario
from claude_failover.errors import UsageError


@pytest.mark.parametrize("scenario", ALL.values(), ids=lambda scenario: scenario.name)
def test_a_scenario_breaks_something_and_fits_into_the_table(scenario: Scenario) -> None:
    assert scenario.claude or scenario.claude_always or scenario.outage
    assert len(scenario.name) <= 20
    assert len(scenario.title) <= 64
    assert sum(scenario.attempts) <= 4 * len(scenario.turns)


def test_every_class_of_failure_that_a_user_can_understand_is_rehearsed() -> None:
    assert {
        "plan-limit", "throttle", "bare-429", "family-limit", "overloaded", "server-error", "outage", "reset",
        "in-band",
        "silence", "stall", "cut-early", "cut-late", "garbage", "both-limited", "invoke", "repair", "expired-token",
        "non-streaming", "tool-loop", "spend-limit",
    } <= set(ALL)  # fmt: skip


def test_scenarios_are_chosen_by_name_in_the_tables_order() -> None:
    assert [one.name for one in choose(["outage", "plan-limit"])] == ["plan-limit", "outage"]
    assert len(choose([])) == len(ALL)
    with pytest.raises(UsageError, match="no scenario is called plan_limit"):
        choose(["plan_limit"])


def test_the_slow_ones_are_ones_that_there_are() -> None:
    assert set(ALL) >= SLOW
