from __future__ import annotations

import base64
import json
import struct
import zlib

import pytest

from claude_failover.core.answer import AnswerEvent, AnswerReader, FrameReader, SseReader, reader, without_metrics
from claude_failover.core.sse import MAX_EVENT, MAX_NOTABLE
from claude_failover.core.types import Kind, Surface

START = b'{"type":"message_start","message":{"usage":{"input_tokens":3}}}'
DELTA = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}'
USAGE = b'{"type":"message_delta","usage":{"output_tokens":5}}'
STOP = b'{"type":"message_stop"}'
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'


def sse(data: bytes, name: str | None = None) -> bytes:
    return b"event: " + (name or json.loads(data)["type"]).encode() + b"\ndata: " + data + b"\n\n"


def event(data: bytes) -> AnswerEvent:
    return AnswerEvent(json.loads(data)["type"], sse(data), data)


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    block = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    start = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    start += struct.pack("!I", zlib.crc32(start)) + block + payload
    return start + struct.pack("!I", zlib.crc32(start))


CHUNK = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}


def chunk(data: bytes) -> bytes:
    return frame(CHUNK, json.dumps({"bytes": base64.b64encode(data).decode(), "p": "abcdef"}).encode())


def committed(answer: AnswerReader) -> AnswerReader:
    assert answer.commit() == b""
    return answer


# --- which reader


@pytest.mark.parametrize(
    ("kind", "surface", "content_type", "expected"),
    [
        (Kind.ANTHROPIC, None, "text/event-stream; charset=utf-8", SseReader),
        (Kind.ANTHROPIC, None, "application/json", None),
        (Kind.BEDROCK, Surface.MESSAGES, "Text/Event-Stream", SseReader),
        (Kind.BEDROCK, Surface.MANTLE, "text/event-stream", SseReader),
        (Kind.BEDROCK, Surface.MESSAGES, "application/vnd.amazon.eventstream", None),
        (Kind.BEDROCK, Surface.INVOKE, "application/vnd.amazon.eventstream", FrameReader),
        (Kind.BEDROCK, Surface.INVOKE, "text/event-stream", None),
    ],
)
def test_the_content_type_must_be_what_the_surface_streams(
    kind: Kind, surface: Surface | None, content_type: str, expected: type | None
) -> None:
    assert type(reader(kind, surface, content_type)) is (expected or type(None))


# --- SSE


def test_events_before_the_commit_come_with_their_bytes() -> None:
    answer = SseReader()
    data = sse(START) + sse(b'{"type":"ping"}') + sse(b'{"type":"new_thing"}') + b": hello\n\n" + sse(DELTA)[:9]
    assert answer.feed(data) == [
        event(START),
        event(b'{"type":"ping"}'),
        event(b'{"type":"new_thing"}'),
        AnswerEvent("comment", b": hello\n\n", b""),
    ]
    assert answer.feed(sse(DELTA)[9:]) == [event(DELTA)]
    assert answer.end() is None


def test_an_event_without_a_name_is_named_by_its_data() -> None:
    assert SseReader().feed(b"data: " + OVERLOADED + b"\n\n") == [
        AnswerEvent("error", b"data: " + OVERLOADED + b"\n\n", OVERLOADED)
    ]


@pytest.mark.parametrize(
    "block",
    [
        b"event: message_start\ndata: {not json\n\n",
        b"event: message_start\n\n",
        b"event: content_block_delta\ndata: [1]\n\n",
        b'event: message_start\ndata: {"type":"\xff"}\n\n',
        b"event: message_start\ndata: " + b"[" * 100_000 + b"\n\n",
    ],
    ids=["json", "no data", "not an object", "utf8", "deep"],
)
def test_an_event_of_the_api_whose_data_is_no_json_object_is_malformed_and_the_last(block: bytes) -> None:
    answer = SseReader()
    (found,) = answer.feed(block + sse(STOP))
    assert (found.type, found.raw) == ("malformed", block)
    assert found.name.startswith("the data of a ")
    assert answer.feed(sse(STOP)) == []
    assert answer.end() is None


