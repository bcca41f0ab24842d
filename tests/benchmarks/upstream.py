"""The fastest upstream that Python can be: a raw protocol that answers prepared bytes.

``python upstream.py PORT KINDS EVENTS GAP THINK`` with KINDS of ``sse``, ``json``, ``limited`` (429), ``eventstream``,
``large`` (an SSE answer of some MB at once) and ``drip`` (SSE, one event every GAP seconds). Several, with commas: a
request's text says which with the digit in ``bench:D#NNNNNNNN``. It reads a request by its content-length and looks at
nothing else, but for that mark: it notes when request N came and was answered, on the clock that all processes of the
machine share. ``GET /bench`` tells what was counted.

Events that have a gap between them carry the time at which they were written: ``t=`` and seconds.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
import zlib
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final, cast

import uvloop

STAMP: Final = b"t=0000000000.000000"
"""Where the time goes; it has as many characters as a time."""

LARGE: Final = 100_000
"""Events of an answer that no socket's buffers can take: 15 MB."""


def events(count: int, *, stamped: bool = False) -> list[bytes]:
    """The JSON of one answer with *count* deltas, about 120 bytes each."""
    text = STAMP.decode() if stamped else "some words of text "
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
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
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
    media = "application/vnd.amazon.eventstream" if kind == "eventstream" else "text/event-stream"
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    wrap = frame if kind == "eventstream" else sse
    number = LARGE if kind == "large" else count
    return head, [chunk(wrap(one)) for one in events(number, stamped=kind == "drip")]


@dataclass
class Seen:
    """What is told to who asks."""

    connections: int = 0
    open: int = 0
    requests: int = 0
    left: int = 0
    """Answers that were not read to their end."""
    came: dict[int, float] = field(default_factory=dict)
    """When the first bytes of request N were read."""
    answered: dict[int, float] = field(default_factory=dict)
    """When the answer to request N was written, or its head."""

    def told(self) -> bytes:
        body = json.dumps(vars(self)).encode()
        return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True)
class Answer:
    """One kind of answer, prepared."""

    head: bytes
    chunks: list[bytes]
    whole: bytes
    gap: float

    @classmethod
    def of(cls, kind: str, count: int, gap: float) -> Answer:
        head, chunks = prepared(kind, count)
        whole = head + b"".join(chunks) + (b"0\r\n\r\n" if chunks else b"")
        return cls(head, chunks, whole, gap if kind == "drip" else 0.0)


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, answers: list[Answer], think: float, seen: Seen) -> None:
        self._answers = answers
        self._think = think
        self._seen = seen
        self._need = -1
        self._have = bytearray()
        self._came = 0.0
        self._dripping = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._seen.connections += 1
        self._seen.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._seen.open -= 1
        self._seen.left += self._dripping or exc is not None

    def data_received(self, data: bytes) -> None:
        if not self._have:
            self._came = time.perf_counter()
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
            if self._have.startswith(b"GET /bench"):
                self._write(self._seen.told())
            else:
                self._read()
            del self._have[: self._need]
            self._need = -1

    def _read(self) -> None:
        """A request is whole."""
        at = self._have.find(b"bench:")
        number, which = -1, 0
        if at >= 0:
            which = min(self._have[at + 6] - ord("0"), len(self._answers) - 1)
            number = int(self._have[at + 8 : at + 16])
            self._seen.came[number] = self._came
        self._seen.requests += 1
        if self._think:
            asyncio.get_running_loop().call_later(self._think, self._answer, number, self._answers[which])
        else:
            self._answer(number, self._answers[which])

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _answer(self, number: int, answer: Answer) -> None:
        if number >= 0:
            self._seen.answered[number] = time.perf_counter()
        if answer.gap <= 0:
            self._write(answer.whole)
            return
        self._write(answer.head)
        self._dripping = True
        self._drip(answer, 0)

    def _drip(self, answer: Answer, index: int) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if index == len(answer.chunks):
            self._dripping = False
            transport.write(b"0\r\n\r\n")
            return
        now = b"t=%017.6f" % time.perf_counter()
        transport.write(answer.chunks[index].replace(STAMP, now))
        asyncio.get_running_loop().call_later(answer.gap, self._drip, answer, index + 1)


async def main(port: int, kinds: str, count: int, gap: float, think: float) -> None:
    answers = [Answer.of(kind, count, gap) for kind in kinds.split(",")]
    seen = Seen()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Upstream(answers, think, seen), "127.0.0.1", port, backlog=2048)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    told = sys.argv[1:]
    uvloop.run(main(int(told[0]), told[1], int(told[2]), float(told[3]), float(told[4])))
