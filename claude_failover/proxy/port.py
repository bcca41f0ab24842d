"""The data port: aiohttp's handler, the gate, and one method per route.

A low-level server without a router: two paths matter and every other one is relayed. The handler is
cancelled when its client leaves (``handler_cancellation``), which is how an abandoned stream
stops costing money; so nothing that must happen is awaited after that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from claude_failover import events
from claude_failover.clock import Clock
from claude_failover.core import failures, gate, headers
from claude_failover.core.commands import AttemptEnded, BodyReceived, ClientRequest
from claude_failover.core.counsel import Counsel
from claude_failover.core.exchange import Exchange
from claude_failover.core.gate import Admitted, Door, Refused, Route
from claude_failover.core.gates import ANY_MODEL, Gate
from claude_failover.core.request import peek
from claude_failover.core.types import BackendName, Headers
from claude_failover.proxy.driver import Books, Driver
from claude_failover.upstream import Relay, Upstream

MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of a request to ``/v1/messages``: twice what the Claude API takes (claude.md 3.1). Other paths are streamed."""

BIG_BODY: Final = 2 * 1024 * 1024
"""Bodies from here on are parsed in a thread: above ten milliseconds of parsing would stop every stream."""

MAX_EXCHANGES: Final = 4096
"""Requests in flight; each takes two descriptors."""


@dataclass(slots=True, eq=False)
class Generation:
    """What requests are served with between two reloads; a request keeps the one that it began with."""

    counsel: Counsel
    upstreams: Mapping[BackendName, Upstream]
    relay: Relay
    """The primary's adapter, for everything but ``/v1/messages``."""
    paid: Callable[[Headers], Mapping[BackendName, bool]]
    """Which backends a request with these headers costs real money at."""
    users: int = 0
    """Requests that still need it."""


@dataclass(slots=True)
class World:
    """What the port serves with; ``reload`` swaps *current* and *door*."""

    current: Generation
    door: Door
    books: Books
    clock: Clock
    metrics: Callable[[str | None], tuple[str, bytes]] | None = None
    """``/metrics``: from the Accept header to content type and body."""
    draining: bool = False
    in_flight: int = 0
    bypasses: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class DataPort:
    """Serves the data port out of a :class:`World`."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request."""
        lines = _lines(request)
        world = self.world
        match gate.admit(request.method, request.raw_path, lines, world.door):
            case Refused() as refused:
                world.refused[refused.why] = world.refused.get(refused.why, 0) + 1
                events.emit("client.refused", why=refused.why, status=refused.status)
                return _error(refused.status, refused.error_type, f"claude-failover: {refused.message}")
            case Admitted(route=route, headers=admitted):
                return await self._routed(route, request, admitted)

    async def _routed(self, route: Route, request: web.BaseRequest, lines: Headers) -> web.StreamResponse:
        world = self.world
        match route:
            case Route.HELLO:
                return web.Response(status=200, headers={"server": "claude-failover"})
            case Route.HEALTH:
                return _json(
                    503 if world.draining else 200, b'{"status":"draining"}' if world.draining else b'{"status":"ok"}'
                )
            case Route.METRICS:
                return self._metrics(request)
            case Route.MESSAGES | Route.COUNT_TOKENS | Route.RELAY:
                if world.draining or world.in_flight >= MAX_EXCHANGES:
                    return _busy(draining=world.draining)
                generation = world.current
                generation.users += 1
                world.in_flight += 1
                try:
                    if route is Route.MESSAGES:
                        return await self._messages(generation, request, lines)
                    return await self._relay(generation, request, lines, counting=route is Route.COUNT_TOKENS)
                finally:
                    generation.users -= 1
                    world.in_flight -= 1

    def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.world.metrics is None:
            return _error(404, "not_found_error", "claude-failover: metrics are switched off (metrics.enabled)")
        content_type, body = self.world.metrics(request.headers.get("Accept"))
        return web.Response(body=body, headers={"content-type": content_type, "cache-control": "no-store"})

    async def _messages(self, world: Generation, request: web.BaseRequest, lines: Headers) -> web.StreamResponse:
        if request.content_length is not None and request.content_length > MAX_BODY:
            return _too_large()
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _too_large()
        client = ClientRequest(f"cfr_{secrets.token_hex(10)}", request.raw_path, lines, body)
        if _names_no_backend(world.counsel, lines):
            return _error(400, "invalid_request_error", f"claude-failover: {headers.FORCE} names no configured backend")
        driver: Driver | None = None
        try:
            seen = await asyncio.to_thread(peek, client) if len(body) > BIG_BODY else peek(client)
            exchange = Exchange(client, seen, world.counsel, world.paid(lines))
            driver = Driver(request, exchange, world.upstreams, self.world.books, self.world.clock)
            return await driver.run()
        except ExceptionGroup as group:
            broken = group.exceptions[0]
        except Exception as error:  # noqa: BLE001 - the request boundary: one bad request must not end the daemon
            broken = error
        began = driver is not None and driver.began
        self.world.bypasses += 1
        events.emit("bypass.happened", exchange=client.id, began=began, error=type(broken).__name__)
        events.crash("exchange", broken)
        if not began:
            # Never worse than no proxy: the client has got nothing yet, so the primary may still answer.
            return await self._pass(world, request, client.target, client.headers, client.body)
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError from broken

    async def _relay(
        self, world: Generation, request: web.BaseRequest, lines: Headers, *, counting: bool
    ) -> web.StreamResponse:
        """Everything but ``/v1/messages``: to the primary as it is, both ways streaming."""
        if counting and _primary_is_out(world.counsel, self.world.clock):
            return _error(404, "not_found_error", "claude-failover: token counting is not available during failover")
        return await self._pass(world, request, request.raw_path, lines, None, counting=counting)

    async def _pass(
        self,
        world: Generation,
        request: web.BaseRequest,
        target: str,
        lines: Headers,
        body: bytes | None,
        *,
        counting: bool = False,
    ) -> web.StreamResponse:
        """Stream one request to the primary and its response back; *body* ``None`` = the request's own stream."""
        stream = body if body is not None else request.content.iter_any()
        attempt = world.relay.open_stream(request.method, target, lines, stream)
        try:
            head = await attempt.head()
            if isinstance(head, AttemptEnded):
                if counting:
                    return _error(404, "not_found_error", "claude-failover: token counting is not available now")
                return _unreachable(head)
            response = web.StreamResponse(status=head.status, headers=CIMultiDict(headers.to_client(head.headers)))
            await response.prepare(request)
            while isinstance(event := await attempt.read(), BodyReceived):
                await response.write(event.data)
            if event.failure is not None and request.transport is not None:
                request.transport.abort()
            else:
                await response.write_eof()
            return response
        finally:
            await attempt.close()


