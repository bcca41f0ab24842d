"""Answers as Anthropic's Messages API speaks them: one event list, and the same answer as one JSON body.

Usage is honest: the prompt counts a token for every four bytes of the request body, the output one for
every four characters sent, and a prompt with cache marks is written to a cache once and read from it
afterwards. So what a ledger adds up can be compared with what the simulators say they served.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from msgspec import structs

from claude_failover.core.types import Usage
from claude_failover.drill.playback import Part
from claude_failover.drill.script import Answer, Block, InBand, Text, Thinking, ToolUse, reached

BYTES_PER_TOKEN = 4
"""The usual rule of thumb; what matters is that both sides of a comparison use what was said on the wire."""

CACHE_ENTRIES = 10_000

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Event:
    """One event of an answer, before it is written as SSE or as a frame."""

    name: str
    data: dict[str, Any]
    usage: Usage | None = None
    """Cumulative, where the event tells it."""
    gap: float | None = None
    """Seconds after the event before it, where that is not the answer's own gap."""
    error: InBand | None = None
    """This is no event but an error in the stream."""

    @property
    def last(self) -> bool:
        """Whether the answer is complete with it."""
        return self.name == "message_stop"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a backend puts its own name on."""

    message_id: str
    tool_prefix: str
    """``toolu_`` or ``toolu_bdrk_`` (wire/claude.md 1.4)."""
    model: str
    said: str
    """The sentence of an empty text block."""
    pings: bool
    """Only the Claude API sends them (wire/claude.md 4)."""


class PromptCache:
    """Which prefixes were cached: the first request writes, the next reads."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def usage(self, raw: bytes, body: Mapping[str, Any]) -> Usage:
        """The input side of the usage of one request."""
        prompt = max(1, len(raw) // BYTES_PER_TOKEN)
        if b'"cache_control"' not in raw:
            return Usage(input=prompt)
        prefix = json.dumps([body.get("model"), body.get("system"), body.get("tools")], sort_keys=True).encode()
        key = sha256(prefix).digest()
        cached = prompt * 3 // 4
        if key in self._known:
            self._known.move_to_end(key)
            return Usage(input=prompt - cached, cache_read=cached)
        self._known[key] = None
        if len(self._known) > CACHE_ENTRIES:
            self._known.popitem(last=False)
        if b'"1h"' in raw:
            return Usage(input=prompt - cached, cache_write_1h=cached)
        return Usage(input=prompt - cached, cache_write_5m=cached)


def usage_json(usage: Usage) -> dict[str, Any]:
    """``usage`` as ``message_start`` and a whole message carry it."""
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output,
        "service_tier": "standard",
    }


