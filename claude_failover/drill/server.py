"""An HTTP/1.1 server that can misbehave on purpose, byte by byte.

A library's server would repair most of what a drill has to break (it never sends a wrong length, a
bare reset, half a chunk), so this one writes its own bytes. It serves loopback only, keeps a bounded
list of what arrived, and counts the clients that left in the middle of an answer. Reading requests is
strict: what is not HTTP/1.1 as a careful client sends it is answered 400 and noted as a violation.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from types import TracebackType
from typing import Self

from msgspec import structs

from claude_failover.clock import Clock, SystemClock
from claude_failover.core.types import Usage
from claude_failover.drill.http1 import BadRequest, ClientLeft, Connection, phrase
from claude_failover.drill.playback import Body, Playback, Reply
from claude_failover.drill.script import Drop, Garbage, How, Seen

__all__ = ["Reply", "SimulatedServer", "total"]

KEPT_REQUESTS = 2_000
KEPT_BYTES = 64 << 20
"""How many requests a simulator remembers, and how much of bodies: enough for a scenario, bounded for a soak."""

RESET_GRACE = 0.02
"""Seconds between the last bytes and a reset."""

CLOSING = 5.0
"""Seconds until the system has taken a listener away."""


def _bound(held: socket.socket, port: int) -> bool:
    try:
        held.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def total(left: Usage, right: Usage) -> Usage:
    """The sum of two usages, kind by kind."""
    return structs.replace(
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
        self.requests: deque[Seen] = deque()
        self._kept_bytes = 0
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

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
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
        # The port stays ours: the system could give it to another program, which would answer in our place.
        with socket.socket() as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            async with asyncio.timeout(CLOSING):
                while not _bound(held, self.port):  # noqa: ASYNC110 - the event loop closes the listener when it likes
                    await asyncio.sleep(0.01)
            try:
                yield
            finally:
                held.close()
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
                self._remember(seen)
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

    def _remember(self, request: Seen) -> None:
        self.requests.append(request)
        self._kept_bytes += len(request.body)
        while len(self.requests) > KEPT_REQUESTS or (self._kept_bytes > KEPT_BYTES and len(self.requests) > 1):
            self._kept_bytes -= len(self.requests.popleft().body)
        self._notify()

    async def answer(self, request: Seen) -> Reply | Drop | Garbage:  # noqa: ARG002 - for those who do
        """Decide what to answer. Subclasses do."""
        raise AssertionError("each simulator answers in its own way")

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
        body = Body(request, reply)
        await connection.send(body.head(self._date()))
        await connection.pause(wire.after_head)
        playback = Playback(connection, body, wire)
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