def _names_no_backend(counsel: Counsel, lines: Headers) -> bool:
    name = headers.get(lines, headers.FORCE)
    return name is not None and all(backend.name != name for backend in counsel.settings.backends)


def _primary_is_out(counsel: Counsel, clock: Clock) -> bool:
    """Whether the policy would not send a request to the primary now."""
    view = counsel.policy.view(clock.now())
    primary = counsel.settings.primary.name
    return view.offline or any(
        gate.backend == primary and gate.model == ANY_MODEL and gate.state is not Gate.AVAILABLE for gate in view.gates
    )


def _lines(request: web.BaseRequest) -> Headers:
    """Header lines exactly as received; bytes that are no UTF-8 survive as surrogates."""
    return tuple(
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in request.raw_headers
    )


_SAFE: Final = {
    "server": "claude-failover",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'",
}
"""On every answer of our own: no browser may keep it, guess its type, or run it."""


def _json(status: int, body: bytes, **extra: str) -> web.Response:
    lines = {**_SAFE, "content-type": "application/json", **{key.replace("_", "-"): v for key, v in extra.items()}}
    return web.Response(status=status, body=body, headers=lines)


def _error(status: int, error_type: str, message: str, **extra: str) -> web.Response:
    return _json(status, failures.error_body(error_type, message), **extra)


def _too_large() -> web.Response:
    message = f"claude-failover: the request is larger than {MAX_BODY // 1024 // 1024} MiB"
    return _error(413, "request_too_large", message)


def _busy(*, draining: bool) -> web.Response:
    what = "is shutting down" if draining else "has too many requests in flight"
    return _error(529, "overloaded_error", f"claude-failover: the daemon {what}", retry_after="1")


def _unreachable(ended: AttemptEnded) -> web.Response:
    message = f"claude-failover: the Claude API cannot be reached ({ended.detail or ended.failure})"
    return _error(502, "api_error", message)
