"""The daemon's end of the control channel: a table of routes over a Unix socket.

Three doors, each closed on its own: the directory is 0700 and the socket 0600
(:mod:`~claude_failover.control.claim`); the peer's uid is asked from the kernel; and
requests that a browser could have been made to send (``Origin``, ``Referer``, a foreign
``Host``) are refused before they are routed.

The server decides nothing: it parses, calls the :class:`Daemon`, and renders. This is one
of the three places that catch broadly, so that a bug in a snapshot ends one answer and not
the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from aiohttp import web

from claude_failover import __version__, events
from claude_failover.control import api, claim
from claude_failover.control.feed import Feed
from claude_failover.errors import ConfigError, ControlError, FailoverError, UsageError

_LOG = logging.getLogger(__name__)

MAX_BODY: Final = 64 * 1024
"""Bytes of a control request; the largest real one is under 200."""

KEEPALIVE: Final = 3.0
"""Seconds of silence in a subscription before a comment line is sent; under the client's timeout."""

SHUTDOWN: Final = 1.0
"""Seconds that open answers get when the server closes."""

_MUTATING: Final = frozenset({"POST"})
_XUCRED: Final = struct.Struct("=IIhxx16I")
"""macOS ``struct xucred``: version, uid, ngroups, groups[16] (sys/ucred.h)."""
_LOCAL_PEERCRED: Final = 0x001
"""macOS, level 0 (sys/un.h)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who sent a command, as the kernel says; for the audit log."""

    uid: int
    pid: int | None = None
    """Unknown on macOS."""


class Daemon(Protocol):
    """What the channel may ask of the daemon."""

    feed: Feed
    """The window of events, and its subscribers."""

    def ping(self) -> api.Ping:
        """Say who runs."""
        ...

    def status(self) -> api.Status:
        """Take a snapshot; reads only, never waits."""
        ...

    async def stop(self, request: api.StopRequest, peer: Peer) -> api.StopResult:
        """Begin the drain and return at once."""
        ...

    async def reload(self, peer: Peer) -> api.ReloadResult:
        """Read configuration and credentials again; ConfigError keeps the old ones."""
        ...

    async def force(self, request: api.ForceRequest, peer: Peer) -> api.ForceResult:
        """Set or end the override; UsageError for an unknown backend or model."""
        ...

    async def explain(self, exchange: str | None) -> api.Explain | None:
        """Tell one request's story; ``None`` as argument = the last one's, as result = unknown."""
        ...

    async def costs(self, query: Mapping[str, str]) -> object:
        """Answer from the ledger with a dataclass of the ledger's."""
        ...

    async def models(self, *, refresh: bool) -> api.Models:
        """Give the model table."""
        ...


Route = Callable[[web.Request], Awaitable[web.StreamResponse]]
Message = TypeVar("Message")


