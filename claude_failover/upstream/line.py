"""One request and its response on one connection: HTTP/1.1 by llhttp, without a stream reader in between.

Rule: bytes go out and come in as they are; the body's pieces wait in a list until they are read, and above
:data:`HIGH_WATER` the connection is not read. What arrived before a connection broke is handed out before the
break is told: it was paid for, and may hold the end of the answer.

Why not aiohttp's own response, which still makes the connections (names, TLS, proxies, the pool): it spends more
on every chunk of a stream than all our decisions do on the request (measured with 3.14.5: 56 chunks cost about
as much as everything from the client's head to the upstream's).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from claude_failover.core.types import Headers

HIGH_WATER: Final = 64 * 1024
"""Bytes of a body that wait to be read; above it the connection is left alone (TCP tells the backend)."""

MAX_HEAD: Final = 128 * 1024
"""Bytes of a response's head."""

MAX_INTERIM: Final = 16
"""Interim (1xx) responses before a final one."""

WRITE_SIZE: Final = 256 * 1024
"""How much of a body is handed to the transport at once: a 25 MB body must not stop every other stream."""

FIRST_INTERIM: Final = 100
FIRST_FINAL: Final = 200
NEVER_A_BODY: Final = frozenset({204, 304})


class Lost(Exception):  # noqa: N818 - named for what is the case
    """The connection ended before the response did.

    Attributes:
        began: Bytes of a response had come.
    """

    def __init__(self, *, began: bool) -> None:
        super().__init__("the connection ended")
        self.began = began


class Garbled(Exception):  # noqa: N818 - as above
    """What came is not HTTP/1.1, or more of it than can be meant."""


