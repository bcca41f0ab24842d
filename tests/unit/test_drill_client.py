"""The drill's client: its requests, and how strictly it reads."""

from __future__ import annotations

import json

from claude_failover.drill.client import Said, Told, Turn, read_stream, read_whole, signed_by

START = 'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_01Sim1"}}\n\n'
BLOCK = 'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text"}}\n\n'
DELTA = (
    "event: content_block_delta\n"
    'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\n'
)
END = 'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
LAST = 'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
STOP = 'event: message_stop\ndata: {"type":"message_stop"}\n\n'
PING = 'event: ping\ndata: {"type": "ping"}\n\n'
ERROR = 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


def read(*events: str) -> Said:
    return read_stream("".join(events).encode())


def test_a_whole_answer_is_read_and_signed() -> None:
    said = read(START, PING, BLOCK, DELTA, DELTA, END, LAST, STOP)
    assert (said.text, said.by, said.complete, said.stop_reason, said.problems) == (
        "HiHi", "claude", True, "end_turn", ()
    )  # fmt: skip
    assert Told(status=200, said=said).whole


def test_a_tools_input_is_put_together() -> None:
    call = BLOCK.replace('{"type":"text"}', '{"type":"tool_use","id":"t","name":"Bash","input":{}}')
    parts = [
        DELTA.replace('{"type":"text_delta","text":"Hi"}', json.dumps({"type": "input_json_delta", "partial_json": p}))
        for p in ("", '{"a"', ": 1}")
    ]
    assert read(START, call, *parts, END, LAST, STOP).blocks[0]["input"] == {"a": 1}


def test_an_error_event_after_nothing_is_an_honest_error() -> None:
    said = read(PING, ERROR)
    assert (said.error_type, said.error, said.complete) == ("overloaded_error", "Overloaded", False)
    assert Told(status=200, said=said).honest
    assert not Told(status=200, said=said).whole


def test_what_no_answer_has_is_a_problem() -> None:
    assert read(START, START).problems == ("a second message_start",)
    assert read(BLOCK).problems == ("content_block_start before message_start",)
    assert read(START, DELTA).problems == ("a delta for block 0, which is not open",)
    assert read(START, END).problems == ("the end of block 0, which is not open",)
    assert read(START, BLOCK, BLOCK).problems == ("block 0 out of order",)
    assert read(START, BLOCK, DELTA, STOP).problems == ("message_stop in mid-message",)
    assert read(START, BLOCK, END, LAST, STOP, DELTA).problems == ("content_block_delta after the end",)
    assert read(ERROR, START).problems == ("message_start after the end",)
    assert read("event: ping\ndata: no\n\n").problems == ("event 'ping' without JSON",)
    assert read(PING.replace("event: ping", "event: pong")).problems == ("event 'pong' says it is 'ping'",)
    assert read(START, "event: pi").problems == ("half an event at the end",)


def test_an_event_from_the_future_is_passed_over() -> None:
    assert read(START, ": a comment\n\n", 'event: news\ndata: {"type":"news"}\nid: 7\n\n').problems == ()


def test_a_body_that_is_no_stream_is_a_message_or_an_error_or_a_problem() -> None:
    content = [{"type": "text", "text": "Hi"}]
    message = {"type": "message", "id": "msg_bdrk_01Sim1", "content": content, "stop_reason": "end_turn"}
    said = read_whole(json.dumps(message).encode())
    assert (said.text, said.by, said.complete) == ("Hi", "bedrock", True)
    error = read_whole(b'{"type":"error","error":{"type":"rate_limit_error","message":"No"}}')
    assert (error.error_type, error.error) == ("rate_limit_error", "No")
    assert read_whole(b"<html>").problems == ("the body is no JSON",)
    assert read_whole(b"[]").problems == ("the body is no object",)
    assert read_whole(b'{"Output": {}}').problems == ("neither a message nor an error: None",)


def test_message_ids_name_their_simulator() -> None:
    assert [signed_by(name) for name in ("msg_01Sim7", "msg_bdrk_01Sim7", "msg_01Abc")] == ["claude", "bedrock", ""]


def test_a_turn_looks_like_claude_code() -> None:
    turn = Turn("Hello", betas=("effort-2025-11-24",), fields={"output_config": {"effort": "high"}})
    body, lines = json.loads(turn.body()), turn.lines("KEY")
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    assert (body["stream"], body["output_config"]) == (True, {"effort": "high"})
    assert lines["user-agent"].startswith("claude-cli/")
    assert lines["anthropic-beta"].endswith(",effort-2025-11-24")
    assert lines["x-claude-failover-key"] == "KEY"
    assert "x-claude-failover-key" not in turn.lines("")
