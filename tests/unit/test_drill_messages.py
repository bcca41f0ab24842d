"""Answers: the events say the same as the whole message, and usage can be added up."""

from __future__ import annotations

import json
from typing import Any

from claude_failover.core.types import Usage
from claude_failover.drill.messages import Identity, PromptCache, events, message, parts, pieces, sse
from claude_failover.drill.script import Answer, InBand, Text, Thinking, ToolUse

WHO = Identity("msg_01Sim", "toolu_", "claude-opus-5-5", "Simulated.", pings=False)
PINGING = Identity("msg_01Sim", "toolu_", "claude-opus-5-5", "Simulated.", pings=True)
PROMPT = Usage(input=10)


def joined(answer: Answer) -> list[dict[str, Any]]:
    """The content that a client puts together from the events."""
    content: list[dict[str, Any]] = []
    for event in events(answer, WHO, PROMPT):
        if event.name == "content_block_start":
            content.append({**event.data["content_block"], "json": ""})
        elif event.name == "content_block_delta":
            delta, block = event.data["delta"], content[event.data["index"]]
            match delta["type"]:
                case "text_delta":
                    block["text"] += delta["text"]
                case "thinking_delta":
                    block["thinking"] += delta["thinking"]
                case "signature_delta":
                    block["signature"] += delta["signature"]
                case "input_json_delta":
                    block["json"] += delta["partial_json"]
    for block in content:
        raw = block.pop("json")
        if raw:
            block["input"] = json.loads(raw)
    return content


def test_the_events_put_together_are_the_whole_message() -> None:
    answer = Answer(blocks=(Thinking("Hm, hm."), Text("Grüße, 世界!", 5), ToolUse("Bash", {"command": "ls"})))
    whole, _ = message(answer, WHO, PROMPT)
    assert joined(answer) == whole["content"]
    assert whole["stop_reason"] == "tool_use"


def test_omitted_thinking_streams_only_its_signature() -> None:
    said = events(Answer(blocks=(Thinking(""),)), WHO, PROMPT)
    kinds = [event.data["delta"]["type"] for event in said if event.name == "content_block_delta"]
    assert kinds == ["signature_delta"]


def test_the_order_of_events_is_the_grammar() -> None:
    names = [event.name for event in events(Answer(blocks=(Text("ab", 2),)), PINGING, PROMPT)]
    assert names == [
        "message_start", "content_block_start", "ping", "content_block_delta", "content_block_delta",
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip


def test_an_error_ends_the_stream_at_its_mark() -> None:
    def names(answer: Answer) -> list[str]:
        return [event.name for event in events(answer, WHO, PROMPT)]

    assert names(Answer(error=InBand("first"))) == ["error"]
    assert names(Answer(error=InBand("start"))) == ["message_start", "error"]
    assert names(Answer(error=InBand(2))) == ["message_start", "content_block_start", "error"]


def test_both_forms_tell_the_same_usage() -> None:
    answer = Answer(blocks=(Text("x" * 373, 2),))  # {"type": "text", "text": "…"} adds 27 characters: 400 / 4
    whole, usage = message(answer, WHO, PROMPT)
    assert usage == Usage(input=10, output=100)
    last = list(events(answer, WHO, PROMPT))[-2]
    assert last.data["usage"]["output_tokens"] == whole["usage"]["output_tokens"] == 100


def test_a_given_usage_is_told_as_it_is() -> None:
    usage = Usage(input=1, output=2, cache_read=3, cache_write_5m=4, cache_write_1h=5)
    whole, told = message(Answer(usage=usage), WHO, PROMPT)
    assert told == usage
    assert whole["usage"]["cache_creation_input_tokens"] == 9


def test_a_cached_prompt_is_written_once_and_then_read() -> None:
    cache = PromptCache()
    body = {"model": "m", "system": [{"cache_control": {"type": "ephemeral"}}]}
    raw = b'{"cache_control":' + b"x" * 383  # 400 bytes: 100 tokens, three quarters of them cached
    assert cache.usage(raw, body) == Usage(input=25, cache_write_5m=75)
    assert cache.usage(raw, body) == Usage(input=25, cache_read=75)
    assert cache.usage(raw + b'"1h"', body | {"model": "n"}).cache_write_1h == 75
    assert cache.usage(b"x" * 40, {}) == Usage(input=10)


def test_pieces_lose_nothing_and_are_never_empty() -> None:
    assert list(pieces("abcdefg", 3)) == ["ab", "cd", "efg"]
    assert list(pieces("ab", 9)) == ["a", "b"]
    assert list(pieces("", 3)) == [""]


def test_an_event_is_two_lines_and_an_empty_one() -> None:
    event = next(iter(events(Answer(error=InBand()), WHO, PROMPT)))
    data = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert sse(event) == b"event: error\ndata: " + data + b"\n\n"


def test_parts_carry_the_gap_and_the_first_comes_at_once() -> None:
    gaps = [part.gap for part in parts(Answer(gap=0.5, pings=1, ping_gap=2.0), WHO, PROMPT, sse)]
    assert gaps[:3] == [0.0, 2.0, 0.5]
