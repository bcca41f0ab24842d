"""Small questions to AWS, signed with our own signer: who am I, what may I use.

Rule: each is one request with a time limit of its own and an answer that may be a refusal; none is
needed to serve anybody. A Bedrock API key can ask Bedrock but not STS, which takes signatures only.

Source: the service models of STS (2011-06-15) and Bedrock (2023-04-20) as botocore 1.44 ships them;
wire/bedrock.md 5.4.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol
from urllib.parse import quote

from claude_failover.clock import Clock, SystemClock
from claude_failover.core.types import Epoch, Headers, Seconds
from claude_failover.errors import CredentialError
from claude_failover.upstream import faults, signing, tls
from claude_failover.upstream.endpoints import checked_region
from claude_failover.upstream.signing import AwsCredential
from claude_failover.upstream.wire import Flight, Wire, proxy_for

LIMIT: Final = Seconds(10.0)
"""For one question."""

MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer."""

_IDENTITY: Final = b"Action=GetCallerIdentity&Version=2011-06-15"
_WORD: Final = re.compile(rb"<(Account|Arn|Code)>([^<]{1,2048})</")


class Reading(Protocol):
    """A body as aiohttp hands it out."""

    async def readany(self) -> bytes:
        """What has arrived; nothing at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, or why there is none."""

    status: int = 0
    """0: there is none."""
    body: bytes = b""
    problem: str = ""
    """AWS's name for the refusal, or what went wrong on the way; empty: it was answered."""
    skew: Seconds | None = None
    """Server's clock minus ours, by its ``Date``."""

    @property
    def good(self) -> bool:
        """Whether it was answered."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose credentials these are."""

    said: Said
    account: str = ""
    arn: str = ""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether the account may use a model in a region: four separate yes or no."""

    said: Said
    agreement: str = ""
    """``AVAILABLE``, ``PENDING``, ``NOT_AVAILABLE`` or ``ERROR``: the contract with the model's provider."""
    authorized: bool = False
    entitled: bool = False
    in_region: bool = False

    @property
    def missing(self) -> str:
        """What is missing, in words; empty if nothing is."""
        if not self.in_region:
            return "not offered in this region"
        if self.agreement not in {"AVAILABLE", ""}:
            return "its agreement is not accepted" if self.agreement == "NOT_AVAILABLE" else "its agreement is pending"
        if not self.entitled:
            return "access was not requested"
        return "" if self.authorized else "this identity may not use it"


