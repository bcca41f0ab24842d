"""HTTP/1.1 to one origin over aiohttp, with everything that aiohttp would do by itself switched off.

Rule: what is handed in goes out, what comes in is handed out: the exact request target, header
lines in order, spelling and number, no header of the library's, no redirect, no cookie, no
decompression, no retry, no proxy password from ``.netrc``. The only time limit is the one for
connecting; aiohttp's own read timeout is not used because it does not fire after an interim
response (reliability-security.md 0, finding 1).
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from base64 import b64encode
from collections.abc import AsyncIterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.payload import Payload
from multidict import CIMultiDict
from yarl import URL

from claude_failover.core.types import Headers
from claude_failover.upstream.faults import PinMismatch
from claude_failover.upstream.idle import KEEP_ALIVE, Idle
from claude_failover.upstream.line import WRITE_SIZE, Line
from claude_failover.upstream.tls import check_pins

MAX_HEADER_LINE: Final = 65_536
"""Bytes of one response header line; aiohttp's default of 8190 would call a legal response garbage."""

_NOTHING_OF_YOUR_OWN: Final = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE)


@dataclass(slots=True)
class Flight:
    """What is learned about one request while it is on its way."""

    reused: bool = False
    """It went out on a connection that had carried another before."""


_flight: ContextVar[Flight | None] = ContextVar("claude_failover_flight", default=None)


class Handler(ResponseHandler):
    """aiohttp's protocol, which forgets to tell a body's reader when it chokes on the framing in the middle.

    Measured with 3.14.5: after ``zz`` for a chunk size the connection is closed and the read hangs for ever.
    """

    carried: bool = False
    """It has carried a request."""

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Tell whoever waits for a response, and whoever reads its body."""
        super().set_exception(exc, *cause)
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            broken = aiohttp.ClientPayloadError("the response's framing is broken")
            broken.__cause__ = exc
            payload.set_exception(broken)


class Connector(aiohttp.TCPConnector):
    """A pool that knows which connections are used ones, and checks pins before a request is written.

    The pin check hooks private methods of aiohttp (it has no public place between handshake and request).
    :meth:`connect` therefore refuses any TLS connection that the hook has not seen: if a new aiohttp
    no longer calls it, nothing goes out rather than everything.
    """

    def __init__(self, pins: frozenset[str], origin: URL, **options: Any) -> None:
        super().__init__(**options)
        factory: Any = functools.partial(Handler, loop=self._loop)
        self._factory = factory
        self._pins = pins
        self._origin = (origin.host, origin.port)
        self._checked: weakref.WeakSet[object] = weakref.WeakSet()

    async def connect(self, req: aiohttp.ClientRequest, *args: Any, **kwargs: Any) -> Any:
        """Get a connection; note whether it is a used one."""
        connection = await super().connect(req, *args, **kwargs)
        protocol = connection.protocol
        if self._pins and protocol not in self._checked:
            connection.close()
            raise PinMismatch("the pins could not be checked: this version of aiohttp is not supported with them")
        if isinstance(protocol, Handler):
            if (flight := _flight.get()) is not None:
                flight.reused = protocol.carried
            protocol.carried = True
        return connection

    async def _wrap_create_connection(self, *args: Any, req: aiohttp.ClientRequest, **kwargs: Any) -> Any:
        made = await super()._wrap_create_connection(*args, req=req, **kwargs)
        if (req.url.host, req.url.port) == self._origin:
            self._check(*made)
        return made

    async def _start_tls_connection(self, *args: Any, **kwargs: Any) -> Any:
        made = await super()._start_tls_connection(*args, **kwargs)
        self._check(*made)
        return made

    def _check(self, transport: asyncio.BaseTransport, protocol: object) -> None:
        if not self._pins:
            return
        try:
            check_pins(transport.get_extra_info("ssl_object"), self._pins)
        except PinMismatch:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
            raise
        self._checked.add(protocol)


class Body(Payload):
    """A body of known bytes, written in pieces so that other streams get their turn."""

    _autoclose = True

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._size = len(data)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """See :class:`aiohttp.payload.Payload`."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it."""
        if self._size is not None and self._size <= WRITE_SIZE:
            await writer.write(self._value)
            return
        view = memoryview(self._value)
        for at in range(0, len(view), WRITE_SIZE):
            await writer.write(view[at : at + WRITE_SIZE])
            await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy to reach the backend through, from the environment."""

    url: URL
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def proxy_for(origin: str, environ: Mapping[str, str]) -> Proxy | None:
    """Read ``HTTPS_PROXY`` (or ``HTTP_PROXY``), ``ALL_PROXY`` and ``NO_PROXY``, either case, for that origin.

    Read once, at the start: aiohttp's ``trust_env`` would look again for every request, in a thread, and
    would take passwords from ``.netrc`` besides.
    """
    parts = urlsplit(origin)
    names = (f"{parts.scheme}_proxy", "all_proxy")
    value = next((found for name in names if (found := environ.get(name) or environ.get(name.upper()))), None)
    skip = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if not value or _is_direct(parts.hostname or "", parts.port, skip):
        return None
    url = URL(value if "//" in value else f"http://{value}")
    if url.user is None:
        return Proxy(url)
    secret = b64encode(f"{unquote(url.raw_user or '')}:{unquote(url.raw_password or '')}".encode()).decode()
    return Proxy(url.with_user(None), {"Proxy-Authorization": f"Basic {secret}"})


def _one_spelling(headers: Headers) -> CIMultiDict[str]:
    """The lines as aiohttp takes them: it would drop all but the last of lines whose names differ only in case."""
    spelling: dict[str, str] = {}
    return CIMultiDict((spelling.setdefault(name.lower(), name), value) for name, value in headers)


def _is_direct(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether to go without the proxy: this machine always, else what a NO_PROXY list says (curl's rules)."""
    if host in {"127.0.0.1", "::1", "localhost"}:
        return True
    for entry in no_proxy.split(","):
        name, _, at = entry.strip().lower().removeprefix("*").removeprefix(".").partition(":")
        if entry.strip() == "*" or (
            name and (host == name or host.endswith(f".{name}")) and at in {"", str(port or "")}
        ):
            return True
    return False


