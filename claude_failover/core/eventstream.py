"""AWS event stream (``application/vnd.amazon.eventstream``): bytes to frames.

Rule: bytes that are not what the format says become a :class:`Malformed` value, once, and the
decoder is silent afterwards: a stream whose lengths cannot be believed has no next frame. A
stream that ends inside a frame is reported by :meth:`Decoder.end`, never papered over.

A frame is ``total_len:u32 | headers_len:u32 | crc32 of these 8 bytes:u32 | headers | payload |
crc32 of everything before:u32``, big-endian; a header is ``name_len:u8 | name | type:u8 | value``.
Source: the format description in the AWS SDKs; limits and header types as in
``botocore/eventstream.py`` (1.44.5), which is the oracle of the tests and no dependency.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

MAX_HEADERS = 128 * 1024
MAX_PAYLOAD = 24 * 1024 * 1024
_PRELUDE = struct.Struct("!III")
_CRC = struct.Struct("!I")
_OVERHEAD = _PRELUDE.size + _CRC.size

HeaderValue = bool | int | bytes | str
"""Timestamps are milliseconds since 1970, UUIDs their 16 bytes."""

_FIXED: Final = {2: struct.Struct("!b"), 3: struct.Struct("!h"), 4: struct.Struct("!i"), 5: struct.Struct("!q")}
_TRUE, _FALSE, _BYTES, _STRING, _TIMESTAMP, _UUID = 0, 1, 6, 7, 8, 9
_UUID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame whose checksums are right."""

    headers: dict[str, HeaderValue]
    """Shared between frames with the same headers: never change it."""
    payload: bytes


@dataclass(frozen=True, slots=True)
class Malformed:
    """The bytes are no event stream from here on."""

    what: str


class _Garbage(Exception):  # noqa: N818 - never leaves this module
    """A frame's headers do not parse."""


class Decoder:
    """Takes bytes, gives frames; cut the bytes where you like."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = _PRELUDE.size
        self._dead = False
        # Bedrock sends the same three headers with every frame: they are parsed once.
        self._last_headers: tuple[bytes, dict[str, HeaderValue]] = (b"", {})

    def feed(self, data: bytes) -> list[Frame | Malformed]:
        """Take bytes, return the frames that they complete."""
        if self._dead:
            return []
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return []
            work = bytes(self._buffer)
        else:
            work = data
        out: list[Frame | Malformed] = []
        start = 0
        while (rest := len(work) - start) >= _PRELUDE.size:
            length, headers_length, crc = _PRELUDE.unpack_from(work, start)
            wrong = _wrong_prelude(work, start, length, headers_length, crc)
            if wrong:
                return self._give_up(out, wrong)
            if rest < length:
                self._need = length
                break
            try:
                out.append(self._frame(work, start, length, headers_length))
            except _Garbage as error:
                return self._give_up(out, str(error))
            start += length
            self._need = _PRELUDE.size
        self._buffer = bytearray(work[start:])
        return out

    def _give_up(self, out: list[Frame | Malformed], what: str) -> list[Frame | Malformed]:
        self._dead = True
        self._buffer.clear()
        return [*out, Malformed(what)]

    def _frame(self, work: bytes, start: int, length: int, headers_length: int) -> Frame:
        end = start + length - _CRC.size
        (crc,) = _CRC.unpack_from(work, end)
        if zlib.crc32(work[start:end]) != crc:
            raise _Garbage("a frame's checksum is wrong")
        payload_start = start + _PRELUDE.size + headers_length
        encoded = work[start + _PRELUDE.size : payload_start]
        if encoded != self._last_headers[0]:
            self._last_headers = (encoded, _headers(encoded))
        return Frame(self._last_headers[1], work[payload_start:end])

    def end(self) -> str | None:
        """Say what the stream's end cut off; ``None`` if it ended between two frames."""
        if not self._buffer:
            return None
        return f"the stream ended inside a frame, after {len(self._buffer)} of its bytes"


def _wrong_prelude(work: bytes, start: int, length: int, headers_length: int, crc: int) -> str | None:
    if zlib.crc32(work[start : start + 8]) != crc:
        return "a frame's prelude has a wrong checksum: this is not an event stream"
    if headers_length > MAX_HEADERS:
        return f"a frame announces {headers_length} bytes of headers"
    payload = length - headers_length - _OVERHEAD
    if not 0 <= payload <= MAX_PAYLOAD:
        return f"a frame announces {payload} bytes of payload"
    return None


def _headers(encoded: bytes) -> dict[str, HeaderValue]:
    """Parse a frame's headers.

    Raises:
        _Garbage: They do not fill their space exactly, repeat a name, or hold an unknown type or broken text.
    """
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(encoded):
            name_end = at + 1 + encoded[at]
            name = encoded[at + 1 : name_end].decode()
            if name in headers:
                raise _Garbage("a frame repeats a header")
            headers[name], at = _value(encoded, name_end + 1, encoded[name_end])
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise _Garbage("a frame's headers do not parse") from error
    if at > len(encoded):
        raise _Garbage("a frame's headers are longer than it says")
    return headers


def _value(encoded: bytes, at: int, kind: int) -> tuple[HeaderValue, int]:
    """Read a header's value: the value, and where the next header starts."""
    if kind in {_STRING, _BYTES}:
        (size,) = struct.unpack_from("!H", encoded, at)
        at += 2 + size
        value = encoded[at - size : at]
        return (value.decode() if kind == _STRING else value), at
    if kind in {_TRUE, _FALSE}:
        return kind == _TRUE, at
    if kind == _UUID:
        return encoded[at : at + _UUID_BYTES], at + _UUID_BYTES
    number = _FIXED.get(5 if kind == _TIMESTAMP else kind)
    if number is None:
        raise _Garbage(f"a frame has a header of the unknown type {kind}")
    return int(number.unpack_from(encoded, at)[0]), at + number.size
