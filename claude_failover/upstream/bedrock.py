"""AWS Bedrock: bedrock-runtime and bedrock-mantle.

Rule: nothing of the client's comes here but what translation put into the request: headers are
built from an empty set, and as a second lock this adapter drops whatever could be a credential
before it adds its own. Signed with SigV4 or, with a Bedrock API key, sent with that key.

TLS 1.2 is accepted: AWS documents it as the minimum of its endpoints, 1.3 as recommended.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final, Protocol

import aiohttp

from claude_failover.clock import Clock, SystemClock
from claude_failover.core import headers as rules
from claude_failover.core.commands import OpenAttempt, UpstreamRequest
from claude_failover.core.settings import Backend, Timeouts
from claude_failover.core.types import Epoch, Headers
from claude_failover.upstream import endpoints, signing, tls
from claude_failover.upstream.attempt import HttpAttempt
from claude_failover.upstream.line import Line
from claude_failover.upstream.signing import AwsCredential
from claude_failover.upstream.wire import Flight, Wire, proxy_for

HASH_IN_THREAD: Final = 1 << 20
"""Bodies from here on are hashed in a thread: 0.6 ms per MB would add up in the loop (bedrock.md 6.3)."""

_NEVER: Final = ("authorization", "x-api-key", "cookie", "proxy-authorization", "host", "content-length", rules.KEY)


class AwsCredentials(Protocol):
    """Where AWS credentials and the region come from."""

    async def get(self, refresh: bool = False) -> AwsCredential:
        """The credential to use now; *refresh* reads every source again because the last one was refused.

        Raises:
            CredentialError: There is none that can be used; the message says what to type.
        """
        ...

    async def region(self) -> str:
        """The region to call and to sign for.

        Raises:
            CredentialError: None is configured anywhere.
        """
        ...


class BedrockUpstream:
    """An :class:`~claude_failover.upstream.Upstream` for Bedrock.

    Args:
        backend: Its endpoint.
        timeouts: Only ``connect`` is ours.
        credentials: The provider.
        environ: Endpoint and proxy variables, ``AWS_CA_BUNDLE``, ``SSL_CERT_FILE``.
        clock: For the signature's time.

    Raises:
        ConfigError: The endpoint that is set cannot be used.
    """

    def __init__(
        self,
        backend: Backend,
        timeouts: Timeouts,
        credentials: AwsCredentials,
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
    ) -> None:
        self._credentials = credentials
        self._timeouts = timeouts
        self._environ = environ
        self._clock = clock or SystemClock()
        self._configured = {
            service: endpoints.configured(backend.endpoint_url, service, environ)
            for service in (endpoints.RUNTIME, endpoints.MANTLE)
        }
        self._wires: dict[str, Wire] = {}
        self._signer: Any = None
        self._skew = 0.0
        self._name = backend.name

    def open(self, command: OpenAttempt) -> HttpAttempt:
        """See :meth:`claude_failover.upstream.Upstream.open`."""
        request = command.request
        if command.clock_skew is not None:
            self._skew = command.clock_skew

        async def send(flight: Flight) -> Line | aiohttp.ClientResponse:
            credential = await self._credentials.get(command.refresh_credentials)
            region = await self._credentials.region()
            wire = await self._wire(request.service, region)
            lines = await self._authorized(request, wire.origin + request.target, credential, region)
            return await wire.ask(
                request.method, request.target, lines, request.body, fresh=command.fresh, flight=flight
            )

        return HttpAttempt(command.attempt, send, f"Bedrock ({self._name})")

    async def warm(self) -> None:
        """Load ahead of need what the first attempt would wait for: the credential, the authorities, the signer.

        Raises:
            CredentialError: There is none to be had, or no region.
        """
        credential, region = await self._credentials.get(), await self._credentials.region()
        await self._wire(endpoints.RUNTIME, region)
        if credential.api_key is None and self._signer is None:
            self._signer = await asyncio.to_thread(signing.load)

    async def close(self) -> None:
        """See :meth:`claude_failover.upstream.Upstream.close`."""
        # Taken first: whoever prepares a connection meanwhile must not change what is gone through.
        wires, self._wires = self._wires, {}
        for wire in wires.values():
            await wire.close()

    async def _wire(self, service: str, region: str) -> Wire:
        origin = self._configured[service] or endpoints.by_rule(region, service, self._environ)
        if origin not in self._wires:
            https = origin.startswith("https:")
            # Loading the authorities takes tens of milliseconds; two first requests at once both do it.
            context = (
                await asyncio.to_thread(tls.told, "1.2", self._environ, "AWS_CA_BUNDLE", "SSL_CERT_FILE")
                if https
                else True
            )
            made = Wire(
                origin,
                connect_timeout=self._timeouts.connect,
                tls=context,
                proxy=proxy_for(origin, self._environ),
            )
            self._wires.setdefault(origin, made)
        return self._wires[origin]

    async def _authorized(self, request: UpstreamRequest, url: str, credential: AwsCredential, region: str) -> Headers:
        """The request's lines and those that prove who sends it."""
        lines = rules.without(request.headers, *_NEVER)
        if credential.api_key is not None:
            return (*lines, ("authorization", f"Bearer {credential.api_key.reveal()}"))
        if self._signer is None:
            self._signer = await asyncio.to_thread(signing.load)
        body = request.body
        body_hash = (
            await asyncio.to_thread(signing.payload_hash, body)
            if len(body) >= HASH_IN_THREAD
            else signing.payload_hash(body)
        )
        proof = signing.sign(
            self._signer,
            credential,
            method=request.method,
            url=url,
            headers=lines,
            body_hash=body_hash,
            service=request.service,
            region=endpoints.checked_region(region),
            now=Epoch(self._clock.now().wall + self._skew),
        )
        return (*lines, *proof)
