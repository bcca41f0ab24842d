"""A response on its way: what it says, under its framing, at its times, broken where its wire breaks it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from claude_failover.core.types import Headers, Usage
from claude_failover.drill.http1 import Connection, phrase
from claude_failover.drill.script import HEALTHY, How, Seen, Wire, reached


@dataclass(frozen=True, slots=True)
class Part:
    """One event of a body, or all of a body that is no stream."""

    data: bytes
    name: str = ""
    """The event's name, for marks."""
    gap: float = 0.0
    """Seconds after the part before it."""
    usage: Usage | None = None
    """The answer's usage as far as a client that got this part can know it; cumulative."""
    last: bool = False
    """With this part the answer is complete."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, before the wire does what it does to it."""

    status: int
    headers: Headers
    parts: Iterable[Part] = ()
    wire: Wire = HEALTHY
    stream: bool = False
    content_type: str = "application/json"


class Playback:
    """A body on its way: the parts at their times, with the wire's stall and cut."""

    def __init__(self, connection: Connection, body: Body, wire: Wire) -> None:
        self._connection = connection
        self._body = body
        self._wire = wire
        self._stall = wire.stall
        self._inserted = False
        self._sent = 0
        self._last = ""
        self.visible: Usage | None = None
        """What a client could know of the usage by now."""
        self.complete = False

    async def run(self) -> How:
        """Send the body; returns how the connection is to go on, ``END`` being the normal way."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        cut = self._wire.cut
        for part in self._body.parts():
            data = await self._stalled(self._spoiled(part.data))
            if cut is not None and reached(cut.at, self._sent, self._last):
                await self._send(data[: cut.extra_bytes])
                return cut.how
            if part.gap:
                due += part.gap
                await self._connection.pause(due - loop.time())
            await self._send(data)
            self._sent, self._last = self._sent + 1, part.name
            self.visible = part.usage or self.visible
            self.complete = self.complete or part.last
        if cut is not None and reached(cut.at, self._sent, self._last):
            return cut.how
        return How.END

    def _spoiled(self, data: bytes) -> bytes:
        """The part with what the wire adds before it, or changes in it."""
        wire = self._wire
        if wire.corrupt is not None and reached(wire.corrupt, self._sent, self._last):
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
        if wire.insert and not self._inserted and reached(wire.insert_at, self._sent, self._last):
            self._inserted = True
            data = wire.insert + data
        return data

    async def _stalled(self, data: bytes) -> bytes:
        """Fall silent if it is time to; returns what is left to send of the part."""
        stall = self._stall
        if stall is None or not reached(stall.at, self._sent, self._last):
            return data
        self._stall = None
        await self._send(data[: stall.extra_bytes])
        await self._connection.pause(stall.seconds)
        return data[stall.extra_bytes :]

    async def _send(self, data: bytes) -> None:
        for piece in self._body.pieces(data):
            await self._connection.send(piece)
            if self._wire.drip:
                await self._connection.pause(self._wire.drip_gap)
                await asyncio.sleep(0)


class Body:
    """A reply's bytes under its framing."""

    def __init__(self, request: Seen, reply: Reply) -> None:
        self._reply = reply
        self._wire = reply.wire
        self._bare = request.method == "HEAD" or reply.status in (204, 304)
        framing = self._wire.framing
        if framing == "auto":
            framing = "chunked" if reply.stream and not self._wire.length_error else "length"
        self._chunked = framing == "chunked" and not self._bare
        self._parts: Iterable[Part] = reply.parts
        if self._wire.body is not None:
            self._parts = (Part(self._wire.body, "body"),)
        if self._wire.gzip:
            self._parts = self._zipped()
        self._length: int | None = None
        if framing == "length":
            self._parts = tuple(self._parts)
            self._length = sum(len(part.data) for part in self._parts) + self._wire.length_error
        wants_close = (request.header("connection") or "").lower() == "close"
        self.keeps_open = not (
            framing == "close" or self._wire.close or wants_close or (self._wire.length_error and not self._bare)
        )
        self.end = b"0\r\n\r\n" if self._chunked else b""

    def _zipped(self) -> tuple[Part, ...]:
        parts = tuple(self._parts)
        plain = b"".join(part.data for part in parts)
        data = gzip.compress(plain, mtime=0) if self._wire.gzip == "good" else b"\x1f\x8b\x08\x00broken" + plain
        usage = next((part.usage for part in reversed(parts) if part.usage is not None), None)
        return (Part(data, "body", 0.0, usage, last=any(part.last for part in parts)),)

    def head(self, date: str) -> bytes:
        """Status line and headers."""
        reply, wire = self._reply, self._wire
        lines = [f"HTTP/1.1 {reply.status} {phrase(reply.status)}"]
        if not any(name.lower() == "date" for name, _ in reply.headers):
            lines.append(f"date: {date}")
        kind = reply.content_type if wire.content_type == "auto" else wire.content_type
        if kind:
            lines.append(f"content-type: {kind}")
        if wire.gzip:
            lines.append("content-encoding: gzip")
        if self._chunked:
            lines.append("transfer-encoding: chunked")
        elif self._length is not None:
            lines.append(f"content-length: {self._length}")
        if not self.keeps_open:
            lines.append("connection: close")
        lines.extend(f"{name}: {value}" for name, value in reply.headers)
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def parts(self) -> Iterator[Part]:
        """What there is to send; nothing where HTTP allows no body."""
        return iter(()) if self._bare else iter(self._parts)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Bytes as they go out, in drips if they drip, framed."""
        size = self._wire.drip or len(data) or 1
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece
