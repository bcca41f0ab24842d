"""The ``anthropic`` SDK through the daemon, streaming and not: rescued without a word, or told by a typed error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anthropic
import pytest
from anthropic import AsyncAnthropic

from claude_failover.core.types import Surface
from claude_failover.drill import bedrock_faults, claude_faults
from claude_failover.drill.claude_api import API_KEY, OAUTH_TOKEN
from claude_failover.drill.claude_rules import OAUTH_BETA
from claude_failover.drill.script import Answer, Cut, Drop, How, InBand, Step, Text, Thinking, ToolUse, Wire
from tests.fakes import MODEL
from tests.real.stage import Stage, scene

pytestmark = pytest.mark.timeout(60)

ASKED: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Hello"}]
RESCUE = Answer(
    blocks=(Thinking("Hm."), Text("Grüße von Bedrock!", 4), ToolUse("Read", {"path": "x", "lines": [1, 2]}))
)
OVER_BUDGET = "cost_tracking: {daily_limit: 0.0001, alert_threshold: 0.00005}"

TROUBLES: dict[str, Callable[[], Step]] = {
    "plan-limit": claude_faults.plan_limit,
    "throttle": lambda: claude_faults.throttle(60),
    "overloaded": claude_faults.overloaded,
    "server-error": claude_faults.server_error,
    "billing": claude_faults.billing,
    "dropped": Drop,
    "overload-inside-a-200": lambda: Answer(error=InBand("start")),
}


@asynccontextmanager
async def sdk(stage: Stage, *, oauth: bool = False) -> AsyncIterator[AsyncAnthropic]:
    """A client that does not retry by itself: whatever goes well is the daemon's doing."""
    key = {"x-claude-failover-key": stage.key}
    if oauth:
        client = AsyncAnthropic(
            base_url=stage.address,
            auth_token=OAUTH_TOKEN,
            max_retries=0,
            default_headers={**key, "anthropic-beta": OAUTH_BETA},
        )
    else:
        client = AsyncAnthropic(base_url=stage.address, api_key=API_KEY, max_retries=0, default_headers=key)
    async with client:
        yield client


async def ask(client: AsyncAnthropic, *, streaming: bool) -> anthropic.types.Message:
    """One question, either way."""
    if not streaming:
        return await client.messages.create(model=MODEL, max_tokens=1000, messages=ASKED)
    async with client.messages.stream(model=MODEL, max_tokens=1000, messages=ASKED) as stream:
        return await stream.get_final_message()


def rescued(message: anthropic.types.Message, stage: Stage) -> None:
    """The whole answer of Bedrock's, in the SDK's own types."""
    thought, words, call = message.content
    assert thought.type == "thinking"
    assert words.type == "text"
    assert words.text == "Grüße von Bedrock!"
    assert call.type == "tool_use"
    assert call.input == {"path": "x", "lines": [1, 2]}
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens > 0
    assert stage.bedrock.refusals == []


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_sdk_does_not_notice(trouble: str) -> None:
    async with scene(bedrock=[RESCUE, RESCUE]) as stage, sdk(stage) as client:
        stage.claude.script.always(TROUBLES[trouble]())
        # The first is the one that fails over; the second finds the primary left, or fails over once more.
        for streaming in (True, False):
            rescued(await ask(client, streaming=streaming), stage)


async def test_the_sdk_does_not_notice_when_the_first_request_is_no_stream() -> None:
    async with scene(claude_faults.plan_limit(), bedrock=[RESCUE]) as stage, sdk(stage, oauth=True) as client:
        rescued(await ask(client, streaming=False), stage)
        assert (await stage.exchanges())[0]["tried"] == ["claude:plan_limit", "bedrock:success"]


@pytest.mark.parametrize("surface", [Surface.MESSAGES, Surface.INVOKE])
async def test_the_sdk_does_not_notice_an_outage(surface: Surface) -> None:
    async with (
        scene(bedrock=[RESCUE, RESCUE], surface=surface) as stage,
        stage.claude.refusing(),
        sdk(stage, oauth=True) as client,
    ):
        for streaming in (False, True):
            rescued(await ask(client, streaming=streaming), stage)