class ControlServer:
    """Serves *daemon* on the Unix socket at *path*. Start it with the lock held."""

    def __init__(self, daemon: Daemon, path: Path, *, uid: int | None = None) -> None:
        self._daemon = daemon
        self._path = path
        self._uid = os.geteuid() if uid is None else uid
        self._runner: web.AppRunner | None = None
        self._closing = asyncio.Event()

    def routes(self) -> dict[tuple[str, str], Route]:
        """Every request that is understood."""
        return {
            ("GET", "/v1/ping"): self._ping,
            ("GET", "/v1/status"): self._status,
            ("POST", "/v1/stop"): self._stop,
            ("POST", "/v1/reload"): self._reload,
            ("POST", "/v1/force"): self._force,
            ("GET", "/v1/explain/{exchange}"): self._explain,
            ("GET", "/v1/events"): self._events,
            ("GET", "/v1/costs"): self._costs,
            ("GET", "/v1/models"): self._models,
        }

    async def start(self) -> None:
        """Probe, unlink, bind, serve.

        Raises:
            AlreadyRunning: Somebody answers on the socket.
            ConfigError: The path cannot be a socket.
        """
        listener = claim.bind(self._path)
        app = web.Application(middlewares=[self._render], client_max_size=MAX_BODY)
        app.router.add_routes([web.route(method, path, route) for (method, path), route in self.routes().items()])
        # A subscriber that leaves must end its handler, or every `status --watch` would leave a task behind.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def close(self) -> None:
        """End the subscriptions, close, and remove the socket: the last sign of life goes last."""
        self._closing.set()
        self._daemon.feed.end()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            claim.unbind(self._path)

    # --- the gate, and the one place that renders errors ------------------------------------

    @web.middleware
    async def _render(self, request: web.Request, handler: Route) -> web.StreamResponse:
        try:
            self._admit(request)
            response = await handler(request)
        except asyncio.CancelledError:
            raise
        except web.HTTPException as error:
            return _answer(
                api.ErrorBody(f"{error.status}: no such request: {request.method} {request.path}"), error.status
            )
        except FailoverError as error:
            return _answer(api.error_body(error), _status_of(error))
        except Exception:  # noqa: BLE001 - the renderer: a bug ends one answer, not the daemon
            _LOG.exception("a control request failed: %s %s", request.method, request.path)
            body = api.ErrorBody("the daemon failed to answer: this is a bug", hint="claude-failover logs -n 50")
            return _answer(body, 500)
        return response

    def _admit(self, request: web.Request) -> None:
        """Refuse what no command of ours sends."""
        hosts = request.headers.getall("Host", [])
        if "Origin" in request.headers or "Referer" in request.headers or hosts != [api.HOST]:
            events.emit("client.refused", why="browser on the control channel")
            raise _RefusedError("the control channel is not for browsers")
        self._peer(request)

    def _peer(self, request: web.Request) -> Peer:
        """Say who asks; root may, everybody else must be us."""
        peer = peer_of(request.transport)
        if peer is None or peer.uid not in {self._uid, 0}:
            uid, pid = (None, None) if peer is None else (peer.uid, peer.pid)
            events.emit("client.refused", why="uid", uid=uid, pid=pid)
            raise _RefusedError("the control channel belongs to another user")
        return peer

    # --- routes -----------------------------------------------------------------------------

    async def _ping(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a route
        return _answer(self._daemon.ping())

    async def _status(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a route
        return _answer(self._daemon.status())

    async def _stop(self, request: web.Request) -> web.Response:
        return _answer(await self._daemon.stop(await _body(request, api.StopRequest), self._peer(request)))

    async def _reload(self, request: web.Request) -> web.Response:
        return _answer(await self._daemon.reload(self._peer(request)))

    async def _force(self, request: web.Request) -> web.Response:
        return _answer(await self._daemon.force(await _body(request, api.ForceRequest), self._peer(request)))

    async def _explain(self, request: web.Request) -> web.Response:
        exchange = request.match_info["exchange"]
        story = await self._daemon.explain(None if exchange == "last" else exchange)
        if story is None:
            what = "no request yet" if exchange == "last" else f"no request {exchange} among those remembered"
            return _answer(api.ErrorBody(what, hint="claude-failover logs -n 20"), 404)
        return _answer(story)

    async def _costs(self, request: web.Request) -> web.Response:
        return _answer(await self._daemon.costs(dict(request.query)))

    async def _models(self, request: web.Request) -> web.Response:
        return _answer(await self._daemon.models(refresh=request.query.get("refresh") == "1"))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        since = request.query.get("since")
        if since is not None and not since.isdigit():
            raise UsageError(f"since: not a number: {since!r}")
        response = web.StreamResponse(headers=_headers() | {"content-type": "text/event-stream"})
        await response.prepare(request)
        async with contextlib.aclosing(self._lines(None if since is None else int(since))) as lines:
            async for line in lines:
                await response.write(line)
        return response

    async def _lines(self, since: int | None) -> AsyncGenerator[bytes]:
        """Each event as server-sent bytes, and a comment in every silence."""
        with self._daemon.feed.subscribe(since) as subscription:
            yield b": subscribed\n\n"
            while not self._closing.is_set():
                try:
                    async with asyncio.timeout(KEEPALIVE):
                        event = await subscription.next()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if event is None:
                    return
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.name.encode(), api.encode(event))


class _RefusedError(ControlError):
    """Not for you."""


def _status_of(error: FailoverError) -> int:
    if isinstance(error, _RefusedError):
        return 403
    return 400 if isinstance(error, ConfigError | UsageError) else 500


def _headers() -> dict[str, str]:
    return {api.VERSION_HEADER: __version__, api.API_HEADER: str(api.API_VERSION)}


def _answer(message: object, status: int = 200) -> web.Response:
    return web.Response(
        body=api.encode(message), status=status, headers=_headers(), content_type="application/json", charset="utf-8"
    )


async def _body(request: web.Request, kind: type[Message]) -> Message:
    data = await request.read()
    try:
        return api.decode(data or b"{}", kind)
    except ControlError as error:
        raise UsageError(str(error)) from error


def peer_of(transport: asyncio.BaseTransport | None) -> Peer | None:
    """Ask the kernel who is at the other end; ``None`` if it does not say."""
    end = None if transport is None else transport.get_extra_info("socket")
    if end is None:
        return None
    # A duplicate: what asyncio and uvloop hand out is a stand-in that lacks half of a socket's methods.
    with socket.socket(fileno=os.dup(end.fileno())) as connection:
        try:
            if sys.platform == "darwin":
                _, uid, *_ = _XUCRED.unpack(connection.getsockopt(0, _LOCAL_PEERCRED, _XUCRED.size))
                return Peer(uid)
            pid, uid, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        except OSError:
            return None
    return Peer(uid, pid)
