"""The one response to a request: its head may wait for the first bytes of its body, to go out with them.

aiohttp's own response can do much that this one never needs (cookies, compression, ranges, signals), and asks itself
about each of it every time. This one writes what it is given with aiohttp's writer, which frames it, and tells
aiohttp's server afterwards that nothing is left to do.
"""

from __future__ import annotations

from email.utils import formatdate

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from claude_failover.core.types import Epoch, Headers
from claude_failover.upstream.line import NEVER_A_BODY


class Response(web.StreamResponse):
    """A response whose head is not written yet.

    Args:
        request: A ``POST``.
        status: Of the answer.
    """

    def __init__(self, request: web.BaseRequest, status: int) -> None:
        super().__init__(status=status)
        self._version = request.version
        self._writer: AbstractStreamWriter = request.writer
        self._stays = request.keep_alive
        self._over = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may be used again."""
        return self._stays

    async def begin(self, lines: Headers, now: Epoch, *, size: int | None, at_once: bool) -> None:
        """Write the head.

        Args:
            lines: Of the answer; none about the connection or the framing but, perhaps, a ``content-length``.
            now: For the ``date``, if they have none.
            size: Of the whole body, if it is known.
            at_once: Do not wait for the body.

        Raises:
            ConnectionError: The client has gone.
        """
        head: CIMultiDict[str] = CIMultiDict(lines)
        if size is not None:
            head.setdefault("content-length", str(size))
        self._frame(head)
        head.setdefault("server", "claude-failover")
        if "date" not in head:
            head["date"] = formatdate(now, usegmt=True)
        if not self._stays:
            if self._version == HttpVersion11:
                head["connection"] = "close"
        elif self._version == HttpVersion10:
            head["connection"] = "keep-alive"
        version = self._version
        await self._writer.write_headers(f"HTTP/{version.major}.{version.minor} {self.status} {self.reason}", head)
        if at_once:
            self._writer.send_headers()

    def _frame(self, head: CIMultiDict[str]) -> None:
        """Say where the body ends (RFC 9112 section 6)."""
        if self.status in NEVER_A_BODY:
            head.popall("content-length", None)
            return
        length = head.get("content-length")
        if length is not None:
            self._writer.length = int(length)
        elif self._version == HttpVersion11:
            self._writer.enable_chunking()
            head["transfer-encoding"] = "chunked"
        else:
            self._stays = False
        if length != "0":
            head.setdefault("content-type", "application/octet-stream")

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Do nothing: what there is to say has been said."""
        del request
        return None if self._over else self._writer

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a piece of the body.

        Raises:
            ConnectionError: The client has gone.
        """
        await self._writer.write(data)

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the last piece, if there is one, and the end; once.

        Raises:
            ConnectionError: The client has gone.
        """
        if not self._over:
            self._over = True
            await self._writer.write_eof(data)