async def test_the_healthy_primary_answers_as_without_us() -> None:
    async with scene(RESCUE, RESCUE) as stage, sdk(stage, oauth=True) as client:
        for streaming in (True, False):
            rescued(await ask(client, streaming=streaming), stage)
        raw = await client.messages.with_raw_response.create(model=MODEL, max_tokens=10, messages=ASKED)
        assert raw.headers["anthropic-ratelimit-unified-status"] == "allowed"
        assert raw.headers["x-claude-failover-backend"] == "claude"
        assert not stage.bedrock.requests


async def test_the_spend_limit_is_a_rate_limit_error_that_is_not_retried() -> None:
    async with scene(*[claude_faults.plan_limit()] * 9, more=OVER_BUDGET) as stage, sdk(stage) as client:
        patient = client.with_options(max_retries=4)
        for streaming in (True, False):
            with pytest.raises(anthropic.RateLimitError, match="claude-failover") as told:
                await ask(patient, streaming=streaming)
            assert told.value.response.headers["x-should-retry"] == "false"
            assert int(told.value.response.headers["retry-after"]) > 0
        assert len(await stage.exchanges(2)) == 2
        assert not stage.bedrock.requests


async def test_when_nothing_helps_it_is_the_primarys_own_error() -> None:
    limits, denials = [claude_faults.plan_limit()] * 9, [bedrock_faults.access_denied()] * 9
    async with scene(*limits, bedrock=denials) as stage, sdk(stage) as client:
        for streaming in (True, False):
            with pytest.raises(anthropic.RateLimitError, match="session limit") as told:
                await ask(client, streaming=streaming)
            assert told.value.response.headers["anthropic-ratelimit-unified-5h-status"] == "rejected"


async def test_the_requests_own_fault_is_told_as_without_us() -> None:
    async with scene(claude_faults.client_error(400), claude_faults.client_error(404)) as stage, sdk(stage) as client:
        with pytest.raises(anthropic.BadRequestError, match="at least one message"):
            await ask(client, streaming=False)
        with pytest.raises(anthropic.NotFoundError, match="claude-nonesuch-1"):
            await ask(client, streaming=True)
        assert not stage.bedrock.requests


async def test_a_wrong_client_key_is_an_error_that_names_the_daemon() -> None:
    async with scene() as stage, AsyncAnthropic(base_url=stage.address, api_key="nothing", max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError, match="claude-failover") as told:
            await ask(client, streaming=False)
        assert told.value.status_code in (401, 403)
        assert not stage.claude.requests


async def test_a_stream_that_breaks_after_the_first_word_raises_and_is_never_completed() -> None:
    half = Text("Half of an answer that", 4)
    ways = [Answer(blocks=(half,), wire=Wire(cut=Cut(4, how))) for how in How]
    async with scene(*ways, bedrock=[ways[0]]) as stage, sdk(stage) as client:
        for _ in ways:
            with pytest.raises(anthropic.APIError, match="claude-failover"):
                await ask(client, streaming=True)
        assert not stage.bedrock.requests, "no other backend's words in a started answer"
        stage.claude.script.always(claude_faults.plan_limit())
        with pytest.raises(anthropic.APIError, match="claude-failover"):
            await ask(client, streaming=True)
        assert stage.bedrock.count == 1


async def test_our_key_alone_without_a_stored_credential_is_answered_by_bedrock() -> None:
    """The Claude API has nobody to bill then; our key must not reach it in a credential's place."""
    async with (
        scene(bedrock=[RESCUE]) as stage,
        AsyncAnthropic(base_url=stage.address, api_key=stage.key, max_retries=0) as client,
    ):
        rescued(await ask(client, streaming=False), stage)
        assert not stage.claude.requests
