from __future__ import annotations

import struct
import zlib

import pytest

from claude_failover.core.eventstream import Decoder, Frame, HeaderValue, Malformed


def header(name: bytes, kind: int, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([kind]) + value


def text(name: bytes, value: bytes) -> bytes:
    return header(name, 7, struct.pack("!H", len(value)) + value)


def frame(headers: bytes, payload: bytes, *, bad_prelude: int = 0, bad_message: int = 0) -> bytes:
    start = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    start += struct.pack("!I", zlib.crc32(start) ^ bad_prelude) + headers + payload
    return start + struct.pack("!I", zlib.crc32(start) ^ bad_message)


def prelude(total: int, headers: int) -> bytes:
    start = struct.pack("!II", total, headers)
    return start + struct.pack("!I", zlib.crc32(start))


EVENT = text(b":message-type", b"event")
KINDS: list[tuple[int, bytes, HeaderValue]] = [
    (0, b"", True),
    (1, b"", False),
    (2, b"\xff", -1),
    (3, b"\x01\x00", 256),
    (4, b"\x00\x00\x00\x07", 7),
    (5, b"\xff" * 8, -1),
    (6, b"\x00\x02ab", b"ab"),
    (7, b"\x00\x02\xc3\xa9", "é"),
    (8, b"\x00" * 6 + b"\x03\xe8", 1000),
    (9, bytes(range(16)), bytes(range(16))),
]


@pytest.mark.parametrize(("kind", "encoded", "value"), KINDS, ids=[str(kind) for kind, _, _ in KINDS])
def test_every_type_of_header_is_read(kind: int, encoded: bytes, value: HeaderValue) -> None:
    both = header(b"a", kind, encoded) + text(b"b", b"c")
    assert Decoder().feed(frame(both, b"x")) == [Frame({"a": value, "b": "c"}, b"x")]


def test_frames_in_one_read_and_a_frame_in_many_reads_are_the_same() -> None:
    data = frame(EVENT, b"one") + frame(b"", b"") + frame(EVENT, b"two")
    expected = [Frame({":message-type": "event"}, b"one"), Frame({}, b""), Frame({":message-type": "event"}, b"two")]
    assert Decoder().feed(data) == expected
    decoder = Decoder()
    assert [found for at in range(len(data)) for found in decoder.feed(data[at : at + 1])] == expected
    assert decoder.end() is None


def test_a_stream_that_ends_inside_a_frame_says_so() -> None:
    decoder = Decoder()
    assert decoder.feed(frame(EVENT, b"one")[:20]) == []
    assert decoder.end() == "the stream ended inside a frame, after 20 of its bytes"


def test_a_wrong_checksum_is_a_value_and_the_end() -> None:
    decoder = Decoder()
    good = frame(EVENT, b"one")
    assert decoder.feed(good + frame(EVENT, b"two", bad_message=1) + good) == [
        Frame({":message-type": "event"}, b"one"),
        Malformed("a frame's checksum is wrong"),
    ]
    assert decoder.feed(good) == []
    assert decoder.end() is None


def test_bytes_that_are_no_event_stream_are_seen_at_the_first_prelude() -> None:
    wrong = Malformed("a frame's prelude has a wrong checksum: this is not an event stream")
    assert Decoder().feed(b"<html><body>Bad gateway") == [wrong]
    assert Decoder().feed(frame(EVENT, b"one", bad_prelude=1)) == [wrong]


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (prelude(200_000, 131_073), "a frame announces 131073 bytes of headers"),
        (prelude(16 + 25_165_825, 0), "a frame announces 25165825 bytes of payload"),
        (prelude(20, 5), "a frame announces -1 bytes of payload"),
    ],
    ids=["headers", "payload", "short"],
)
def test_lengths_that_cannot_be_are_refused_before_the_bytes_come(start: bytes, what: str) -> None:
    assert Decoder().feed(start) == [Malformed(what)]


def test_the_largest_lengths_are_waited_for() -> None:
    assert Decoder().feed(prelude(16 + 131_072 + 25_165_824, 131_072)) == []


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        (text(b"a", b"1") * 2, "a frame repeats a header"),
        (header(b"a", 10, b""), "a frame has a header of the unknown type 10"),
        (b"\x05abc", "a frame's headers do not parse"),
        (header(b"a", 5, b"\x00"), "a frame's headers do not parse"),
        (header(b"a", 7, b"\x00"), "a frame's headers do not parse"),
        (text(b"a", b"\xff"), "a frame's headers do not parse"),
        (header(b"a", 7, b"\x00\x05abc"), "a frame's headers are longer than it says"),
        (header(b"a", 9, b"short"), "a frame's headers are longer than it says"),
    ],
    ids=["twice", "unknown", "name", "number", "length", "utf8", "text", "uuid"],
)
def test_headers_that_do_not_parse_are_a_value(headers: bytes, what: str) -> None:
    assert Decoder().feed(frame(headers, b"")) == [Malformed(what)]
