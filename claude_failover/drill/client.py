"""A client that behaves like Claude Code, as far as failing over is concerned.

It sends Claude Code's headers and reads its stream event by event. It repeats a turn whose connection was
aborted after 0.6 s, streaming again, and one whose stream ended in an error event at once, without
streaming. Everything else it takes as it comes: an error that reaches it is one that a person would have seen.
Source: wire/claude.md 1.2, 3.6; wire/bedrock.md 3 (2.1.330).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import aiohttp

from claude_failover.drill.claude_api import OAUTH_TOKEN
from claude_failover.drill.claude_rules import OAUTH_BETA

VERSION: Final = "2.1.330"

REPEAT_AFTER: Final = 0.6
"""Seconds between an aborted stream and the turn's repetition (wire/bedrock.md 3, measured with 2.1.330)."""

MAX_REPEATS: Final = 3

MODEL: Final = "claude-opus-5-5"

BASH: Final[Mapping[str, Any]] = {
    "name": "Bash",
    "description": "Runs a command.",
    "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}

BETAS: Final = ("claude-code-20250219", OAUTH_BETA, "interleaved-thinking-2025-05-14")


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a conversation."""

    text: str = "What does this repository do?"
    stream: bool = True
    model: str = MODEL
    session: str = "00000000-0000-4000-8000-00000000d811"
    max_tokens: int = 4096
    history: tuple[Mapping[str, Any], ...] = ()
    """Messages before *text*; if there are some and *text* is empty, they are all there is."""
    betas: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    """More of the body."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """The request as Claude Code writes it: a system prompt with a cache mark, a tool, a user id."""
        asked = ({"role": "user", "content": [{"type": "text", "text": self.text}]},) if self.text else ()
        whole: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "stream": self.stream,
            "system": [
                {"type": "text", "text": "You are an agent in a fire drill.", "cache_control": {"type": "ephemeral"}}
            ],
            "tools": [BASH],
            "metadata": {"user_id": json.dumps({"device_id": "0" * 64, "session_id": self.session})},
            "messages": [*self.history, *asked],
        }
        return json.dumps(whole | dict(self.fields)).encode()

    def lines(self, key: str) -> dict[str, str]:
        """The request's headers; *key* is the daemon's own."""
        found = {
            "authorization": f"Bearer {OAUTH_TOKEN}",
            "anthropic-version": "2023-06-01",
            "anthropic-beta": ",".join((*BETAS, *self.betas)),
            "anthropic-dangerous-direct-browser-access": "true",
            "content-type": "application/json",
            "user-agent": f"claude-cli/{VERSION} (external, cli)",
            "x-app": "cli",
            "x-claude-code-session-id": self.session,
            "x-claude-code-request-class": "main",
            "x-stainless-lang": "js",
            "x-stainless-retry-count": "0",
            "x-stainless-timeout": "600",
            **self.headers,
        }
        return found | {"x-claude-failover-key": key} if key else found


@dataclass(frozen=True, slots=True)
class Said:
    """A body, read."""

    text: str = ""
    message_id: str = ""
    complete: bool = False
    error_type: str = ""
    error: str = ""
    stop_reason: str = ""
    blocks: tuple[Mapping[str, Any], ...] = ()
    """The content, as the next turn of the conversation repeats it."""
    problems: tuple[str, ...] = ()
    """What no well-formed answer has."""
    by: str = ""
    """The simulator whose signature the answer carries: its message id."""


@dataclass(slots=True)
class Told:
    """What one request brought, as the client saw it; times are seconds since it was sent."""

    status: int = 0
    """0: no response at all."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: str = ""
    """How the response broke off; empty if HTTP ended as it should."""
    content_s: float | None = None
    """When the first content was there."""
    ended_s: float = 0.0
    said: Said = field(default_factory=Said)

    @property
    def whole(self) -> bool:
        """Whether it is one complete, well-formed answer."""
        return self.status == 200 and not self.cut and self.said.complete and not self.said.problems

    @property
    def honest(self) -> bool:
        """Whether it is one well-formed error: a body in Anthropic's shape, or an error event and nothing after it."""
        return not self.cut and bool(self.said.error_type) and not self.said.complete and not self.said.problems

    @property
    def backend(self) -> str:
        """Who answered, by the daemon's own word."""
        return self.headers.get("x-claude-failover-backend", "")


def signed_by(message_id: str) -> str:
    """Which simulator made a message id."""
    if message_id.startswith("msg_bdrk_01Sim"):
        return "bedrock"
    return "claude" if message_id.startswith("msg_01Sim") else ""


def read_stream(body: bytes) -> Said:
    """Read a stream of events, strictly: their order, their indices, one message, nothing after its end."""
    *events, rest = body.decode("utf-8", "replace").split("\n\n")
    reading = _Reading()
    for event in events:
        reading.take(event)
    if rest:
        reading.problems.append("half an event at the end")
    return reading.said()


class _Reading:
    """A stream, event by event."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._message: dict[str, Any] | None = None
        self._blocks: list[dict[str, Any]] = []
        self._partial: dict[int, str] = {}
        self._open: int | None = None
        self._stop_reason = ""
        self._complete = False
        self._error: dict[str, Any] | None = None

    def take(self, event: str) -> None:
        lines = dict(line.partition(": ")[::2] for line in event.split("\n") if not line.startswith(":"))
        if not lines:
            return  # a comment
        name = lines.get("event", "")
        try:
            data = json.loads(lines.get("data", ""))
        except ValueError:
            self.problems.append(f"event {name!r} without JSON")
            return
        if self._complete or self._error is not None:
            self.problems.append(f"{name} after the end")
        elif data.get("type") != name:
            self.problems.append(f"event {name!r} says it is {data.get('type')!r}")
        elif name == "message_start":
            self._begin(data)
        elif name == "error":
            self._error = data.get("error") or {}
        elif name != "ping":
            if self._message is None:
                self.problems.append(f"{name} before message_start")
            self._content(name, data)

    def _begin(self, data: dict[str, Any]) -> None:
        if self._message is not None:
            self.problems.append("a second message_start")
        self._message = data["message"]

    def _content(self, name: str, data: dict[str, Any]) -> None:
        match name:
            case "content_block_start":
                if self._open is not None or data["index"] != len(self._blocks):
                    self.problems.append(f"block {data['index']} out of order")
                self._open = data["index"]
                self._blocks.append(dict(data["content_block"]))
            case "content_block_delta":
                if data["index"] != self._open:
                    self.problems.append(f"a delta for block {data['index']}, which is not open")
                else:
                    self._delta(data["index"], data["delta"])
            case "content_block_stop":
                if data["index"] != self._open:
                    self.problems.append(f"the end of block {data['index']}, which is not open")
                self._open = None
            case "message_delta":
                self._stop_reason = data["delta"].get("stop_reason") or ""
            case "message_stop":
                self._complete = True
                if self._open is not None or not self._stop_reason:
                    self.problems.append("message_stop in mid-message")
            case _:
                return  # an open set: clients pass over what they do not know (wire/claude.md 4)

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks[index]
        match delta["type"]:
            case "text_delta":
                block["text"] = block.get("text", "") + delta["text"]
            case "input_json_delta":
                self._partial[index] = self._partial.get(index, "") + delta["partial_json"]
                if self._partial[index]:
                    try:
                        block["input"] = json.loads(self._partial[index])
                    except ValueError:
                        return  # not whole yet

    def said(self) -> Said:
        message = self._message or {}
        identity = str(message.get("id", ""))
        error = self._error or {}
        return Said(
            "".join(block.get("text", "") for block in self._blocks), identity, self._complete,
            str(error.get("type", "")), str(error.get("message", "")), self._stop_reason, tuple(self._blocks),
            tuple(self.problems), signed_by(identity),
        )  # fmt: skip


def read_whole(body: bytes) -> Said:
    """Read a body that is no stream: a message, or an error in Anthropic's shape."""
    try:
        data = json.loads(body)
    except ValueError:
        return Said(problems=("the body is no JSON",))
    if not isinstance(data, dict):
        return Said(problems=("the body is no object",))
    if data.get("type") == "error":
        error = data.get("error") or {}
        return Said(error_type=str(error.get("type", "")), error=str(error.get("message", "")))
    if data.get("type") != "message":
        return Said(problems=(f"neither a message nor an error: {data.get('type')!r}",))
    identity = str(data.get("id", ""))
    blocks = tuple(data.get("content", ()))
    text = "".join(block.get("text", "") for block in blocks)
    return Said(text, identity, bool(data.get("stop_reason")), stop_reason=str(data.get("stop_reason")),
                blocks=blocks, by=signed_by(identity))  # fmt: skip


async def ask(session: aiohttp.ClientSession, address: str, key: str, turn: Turn, patience: float = 60.0) -> Told:
    """Send one request and read what comes, to whatever end."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    told = Told()
    pieces: list[bytes] = []
    timeout = aiohttp.ClientTimeout(total=patience)
    try:
        async with session.post(
            f"{address}/v1/messages?beta=true", data=turn.body(), headers=turn.lines(key), timeout=timeout
        ) as response:
            told.status = response.status
            told.headers = {name.lower(): value for name, value in response.headers.items()}
            async for data in response.content.iter_any():
                pieces.append(data)
                if told.content_s is None and (b'"content_block_delta"' in data or not turn.stream):
                    told.content_s = loop.time() - began
    except TimeoutError:
        told.cut = f"nothing more within {patience:g} s"
    except (aiohttp.ClientError, ConnectionError) as error:
        told.cut = type(error).__name__
    told.ended_s = loop.time() - began
    told.body = b"".join(pieces)
    streams = told.headers.get("content-type", "").startswith("text/event-stream")
    told.said = read_stream(told.body) if streams else read_whole(told.body)
    if told.status == 0:
        told.said = replace(told.said, problems=())
    return told


async def converse(
    session: aiohttp.ClientSession, address: str, key: str, turn: Turn, patience: float = 60.0
) -> list[Told]:
    """Send one turn as Claude Code does: again while its answer breaks off or ends in an error event."""
    heard = [await ask(session, address, key, turn, patience)]
    while len(heard) <= MAX_REPEATS and heard[-1].status == 200:
        if heard[-1].cut:
            await asyncio.sleep(REPEAT_AFTER)
        elif turn.stream and heard[-1].said.error_type:
            turn = replace(turn, stream=False)
        else:
            break
        heard.append(await ask(session, address, key, turn, patience))
    return heard
