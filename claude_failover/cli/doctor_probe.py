"""doctor --online: one request to Bedrock as a failover would send it, repairs included, and what became of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from claude_failover.clock import Clock
from claude_failover.core.answer import reader
from claude_failover.core.commands import AttemptEnded, BodyReceived, ClientRequest, OpenAttempt, Untranslatable
from claude_failover.core.failures import classify, classify_event, classify_failure
from claude_failover.core.models import Target
from claude_failover.core.repair import Denials
from claude_failover.core.request import peek
from claude_failover.core.settings import Backend
from claude_failover.core.translate import to_bedrock
from claude_failover.core.types import Headers, Kind, Outcome, Seconds, Surface, Verdict
from claude_failover.upstream.bedrock import BedrockUpstream

LIMIT: Final = Seconds(60.0)
"""For one send; an answer of one token takes about a second."""

SENDS: Final = 4
"""The request, two repairs, and one more after a refreshed credential or a corrected clock."""

_KEPT: Final = 1 << 20

EVERYTHING: Final = (
    "claude-code-20250219",
    "interleaved-thinking-2025-05-14",
    "context-management-2025-06-27",
    "effort-2025-11-24",
    "advanced-tool-use-2025-11-20",
    "fine-grained-tool-streaming-2025-05-14",
    "structured-outputs-2025-12-15",
    "prompt-caching-scope-2026-01-05",
    "thinking-display-updates-2026-08-18",
    "thinking-binding-controls-2026-08-01",
    "per-turn-control-2026-07-01",
    "dangerous-tool-use-2026-09-03",
)
"""Betas that Claude Code sends with its main requests (wire/claude.md 1.4); translation keeps what Bedrock takes."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One request to send."""

    backend: Backend
    target: Target
    body: bytes
    betas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of it."""

    probe: Probe
    verdict: Verdict
    surface: Surface | None = None
    upstream_model: str = ""
    took: Seconds = Seconds(0.0)
    repairs: tuple[str, ...] = ()
    """What had to be changed until Bedrock took it."""
    skew: Seconds | None = None


def smallest(model: str) -> bytes:
    """A request that costs as little as one can."""
    return json.dumps({"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Say ok"}]}).encode()


def fullest(model: str) -> bytes:
    """A request with everything that Claude Code's main loop may carry, streamed; its answer is short."""
    path = {"path": {"type": "string"}}
    schema = {"type": "object", "properties": path, "required": ["path"], "additionalProperties": False}

    def tool(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "description": f"{name} a file.", "input_schema": schema, **more}

    hour = {"type": "ephemeral", "ttl": "1h"}
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": 2048,
        "stream": True,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330; cc_entrypoint=cli;"},
            {"type": "text", "text": "You answer with one word.", "cache_control": hour},
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Is a.txt empty?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_doctor1", "name": "Read", "input": {"path": "a.txt"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_doctor1",
                        "content": [{"type": "text", "text": "(empty)", "cache_control": {"type": "ephemeral"}}],
                    },
                ],
            },
            {"role": "system", "content": "Be brief.", "output_config": {"effort": "low"}},
        ],
        "tools": [
            tool("Read", eager_input_streaming=True),
            tool("Write", defer_loading=True),
            tool("Edit", strict=True),
        ],
        "metadata": {"user_id": json.dumps({"session_id": "00000000-0000-4000-8000-000000000000"})},
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "low"},
    }
    return json.dumps(body).encode()


async def send(probe: Probe, upstream: BedrockUpstream, denials: Denials, clock: Clock) -> Result:
    """Send *probe*, mended and again where Bedrock's answer says how, as an exchange does."""
    repairs: list[str] = []
    refresh, skew = False, None
    result = Result(probe, Verdict(Outcome.CLIENT_ERROR, "was not sent"))
    for number in range(SENDS):
        surface = denials.surface(probe.target, clock.now())
        request = ClientRequest("cfr_doctor", "/v1/messages", _headers(probe.betas), probe.body)
        made = to_bedrock(request, peek(request), probe.target, surface, probe.backend, denials)
        if isinstance(made, Untranslatable):
            return Result(probe, Verdict(Outcome.CLIENT_ERROR, made.why), surface)
        began = clock.now().monotonic
        command = OpenAttempt(
            number, probe.backend.name, Kind.BEDROCK, made.request, surface,
            refresh_credentials=refresh, clock_skew=skew,
        )  # fmt: skip
        status, body, verdict = await _attempt(upstream, command, surface, clock)
        took = Seconds(clock.now().monotonic - began)
        result = Result(probe, verdict, surface, made.upstream_model, took, tuple(repairs), skew)
        if verdict.outcome is Outcome.SUCCESS:
            return result
        if verdict.clock_skew is not None and skew is None:
            skew = verdict.clock_skew
        elif verdict.outcome is Outcome.CREDENTIALS and not refresh:
            refresh = True
        else:
            repair = denials.propose(status, body, verdict, made, probe.target, surface, clock.now())
            if repair is None or len(repairs) > 1:
                return result
            denials.learn(repair, clock.now())
            repairs += [f"{one.remedy.value} {one.value}".strip() for one in repair.findings]
    return result


def _headers(betas: Sequence[str]) -> Headers:
    return (("content-type", "application/json"), *((("anthropic-beta", ",".join(betas)),) if betas else ()))


async def _attempt(
    upstream: BedrockUpstream, command: OpenAttempt, surface: Surface, clock: Clock
) -> tuple[int, bytes, Verdict]:
    """Send once and read the whole answer: its status, an error's body, and the judgement."""
    attempt = upstream.open(command)
    try:
        async with asyncio.timeout(LIMIT):
            head = await attempt.head()
            if isinstance(head, AttemptEnded):
                return 0, b"", _broken(head, answered=False)
            body = bytearray()
            while isinstance(part := await attempt.read(), BodyReceived):
                if len(body) < _KEPT:
                    body += part.data
            if part.failure is not None:
                return head.status, b"", _broken(part, answered=True)
    except TimeoutError:
        return 0, b"", Verdict(Outcome.SILENT, f"no answer within {LIMIT:.0f} s")
    finally:
        await attempt.close()
    now = clock.now()
    if command.request.streaming and head.status == 200:
        return 200, b"", _judge_stream(head.headers, bytes(body), surface, clock)
    return head.status, bytes(body), classify(Kind.BEDROCK, surface, head.status, head.headers, bytes(body), now)


def _broken(ended: AttemptEnded, *, answered: bool) -> Verdict:
    assert ended.failure is not None, "an attempt without a head has failed"
    return classify_failure(ended.failure, ended.detail, answered=answered)


def _judge_stream(headers: Headers, body: bytes, surface: Surface, clock: Clock) -> Verdict:
    """Whether a streamed answer came to its proper end."""
    content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
    decoder = reader(Kind.BEDROCK, surface, content_type)
    if decoder is None:
        return Verdict(Outcome.MALFORMED, f"a stream was asked for, {content_type or 'nothing'} came")
    events = decoder.feed(body)
    for event in events:
        if event.type in {"error", "exception", "malformed"}:
            return classify_event(Kind.BEDROCK, event.type, event.name, event.data, clock.now())
    if decoder.end() is not None or not any(event.type == "message_stop" for event in events):
        return Verdict(Outcome.CUT, "the stream ended without message_stop")
    return Verdict(Outcome.SUCCESS)