def test_a_nameless_event_that_says_nothing_is_malformed() -> None:
    (found,) = SseReader().feed(b"data: <html>\n\n")
    assert (found.type, found.name) == (
        "malformed",
        "an event without a name whose data is not a JSON object with a type",
    )


def test_an_event_that_is_too_long_is_malformed() -> None:
    answer = SseReader()
    found = answer.feed(sse(START) + b"event: content_block_start\ndata: " + b"x" * MAX_EVENT)
    assert found == [event(START), AnswerEvent("malformed", b"", b"", "an event is longer than 1048576 bytes")]
    assert answer.feed(b"\n\n" + sse(STOP)) == []


def test_a_body_that_ends_inside_an_event_says_so_before_and_after_the_commit() -> None:
    answer = SseReader()
    answer.feed(sse(START) + b"event: con")
    assert answer.end() == "the stream ended inside an event, after 10 of its bytes"
    assert answer.commit() == b"event: con"
    assert answer.end() == "the stream ended inside an event, after 3 of its bytes"
    assert answer.relay(sse(DELTA)[10:]) == (sse(DELTA)[10:], [])
    assert answer.end() is None


def test_the_commit_keeps_back_what_may_become_an_error() -> None:
    answer = SseReader()
    answer.feed(sse(DELTA) + b"event: err")
    assert answer.commit() == b""
    assert answer.relay(sse(OVERLOADED)[10:] + sse(STOP)) == (b"", [event(OVERLOADED)])
    assert answer.relay(sse(STOP)) == (b"", [])


def test_relaying_reads_usage_and_the_end() -> None:
    answer = committed(SseReader())
    data = sse(START) + sse(DELTA) * 3 + sse(b'{"type":"ping"}') + sse(USAGE) + sse(STOP)
    assert answer.relay(data) == (data, [event(START), event(USAGE), event(STOP)])


def test_a_malformed_event_after_the_commit_is_relayed_and_reported() -> None:
    answer = committed(SseReader())
    bad = b"event: message_delta\ndata: {oops\n\n"
    out, (found,) = answer.relay(sse(DELTA) + bad + sse(DELTA))
    assert (out, found.type, found.raw) == (sse(DELTA) + bad + sse(DELTA), "malformed", bad)


def test_an_endless_error_after_the_commit_is_an_error_once() -> None:
    answer = committed(SseReader())
    endless = b"event: error\ndata: " + b"x" * MAX_NOTABLE
    assert answer.relay(sse(DELTA) + endless) == (
        sse(DELTA),
        [AnswerEvent("error", b"", b"", "an error event is longer than 262144 bytes")],
    )
    assert answer.relay(b"x") == (b"", [])


# --- event stream


def test_chunks_become_sse() -> None:
    answer = FrameReader()
    assert answer.feed(chunk(START) + chunk(DELTA)[:50]) == [event(START)]
    assert answer.feed(chunk(DELTA)[50:]) == [event(DELTA)]
    assert answer.end() is None


def test_a_chunk_of_unusual_form_is_read_all_the_same() -> None:
    """Pretty-printed, type not first: valid JSON, though Bedrock does not send it."""
    data = b'{\n "index": 0,\n "type": "content_block_stop"\n}'
    (found,) = FrameReader().feed(chunk(data))
    assert found.type == "content_block_stop"
    assert found.raw == (
        b'event: content_block_stop\ndata: {\ndata:  "index": 0,\ndata:  "type": "content_block_stop"\ndata: }\n\n'
    )


def test_the_client_never_sees_invocation_metrics_and_the_counter_does() -> None:
    data = b'{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":9,"x":{}}}'
    assert FrameReader().feed(chunk(data)) == [AnswerEvent("message_stop", sse(STOP), data)]


