"""A conversation that is too long for Bedrock: its words, translated, make the real Claude Code compact and go on."""

from __future__ import annotations

import pytest

from claude_failover.drill import bedrock_faults, claude_faults
from claude_failover.drill.script import Seen, Step, text
from tests.real.clients import ClaudeCode
from tests.real.stage import scene

pytestmark = pytest.mark.timeout(180)

SUMMARY = "They greeted each other twice."


def asks_for_a_summary(seen: Seen) -> bool:
    """Whether it is Claude Code's own request to compact the conversation."""
    return b"<summary>" in seen.body and b"Continue" not in seen.body


async def test_bedrocks_context_overflow_makes_claude_code_compact(newest: ClaudeCode) -> None:
    def answer(seen: Seen) -> Step:
        if asks_for_a_summary(seen):
            return text(f"<summary>{SUMMARY}</summary>")
        whole = b"Greet me" in seen.body and b"Continue" in seen.body and SUMMARY.encode() not in seen.body
        return bedrock_faults.too_long() if whole else text("Greetings.")

    async with scene(claude_faults.plan_limit()) as stage:
        stage.bedrock.script.always(answer)
        (await stage.ask(newest, "Greet me")).good()
        (await stage.ask(newest, "Greet me again", "--continue")).good()
        assert (await stage.ask(newest, "Continue", "--continue")).good() == "Greetings."
        assert [refusal.message for refusal in stage.bedrock.refusals] == [bedrock_faults.too_long().message]
        sent = [asks_for_a_summary(seen) for seen in stage.bedrock.requests]
        assert sent == [False, False, False, True, False], "the turn, too long; the summary; the turn behind it"
        lines = await stage.exchanges(5)
        assert [line["status"] for line in lines] == [200, 200, 400, 200, 200]
        assert lines[2]["tried"] == ["bedrock:too_long"]
