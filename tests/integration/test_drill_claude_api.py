"""The simulated Claude API over real sockets: who may ask, what is answered, what is counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.types import Usage
from claude_failover.drill import claude_faults
from claude_failover.drill.claude_api import SimulatedClaude
from claude_failover.drill.claude_faults import CATALOGUE, Plan
from claude_failover.drill.script import Answer, Refusal, Script, Step, in_band, tool_call
from tests.fakes import claude_headers, messages_body, said, simulated_claude, sse_events


@asynccontextmanager
async def both(*steps: Step) -> AsyncIterator[tuple[SimulatedClaude, aiohttp.ClientSession]]:
    clock = FakeClock()
    async with simulated_claude(*steps, clock=clock) as claude, aiohttp.ClientSession(claude.url) as session:
        yield claude, session


async def post(
    session: aiohttp.ClientSession,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    path: str = "/v1/messages?beta=true",
) -> tuple[int, dict[str, str], bytes]:
    async with session.post(path, data=body or messages_body(), headers=headers or claude_headers()) as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()


async def test_a_subscriber_gets_a_stream_with_the_plans_standing() -> None:
    async with both() as (claude, session):
        status, headers, body = await post(session)
        assert status == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["anthropic-ratelimit-unified-status"] == "allowed"
        assert "anthropic-ratelimit-tokens-limit" not in headers
        assert headers["request-id"].startswith("req_")
        assert said(body) == "Simulated Claude, answer 1."
        assert [name for name, _ in sse_events(body)].count("ping") == 1
        assert claude.requests[-1].query == "beta=true"


async def test_a_key_gets_its_own_kind_of_limits() -> None:
    async with both() as (_, session):
        _, headers, _ = await post(session, headers=claude_headers(oauth=False))
        assert headers["anthropic-ratelimit-tokens-remaining"] == "40000"
        assert not any(name.startswith("anthropic-ratelimit-unified") for name in headers)


async def test_the_standing_can_be_set() -> None:
    async with both() as (claude, session):
        claude.plan = Plan().rejecting("5h", resets_in=60)
        _, headers, _ = await post(session)
        assert headers["anthropic-ratelimit-unified-5h-reset"] == "1795000060"


async def test_without_a_stream_the_answer_is_one_message() -> None:
    async with both(tool_call("Read", {"path": "x"})) as (claude, session):
        status, headers, body = await post(session, messages_body(stream=False))
        message = json.loads(body)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert message["stop_reason"] == "tool_use"
        assert message["content"][0]["input"] == {"path": "x"}
        assert message["content"][0]["id"].startswith("toolu_")
        assert claude.served == Usage(input=message["usage"]["input_tokens"], output=message["usage"]["output_tokens"])


async def test_what_was_served_is_the_sum_of_what_was_told() -> None:
    cached = messages_body(system=[{"type": "text", "text": "x" * 400, "cache_control": {"type": "ephemeral"}}])
    told = Usage()
    async with both() as (claude, session):
        for _ in range(3):
            _, _, body = await post(session, cached)
            start = dict(sse_events(body))["message_start"]["message"]["usage"]
            final = dict(sse_events(body))["message_delta"]["usage"]
            told = Usage(
                input=told.input + start["input_tokens"],
                output=told.output + final["output_tokens"],
                cache_read=told.cache_read + start["cache_read_input_tokens"],
                cache_write_5m=told.cache_write_5m + start["cache_creation"]["ephemeral_5m_input_tokens"],
            )
        assert claude.served == told
        assert told.cache_read == 2 * told.cache_write_5m > 0
        assert claude.served_answers == 3


async def test_a_refusal_by_rule_uses_up_no_step() -> None:
    async with both(Refusal(529, "overloaded_error", "Overloaded")) as (claude, session):
        status, _, body = await post(session, messages_body(model="claude-nonesuch"))
        assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")
        assert claude.script.pending == 1
        assert (await post(session))[0] == 529


async def test_a_lenient_simulator_takes_any_body() -> None:
    async with (
        simulated_claude(strict=False) as claude,
        aiohttp.ClientSession(claude.url) as session,
    ):
        assert (await post(session, b'{"stream": true}'))[0] == 200


@pytest.mark.parametrize("name", CATALOGUE)
async def test_every_refusal_arrives_with_its_status_and_shape(name: str) -> None:
    refusal = CATALOGUE[name]()
    async with both(refusal) as (_, session):
        status, headers, body = await post(session)
    assert status == refusal.status
    if refusal.body is not None:
        assert (headers["content-type"], body) == (refusal.content_type, refusal.body)
        return
    told = json.loads(body)
    assert told["type"] == "error"
    assert told["error"] == {"type": refusal.error_type, "message": refusal.message} | (
        {"details": dict(refusal.details)} if refusal.details else {}
    )
    assert told["request_id"] == headers["request-id"]


async def test_an_overload_inside_a_stream_is_an_error_event_and_without_one_a_status() -> None:
    async with both(in_band("first"), in_band("start")) as (_, session):
        _, _, body = await post(session)
        assert sse_events(body) == [
            ("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        ]
        assert (await post(session, messages_body(stream=False)))[0] == 529


async def test_tokens_are_counted_unless_the_script_says_otherwise() -> None:
    path = "/v1/messages/count_tokens"
    body = messages_body(stream=False)
    async with both() as (claude, session):
        status, _, answer = await post(session, body, path=path)
        assert (status, json.loads(answer)) == (200, {"input_tokens": len(body) // 4})
        claude.count_script = Script(claude_faults.overloaded())
        assert (await post(session, body, path=path))[0] == 529
        assert claude.served_answers == 0


async def test_other_routes_are_what_claude_code_asks_for() -> None:
    async with both() as (_, session):
        async with session.head("/api/hello") as response:
            assert (response.status, await response.read()) == (200, b"")
        async with session.get("/v1/models?limit=1000", headers=claude_headers()) as response:
            assert "claude-opus-5-5" in [model["id"] for model in (await response.json())["data"]]
        async with session.get("/v1/models") as response:
            assert response.status == 401
        async with session.get("/v1/files", headers=claude_headers()) as response:
            assert response.status == 404


async def test_the_wrong_legs_headers_are_violations() -> None:
    async with (
        simulated_claude(allow_violations=True) as claude,
        aiohttp.ClientSession(claude.url) as session,
    ):
        await post(session, headers=claude_headers() | {"x-amz-date": "20261122T000000Z"})
        assert claude.violations == ["AWS header at the Claude API: x-amz-date"]


async def test_a_body_over_32_mb_is_too_large() -> None:
    async with both() as (claude, session):
        claude.max_message_bytes = 100
        status, _, body = await post(session, messages_body("x" * 200))
        assert (status, json.loads(body)["error"]["type"]) == (413, "request_too_large")


async def test_an_answer_may_carry_headers_of_its_own() -> None:
    async with both(Answer(headers=(("x-should-retry", "false"),))) as (_, session):
        assert (await post(session))[1]["x-should-retry"] == "false"