class AwsCalls:
    """Asks AWS with one credential in one region.

    Args:
        credential: A triple or a Bedrock API key.
        region: To ask in and to sign for.
        origins: Service -> origin: ``sts``, and ``bedrock`` for the control plane.
        environ: Proxies and the CA bundle.
        clock: For signatures.

    Raises:
        CredentialError: *region* is none.
    """

    def __init__(
        self,
        credential: AwsCredential,
        region: str,
        origins: Mapping[str, str],
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
    ) -> None:
        self._credential = credential
        self._region = checked_region(region)
        self._origins = origins
        self._environ = environ
        self._clock = clock or SystemClock()
        self._skew = 0.0
        self._wires: dict[str, Wire] = {}

    async def identity(self) -> Identity:
        """Ask STS whose credentials these are; free of charge, and needs no permission."""
        if self._credential.api_key is not None:
            return Identity(Said(problem="a Bedrock API key says nothing about its owner"))
        form = (("content-type", "application/x-www-form-urlencoded; charset=utf-8"), ("accept", "text/xml"))
        said = await self._ask("sts", "POST", "/", form, _IDENTITY)
        words = {name.decode(): value.decode("utf-8", "replace") for name, value in _WORD.findall(said.body)}
        if not said.good:
            return Identity(Said(said.status, said.body, words.get("Code", said.problem), said.skew))
        return Identity(said, words.get("Account", ""), words.get("Arn", ""))

    async def availability(self, model: str) -> Availability:
        """Ask whether the account may use the foundation model *model*."""
        said = await self._ask("bedrock", "GET", f"/foundation-model-availability/{quote(model, safe='')}", _JSON, b"")
        tree = _tree(said)
        agreement = tree.get("agreementAvailability")
        return Availability(
            said,
            str(agreement.get("status", "")) if isinstance(agreement, dict) else "",
            tree.get("authorizationStatus") == "AUTHORIZED",
            tree.get("entitlementAvailability") == "AVAILABLE",
            tree.get("regionAvailability") == "AVAILABLE",
        )

    async def close(self) -> None:
        """Close every connection."""
        for wire in self._wires.values():
            await wire.close()
        self._wires.clear()

    async def _ask(self, service: str, method: str, target: str, headers: Headers, body: bytes) -> Said:
        """Ask once, and once more if all that was wrong was our clock."""
        said = await self._send(service, method, target, headers, body)
        if said.status == 403 and said.skew is not None and abs(said.skew - self._skew) > 240:
            self._skew = said.skew
            return await self._send(service, method, target, headers, body)
        return said

    async def _send(self, service: str, method: str, target: str, headers: Headers, body: bytes) -> Said:
        try:
            async with asyncio.timeout(LIMIT):
                wire = await self._wire(service)
                lines = await self._authorized(service, method, wire.origin + target, headers, body)
                response = await wire.send(method, target, lines, body or None, flight=Flight())
                try:
                    data = await read_all(response.content)
                    now = self._clock.now().wall
                    names = {name.lower(): value for name, value in response.headers.items()}
                    problem = "" if response.status == 200 else _problem(response.status, names, data)
                    return Said(response.status, data, problem, skew_of(names.get("date", ""), now))
                finally:
                    response.close()
        except TimeoutError:
            return Said(problem=f"no answer within {LIMIT:.0f} s")
        except CredentialError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a library raises is a fact about this question
            _, detail = faults.before_head(error, reused=False, where=f"AWS ({service})")
            return Said(problem=detail)

    async def _authorized(self, service: str, method: str, url: str, headers: Headers, body: bytes) -> Headers:
        credential = self._credential
        if credential.api_key is not None:
            return (*headers, ("authorization", f"Bearer {credential.api_key.reveal()}"))
        signer = await asyncio.to_thread(signing.load)
        proof = signing.sign(
            signer,
            credential,
            method=method,
            url=url,
            headers=headers,
            body_hash=signing.payload_hash(body),
            service=service,
            region=self._region,
            now=Epoch(self._clock.now().wall + self._skew),
        )
        return (*headers, *proof)

    async def _wire(self, service: str) -> Wire:
        origin = self._origins[service]
        if origin not in self._wires:
            context: Any = True
            if origin.startswith("https:"):
                context = await asyncio.to_thread(tls.told, "1.2", self._environ, "AWS_CA_BUNDLE", "SSL_CERT_FILE")
            proxy = proxy_for(origin, self._environ)
            self._wires.setdefault(origin, Wire(origin, connect_timeout=LIMIT, tls=context, proxy=proxy))
        return self._wires[origin]


def sts_origin(region: str, environ: Mapping[str, str]) -> str:
    """Where to ask who we are: what the environment names, else the region's own endpoint."""
    named = environ.get("AWS_ENDPOINT_URL_STS") or environ.get("AWS_ENDPOINT_URL")
    if named:
        return named.rstrip("/")
    name = "sts-fips" if environ.get("AWS_USE_FIPS_ENDPOINT", "").lower() == "true" else "sts"
    domain = "amazonaws.eu" if region.startswith("eusc-") else "amazonaws.com"
    return f"https://{name}.{checked_region(region)}.{domain}"


_JSON: Final[Headers] = (("accept", "application/json"),)


async def read_all(content: Reading) -> bytes:
    """Read a body to its end, or to :data:`MAX_ANSWER`."""
    data = bytearray()
    while len(data) < MAX_ANSWER and (part := await content.readany()):
        data += part
    return bytes(data)


def _tree(said: Said) -> dict[str, Any]:
    if not said.good:
        return {}
    try:
        tree = json.loads(said.body)
    except (ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _problem(status: int, names: Mapping[str, str], data: bytes) -> str:
    """AWS's name for a refusal; its text may quote what was asked, and is left out."""
    named = names.get("x-amzn-errortype", "").partition(":")[0]
    if named:
        return named
    code = next((value.decode("utf-8", "replace") for name, value in _WORD.findall(data) if name == b"Code"), "")
    return code or f"HTTP {status}"


def skew_of(date: str, now: Epoch) -> Seconds | None:
    """How far a server's clock is ahead of ours, by its ``Date`` header; ``None`` if that says nothing."""
    try:
        return Seconds(parsedate_to_datetime(date).timestamp() - now)
    except (ValueError, TypeError):
        return None
