"""One request on its way: the part that every adapter shares.

Rule: exactly one :class:`~claude_failover.core.commands.AttemptEnded` per attempt, and the same
one however often it is asked for afterwards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp

from claude_failover.core.commands import AttemptEnded, BodyReceived, Failure, HeadReceived
from claude_failover.core.types import Headers
from claude_failover.upstream import faults
from claude_failover.upstream.line import Line
from claude_failover.upstream.wire import Flight

Send = Callable[[Flight], Awaitable[Line | aiohttp.ClientResponse]]
"""Get the credential, sign, send; returns at the response's head."""

SendNow = Callable[[], Line | None]
"""The same without waiting, not even for the head; ``None``: nothing was sent, something must be waited for."""


class HttpAttempt:
    """An :class:`~claude_failover.upstream.Attempt` over aiohttp."""

    __slots__ = ("_ended", "_line", "_now", "_number", "_response", "_send", "_where")

    def __init__(self, number: int, send: Send, where: str, now: SendNow | None = None) -> None:
        self._number = number
        self._send: Send | None = send
        self._now = now
        self._line: Line | None = None
        self._where = where
        self._response: Line | aiohttp.ClientResponse | None = None
        self._ended: AttemptEnded | None = None

    def start(self) -> bool:
        """See :meth:`claude_failover.upstream.Attempt.start`."""
        now, self._now = self._now, None
        try:
            self._line = None if now is None else now()
        except Exception as error:  # noqa: BLE001 - as in head()
            self._end(self._failed(*faults.before_head(error, reused=False, where=self._where), error))
        started = self._line is not None or self._ended is not None
        if started:
            self._send = None
        return started

    async def _answer(self, line: Line) -> HeadReceived | AttemptEnded:
        """Wait for the head of what :meth:`start` has sent, which went out on a used connection."""
        try:
            await line.answer()
        except Exception as error:  # noqa: BLE001 - as in head()
            line.close()
            self._line = None
            return self._end(self._failed(*faults.before_head(error, reused=True, where=self._where), error))
        self._response, self._line = line, None
        return HeadReceived(self._number, line.status, line.lines)

    def ready(self) -> bool:
        """See :meth:`claude_failover.upstream.Attempt.ready`."""
        if self._line is not None:
            return self._line.answered
        response = self._response
        return self._ended is not None or (isinstance(response, Line) and response.readable)

    async def head(self) -> HeadReceived | AttemptEnded:
        """See :meth:`claude_failover.upstream.Attempt.head`."""
        if self._line is not None:
            return await self._answer(self._line)
        self._now = None
        send, self._send = self._send, None  # the request's bytes are let go of as soon as they are sent
        if send is None or self._ended is not None:
            return self._end(self._ended or AttemptEnded(self._number))
        flight = Flight()
        try:
            response = await send(flight)
        except Exception as error:  # noqa: BLE001 - whatever a library raises is a fact about this attempt
            return self._end(self._failed(*faults.before_head(error, reused=flight.reused, where=self._where), error))
        self._response = response
        lines = response.lines if isinstance(response, Line) else lines_of(response)
        return HeadReceived(self._number, response.status, lines)

    async def read(self) -> BodyReceived | AttemptEnded:
        """See :meth:`claude_failover.upstream.Attempt.read`."""
        response = self._response
        if response is None or self._ended is not None:
            return self._ended or AttemptEnded(self._number)
        try:
            data = await (response.read() if isinstance(response, Line) else response.content.readany())
        except Exception as error:  # noqa: BLE001 - as above
            rest = b"" if isinstance(response, Line) else _unread(response.content)
            if rest:
                return BodyReceived(self._number, rest)
            return self._end(self._failed(*faults.in_body(error, self._where), error))
        return BodyReceived(self._number, data) if data else self._end(AttemptEnded(self._number))

    def ended(self) -> AttemptEnded | None:
        """See :meth:`claude_failover.upstream.Attempt.ended`."""
        response = self._response
        if self._ended is None and isinstance(response, Line) and response.over:
            return self._end(AttemptEnded(self._number))
        return self._ended

    def _failed(self, failure: Failure, detail: str, error: BaseException) -> AttemptEnded:
        # The connection keeps the error, and the error by its frames the connection, the body and the credential.
        error.__traceback__ = None
        return AttemptEnded(self._number, failure, detail)

    def _end(self, ended: AttemptEnded) -> AttemptEnded:
        self._ended = ended
        return ended

    async def close(self) -> None:
        """See :meth:`claude_failover.upstream.Attempt.close`."""
        self._send = self._now = None
        response, self._response = self._response or self._line, None
        self._line = None
        if response is not None:
            response.close()


def lines_of(response: aiohttp.ClientResponse) -> Headers:
    """The header lines as they came. Bytes outside UTF-8 survive the way aiohttp's server keeps them."""
    return tuple(
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in response.raw_headers
    )


def _unread(content: aiohttp.StreamReader) -> bytes:
    """Take what arrived before the connection broke.

    aiohttp raises a broken connection before it hands out the bytes that came ahead of the break. They were
    paid for, and may hold the end of the answer.
    """
    take = getattr(content, "_read_nowait", None)
    return bytes(take(-1)) if take is not None and getattr(content, "_buffer", None) else b""
