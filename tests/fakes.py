"""Simulated backends for tests: started in one line, checked for violations when the test is over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from claude_failover.clock import Clock
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.bedrock_access import API_KEY as BEDROCK_KEY
from claude_failover.drill.claude_api import API_KEY, OAUTH_TOKEN, SimulatedClaude
from claude_failover.drill.claude_rules import OAUTH_BETA
from claude_failover.drill.http1 import Connection
from claude_failover.drill.script import FOREVER, Drop, Garbage, Seen, Step
from claude_failover.drill.server import Reply

MODEL = "claude-opus-5-5"


class HeldClaude(SimulatedClaude):
    """A Claude API whose pauses without an end last until a test lets it go on, so that none bets on their length."""

    def __init__(self, *steps: Step) -> None:
        super().__init__(*steps)
        self.go_on = asyncio.Event()

    async def _play(self, connection: Connection, request: Seen, reply: Reply | Drop | Garbage) -> bool:
        pause = connection.pause

        async def patient(seconds: float) -> None:
            if seconds == FOREVER:
                while not self.go_on.is_set():
                    await pause(0.02)
            else:
                await pause(seconds)

        connection.pause = patient  # type: ignore[method-assign]
        try:
            return await super()._play(connection, request, reply)
        finally:
            connection.pause = pause  # type: ignore[method-assign]


@asynccontextmanager
async def simulated_claude(
    *steps: Step, clock: Clock | None = None, strict: bool = True, allow_violations: bool = False
) -> AsyncIterator[SimulatedClaude]:
    """A Claude API on loopback that deals *steps*, then good answers; fails the test if a rule was violated."""
    async with SimulatedClaude(*steps, clock=clock, strict=strict) as server:
        yield server
    assert allow_violations or not server.violations, server.violations


@asynccontextmanager
async def held_claude(*steps: Step) -> AsyncIterator[HeldClaude]:
    """The same, but pauses without an end last until ``go_on`` is set."""
    async with HeldClaude(*steps) as server:
        yield server
    assert not server.violations, server.violations


@asynccontextmanager
async def simulated_bedrock(
    *steps: Step,
    clock: Clock | None = None,
    strict: bool = True,
    region: str = "us-east-1",
    mantle: bool = False,
    allow_violations: bool = False,
) -> AsyncIterator[SimulatedBedrock]:
    """A Bedrock on loopback that deals *steps*, then good answers; fails the test if a rule was violated."""
    async with SimulatedBedrock(*steps, clock=clock, strict=strict, region=region, mantle=mantle) as server:
        yield server
    assert allow_violations or not server.violations, server.violations


def aws_environment(**more: str) -> dict[str, str]:
    """Variables with which botocore's chain finds the simulated account's key, and nothing else."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }


def bedrock_key_headers() -> dict[str, str]:
    """A Bedrock API key as bearer, and what the surfaces insist on."""
    return {
        "authorization": f"Bearer {BEDROCK_KEY}",
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
    }


def claude_headers(*betas: str, oauth: bool = True) -> dict[str, str]:
    """The headers of Claude Code as far as the API insists on them."""
    if oauth:
        return {
            "authorization": f"Bearer {OAUTH_TOKEN}",
            "anthropic-beta": ",".join((OAUTH_BETA, *betas)),
            "anthropic-version": "2023-06-01",
            "content-type": "application/json",
        }
    headers = {"x-api-key": API_KEY, "anthropic-version": "2023-06-01", "content-type": "application/json"}
    return headers | ({"anthropic-beta": ",".join(betas)} if betas else {})


def messages_body(content: str = "Hello", *, model: str = MODEL, stream: bool = True, **more: Any) -> bytes:
    """A small Messages body."""
    body = {"model": model, "max_tokens": 1024, "stream": stream, "messages": [{"role": "user", "content": content}]}
    return json.dumps(body | more).encode()


def sse_events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Every event of an SSE body; what is not a whole event fails the test."""
    events = []
    for block in body.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        assert name.startswith("event: "), name
        assert data.startswith("data: "), data
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert body.endswith(b"\n\n"), "half an event at the end"
    return events


def said(body: bytes) -> str:
    """The text of an SSE answer."""
    deltas = (data["delta"] for name, data in sse_events(body) if name == "content_block_delta")
    return "".join(delta.get("text", "") for delta in deltas)
