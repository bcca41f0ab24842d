"""The first sentence, and the short line."""

from __future__ import annotations

from datetime import UTC

import pytest

from claude_failover.cli import words
from claude_failover.control.status import BackendStatus, Current, Health, Notice, Spend
from tests.control_fakes import NOW, sample_status

HEALTHY = Current("claude", "primary")


@pytest.mark.parametrize(
    ("health", "current", "sentence"),
    [
        (Health.PROTECTED, HEALTHY, "Protected: claude answers, bedrock stands by"),
        (
            Health.FAILED_OVER,
            Current("bedrock", "breaker", "claude fails", NOW + 30),
            "Failed over: bedrock answers until 11:07 (in 30 s): claude fails",
        ),
        (Health.FAILED_OVER, Current("bedrock", "breaker"), "Failed over: bedrock answers"),
        (
            Health.FAILED_OVER,
            Current("claude", "primary", "claude-opus-5 is cooling"),
            "Failed over for some models: claude answers the others: claude-opus-5 is cooling",
        ),
        (Health.UNPROTECTED, HEALTHY, "Not protected: claude answers, but nobody could take over"),
        (
            Health.SPEND_LIMIT,
            HEALTHY,
            "Stopped by the spend limit: today's limit of $20.00 is reached; it resets 21:20 (in 10 h 13 min)",
        ),
        (
            Health.DOWN,
            Current("", "", "all cooling", NOW + 60),
            "Down: nobody can answer until 11:07 (in 1 min): all cooling",
        ),
    ],
)  # fmt: skip
def test_one_sentence_says_it(health: Health, current: Current, sentence: str) -> None:
    assert words.headline(sample_status(health=health, current=current), UTC) == sentence


def test_offline_is_said_to_be_the_networks_fault() -> None:
    assert words.headline(sample_status(health=Health.DOWN, offline=True), UTC) == "Offline: no backend can be reached"


def test_a_lone_primary_has_nobody_standing_by() -> None:
    status = sample_status(health=Health.PROTECTED, current=HEALTHY, backends=(BackendStatus("claude", "anthropic"),))
    assert words.headline(status, UTC) == "Protected: claude answers"


def test_no_backend_is_still_a_sentence() -> None:
    status = sample_status(health=Health.UNPROTECTED, current=Current(), backends=())
    assert words.headline(status, UTC) == "Not protected: the primary answers, but nobody could take over"


def test_a_limit_without_amount_or_reset_is_still_a_sentence() -> None:
    status = sample_status(health=Health.SPEND_LIMIT, spend=Spend())
    assert words.headline(status, UTC) == "Stopped by the spend limit: today's limit is reached"


def test_short_has_health_backend_end_and_money() -> None:
    assert words.short(sample_status(), UTC) == "failed_over · bedrock · until 12:18 · $1.82/$20"


def test_short_counts_what_needs_you() -> None:
    one, two = (Notice("a", "A"),), (Notice("a", "A"), Notice("b", "B"))
    quiet = sample_status(current=Current(), spend=Spend())
    assert words.short(quiet, UTC) == "failed_over · - · $0.00"
    assert words.short(sample_status(needs_you=one), UTC).endswith("1 needs you")
    assert words.short(sample_status(needs_you=two), UTC).endswith("2 need you")
