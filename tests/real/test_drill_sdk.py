"""The simulators as Anthropic's own SDK meets them: an independent reader of streams, frames and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anthropic
import pytest
from anthropic import AsyncAnthropic, AsyncAnthropicBedrock

from claude_failover.drill import bedrock_faults, claude_faults
from claude_failover.drill.bedrock_access import API_KEY as BEDROCK_KEY
from claude_failover.drill.claude_api import API_KEY
from claude_failover.drill.script import Answer, Step, Text, Thinking, ToolUse, in_band
from tests.fakes import MODEL, simulated_bedrock, simulated_claude

ANSWER = Answer(blocks=(Thinking("Hm."), Text("Grüße, 世界!", 4), ToolUse("Read", {"path": "x", "lines": [1, 2]})))
MESSAGES: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@asynccontextmanager
async def first_party(*steps: Step) -> AsyncIterator[AsyncAnthropic]:
    async with (
        simulated_claude(*steps) as claude,
        AsyncAnthropic(base_url=claude.url, api_key=API_KEY, max_retries=0) as client,
    ):
        yield client


@asynccontextmanager
async def bedrock_client(*steps: Step) -> AsyncIterator[AsyncAnthropicBedrock]:
    # The SDK announces itself with x-stainless headers and sends its own newer version: both are its right here.
    async with (
        simulated_bedrock(*steps, strict=False, allow_violations=True) as bedrock,
        AsyncAnthropicBedrock(
            base_url=bedrock.url,
            api_key=BEDROCK_KEY,
            aws_region="us-east-1",
            max_retries=0,
        ) as client,
    ):
        yield client
        assert all("a header of the client's" in violation for violation in bedrock.violations)


def checked(message: anthropic.types.Message) -> None:
    thought, words, call = message.content
    assert thought.type == "thinking"
    assert thought.thinking == "Hm."
    assert words.type == "text"
    assert words.text == "Grüße, 世界!"
    assert call.type == "tool_use"
    assert call.input == {"path": "x", "lines": [1, 2]}
    assert message.stop_reason == "tool_use"
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 1


async def test_the_sdk_reads_a_message_and_a_stream() -> None:
    async with first_party(ANSWER, ANSWER) as client:
        checked(await client.messages.create(model=MODEL, max_tokens=100, messages=MESSAGES))
        async with client.messages.stream(model=MODEL, max_tokens=100, messages=MESSAGES) as stream:
            checked(await stream.get_final_message())


async def test_the_sdk_reads_bedrocks_message_and_frames() -> None:
    model = "global.anthropic.claude-opus-5-5"
    async with bedrock_client(ANSWER, ANSWER) as client:
        checked(await client.messages.create(model=model, max_tokens=100, messages=MESSAGES))
        async with client.messages.stream(model=model, max_tokens=100, messages=MESSAGES) as stream:
            checked(await stream.get_final_message())


async def test_the_sdk_tells_limits_and_overloads_apart() -> None:
    async with first_party(claude_faults.plan_limit(), claude_faults.overloaded(), in_band("start")) as client:
        with pytest.raises(anthropic.RateLimitError) as limited:
            await client.messages.create(model=MODEL, max_tokens=100, messages=MESSAGES)
        assert limited.value.response.headers["anthropic-ratelimit-unified-5h-status"] == "rejected"
        with pytest.raises(anthropic.InternalServerError) as overloaded:
            await client.messages.create(model=MODEL, max_tokens=100, messages=MESSAGES)
        assert overloaded.value.status_code == 529
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            async with client.messages.stream(model=MODEL, max_tokens=100, messages=MESSAGES) as stream:
                await stream.get_final_message()


async def test_the_sdk_reads_bedrocks_refusals() -> None:
    model = "global.anthropic.claude-opus-5-5"
    async with bedrock_client(bedrock_faults.throttled(), bedrock_faults.exception_frame()) as client:
        with pytest.raises(anthropic.RateLimitError, match="Too many tokens"):
            await client.messages.create(model=model, max_tokens=100, messages=MESSAGES)
        with pytest.raises(anthropic.APIError, match="Too many tokens"):
            async with client.messages.stream(model=model, max_tokens=100, messages=MESSAGES) as stream:
                await stream.get_final_message()
