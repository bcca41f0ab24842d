"""The fastest upstream that Python can be: a raw protocol that answers prepared bytes.

``python upstream.py PORT KIND EVENTS GAP`` with KIND ``sse``, ``json``, ``limited`` (429), ``eventstream``. It reads
a request by its content-length and looks at nothing else.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import zlib
from base64 import b64encode
from typing import cast

import uvloop


def events(count: int) -> list[bytes]:
    """The JSON of one answer with *count* deltas, about 120 bytes each."""
    usage = {"input_tokens": 20_000, "output_tokens": 1, "cache_read_input_tokens": 0}
    start = {
        "type": "message_start",
        "message": {
            "id": "msg_bench",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        },
    }
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "some words of text "}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": count}}
    all_of_it = [start, block, *([delta] * count), {"type": "content_block_stop", "index": 0}, end]
    return [json.dumps(one, separators=(",", ":")).encode() for one in [*all_of_it, {"type": "message_stop"}]]


def sse(data: bytes) -> bytes:
    kind = str(json.loads(data)["type"])
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def frame(data: bytes) -> bytes:
    payload = json.dumps({"bytes": b64encode(data).decode(), "p": "abcdefgh"}).encode()
    headers = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
        for name, value in (
            (b":event-type", b"chunk"),
            (b":content-type", b"application/json"),
            (b":message-type", b"event"),
        )
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude))
    message = head + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def prepared(kind: str, count: int) -> tuple[bytes, list[bytes]]:
    """The head, and the chunks of the body."""
    if kind == "limited":
        body = b'{"type":"error","error":{"type":"rate_limit_error","message":"limited"}}'
        head = (
            b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n"
            b"anthropic-ratelimit-unified-status: rejected\r\nanthropic-ratelimit-unified-5h-status: rejected\r\n"
            b"anthropic-ratelimit-unified-representative-claim: five_hour\r\n"
            b"anthropic-ratelimit-unified-reset: 4102444800\r\nanthropic-ratelimit-unified-5h-reset: 4102444800\r\n"
            b"content-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )
        return head, []
    if kind == "json":
        body = json.dumps({
            "id": "msg_bench", "type": "message", "role": "assistant", "model": "claude-opus-5-5",
            "content": [{"type": "text", "text": "some words of text " * count}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 20_000, "output_tokens": count},
        }).encode()  # fmt: skip
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        return head + body, []
    media = "text/event-stream" if kind == "sse" else "application/vnd.amazon.eventstream"
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    wrap = sse if kind == "sse" else frame
    return head, [chunk(wrap(one)) for one in events(count)]


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, head: bytes, chunks: list[bytes], gap: float) -> None:
        self._head = head
        self._chunks = chunks
        self._gap = gap
        self._need = -1
        self._have = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._have += data
        while True:
            if self._need < 0:
                end = self._have.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = bytes(self._have[:end]).lower()
                at = head.find(b"content-length:")
                length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
                self._need = end + 4 + length
            if len(self._have) < self._need:
                return
            del self._have[: self._need]
            self._need = -1
            self._answer()

    def _answer(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._gap <= 0 or not self._chunks:
            end = b"0\r\n\r\n" if self._chunks else b""
            transport.write(self._head + b"".join(self._chunks) + end)
            return
        transport.write(self._head)
        self._drip(0)

    def _drip(self, index: int) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if index == len(self._chunks):
            transport.write(b"0\r\n\r\n")
            return
        transport.write(self._chunks[index])
        asyncio.get_running_loop().call_later(self._gap, self._drip, index + 1)


async def main(port: int, kind: str, count: int, gap: float) -> None:
    head, chunks = prepared(kind, count)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Upstream(head, chunks, gap), "127.0.0.1", port, backlog=2048)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