KEY = b'"amazon-bedrock-invocationMetrics"'


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"type":"message_stop"}', b'{"type":"message_stop"}'),
        (b'{"type":"message_stop",' + KEY + b':{"a":1}}', b'{"type":"message_stop"}'),
        (b"{" + KEY + b':{"a":[1]}, "type":"message_stop"}', b'{"type":"message_stop"}'),
        (b'{ "a" : 1.50 , ' + KEY + b' : {"a":1} , "b":"\\u00e9"}', b'{ "a" : 1.50  , "b":"\\u00e9"}'),
        (b"{" + KEY + b":1}", b"{}"),
        (b'{"a":' + KEY + b"}", b'{"a":' + KEY + b"}"),
        (b'{"a":{' + KEY + b":1}," + KEY + b":1}", b'{"a":{' + KEY + b":1}}"),
        (b'{"a":{' + KEY + b":1}," + KEY + b":2}", b'{"a":{' + KEY + b":1}}"),
        (b'{"a":{' + KEY + b":12}," + KEY + b":1}", b'{"a":{' + KEY + b":12}}"),
        (b"{" + KEY + b": nonsense", b"{" + KEY + b": nonsense"),
        (b'{"a":1,"\\u0061mazon-bedrock-invocationMetrics":1,"b":' + KEY + b"}", b'{"a":1,"b":' + KEY + b"}"),
    ],
    ids=[
        "none",
        "last",
        "first",
        "spaces",
        "only",
        "a value",
        "nested same",
        "nested",
        "nested longer",
        "not json",
        "escaped",
    ],
)
def test_taking_the_metrics_out_changes_no_other_byte(data: bytes, expected: bytes) -> None:
    assert without_metrics(data) == expected


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (
            frame({":message-type": "exception", ":exception-type": "throttlingException"}, b'{"message":"Slow"}'),
            AnswerEvent("exception", b"", b'{"message":"Slow"}', "throttlingException"),
        ),
        (
            frame({":message-type": "error", ":error-code": "InternalError", ":error-message": "Oh"}, b""),
            AnswerEvent("exception", b"", b'{"message":"Oh"}', "InternalError"),
        ),
        (
            frame({":message-type": "event", ":event-type": "initial-response"}, b"{}"),
            AnswerEvent("unknown", b"", b"{}", "initial-response"),
        ),
        (frame({}, b""), AnswerEvent("malformed", b"", b"", "a frame has the message type None")),
        (frame(CHUNK, b"{}"), AnswerEvent("malformed", b"", b"{}", "a chunk's payload is not JSON with bytes")),
        (
            chunk(b'{"type":"message_start"'),
            AnswerEvent(
                "malformed", b"", b'{"type":"message_start"', "a chunk does not hold a JSON object with a type"
            ),
        ),
        (chunk(b"{}"), AnswerEvent("malformed", b"", b"{}", "a chunk does not hold a JSON object with a type")),
        (
            b"<!doctype html>",
            AnswerEvent("malformed", b"", b"", "a frame's prelude has a wrong checksum: this is not an event stream"),
        ),
    ],
    ids=["exception", "error", "unknown", "no type", "no bytes", "cut json", "no event type", "html"],
)
def test_frames_that_are_not_chunks(data: bytes, found: AnswerEvent) -> None:
    assert FrameReader().feed(data) == [found]


def test_nothing_follows_a_malformed_frame() -> None:
    answer = FrameReader()
    assert [found.type for found in answer.feed(frame({}, b"") + chunk(START))] == ["malformed"]
    assert answer.feed(chunk(START)) == []


def test_relaying_frames_gives_sse_and_what_is_notable() -> None:
    answer = committed(FrameReader())
    data = chunk(START) + chunk(DELTA) + chunk(USAGE) + chunk(STOP)
    assert answer.relay(data[:-1]) == (sse(START) + sse(DELTA) + sse(USAGE), [event(START), event(USAGE)])
    assert answer.end() == f"the stream ended inside a frame, after {len(chunk(STOP)) - 1} of its bytes"
    assert answer.relay(data[-1:]) == (sse(STOP), [event(STOP)])


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (frame({":message-type": "exception", ":exception-type": "modelTimeoutException"}, b"{}"), "exception"),
        (chunk(OVERLOADED), "error"),
        (b"x" * 20, "malformed"),
    ],
)
def test_bad_news_in_a_frame_ends_the_relay(bad: bytes, kind: str) -> None:
    answer = committed(FrameReader())
    out, found = answer.relay(chunk(DELTA) + bad + chunk(DELTA))
    assert (out, [each.type for each in found]) == (sse(DELTA), [kind])
    assert answer.relay(chunk(DELTA)) == (b"", [])
