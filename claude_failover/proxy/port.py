"""The data port: aiohttp's handler, the gate, and one method per route.

A low-level server without a router: two paths matter and every other one is relayed. The handler is
cancelled when its client leaves (``handler_cancellation``), which is how an abandoned stream
stops costing money; so nothing that must happen is awaited after that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from claude_failover import events
from claude_failover.clock import Clock
from claude_failover.core import failures, gate, headers
from claude_failover.core.commands import AttemptEnded, BodyReceived, ClientRequest, Failure
from claude_failover.core.counsel import Counsel
from claude_failover.core.exchange import Exchange
from claude_failover.core.facts import session_budget
from claude_failover.core.gate import Admitted, Door, Refused, Route
from claude_failover.core.gates import ANY_MODEL, Gate
from claude_failover.core.request import peek
from claude_failover.core.types import BackendName, Headers
from claude_failover.proxy.bodies import BIG_BODY, MAX_BODY, UPLOAD, Bodies, Refusal, continue_
from claude_failover.proxy.driver import WRITE_STALL, Books, Driver
from claude_failover.proxy.neighbours import Neighbours, ends
from claude_failover.upstream import Relay, Upstream

MAX_EXCHANGES: Final = 4096
"""Requests in flight; each takes two descriptors."""

NAMES: Final = 64
"""Names of requests made at once: each visit to the kernel costs as much as twenty of them."""

OTHER_USER: Final = Refused(
    403, "permission_error", "requests of another user of this machine are not served (listen.other_users)", "uid"
)


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
    neighbours: Neighbours | None = None
    """``None``: other users are served too."""
    bodies: Bodies = field(default_factory=Bodies)


class DataPort:
    """Serves the data port out of a :class:`World`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._names: list[str] = []

    def _name(self) -> str:
        """Name a request. Names go up with time: those written down together share a page of the ledger's indexes."""
        if not self._names:
            first, dice = int(self.world.clock.now().wall * 1_000) * NAMES, secrets.token_hex(4 * NAMES)
            self._names = [f"cfr_{first + n:012x}{dice[8 * n : 8 * n + 8]}" for n in reversed(range(NAMES))]
        return self._names.pop()

    def stranger(self, transport: asyncio.BaseTransport) -> int | None:
        """The uid of another user of this machine who connects and may not."""
        neighbours = self.world.neighbours
        both = None if neighbours is None else ends(transport)
        return None if neighbours is None or both is None else neighbours.stranger(*both)

    def handle(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        """Serve one request. Not a coroutine itself: each that waits for another is run through for every event."""
        lines = _lines(request)
        world = self.world
        match gate.admit(request.method, request.raw_path, lines, world.door):
            case Refused() as refused:
                return _told(self._refused(refused, request))
            case Admitted(route=route, headers=admitted):
                if _stranger(request) is not None and not _open_to_all(route, world.door):
                    return _told(self._refused(OTHER_USER, request))
                return self._routed(route, request, admitted)

    def _refused(self, refused: Refused, request: web.BaseRequest) -> web.StreamResponse:
        self.world.refused[refused.why] = self.world.refused.get(refused.why, 0) + 1
        uid = _stranger(request)
        if uid is None:
            events.emit("client.refused", why=refused.why, status=refused.status)
        else:
            events.emit("client.refused", why=refused.why, status=refused.status, uid=uid)
        answer = error_answer(refused.status, refused.error_type, f"claude-failover: {refused.message}")
        # Who may not ask need not stay: refused clients must not be able to hold every connection.
        answer.force_close()
        return answer

    async def _routed(self, route: Route, request: web.BaseRequest, lines: Headers) -> web.StreamResponse:
        world = self.world
        match route:
            case Route.HELLO:
                return web.Response(status=200, headers={"server": "claude-failover"})
            case Route.HEALTH:
                return _json(*((503, b'{"status":"draining"}') if world.draining else (200, b'{"status":"ok"}')))
            case Route.METRICS:
                return self._metrics(request)
            case Route.MESSAGES | Route.COUNT_TOKENS | Route.RELAY:
                if world.draining or world.in_flight >= MAX_EXCHANGES:
                    return _busy("is shutting down" if world.draining else "has too many requests in flight")
                generation = world.current
                generation.users += 1
                world.in_flight += 1
                try:
                    if route is Route.MESSAGES:
                        serving = self._messages(generation, request, lines)
                    else:
                        serving = self._relay(generation, request, lines, counting=route is Route.COUNT_TOKENS)
                    del lines
                    return await serving
                finally:
                    generation.users -= 1
                    world.in_flight -= 1

    def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.world.metrics is None:
            return error_answer(404, "not_found_error", "claude-failover: metrics are switched off (metrics.enabled)")
        content_type, body = self.world.metrics(request.headers.get("Accept"))
        return web.Response(body=body, headers={"content-type": content_type, "cache-control": "no-store"})

    async def _messages(self, world: Generation, request: web.BaseRequest, lines: Headers) -> web.StreamResponse:
        wrong = _unusable(world.counsel, lines)
        if wrong:
            return error_answer(400, "invalid_request_error", f"claude-failover: {wrong}")
        bodies = self.world.bodies
        held = bodies.begin()
        try:
            body = await bodies.read(request, held)
            if isinstance(body, Refusal):
                return _no_body(body)
            client = ClientRequest(self._name(), request.raw_path, lines, body)
            # From here on the request belongs to the exchange, which lets go of it at the commit: a thousand streams
            # must not hold a thousand bodies.
            flight = _Flight(client)
            held.needed = flight.may_be_sent
            del client, body, lines
            return await self._answer(world, request, flight)
        finally:
            bodies.end(held)

    async def _answer(self, world: Generation, request: web.BaseRequest, flight: _Flight) -> web.StreamResponse:
        """Drive an exchange; if our own code fails, the client is served without it, as far as it still can be."""
        try:
            return await self._drive(world, request, flight)
        except ExceptionGroup as group:
            broken = group.exceptions[0]
        except Exception as error:  # noqa: BLE001 - the request boundary: one bad request must not end the daemon
            broken = error
        self.world.bypasses += 1
        events.emit("bypass.happened", exchange=flight.id, began=flight.began, error=type(broken).__name__)
        events.crash("exchange", broken)
        original = flight.original
        if original is not None and not flight.began:
            # Never worse than no proxy: the client has got nothing yet, so the primary may still answer.
            return await self._pass(world, request, original.target, original.headers, original.body)
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError from broken

    async def _drive(self, world: Generation, request: web.BaseRequest, flight: _Flight) -> web.StreamResponse:
        client = flight.original
        assert client is not None, "nothing has been sent yet"
        seen = await asyncio.to_thread(peek, client) if len(client.body) > BIG_BODY else peek(client)
        flight.exchange = Exchange(client, seen, world.counsel, world.paid(client.headers))
        flight.client = client = None
        flight.driver = Driver(request, flight.exchange, world.upstreams, self.world.books, self.world.clock)
        return await flight.driver.run()

    async def _relay(
        self, world: Generation, request: web.BaseRequest, lines: Headers, *, counting: bool
    ) -> web.StreamResponse:
        """Everything but ``/v1/messages``: to the primary as it is, both ways streaming."""
        if counting and _primary_is_out(world.counsel, self.world.clock):
            return error_answer(
                404, "not_found_error", "claude-failover: token counting is not available during failover"
            )
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
        stream: AsyncIterable[bytes] | bytes | None = body
        if body is None and request.body_exists:
            await continue_(request)
            stream = request.content.iter_any()
        attempt = world.relay.open_stream(request.method, target, lines, stream)
        try:
            head = await attempt.head()
            if isinstance(head, AttemptEnded):
                if counting:
                    return error_answer(404, "not_found_error", "claude-failover: token counting is not available now")
                return _unreachable(head)
            answered: CIMultiDict[str] = CIMultiDict(headers.to_client(head.headers))
            answered.setdefault("server", "claude-failover")
            response = web.StreamResponse(status=head.status, headers=answered)
            await response.prepare(request)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(None) as patience:
                while isinstance(event := await attempt.read(), BodyReceived):
                    patience.reschedule(loop.time() + WRITE_STALL)
                    await response.write(event.data)
                    patience.reschedule(None)
                if event.failure is None:
                    patience.reschedule(loop.time() + WRITE_STALL)
                    await response.write_eof()
                elif request.transport is not None:
                    request.transport.abort()
        except TimeoutError as error:
            # The client has taken nothing for so long that it counts as gone.
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError from error
        else:
            return response
        finally:
            await attempt.close()


async def _told(answer: web.StreamResponse) -> web.StreamResponse:
    return answer


@dataclass(slots=True)
class _Flight:
    """One ``POST /v1/messages`` under way: who holds the client's request at the moment."""

    client: ClientRequest | None
    exchange: Exchange | None = None
    driver: Driver | None = None
    id: str = ""

    def __post_init__(self) -> None:
        self.id = self.client.id if self.client is not None else ""

    @property
    def original(self) -> ClientRequest | None:
        """The request as it came; ``None`` from the commit on."""
        return self.exchange.request if self.exchange is not None else self.client

    def may_be_sent(self) -> bool:
        """Whether the request is still held."""
        return self.original is not None

    @property
    def began(self) -> bool:
        """Whether the client has got a byte."""
        return self.driver is not None and self.driver.began


def _stranger(request: web.BaseRequest) -> int | None:
    """The uid of another user of this machine whose connection it is (:class:`~claude_failover.proxy.server`)."""
    uid: int | None = getattr(request.protocol, "stranger", None)
    return uid


def _open_to_all(route: Route, door: Door) -> bool:
    """Whether other users may ask too: signs of life, and ``/metrics`` with the key, for Prometheus is another user."""
    return route in {Route.HELLO, Route.HEALTH} or (route is Route.METRICS and door.key_digest is not None)


def _unusable(counsel: Counsel, lines: Headers) -> str:
    """What is wrong with our own headers of a request; empty if nothing is."""
    name = headers.get(lines, headers.FORCE)
    names = [backend.name for backend in counsel.settings.backends]
    if name is not None and name not in names:
        return f"{headers.FORCE} names no configured backend; there are: {', '.join(names)}"
    try:
        session_budget(lines)
    except ValueError:
        return f"{headers.BUDGET} is not an amount of US dollars, such as 2.50"
    return ""


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
        [
            (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
            for name, value in request.raw_headers
        ]
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


def error_answer(status: int, error_type: str, message: str, **extra: str) -> web.Response:
    """Answer with an error of our own, in Anthropic's shape; *extra* are header lines, ``_`` for ``-``."""
    return _json(status, failures.error_body(error_type, message), **extra)


def _no_body(why: Refusal) -> web.Response:
    """What a client is told whose body cannot be had."""
    match why:
        case Refusal.TOO_LARGE:
            message = f"the request is larger than {MAX_BODY // 1024 // 1024} MiB"
            return error_answer(413, "request_too_large", f"claude-failover: {message}")
        case Refusal.TOO_SLOW:
            answer = error_answer(408, "timeout_error", f"claude-failover: no whole request within {UPLOAD:g} s")
            answer.force_close()
            return answer
        case Refusal.MALFORMED:
            message = "the request's body is broken off or malformed"
            return error_answer(400, "invalid_request_error", f"claude-failover: {message}")
        case Refusal.CROWDED:
            return _busy("holds as many bytes of requests as it may")


def _busy(what: str) -> web.Response:
    return error_answer(529, "overloaded_error", f"claude-failover: the daemon {what}", retry_after="1")


def _unreachable(ended: AttemptEnded) -> web.Response:
    if ended.failure is Failure.CREDENTIALS:
        return error_answer(401, "authentication_error", f"claude-failover: {ended.detail}")
    message = f"claude-failover: the Claude API cannot be reached ({ended.detail or ended.failure})"
    return error_answer(502, "api_error", message)