def pieces(text: str, count: int) -> Iterator[str]:
    """Cut *text* into *count* pieces of nearly equal length, fewer if there are not so many characters."""
    count = max(1, min(count, len(text)))
    for index in range(count):
        yield text[index * len(text) // count : (index + 1) * len(text) // count]


def filled(answer: Answer, identity: Identity) -> tuple[Block, ...]:
    """The blocks with the backend's own sentence and tool ids put in."""
    blocks: list[Block] = []
    for number, block in enumerate(answer.blocks):
        match block:
            case Text(text=""):
                blocks.append(replace(block, text=identity.said))
            case ToolUse(id=""):
                digest = sha256(f"{identity.message_id}/{number}".encode()).hexdigest()[:22]
                blocks.append(replace(block, id=f"{identity.tool_prefix}{digest}"))
            case _:
                blocks.append(block)
    return tuple(blocks)


def block_json(block: Block) -> dict[str, Any]:
    """A whole content block."""
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case Thinking():
            return {"type": "thinking", "thinking": block.text, "signature": block.signature}
        case ToolUse():
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": dict(block.input)}


def final_usage(answer: Answer, blocks: tuple[Block, ...], prompt: Usage) -> Usage:
    """The usage of the complete answer."""
    if answer.usage is not None:
        return answer.usage
    characters = sum(len(json.dumps(block_json(block), ensure_ascii=False)) for block in blocks)
    return structs.replace(prompt, output=max(1, characters // BYTES_PER_TOKEN))


def stop_reason(answer: Answer) -> str:
    """Why the model stopped."""
    if answer.stop_reason:
        return answer.stop_reason
    return "tool_use" if any(isinstance(block, ToolUse) for block in answer.blocks) else "end_turn"


def message(answer: Answer, identity: Identity, prompt: Usage) -> tuple[dict[str, Any], Usage]:
    """The answer as one JSON object, and its usage."""
    blocks = filled(answer, identity)
    usage = final_usage(answer, blocks, prompt)
    return {
        "id": identity.message_id,
        "type": "message",
        "role": "assistant",
        "model": identity.model,
        "content": [block_json(block) for block in blocks],
        "stop_reason": stop_reason(answer),
        "stop_sequence": None,
        "usage": usage_json(usage),
    }, usage


def events(answer: Answer, identity: Identity, prompt: Usage) -> Iterator[Event]:
    """The answer as events, up to and with an error in the stream if it holds one."""
    if answer.error is None:
        yield from _healthy(answer, identity, prompt)
        return
    sent, last = 0, ""
    for event in _healthy(answer, identity, prompt):
        if reached(answer.error.at, sent, last):
            break
        yield event
        sent, last = sent + 1, event.name
    problem = answer.error
    yield Event(
        "error",
        {"type": "error", "error": {"type": problem.error_type, "message": problem.message}},
        error=problem,
    )


def _healthy(answer: Answer, identity: Identity, prompt: Usage) -> Iterator[Event]:
    blocks = filled(answer, identity)
    usage = final_usage(answer, blocks, prompt)
    at_start = structs.replace(usage, output=min(1, usage.output))
    yield Event("message_start", {"type": "message_start", "message": {
        "id": identity.message_id, "type": "message", "role": "assistant", "model": identity.model, "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage_json(at_start),
    }}, at_start)  # fmt: skip
    for _ in range(answer.pings):
        yield Event("ping", {"type": "ping"}, gap=answer.ping_gap)
    for index, block in enumerate(blocks):
        start, *rest = _block_events(index, block)
        yield start
        if index == 0 and identity.pings:
            yield Event("ping", {"type": "ping"})
        yield from rest
    yield Event("message_delta", {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(answer), "stop_sequence": None},
        "usage": {
            "input_tokens": usage.input,
            "cache_creation_input_tokens": usage.cache_write_5m + usage.cache_write_1h,
            "cache_read_input_tokens": usage.cache_read,
            "output_tokens": usage.output,
        },
    }, usage)  # fmt: skip
    yield Event("message_stop", {"type": "message_stop"}, usage)


def _block_events(index: int, block: Block) -> Iterator[Event]:
    """Start, deltas and stop of one block."""
    empty = block_json(block)
    deltas: list[dict[str, Any]]
    match block:
        case Text():
            empty["text"] = ""
            deltas = [{"type": "text_delta", "text": part} for part in pieces(block.text, block.deltas)]
        case Thinking():
            empty |= {"thinking": "", "signature": ""}
            thought = pieces(block.text, block.deltas) if block.text else ()
            deltas = [{"type": "thinking_delta", "thinking": part} for part in thought]
            deltas.append({"type": "signature_delta", "signature": block.signature})
        case ToolUse():
            empty["input"] = {}
            whole = json.dumps(dict(block.input))
            # The API's first delta of a tool's input is empty.
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", *pieces(whole, block.deltas))]
    yield Event("content_block_start", {"type": "content_block_start", "index": index, "content_block": empty})
    for delta in deltas:
        yield Event("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})
    yield Event("content_block_stop", {"type": "content_block_stop", "index": index})


def sse(event: Event) -> bytes:
    """One server-sent event, in the API's own spelling: two lines and an empty one."""
    return f"event: {event.name}\ndata: {_COMPACT(event.data)}\n\n".encode()


def parts(answer: Answer, identity: Identity, prompt: Usage, encode: Callable[[Event], bytes]) -> Iterator[Part]:
    """The answer as a stream's parts, each at its time: the first at once, the others *gap* apart."""
    for number, event in enumerate(events(answer, identity, prompt)):
        gap = answer.gap if event.gap is None else event.gap
        yield Part(encode(event), event.name, gap if number else 0.0, event.usage, event.last)
