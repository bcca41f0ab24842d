"""explain and models as text."""

from __future__ import annotations

from datetime import UTC

import pytest
from msgspec.structs import replace

from claude_failover.cli import story
from claude_failover.control.api import Explain, Learned, ModelEntry, Models
from claude_failover.core.types import ExchangeRecord
from tests.control_fakes import sample_story


def told(record: ExchangeRecord, width: int = 80) -> str:
    return story.explain_text(Explain(record), width=width, colour=False, zone=UTC)


def test_a_rescued_request_reads_from_top_to_bottom() -> None:
    assert (
        told(sample_story())
        == """\
cfr_1  claude-opus-5  streaming
served with 200, answered by bedrock, failed over
at 11:06, 4.22 s, first content after 1.31 s, 4.0 ms were ours
session s-1

0.000 s  claude   opened
0.210 s  bedrock  failed over  the 5-hour window is used up
1.310 s  bedrock  committed

attempt 0  claude, because: primary
           plan limit 429: the 5-hour window is used up
           0.21 s
attempt 1  bedrock over messages, because: plan limit
           success 200
           4.00 s, 20900 tokens in (20000 cached), 250 out, $0.0215"""
    )


def test_a_request_that_we_refused_has_no_attempts() -> None:
    refused = replace(
        sample_story(), model="", streaming=False, outcome="refused", status=429, backend=None, attempts=(), steps=(),
        failed_over=False, ttft=None, session=None,
    )  # fmt: skip
    text = told(refused)
    assert "refused with 429, answered by claude-failover itself" in text
    assert "no model" in text
    assert "not streaming" in text
    assert "attempt" not in text


def test_a_cost_on_a_subscription_is_notional_and_a_guess_is_marked() -> None:
    record = sample_story()
    last = replace(record.attempts[1], paid=False, price_estimated=True)
    assert "~$0.0215 notional" in told(replace(record, attempts=(last,)))


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in told(sample_story(), width).splitlines()) <= width


MODELS = Models(
    (
        ModelEntry(
            "claude-opus-5", "bedrock", "global.anthropic.claude-opus-5", ("messages", "invoke"), "table", 5, 25
        ),
        ModelEntry("claude-new-9", "bedrock", "", note="no rule"),
    ),
    (Learned("bedrock", "claude-opus-5", "messages", "beta fast-mode-2026-02-01"),),
)


def test_a_wide_terminal_has_one_line_a_model() -> None:
    text = story.models_text(MODELS, width=140, colour=False)
    (line,) = [line for line in text.splitlines() if line.startswith("claude-opus-5")]
    assert line.split() == [
        "claude-opus-5",
        "bedrock",
        "messages,",
        "invoke",
        "5",
        "/",
        "25",
        "table",
        "global.anthropic.claude-opus-5",
    ]
    assert "not served  no rule" in text
    assert "beta fast-mode-2026-02-01" in text


def test_a_narrow_terminal_has_the_ids_below() -> None:
    text = story.models_text(MODELS, width=80, colour=False)
    assert "claude-opus-5 → global.anthropic.claude-opus-5" in text
    assert "claude-new-9 → not served no rule" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_nothing_learned_is_not_a_table() -> None:
    assert "learned" not in story.models_text(Models(MODELS.entries), width=140, colour=False)
