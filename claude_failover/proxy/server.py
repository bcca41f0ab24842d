"""The data port's server: aiohttp's, which answers what it cannot parse without quoting it, and bounds its clients.

aiohttp answers a malformed request with the line that it could not read, and logs it with a traceback; that line
may be the one with the credential (reliability-security.md 0, finding 3). Here the answer is a constant and the log
gets a word. And whoever can reach the port can open connections: one that says nothing is closed soon, and when
there are as many as there may be, the oldest idle one makes room, so that silence cannot shut anybody out.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion10, HttpVersion11

from claude_failover import events
from claude_failover.proxy.bodies import MAX_BODY
from claude_failover.proxy.port import error_answer

KEEPALIVE: Final = 90.0
"""Seconds that an idle connection of a client stays open; Claude Code thinks longer than aiohttp's own 75."""

HEAD_PATIENCE: Final = 30.0
"""Seconds from connecting to the end of the first request's head. Later heads have :data:`KEEPALIVE`."""

MAX_CONNECTIONS: Final = 4096
"""Clients at once. Each stream takes two descriptors, its client's and its backend's."""

SPARE_FILES: Final = 128
"""Descriptors that stay free for the ledger, the log, the control channel, DNS."""

_MALFORMED: Final = (HttpProcessingError, web.RequestPayloadError, web.PayloadAccessError)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

Watch = Callable[[asyncio.BaseTransport], int | None]
"""The uid of another user of this machine who connects; ``None``: nobody else, as far as one knows."""


class _Waiting(list[Any]):
    """Requests that wait for their turn: what aiohttp needs of a deque, which takes 700 bytes more when it is empty."""

    __slots__ = ()

    def popleft(self) -> Any:
        """Take the first one."""
        return self.pop(0)


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_patience", "_watch", "lost", "silence", "stranger")

    def __init__(
        self,
        server: Server,
        *,
        loop: asyncio.AbstractEventLoop,
        patience: float = HEAD_PATIENCE,
        watch: Watch | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(server, loop=loop, **settings)
        waiting: Any = _Waiting()
        self._messages = waiting
        self._patience = patience
        self._watch = watch
        self.stranger: int | None = None
        """The uid of another user whose connection it is."""
        self.silence: asyncio.TimerHandle | None = None
        """Rings unless the first head comes in time."""
        self.lost = False
        """The client is gone; a request that ends without that is ended by ourselves."""

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request: nobody loses anything when it is closed."""
        return self._current_request is None and not self._messages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        # uvloop would keep up to 64 KB until everything else of this turn is done, the books of the request among it.
        # Without a buffer to fill it writes at once; what the client does not take is kept as before.
        transport.set_write_buffer_limits(high=0)  # type: ignore[attr-defined]
        if self._watch is not None:
            self.stranger = self._watch(transport)
        self.silence = self._loop.call_later(self._patience, self._end_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop waiting."""
        self.lost = True
        if self.silence is not None:
            self.silence.cancel()
        super().connection_lost(exc)

    def listened(self) -> None:
        """The first head is there: no timer is needed until the answer's end, from where aiohttp counts anew."""
        for timer in (self.silence, self._keepalive_handle):
            if timer is not None:
                timer.cancel()
        self.silence = self._keepalive_handle = None

    def _end_if_silent(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed or served; nothing of the request is in the answer or in the log.

        Raises:
            ConnectionError: The client has gone, or an answer has begun: only the connection can be ended.
        """
        del message  # quotes the request
        is_malformed = exc is None or isinstance(exc, _MALFORMED)
        if exc is not None and not is_malformed and not isinstance(exc, ConnectionError):
            events.crash("data port", exc)
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionError("nobody is there to be answered, or the answer has begun")
        if is_malformed:
            return malformed()
        answer = error_answer(status, "api_error", "claude-failover: this request failed: claude-failover logs -n 50")
        answer.force_close()
        return answer


def malformed() -> web.StreamResponse:
    """Refuse what is no HTTP/1 request, in words that do not depend on it."""
    events.emit("client.refused", why="malformed", status=400)
    answer = error_answer(400, "invalid_request_error", "claude-failover: this is not a valid HTTP request")
    answer.force_close()
    return answer


async def _malformed() -> web.StreamResponse:
    return malformed()


class Server(web.Server):
    """Makes a :class:`Connection` for every client.

    Args:
        handler: Serves one request; is cancelled when its client leaves.
        limit: Connections at once; ``None`` = as many as there are descriptors for.
        patience: Seconds until the first request's head must be there.
        watch: Asked about each connection; ``None`` = nobody is.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limit: int | None = None,
        patience: float = HEAD_PATIENCE,
        watch: Watch | None = None,
    ) -> None:

        def in_http_1(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
            # llhttp takes a first line without a version for HTTP/0.9, headers and all; the one in Python any number.
            known = request.version in {HttpVersion10, HttpVersion11}
            return handler(request) if known else _malformed()

        super().__init__(
            in_http_1,
            handler_cancellation=True,
            request_factory=_big_request,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE,
            access_log=None,
            patience=patience,
            watch=watch,
        )
        self._limit = connection_limit() if limit is None else limit
        self.turned_away = 0
        """Connections closed because there were too many."""

    def __call__(self) -> Connection:
        """Make the protocol of one new connection."""
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count a new connection in; close one if there are too many."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._limit:
            self.turned_away += 1
            idle = (one for one in self._connections if isinstance(one, Connection) and one.is_idle)
            # The new one is idle too, and the last of them.
            next(idle, handler).force_close()


def connection_limit() -> int:
    """As many clients as there may be and as there are descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, (soft - SPARE_FILES) // 2))


def _big_request(*parts: Any) -> web.BaseRequest:
    """A request whose body may be as large as the data port takes; aiohttp's own limit is 1 MiB."""
    message, payload, protocol, writer, task = parts
    if protocol.silence is not None:
        protocol.listened()
    return web.BaseRequest(message, payload, protocol, writer, task, writer.loop, client_max_size=MAX_BODY)