class Line(asyncio.Protocol):
    """A connection for the time of one request; afterwards it goes back to the pool, or is closed.

    Args:
        connection: From an aiohttp connector, and nobody else's from now on.
        keep: What becomes of it after a response that leaves it usable.
    """

    def __init__(self, connection: Any, keep: Callable[[Any], None] | None = None) -> None:
        self.status = 0
        """The final response's, once :meth:`answer` has returned."""
        self.lines: Headers = ()
        """Its header lines as they came; bytes outside UTF-8 survive the way the data port keeps them."""
        self._connection = connection
        self._keep = keep
        self._owner: asyncio.Protocol = connection.protocol
        self._transport: Any = connection.transport
        self._lines: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._whole = 0
        self._size = 0
        # The list's own method: an event of a stream is often a chunk, and each would cost a call of ours.
        self.on_body = self._parts.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._head_size = 0
        self._lines_size = 0
        self._interim = 0
        self._answered = False
        self._ended = False
        self._until_close = True
        self._written = False
        self._reusable = False
        self._overrun = False
        self._reading_paused = False
        self._writing_paused = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        if self._transport is None or self._transport.is_closing():
            self._error = Lost(began=False)
        else:
            self._transport.set_protocol(self)

    @property
    def answered(self) -> bool:
        """Whether :meth:`answer` would end at once."""
        return self._answered or self._error is not None

    @property
    def readable(self) -> bool:
        """Whether :meth:`read` would end at once."""
        return bool(self._parts) or self._ended or self._error is not None

    @property
    def over(self) -> bool:
        """The whole response is there and read."""
        return self._ended and not self._parts

    async def ask(self, head: bytes, body: bytes) -> None:
        """Send the request; returns at the final response's head.

        Raises:
            Lost: The connection ended before that.
            Garbled: It was no head.
        """
        await self._write(head, body)
        await self.answer()

    def send(self, head: bytes, body: bytes) -> None:
        """Send a request whose body has at most :data:`WRITE_SIZE` bytes; :meth:`answer` waits for the response."""
        if self._error is None:
            self._transport.writelines((head, body))
            self._written = True

    async def answer(self) -> None:
        """Wait for the final response's head. A cancelled wait loses nothing.

        Raises:
            Lost: The connection ended before that.
            Garbled: It was no head.
        """
        while not self._answered and self._error is None:
            await self._wait()
        if not self._answered and self._error is not None:
            raise self._error

    async def read(self) -> bytes:
        """Wait for more of the body: all that has come, or ``b""`` at its end. A cancelled read loses nothing.

        Raises:
            Lost: The connection ended in the middle.
            Garbled: The framing broke.
        """
        while not self._parts and not self._ended:
            if self._error is not None:
                raise self._error
            await self._wait()
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    def close(self) -> None:
        """Give the connection up, wherever the response is."""
        if self._error is None and not self._ended:
            self._error = Lost(began=self._answered)
        self._let_go(keep=False)

    async def _write(self, head: bytes, body: bytes) -> None:
        transport = self._transport
        if len(body) <= WRITE_SIZE:
            self.send(head, body)
            return
        view = memoryview(body)
        rest = iter(range(0, len(view), WRITE_SIZE))
        if self._error is None:
            transport.write(head)
        # A backend that has answered or gone does not want the rest.
        while self._error is None and not self._answered:
            if self._writing_paused:
                await self._wait()
                continue
            at = next(rest, None)
            if at is None:
                self._written = True
                return
            transport.write(view[at : at + WRITE_SIZE])
            await asyncio.sleep(0)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if self._error is None and not self._ended:
            self._error = error
        if not self._answered:
            self._parts.clear()  # an interim response's, which has no body
        self._let_go(keep=False)
        self._wake()

    def _let_go(self, *, keep: bool) -> None:
        """Hand the connection back; once."""
        connection, self._connection = self._connection, None
        self._parser = None  # it holds on to this object
        if connection is None:
            return
        if keep:
            if self._reading_paused:
                self._reading_paused = False
                self._transport.resume_reading()
            self._transport.set_protocol(self._owner)
            if self._keep is None:
                connection.release()
            else:
                self._keep(connection)
        else:
            connection.close()

    # What the transport says.

    def data_received(self, data: bytes) -> None:
        """Take bytes in."""
        parser = self._parser
        if parser is None:
            return
        if not self._answered:
            self._head_size += len(data)
        before = len(self._parts)
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self._ended:
                # The parser says what it stumbled over; the words may be the backend's, so nobody gets them.
                del error
                self._fail(Garbled("not HTTP/1.1"))
                return
            self._overrun = True
        if not self._answered and (self._parts or self._head_size > 2 * MAX_HEAD):
            self._fail(Garbled("a head without an end, or an interim response with a body"))
            return
        self._size += sum(map(len, self._parts[before:]))
        if self._ended:
            del self._parts[self._whole :]  # of an answer that nobody asked for
            self._let_go(keep=self._reusable and self._written and not self._overrun)
        elif self._size > HIGH_WATER and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The backend says no more; the transport may close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more: the end of a body that has no other, else a loss."""
        self._owner.connection_lost(exc)
        if exc is None and self._answered and self._until_close and self._error is None:
            self._ended = True
            self._let_go(keep=False)
            self._wake()
        else:
            self._fail(Lost(began=self._head_size > 0))

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._writing_paused = False
        self._wake()

    # What the parser says.

    def on_message_begin(self) -> None:
        """A head begins; after the end of the response it would be an answer that nobody asked for."""
        if self._ended:
            self._overrun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line of a head; or a trailer, which nobody reads."""
        if self._answered:
            return
        self._lines.append((name, value))
        self._lines_size += len(name) + len(value)
        if self._lines_size > MAX_HEAD:
            raise Garbled("a head without an end")

    def on_headers_complete(self) -> None:
        """A head is whole."""
        if self._ended:
            return
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < FIRST_INTERIM:
            raise Garbled("no status")
        if status < FIRST_FINAL:
            self._interim += 1
            self._lines.clear()
            if self._interim > MAX_INTERIM:
                raise Garbled("interim responses without an end")
            return
        if self._parts:
            raise Garbled("an interim response with a body")
        self.status = status
        self._answered = True
        self._until_close = status not in NEVER_A_BODY and _ends_with_the_connection(self._lines)
        self.lines = tuple(
            [
                (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape").strip(" \t"))
                for name, value in self._lines
            ]
        )
        self._lines.clear()

    def on_message_complete(self) -> None:
        """A response is whole; an interim one does not count."""
        if self._answered and not self._ended and self._parser is not None:
            self._ended = True
            self._whole = len(self._parts)
            # Asked now: with the next byte the parser has forgotten this response.
            self._reusable = self._parser.should_keep_alive()


def _ends_with_the_connection(lines: list[tuple[bytes, bytes]]) -> bool:
    """Whether nothing else says where the body ends (RFC 9112 section 6.3)."""
    sized = False
    for name, value in lines:
        match name.lower():
            case b"transfer-encoding":
                return not value.strip(b" \t").lower().endswith(b"chunked")
            case b"content-length":
                sized = True
    return not sized
