"""One HTTP/1.1 connection of a simulator: requests in, bytes out, and the moment the client leaves.

Built on a protocol instead of asyncio's streams, because a stream does not notice a client that goes
away while nothing is being written, and noticing that is what half of the drills are about.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from claude_failover.core.types import Headers

MAX_HEAD = 64 << 10
"""Bytes of a request line and its headers."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
"""RFC 9110 section 5.6.2."""
_TARGET = re.compile(r"/[\x21-\x7e]*\Z")
"""Origin form, already percent-encoded: no blanks, no raw UTF-8."""


class ClientLeft(Exception):  # noqa: N818 - named for what is the case
    """The client closed or reset its connection."""


class BadRequest(Exception):  # noqa: N818 - the status' name
    """The bytes are not a request that we accept."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request line and its headers."""

    method: str
    target: str
    headers: Headers

    def only(self, name: str) -> str | None:
        """The value of a header that may occur once.

        Raises:
            BadRequest: It occurs twice.
        """
        values = [value for key, value in self.headers if key.lower() == name]
        if len(values) > 1:
            raise BadRequest(f"{name} twice")
        return values[0] if values else None


def phrase(status: int) -> str:
    """The reason phrase of a status; 529 and its kind are in no registry."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def parse_head(raw: bytes) -> Head:
    """Read a request line and headers (without the empty line).

    Raises:
        BadRequest: Anything that a careful client does not send.
    """
    try:
        first, *lines = raw.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError as error:
        raise BadRequest("request line") from error
    if version != "HTTP/1.1" or not _TOKEN.match(method):
        raise BadRequest("method or version")
    if not _TARGET.match(target):
        raise BadRequest("target is not in origin form")
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.match(name):
            raise BadRequest("header line")
        if "\r" in value or "\n" in value or "\0" in value:
            raise BadRequest("control character in a header")
        headers.append((name, value.strip(" \t")))
    head = Head(method, target, tuple(headers))
    if not head.only("host"):
        raise BadRequest("no host")
    return head


class Connection(asyncio.Protocol):
    """One accepted connection."""

    transport: asyncio.Transport

    def __init__(self, accepted: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        self.number = 0
        self.dropped = False
        """We gave it up ourselves: then nobody left."""
        self._accepted = accepted
        self._lost_callback = lost
        self._buffer = bytearray()
        self._arrived = asyncio.Event()
        self._lost = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell the server."""
        self.transport = cast("asyncio.Transport", transport)
        self._accepted(self)

    def data_received(self, data: bytes) -> None:
        """Keep bytes until somebody reads them."""
        self._buffer += data
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake everybody who waits for this client."""
        del exc
        self._lost.set()
        self._arrived.set()
        self._writable.set()
        self._lost_callback(self)

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable.set()

    # --- the server's side ---

    @property
    def left(self) -> bool:
        """Whether the client is gone."""
        return self._lost.is_set() or self.transport.is_closing()

    async def read_head(self) -> Head | None:
        """The next request's head; ``None`` if the client closed between two requests."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequest("head too large")
            if not await self._more():
                if self._buffer:
                    raise ClientLeft
                return None
        raw = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return parse_head(raw)

    async def read_body(self, head: Head, limit: int) -> bytes:
        """The body that belongs to *head*, of at most *limit* bytes."""
        length = head.only("content-length")
        coding = head.only("transfer-encoding")
        if length is not None and coding is not None:
            raise BadRequest("content-length and transfer-encoding")
        if (head.only("expect") or "").lower() == "100-continue":
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if coding is not None:
            if coding.lower() != "chunked":
                raise BadRequest("transfer-encoding")
            return await self._read_chunks(limit)
        if length is None:
            return b""
        if not length.isascii() or not length.isdigit() or int(length) > limit:
            raise BadRequest("content-length")
        return await self._take(int(length))

    async def _read_chunks(self, limit: int) -> bytes:
        body = bytearray()
        while True:
            line = await self._line()
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError as error:
                raise BadRequest("chunk size") from error
            if size < 0 or len(body) + size > limit:
                raise BadRequest("body too large")
            if size == 0:
                while await self._line():
                    pass
                return bytes(body)
            body += await self._take(size)
            if await self._line():
                raise BadRequest("chunk end")

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequest("line too long")
            if not await self._more():
                raise ClientLeft
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not await self._more():
                raise ClientLeft
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _more(self) -> bool:
        """Wait for bytes; false when none will come."""
        if self.left:
            return False
        self._arrived.clear()
        await self._arrived.wait()
        return not self._lost.is_set()

    async def send(self, data: bytes) -> None:
        """Write, and wait while the client does not read.

        Raises:
            ClientLeft: It is gone.
        """
        if self.left:
            raise ClientLeft
        self.transport.write(data)
        await self._writable.wait()
        if self._lost.is_set():
            raise ClientLeft

    async def flush(self) -> None:
        """Wait until the kernel has all that was written, so that a reset does not overtake it."""
        self.transport.set_write_buffer_limits(0)
        await self.send(b"")

    async def pause(self, seconds: float) -> None:
        """Let time pass, unless the client leaves.

        Raises:
            ClientLeft: It left.
        """
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._lost.wait()
        except TimeoutError:
            return
        raise ClientLeft
