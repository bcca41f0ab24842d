"""A second opinion on event streams: the codec of the AWS SDK for JavaScript, and botocore's, at every byte.

What smithy writes is read by the product, by botocore and by smithy: split, cut off and damaged at every byte there is.
"""

from __future__ import annotations

import itertools
import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError

from claude_failover.core.answer import EXCEPTION, MALFORMED, AnswerEvent, FrameReader
from claude_failover.core.eventstream import Decoder, Frame, Malformed
from claude_failover.drill import frames
from tests.smithy import ask, program


@pytest.fixture(scope="module")
def node() -> str:
    return program()


EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "msg_bdrk_1", "usage": {"input_tokens": 3}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüße, 世界 🌍" * 400}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}},
]


def test_smithy_reads_our_frames(node: str) -> None:
    ours = [
        *(frames.chunk(event, padding=number * 30) for number, event in enumerate(EVENTS)),
        frames.chunk(EVENTS[0], padding=None),
        frames.exception("modelStreamErrorException", "oops", {"originalStatusCode": 529}),
        frames.unmodelled_error("InternalFailure", "oops"),
        frames.corrupt(frames.chunk(EVENTS[0])),
        frames.corrupt(frames.chunk(EVENTS[0]), prelude=True),
        frames.chunk(EVENTS[0])[:-1],
    ]
    decoded = ask(node, "frames.mjs", {"decode": [b64encode(frame).decode() for frame in ours], "encode": []})[
        "decoded"
    ]
    for event, read in zip(EVENTS, decoded, strict=False):
        assert read["headers"] == {
            ":event-type": "chunk",
            ":content-type": "application/json",
            ":message-type": "event",
        }
        assert json.loads(b64decode(json.loads(b64decode(read["payload"]))["bytes"])) == event
    assert decoded[4]["headers"][":exception-type"] == "modelStreamErrorException"
    assert decoded[5]["headers"] == {
        ":message-type": "error",
        ":error-code": "InternalFailure",
        ":error-message": "oops",
    }
    assert all("error" in read for read in decoded[6:])


def test_our_decoder_and_botocores_read_smithys_frames(node: str) -> None:
    messages = [
        {"headers": {":message-type": "event", ":event-type": "chunk"}, "payload": b64encode(b"{}" * 5000).decode()},
        {"headers": {":message-type": "exception", ":exception-type": "throttlingException"}, "payload": ""},
        {"headers": {"ünï": "çödé"}, "payload": b64encode(bytes(range(256))).decode()},
    ]
    encoded = [b64decode(frame) for frame in ask(node, "frames.mjs", {"decode": [], "encode": messages})["encoded"]]
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(encoded))
    for message, read, frame in zip(messages, buffer, encoded, strict=True):
        headers, payload = message["headers"], b64decode(str(message["payload"]))
        assert (read.headers, read.payload) == (headers, payload)
        assert isinstance(headers, dict)
        assert frames.frame(headers, payload) == frame
        ours = Decoder().feed(frame)
        assert [(read.headers, read.payload) for read in ours if isinstance(read, Frame)] == [(headers, payload)]


# --- at every byte


CHUNK = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
THROTTLED = {":exception-type": "throttlingException", ":message-type": "exception"}
INTERNAL = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "oops"}
SPOKEN = ["message_start", "content_block_delta", "message_stop"]


@pytest.fixture(scope="module")
def encoded(node: str) -> list[bytes]:
    """An answer in five frames by smithy: three events, an exception, an error that is not modelled."""
    events = [{"type": name, "text": "Grüße 🌍"} for name in SPOKEN]
    chunks = [json.dumps({"bytes": b64encode(json.dumps(event).encode()).decode(), "p": "ab"}) for event in events]
    messages = [
        *({"headers": CHUNK, "payload": b64encode(chunk.encode()).decode()} for chunk in chunks),
        {"headers": THROTTLED, "payload": b64encode(b'{"message":"Too many tokens"}').decode()},
        {"headers": INTERNAL, "payload": ""},
    ]
    return [b64decode(frame) for frame in ask(node, "frames.mjs", {"decode": [], "encode": messages})["encoded"]]


def by_botocore(*parts: bytes) -> list[tuple[dict[str, Any], bytes]]:
    buffer, found = EventStreamBuffer(), []
    for part in parts:
        buffer.add_data(part)
        found += [(message.headers, message.payload) for message in buffer]
    return found


def by_us(*parts: bytes) -> list[tuple[dict[str, Any], bytes]]:
    decoder, found = Decoder(), []
    for part in parts:
        for one in decoder.feed(part):
            assert isinstance(one, Frame), one
            found.append((dict(one.headers), one.payload))
    assert decoder.end() is None
    return found


def read(*parts: bytes) -> list[AnswerEvent]:
    reader = FrameReader()
    return [event for part in parts for event in reader.feed(part)]


def test_wherever_a_stream_is_split_it_is_the_same_stream(encoded: list[bytes]) -> None:
    whole = b"".join(encoded)
    frames_of = by_us(whole)
    assert [headers for headers, _ in frames_of] == [CHUNK, CHUNK, CHUNK, THROTTLED, INTERNAL]
    assert by_botocore(whole) == frames_of
    events = read(whole)
    assert [event.type for event in events] == [*SPOKEN, EXCEPTION, EXCEPTION]
    assert [event.name for event in events[3:]] == ["throttlingException", "InternalFailure"]
    for at in range(len(whole) + 1):
        assert by_us(whole[:at], whole[at:]) == frames_of
        assert by_botocore(whole[:at], whole[at:]) == frames_of
        assert read(whole[:at], whole[at:]) == events
    bytewise = [bytes([byte]) for byte in whole]
    assert by_us(*bytewise) == by_botocore(*bytewise) == frames_of
    assert read(*bytewise) == events


def test_wherever_a_stream_is_cut_off_that_is_said(encoded: list[bytes]) -> None:
    whole = b"".join(encoded)
    ends = [0, *itertools.accumulate(len(frame) for frame in encoded)]
    for at in range(len(whole) + 1):
        complete = sum(end <= at for end in ends[1:])
        decoder, reader = Decoder(), FrameReader()
        assert len(decoder.feed(whole[:at])) == len(reader.feed(whole[:at])) == complete
        assert len(by_botocore(whole[:at])) == complete
        assert (decoder.end() is None) is (at in ends)
        assert (reader.end() is None) is (at in ends)


@pytest.mark.parametrize("number", [0, 3, 4], ids=["chunk", "exception", "error"])
def test_whichever_byte_is_wrong_all_three_find_it(node: str, encoded: list[bytes], number: int) -> None:
    frame = encoded[number]
    damaged = [frame[:at] + bytes([frame[at] ^ 0x20]) + frame[at + 1 :] for at in range(len(frame))]
    for bad in damaged:
        (said,) = Decoder().feed(bad)
        assert isinstance(said, Malformed)
        assert [event.type for event in read(bad)] == [MALFORMED]
        with pytest.raises(ParserError):
            by_botocore(bad)
    decoded = ask(node, "frames.mjs", {"decode": [b64encode(bad).decode() for bad in damaged], "encode": []})["decoded"]
    assert len(decoded) == len(frame)
    assert all("error" in said for said in decoded)
