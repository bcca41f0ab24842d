"""The status line."""

from __future__ import annotations

import pytest

from claude_failover.cli.durations import clock_time
from claude_failover.cli.glance import line
from claude_failover.control.status import Current, Health, Override, PlanWindow, Spend
from tests.control_fakes import NOW, sample_status

ENDS = clock_time(NOW + 4320, NOW)


def test_failed_over_says_who_until_when_and_what_it_cost() -> None:
    assert line(sample_status()) == f"Bedrock until {ENDS} · $1.82/$20"


def test_all_well_says_how_full_the_plan_is() -> None:
    status = sample_status(
        health=Health.PROTECTED,
        current=Current("claude"),
        plan=(PlanWindow("5h", 0.423), PlanWindow("7d", None), PlanWindow("7d_opus", 0.9)),
        spend=Spend(),
    )
    assert line(status) == "Claude · 5h 42 %"


def test_a_forced_backend_is_said_to_be() -> None:
    assert line(sample_status(override=Override("bedrock"))).startswith("Bedrock (forced) until")


@pytest.mark.parametrize(
    ("health", "offline", "text"),
    [
        (Health.DOWN, True, "offline"),
        (Health.DOWN, False, "no backend answers"),
        (Health.SPEND_LIMIT, False, "Claude, spend limit reached"),
        (Health.UNPROTECTED, False, "Claude, no failover"),
    ],
)
def test_trouble_is_said_first(health: Health, offline: bool, text: str) -> None:
    status = sample_status(health=health, offline=offline, current=Current("claude"), spend=Spend())
    assert line(status) == text


def test_no_limit_shows_the_spend_alone() -> None:
    assert line(sample_status(spend=Spend(today_usd=3.0), current=Current("bedrock"))) == "Bedrock · $3.00"
