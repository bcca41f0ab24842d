"""The Claude API, or anything that speaks like it.

Rule: the client's request as it came, to the byte, but for what belongs to one hop and what is
ours. A credential that the client brought is forwarded unread; only a request that brings none
(or a backend that is told to) gets the stored one. No header of AWS is ever added here.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterable, Collection, Mapping
from typing import Final, Protocol

import aiohttp

from claude_failover.core import headers as rules
from claude_failover.core.commands import OpenAttempt
from claude_failover.core.settings import Backend, Timeouts
from claude_failover.core.types import Headers
from claude_failover.errors import CredentialError
from claude_failover.upstream import tls
from claude_failover.upstream.attempt import HttpAttempt
from claude_failover.upstream.line import Line
from claude_failover.upstream.wire import Flight, Wire, proxy_for

OAUTH_BETA: Final = "oauth-2025-04-20"
"""Without it the API refuses OAuth tokens, with a misleading text (claude.md 1.6)."""

REMEMBERED: Final = 4
"""Stored tokens that were refused last."""

_CREDENTIALS: Final = frozenset({"authorization", "x-api-key"})


class Revealing(Protocol):
    """A secret that says its value when asked by name."""

    def reveal(self) -> str:
        """The value."""
        ...


class StoredToken(Protocol):
    """What is kept for requests that bring no credential."""

    @property
    def bearer(self) -> bool:
        """It goes out as ``authorization: Bearer``; an API key as ``x-api-key``."""
        ...

    @property
    def oauth(self) -> bool:
        """It is a token of a login, which needs a beta."""
        ...

    @property
    def secret(self) -> Revealing:
        """The value."""
        ...


class TokenStore(Protocol):
    """Where stored tokens come from."""

    async def token(self, *, refused: Collection[object] = ()) -> StoredToken:
        """The token to use now.

        Args:
            refused: Secrets that the API has answered 401 to: look at every source again, and refresh what is one
                of them. Which ones they are tells whether somebody has replaced it since: a hundred requests may be
                refused with one token, and the last of them comes back when the new one has long been got.

        Raises:
            CredentialError: There is none that can be used; the message says which sources were tried.
        """
        ...


class AnthropicUpstream:
    """An :class:`~claude_failover.upstream.Upstream` and :class:`~claude_failover.upstream.Relay`.

    Args:
        backend: Its base URL, credential mode, TLS version and pins.
        timeouts: Only ``connect`` is ours.
        store: Stored tokens; ``None`` if there is no store.
        environ: Proxy variables, ``SSL_CERT_FILE``, ``NODE_EXTRA_CA_CERTS``.

    Raises:
        ConfigError: A file of authorities cannot be read.
    """

    def __init__(
        self,
        backend: Backend,
        timeouts: Timeouts,
        store: TokenStore | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._backend = backend
        self._store = store
        self._refused: deque[object] = deque(maxlen=REMEMBERED)
        https = backend.base_url.startswith("https:")
        self._wire = Wire(
            backend.base_url,
            connect_timeout=timeouts.connect,
            tls=tls.told(backend.tls_min_version, environ, "SSL_CERT_FILE") if https else True,
            pins=frozenset(backend.pinned_spki),
            proxy=proxy_for(backend.base_url, environ),
        )

    def open(self, command: OpenAttempt) -> HttpAttempt:
        """See :meth:`claude_failover.upstream.Upstream.open`."""
        request = command.request

        async def send(flight: Flight) -> Line | aiohttp.ClientResponse:
            refused = tuple(self._refused) if command.refresh_credentials else ()
            lines, token = await self._authorized(rules.to_primary(request.headers), refused)
            response = await self._wire.ask(
                request.method, request.target, lines, request.body, fresh=command.fresh, flight=flight
            )
            if response.status == 401 and token is not None and token.secret not in self._refused:
                self._refused.append(token.secret)
            return response

        def now() -> Line | None:
            lines = None if command.fresh else self._own(rules.to_primary(request.headers))
            return None if lines is None else self._wire.ask_now(request.method, request.target, lines, request.body)

        return HttpAttempt(command.attempt, send, self._wire.where, now)

    def open_stream(
        self, method: str, target: str, headers: Headers, body: AsyncIterable[bytes] | bytes | None
    ) -> HttpAttempt:
        """See :meth:`claude_failover.upstream.Relay.open_stream`."""

        async def send(flight: Flight) -> aiohttp.ClientResponse:
            lines, _ = await self._authorized(rules.to_primary(headers))
            length = rules.get(headers, "content-length")
            if length is not None and not isinstance(body, bytes) and body is not None:
                lines = (*lines, ("content-length", length))
            return await self._wire.send(method, target, lines, body, flight=flight)

        return HttpAttempt(0, send, self._wire.where)

    async def close(self) -> None:
        """See :meth:`claude_failover.upstream.Upstream.close`."""
        await self._wire.close()

    def _own(self, lines: Headers) -> Headers | None:
        """The lines as they are, if the client's own credential is what the backend's mode asks for."""
        mode = self._backend.credential
        if mode == "client" or (mode == "auto" and any(name.lower() in _CREDENTIALS for name, _ in lines)):
            return lines
        return None

    async def _authorized(self, lines: Headers, refused: Collection[object] = ()) -> tuple[Headers, StoredToken | None]:
        """The lines with the credential that the backend's mode asks for; and which stored token that is."""
        own = self._own(lines)
        if own is not None:
            return own, None
        if self._store is None:
            raise CredentialError("the request carries no Anthropic credential, and none is stored")
        token = await self._store.token(refused=refused)
        lines = rules.without(lines, *_CREDENTIALS)
        if not token.bearer:
            return (*lines, ("x-api-key", token.secret.reveal())), token
        lines = _with_beta(lines) if token.oauth else lines
        return (*lines, ("authorization", f"Bearer {token.secret.reveal()}")), token


def _with_beta(lines: Headers) -> Headers:
    """The lines with the OAuth beta among those of ``anthropic-beta``; the others keep order and spelling."""
    places = [index for index, (name, _) in enumerate(lines) if name.lower() == "anthropic-beta"]
    if not places:
        return (*lines, ("anthropic-beta", OAUTH_BETA))
    if OAUTH_BETA in {beta.strip() for index in places for beta in lines[index][1].split(",")}:
        return lines
    name, value = lines[places[0]]
    return (*lines[: places[0]], (name, f"{value},{OAUTH_BETA}"), *lines[places[0] + 1 :])
