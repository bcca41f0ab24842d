"""An HTTP/1.1 server that can misbehave on purpose, byte by byte.

A library's server would repair most of what a drill has to break (it never sends a wrong length, a
bare reset, half a chunk), so this one writes its own bytes. It serves loopback only, keeps a bounded
list of what arrived, and counts the clients that left in the middle of an answer. Reading requests is
strict: what is not HTTP/1.1 as a careful client sends it is answered 400 and noted as a violation.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from email.utils import formatdate
from types import TracebackType
from typing import Self

from claude_failover.clock import Clock, SystemClock
from claude_failover.core.types import Headers, Usage
from claude_failover.drill.http1 import BadRequest, ClientLeft, Connection, phrase
from claude_failover.drill.script import HEALTHY, Drop, Garbage, How, Seen, Wire, reached

KEPT_REQUESTS = 2_000
"""How many requests a simulator remembers: enough for a scenario, bounded for a soak."""

RESET_GRACE = 0.02
"""Seconds between the last bytes and a reset."""


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


def total(left: Usage, right: Usage) -> Usage:
    """The sum of two usages, kind by kind."""
    return replace(
        left,
        input=left.input + right.input,
        output=left.output + right.output,
        cache_read=left.cache_read + right.cache_read,
        cache_write_5m=left.cache_write_5m + right.cache_write_5m,
        cache_write_1h=left.cache_write_1h + right.cache_write_1h,
        web_searches=left.web_searches + right.web_searches,
        thinking=left.thinking + right.thinking,
    )


class SimulatedServer:
    """A backend on 127.0.0.1; subclasses answer. ``async with`` starts and stops it."""

    name = "simulator"

    def __init__(self, clock: Clock | None = None, *, max_body: int = 64 << 20) -> None:
        self.clock: Clock = clock or SystemClock()
        self.max_body = max_body
        self.port = 0
        self.requests: deque[Seen] = deque(maxlen=KEPT_REQUESTS)
        self.count = 0
        """Requests that arrived, also those no longer in :attr:`requests`."""
        self.connections = 0
        """Connections accepted so far."""
        self.gone = 0
        """Clients that left before their answer was complete."""
        self.violations: list[str] = []
        """What no client of ours may ever do; each names the rule and never repeats a secret."""
        self.served = Usage()
        """Sum over the answers that were sent completely."""
        self.served_answers = 0
        self.partial = Usage()
        """Sum of what clients could see of answers that were not."""
        self.partial_answers = 0
        self._open: set[Connection] = set()
        self._group = asyncio.TaskGroup()
        self._changed = asyncio.Event()
        self._listener: asyncio.Server | None = None

    # --- life ---

    @property
    def url(self) -> str:
        """Origin without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """Connections that are up right now."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._deafen()
        await self._group.__aexit__(None, None, None)

    async def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait until something about this simulator is true: a request came, a client left, an answer is complete.

        Raises:
            TimeoutError: It did not become true in time.
        """
        async with asyncio.timeout(seconds):
            while not condition():
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """While inside: every open connection is reset, and new ones are refused."""
        await self._deafen()
        try:
            yield
        finally:
            await self._listen()

    def reset_all(self) -> None:
        """Reset every open connection, idle or in the middle of an answer: the backend's process died."""
        for connection in tuple(self._open):
            self._reset(connection)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Connection(self._accepted, self._lost), "127.0.0.1", self.port, reuse_address=True, backlog=2048
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _deafen(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.reset_all()
        await asyncio.sleep(0)

    def _accepted(self, connection: Connection) -> None:
        self.connections += 1
        connection.number = self.connections
        self._open.add(connection)
        self._group.create_task(self._serve(connection))

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._notify()

    # --- requests ---

    async def _serve(self, connection: Connection) -> None:
        answering = False
        try:
            while True:
                answering = False
                head = await connection.read_head()
                if head is None:
                    return
                body = await connection.read_body(head, self.max_body)
                self.count += 1
                seen = Seen(
                    self.count, head.method, head.target, head.headers, body, connection.number,
                    asyncio.get_running_loop().time(),
                )  # fmt: skip
                self.requests.append(seen)
                self._notify()
                answering = True
                if not await self._play(connection, seen, await self.answer(seen)):
                    return
        except BadRequest as error:
            self.violations.append(f"not acceptable HTTP: {error}")
            connection.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        except ClientLeft:
            self.gone += answering and not connection.dropped
        finally:
            connection.transport.close()
            self._notify()

    async def answer(self, request: Seen) -> Reply | Drop | Garbage:
        """Decide what to answer. Subclasses do."""
        raise NotImplementedError

    # --- responses ---

    async def _play(self, connection: Connection, request: Seen, reply: Reply | Drop | Garbage) -> bool:
        """Send a reply; returns whether the connection stays open."""
        if isinstance(reply, Garbage):
            await connection.send(reply.data)
            return False
        if isinstance(reply, Drop):
            await connection.pause(reply.after)
            if reply.how is How.RESET:
                self._reset(connection)
            return False
        wire = reply.wire
        for status in wire.interim:
            await connection.send(f"HTTP/1.1 {status} {phrase(status)}\r\n\r\n".encode())
        await connection.pause(wire.before_head)
        body = _Body(request, reply)
        await connection.send(body.head(self._date()))
        await connection.pause(wire.after_head)
        playback = _Playback(connection, body, wire)
        try:
            how = await playback.run()
            if how is How.RESET:
                # What was sent must be read first: a reset may throw away what the client has not taken yet.
                await connection.flush()
                await connection.pause(RESET_GRACE)
                self._reset(connection)
            elif how is How.END:
                await connection.send(body.end)
        finally:
            self._account(playback.visible, playback.complete)
        return how is How.END and body.keeps_open

    def _account(self, visible: Usage | None, complete: bool) -> None:
        if visible is None:
            return
        if complete:
            self.served = total(self.served, visible)
            self.served_answers += 1
        else:
            self.partial = total(self.partial, visible)
            self.partial_answers += 1
        self._notify()

    def _date(self) -> str:
        return formatdate(self.clock.now().wall, usegmt=True)

    @staticmethod
    def _reset(connection: Connection) -> None:
        """Close so that the client sees a reset, not an orderly end."""
        connection.dropped = True
        sock: socket.socket | None = connection.transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.transport.abort()


class _Playback:
    """A body on its way: the parts at their times, with the wire's stall and cut."""

    def __init__(self, connection: Connection, body: _Body, wire: Wire) -> None:
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


class _Body:
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
        return iter(()) if self._bare else iter(self._parts)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        size = self._wire.drip or len(data) or 1
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece
