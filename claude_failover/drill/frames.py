"""AWS event-stream frames, written for the simulated Bedrock with nothing but struct and zlib.

    total:u32 | headers:u32 | crc32(first 8 bytes):u32 | headers | payload | crc32(all before):u32

All integers are big-endian; a header is ``len:u8 name type:u8 value``, type 7 a string of ``len:u16 utf-8``
(wire/bedrock.md 3). This is an encoder of its own on purpose: the product's decoder is tested against it.
"""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "application/vnd.amazon.eventstream"

STRING = 7

EXCEPTION_STATUS: Mapping[str, int] = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "validationException": 400,
    "throttlingException": 429,
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
}
"""Members of Bedrock's ResponseStream and the status each is modelled with (wire/bedrock.md 3)."""

_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame with string headers."""
    lines = b"".join(
        struct.pack(">B", len(name.encode()))
        + name.encode()
        + struct.pack(">BH", STRING, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(lines) + len(payload), len(lines))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + lines + payload
    return message + struct.pack(">I", zlib.crc32(message))


def chunk(event: Mapping[str, Any], *, padding: int | None = 0) -> bytes:
    """A frame that carries one of Anthropic's events; *padding* characters of ``p``, ``None`` = no such key."""
    raw = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    payload: dict[str, str] = {"bytes": b64encode(raw).decode()}
    if padding is not None:
        payload["p"] = (_PADDING * (padding // len(_PADDING) + 1))[:padding]
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(payload, separators=(",", ":")).encode())


def exception(name: str, message: str, fields: Mapping[str, Any] | None = None) -> bytes:
    """A modelled error inside the stream, such as ``throttlingException``."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message, **(fields or {})}).encode())


def unmodelled_error(code: str, message: str) -> bytes:
    """An error that the service model does not know: everything is in the headers."""
    return frame({":message-type": "error", ":error-code": code, ":error-message": message}, b"")


def corrupt(data: bytes, *, prelude: bool = False) -> bytes:
    """The same frame with one checksum wrong."""
    position = 8 if prelude else len(data) - 1
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]