def _head(method: str, target: str, host: str, headers: Headers, size: int) -> bytes:
    """The request's head, to the byte: spelling, order and number of lines as they are.

    Raises:
        ValueError: A line would end before its end, and begin another.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Content-Length: {size}\r\n\r\n")
    head = "\r\n".join(lines)
    breaks = len(lines) + 1
    if head.count("\n") != breaks or head.count("\r") != breaks or "\0" in head:
        raise ValueError("a header line holds a line break")
    return head.encode("utf-8", "surrogateescape")


class Wire:
    """Connections to one origin. Sessions are made on first use, inside the running loop."""

    def __init__(
        self,
        origin: str,
        *,
        connect_timeout: float,
        tls: Any = True,
        pins: frozenset[str] = frozenset(),
        proxy: Proxy | None = None,
    ) -> None:
        self.origin = origin.rstrip("/")
        parts = urlsplit(self.origin)
        self.where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        """Host and port, for messages."""
        self._path = parts.path
        default = 443 if parts.scheme == "https" else 80
        self._host = parts.netloc.rpartition("@")[2].removesuffix(f":{default}")
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout, sock_connect=connect_timeout)
        self._tls = tls
        self._pins = pins if parts.scheme == "https" else frozenset()
        self._proxy = proxy
        self._pooled: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._asking: aiohttp.ClientRequest | None = None
        self._idle = Idle()
        # Such a proxy takes whole URLs for targets, and its password in every request.
        self._whole_urls = proxy is not None and parts.scheme != "https"

    def _session(self, *, fresh: bool) -> aiohttp.ClientSession:
        if fresh:
            self._fresh = self._fresh or self._make(force_close=True)
            return self._fresh
        self._pooled = self._pooled or self._make(keepalive_timeout=KEEP_ALIVE)
        return self._pooled

    def _make(self, **options: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=Connector(self._pins, URL(self.origin), limit=0, ssl=self._tls, **options),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            trust_env=False,
            raise_for_status=False,
        )

    async def send(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: AsyncIterable[bytes] | bytes | None,
        *,
        fresh: bool = False,
        flight: Flight | None = None,
    ) -> aiohttp.ClientResponse:
        """Send one request and wait for the head of its response."""
        token = _flight.set(flight)
        try:
            return await self._session(fresh=fresh).request(
                method,
                URL(self.origin + target, encoded=True),
                headers=_one_spelling(headers),
                data=(Body(body) if body else None) if isinstance(body, bytes) else body,
                allow_redirects=False,
                skip_auto_headers=_NOTHING_OF_YOUR_OWN,
                max_line_size=MAX_HEADER_LINE,
                max_field_size=MAX_HEADER_LINE,
                proxy=self._proxy.url if self._proxy else None,
                proxy_headers=self._proxy.headers if self._proxy else None,
            )
        finally:
            _flight.reset(token)

    async def ask(
        self, method: str, target: str, headers: Headers, body: bytes, *, fresh: bool = False, flight: Flight
    ) -> Line | aiohttp.ClientResponse:
        """Send one request with a body of known bytes and wait for the head of its response.

        Raises:
            ValueError: A line is none.
        """
        if self._whole_urls:
            return await self.send(method, target, headers, body, fresh=fresh, flight=flight)
        connection = None if fresh else self._idle.take()
        if connection is not None:
            flight.reused = True
        else:
            token = _flight.set(flight)
            try:
                connection = await self._connection(self._session(fresh=fresh).connector)
            finally:
                _flight.reset(token)
        line = Line(connection, None if fresh else self._idle.put)
        try:
            await line.ask(_head(method, self._path + target, self._host, headers, len(body)), body)
        except BaseException:
            line.close()
            raise
        return line

    def ask_now(self, method: str, target: str, headers: Headers, body: bytes) -> Line | None:
        """Send such a request at once if nothing has to be waited for: not a connection, not room for its body.

        Raises:
            ValueError: A line is none.
        """
        if self._whole_urls or not self._idle or len(body) > WRITE_SIZE:
            return None
        head = _head(method, self._path + target, self._host, headers, len(body))
        connection = self._idle.take()
        if connection is None:
            return None
        line = Line(connection, self._idle.put)
        line.send(head, body)
        return line

    def _ask_for(self) -> aiohttp.ClientRequest:
        """What a connector wants to know: where to, and how. Nothing of this object goes out but CONNECT."""
        return aiohttp.ClientRequest(
            "POST",
            URL(self.origin),
            skip_auto_headers=_NOTHING_OF_YOUR_OWN,
            ssl=self._tls,
            proxy=self._proxy.url if self._proxy else None,
            proxy_headers=self._proxy.headers if self._proxy else None,
        )

    async def _connection(self, connector: aiohttp.BaseConnector | None) -> aiohttp.connector.Connection:
        """Take a connection out of the pool, or make one."""
        assert connector is not None, "a session has one until it is closed"
        asking = self._asking = self._asking or self._ask_for()
        while True:
            try:
                connection = await connector.connect(asking, [], self._timeout)
            except (aiohttp.ClientError, TimeoutError):
                raise
            except OSError as error:
                raise aiohttp.ClientOSError(error.errno, error.strerror) from error
            protocol = connection.protocol
            if protocol is None or not protocol.should_close:
                empty: Any = ()
                if protocol is not None:
                    protocol._buffer = empty  # noqa: SLF001 - a queue of 700 bytes; a line has its own
                return connection
            connection.close()  # it has said something that nobody asked for

    async def close(self) -> None:
        """Close every connection."""
        self._idle.close()
        for session in (self._pooled, self._fresh):
            if session is not None:
                await session.close()
        self._pooled = self._fresh = None
