"""The main job of the product: the real Claude Code, a Claude API in trouble, and a user who does not notice.

Each scene runs the installed client headless through a running daemon. What is looked at: the words that the user
reads, that there is no error among them, and that Bedrock was asked for nothing that it does not take. What leaked
from one side to the other is looked at in every scene, when it ends (tests/real/stage.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from claude_failover.core.types import Surface
from claude_failover.drill import bedrock_faults, claude_faults
from claude_failover.drill.claude_api import API_KEY, OAUTH_TOKEN
from claude_failover.drill.script import Answer, Cut, Drop, How, InBand, Step, Text, Wire, cut, text, tool_call
from tests.real.clients import ClaudeCode
from tests.real.stage import Stage, daemon_environment, scene

pytestmark = pytest.mark.timeout(120)

PRIMARY = "The Claude API says hello."
RESCUE = "Bedrock says hello."
ECHO = tool_call("Bash", {"command": "echo made-by-a-tool", "description": "Print a line"})
TOOLS = ("--allowedTools", "Bash", "--permission-mode", "bypassPermissions")


async def rescued(stage: Stage, signal: str, *, times: int = 1) -> None:
    """Bedrock answered so many requests, refused none of them, and the daemon says why it was asked."""
    assert stage.bedrock.refusals == []
    assert stage.bedrock.served_answers == times
    exchanges = await stage.exchanges(times)
    tried = [line["tried"] for line in exchanges if line["failed_over"]]
    assert tried, exchanges
    assert f"claude:{signal}" in tried[0], tried


@pytest.mark.parametrize("oauth", [False, True], ids=["api-key", "oauth"])
async def test_a_plan_limit_is_not_noticed(newest: ClaudeCode, oauth: bool) -> None:
    async with scene(claude_faults.plan_limit(), bedrock=[text(RESCUE)]) as stage:
        told = await stage.ask(newest, "Say hello", oauth=oauth)
        assert told.good() == RESCUE
        await rescued(stage, "plan_limit")
        sent = stage.claude.requests[0]
        assert (sent.header("x-api-key"), sent.header("authorization")) == (
            (None, f"Bearer {OAUTH_TOKEN}") if oauth else (API_KEY, None)
        )


@pytest.mark.parametrize("surface", [Surface.MESSAGES, Surface.INVOKE])
async def test_a_limit_between_two_turns_of_a_tool_session_is_not_noticed(newest: ClaudeCode, surface: Surface) -> None:
    async with scene(ECHO, claude_faults.plan_limit(), bedrock=[text(RESCUE)], surface=surface) as stage:
        told = await stage.ask(newest, "Run the command and tell me what it says", *TOOLS)
        assert told.good() == RESCUE
        await rescued(stage, "plan_limit")
        results = [
            block
            for message in stage.asked(stage.bedrock)[-1]["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
            if block["type"] == "tool_result"
        ]
        assert "made-by-a-tool" in json.dumps(results)
        assert told.result["num_turns"] == 2


@pytest.mark.parametrize("surface", [Surface.MESSAGES, Surface.INVOKE])
async def test_a_whole_tool_session_runs_at_bedrock(newest: ClaudeCode, surface: Surface) -> None:
    async with scene(claude_faults.plan_limit(), bedrock=[ECHO, ECHO, text(RESCUE)], surface=surface) as stage:
        told = await stage.ask(newest, "Run the command twice", *TOOLS)
        assert told.good() == RESCUE
        await rescued(stage, "plan_limit", times=3)
        assert len(stage.claude.requests) == 1, "a limited primary was asked again"


TROUBLES: dict[str, tuple[str, Callable[[], Step]]] = {
    "529": ("overloaded", claude_faults.overloaded),
    "500": ("server_error", claude_faults.server_error),
    "edge-502": ("server_error", lambda: claude_faults.server_error(502)),
    "overload-inside-a-200": ("overloaded", lambda: Answer(error=InBand("first"))),
    "overload-after-message-start": ("overloaded", lambda: Answer(error=InBand("start"))),
    "cut-before-content": ("cut", lambda: cut("start")),
    "dropped": ("unreachable", Drop),
    "throttle": ("throttled", lambda: claude_faults.throttle(60)),
    "billing": ("billing", claude_faults.billing),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_trouble_before_the_first_word_is_not_noticed(newest: ClaudeCode, name: str) -> None:
    signal, step = TROUBLES[name]
    async with scene(*[step()] * 4, bedrock=[text(RESCUE)]) as stage:
        told = await stage.ask(newest, "Say hello")
        assert told.good() == RESCUE
        await rescued(stage, signal)


@pytest.mark.parametrize("surface", [Surface.MESSAGES, Surface.INVOKE])
async def test_an_outage_is_not_noticed(newest: ClaudeCode, surface: Surface) -> None:
    async with scene(bedrock=[text(RESCUE)], surface=surface) as stage, stage.claude.refusing():
        told = await stage.ask(newest, "Say hello")
        assert told.good() == RESCUE
        await rescued(stage, "unreachable")


@pytest.mark.parametrize("how", [How.RESET, How.FIN, How.END])
async def test_a_stream_cut_in_the_middle_ends_in_a_whole_answer(newest: ClaudeCode, how: How) -> None:
    broken = Answer(blocks=(Text("Half of an answer that", 4),), wire=Wire(cut=Cut(4, how)))
    async with scene(broken, bedrock=[text(RESCUE)]) as stage:
        told = await stage.ask(newest, "Say hello")
        assert told.good() == RESCUE, "the next attempt of the same conversation goes to the other backend"
        assert stage.bedrock.refusals == []


async def test_an_older_client_gets_its_whole_answer_too(older: ClaudeCode) -> None:
    """It repeats a broken turn without streaming, so both legs must serve that."""
    broken = Answer(blocks=(Text("Half of an answer that", 4),), wire=Wire(cut=Cut(4)))
    async with scene(broken, bedrock=[text(RESCUE)]) as stage:
        told = await stage.ask(older, "Say hello")
        assert told.good() == RESCUE
        assert stage.bedrock.refusals == []


async def test_a_subagent_is_rescued_beside_its_parent(newest: ClaudeCode) -> None:
    task = {"description": "Greet", "prompt": "Say hello", "subagent_type": "general-purpose"}
    async with scene(tool_call("Agent", task)) as stage:
        stage.claude.script.default = claude_faults.plan_limit()
        told = await stage.ask(newest, "Let an agent say hello", "--permission-mode", "bypassPermissions")
        assert told.good().startswith("Simulated Bedrock")
        assert stage.bedrock.refusals == []
        assert {line["class"] for line in await stage.exchanges(3)} >= {"main", "subagent"}


async def test_a_session_of_many_tools_survives_a_cut_in_its_middle(newest: ClaudeCode) -> None:
    broken = Answer(blocks=(Text("Half of an answer that", 4),), wire=Wire(cut=Cut("content")))
    async with scene(ECHO, broken, bedrock=[ECHO, text(RESCUE)]) as stage:
        told = await stage.ask(newest, "Run the command and tell me what it says", *TOOLS)
        assert told.good() == RESCUE
        assert stage.bedrock.refusals == []


async def test_bedrock_troubled_too_is_retried_there(newest: ClaudeCode) -> None:
    async with scene(claude_faults.plan_limit(), bedrock=[bedrock_faults.unavailable(), text(RESCUE)]) as stage:
        told = await stage.ask(newest, "Say hello")
        assert told.good() == RESCUE


async def test_back_at_the_primary_nothing_is_left_behind(newest: ClaudeCode) -> None:
    async with scene(claude_faults.overloaded(), text(PRIMARY)) as stage:
        told = await stage.ask(newest, "Say hello")
        assert told.good() == PRIMARY
        assert not stage.bedrock.requests


async def test_the_spend_limit_is_shown_once_and_ends_the_turn(newest: ClaudeCode) -> None:
    more = "cost_tracking: {daily_limit: 0.01, alert_threshold: 0.005}"
    async with scene(*[claude_faults.plan_limit()] * 4, more=more) as stage:
        told = await stage.ask(newest, "Say hello")
        assert told.exit_code == 1
        assert told.result["is_error"] is True
        assert "claude-failover" in told.text, told.text
        assert told.text.count("limit") >= 1
        assert not stage.bedrock.requests
        assert len(await stage.exchanges()) == 1, "the client asked again although it was told not to"
        assert told.seconds < 30


async def test_nobody_left_to_ask_is_told_in_the_primarys_words(newest: ClaudeCode) -> None:
    denied = [bedrock_faults.access_denied()] * 4
    async with scene(*[claude_faults.plan_limit()] * 4, bedrock=denied) as stage:
        told = await stage.ask(newest, "Say hello", oauth=True)
        assert told.exit_code == 1
        assert "hit your 5-hour limit · resets" in told.text, "the reset time comes from the primary's own headers"
        assert len(await stage.exchanges()) == 1


@pytest.mark.parametrize("oauth", [False, True], ids=["api-key", "oauth"])
async def test_run_starts_the_daemon_and_claude(newest: ClaudeCode, oauth: bool) -> None:
    async with scene(claude_faults.plan_limit(), bedrock=[text(RESCUE)], daemon=False) as stage:
        programs = stage.home / "bin"
        programs.mkdir()
        (programs / "claude").symlink_to(newest.program)
        credential = {"CLAUDE_CODE_OAUTH_TOKEN": OAUTH_TOKEN} if oauth else {"ANTHROPIC_API_KEY": API_KEY}
        environment = {
            **stage.base_environment,
            **daemon_environment(stage),
            **credential,
            "PATH": f"{programs}:{stage.base_environment['PATH']}",
        }
        us = [sys.executable, "-m", "claude_failover"]
        try:
            told = await stage.run([*us, "run", "-p", "Say hello", "--output-format", "json"], environment)
            assert told.exit_code == 0, (told.stdout, told.stderr)
            assert told.text == RESCUE
            await rescued(stage, "plan_limit")
            stage.key = (stage.home / "cf" / "state" / "client.key").read_text("ascii").strip()
            status = await stage.run([*us, "status", "--json"], environment)
            assert json.loads(status.stdout)["schema_version"] >= 1
        finally:
            stopped = await stage.run([*us, "stop", "--now"], environment)
        assert stopped.exit_code == 0, stopped.stderr
