from __future__ import annotations

import itertools
import struct
import zlib
from typing import Any

from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.eventstream import Decoder, Frame, Malformed


def sized(value: bytes) -> bytes:
    return struct.pack("!H", len(value)) + value


values = st.one_of(
    st.sampled_from([(0, b""), (1, b"")]),
    st.binary(min_size=1, max_size=1).map(lambda value: (2, value)),
    st.binary(min_size=2, max_size=2).map(lambda value: (3, value)),
    st.binary(min_size=4, max_size=4).map(lambda value: (4, value)),
    st.binary(min_size=8, max_size=8).map(lambda value: (5, value)),
    st.binary(max_size=20).map(lambda value: (6, sized(value))),
    st.text("aé漢🙂 \n", max_size=20).map(lambda value: (7, sized(value.encode()))),
    st.binary(min_size=8, max_size=8).map(lambda value: (8, value)),
    st.binary(min_size=16, max_size=16).map(lambda value: (9, value)),
)
names = st.text("ab:-é漢", min_size=1, max_size=12)


def text8(name: str) -> bytes:
    return bytes([len(name.encode())]) + name.encode()


def encode(headers: dict[str, tuple[int, bytes]], payload: bytes) -> bytes:
    block = b"".join(text8(n) + bytes([kind]) + value for n, (kind, value) in headers.items())
    start = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    start += struct.pack("!I", zlib.crc32(start)) + block + payload
    return start + struct.pack("!I", zlib.crc32(start))


frames = st.builds(encode, st.dictionaries(names, values, max_size=5), st.binary(max_size=200))
cuts = st.lists(st.integers(0, 100_000), max_size=12)


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted({cut % (len(data) + 1) for cut in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(at)]


def oracle(data: bytes) -> list[tuple[dict[str, Any], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in buffer]


@given(st.lists(frames, max_size=6), cuts)
@settings(max_examples=200)
def test_random_frames_cut_anywhere_are_what_botocore_reads(sent: list[bytes], places: list[int]) -> None:
    data = b"".join(sent)
    decoder = Decoder()
    found = [frame for piece in pieces(data, places) for frame in decoder.feed(piece)]
    assert all(isinstance(frame, Frame) for frame in found)
    assert [(frame.headers, frame.payload) for frame in found if isinstance(frame, Frame)] == oracle(data)
    assert decoder.end() is None


@given(st.lists(frames, min_size=1, max_size=4), st.integers(0), cuts)
@settings(max_examples=200)
def test_a_cut_stream_is_reported_and_never_an_exception(sent: list[bytes], cut: int, places: list[int]) -> None:
    data = b"".join(sent)
    data = data[: cut % len(data)]
    decoder = Decoder()
    found = [frame for piece in pieces(data, places) for frame in decoder.feed(piece)]
    whole = b"".join(sent[: len(found)])
    assert data.startswith(whole)
    assert (decoder.end() is None) == (data == whole)


@given(st.lists(frames, min_size=1, max_size=3), st.integers(0), st.integers(1, 255), cuts)
@settings(max_examples=200)
def test_one_wrong_byte_is_found_wherever_it_is(sent: list[bytes], at: int, change: int, places: list[int]) -> None:
    data = bytearray(b"".join(sent))
    data[at % len(data)] ^= change
    decoder = Decoder()
    found = [frame for piece in pieces(bytes(data), places) for frame in decoder.feed(piece)]
    assert isinstance(found[-1], Malformed)
    assert all(isinstance(frame, Frame) for frame in found[:-1])


@given(st.binary(max_size=300), cuts)
@settings(max_examples=200)
def test_garbage_is_a_value(data: bytes, places: list[int]) -> None:
    decoder = Decoder()
    found = [frame for piece in pieces(data, places) for frame in decoder.feed(piece)]
    assert sum(isinstance(frame, Malformed) for frame in found) <= 1
