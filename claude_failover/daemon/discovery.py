"""What the account lists: two questions to Bedrock's control plane, asked only when somebody wants to know.

Rule: never needed. The table and the naming rule serve without it; it refines which forms of a model's id exist in a
region. The answer is kept on disk. Where a custom endpoint is configured, that is asked and nobody else: a host that
the owner did not name is never called in its place.

Source: ``GET /inference-profiles`` and ``GET /foundation-models`` of the Bedrock API; signed as ``bedrock``
(bedrock.md 5.4). ``maxResults`` is at most 1,000.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from claude_failover import events
from claude_failover.clock import Clock
from claude_failover.config import write_private
from claude_failover.core.request import UNREADABLE
from claude_failover.core.settings import Backend
from claude_failover.core.types import BackendName, Epoch
from claude_failover.errors import ControlError, CredentialError
from claude_failover.upstream import endpoints, signing, tls
from claude_failover.upstream.bedrock import AwsCredentials
from claude_failover.upstream.wire import proxy_for

PATIENCE: Final = 15.0
"""Seconds for all questions to one backend."""

PAGES: Final = 20
"""Pages of a listing that are read; an account has some hundred profiles."""

MAX_ANSWER: Final = 8 << 20
"""Bytes of one page."""

_SERVICE: Final = "bedrock"


class Listing(msgspec.Struct):
    """What one backend's account listed, and when."""

    ids: tuple[str, ...]
    region: str
    at: float


def load(path: Path) -> dict[str, Listing]:
    """Read what was listed before; nothing if it cannot be read: it can be asked again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Listing])
    except (OSError, *UNREADABLE):
        return {}


def save(path: Path, listings: Mapping[str, Listing]) -> None:
    """Keep it for the next start. Blocks."""
    try:
        write_private(path, msgspec.json.encode(dict(listings)))
    except OSError as error:
        events.emit("ledger.failed", what="models", error=f"{path.name}: {error.strerror}")


def origin(backend: Backend, region: str, environ: Mapping[str, str]) -> str:
    """Where the control plane of *backend* is.

    Raises:
        CredentialError: The region is none.
    """
    found = environ.get("AWS_ENDPOINT_URL_BEDROCK") or backend.endpoint_url or environ.get("AWS_ENDPOINT_URL")
    if found:
        return found.rstrip("/")
    checked = endpoints.checked_region(region)
    name = "bedrock-fips" if environ.get("AWS_USE_FIPS_ENDPOINT", "").lower() == "true" else "bedrock"
    domain = "amazonaws.eu" if checked.startswith("eusc-") else "amazonaws.com"
    return f"https://{name}.{checked}.{domain}"


async def discover(
    backend: Backend, credentials: AwsCredentials, clock: Clock, environ: Mapping[str, str] = os.environ
) -> Listing:
    """Ask for the models and profiles that *backend*'s account can call.

    Raises:
        ControlError: It was not told: no permission, no network, no credential; the message says which.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            region = await credentials.region()
            where = origin(backend, region, environ)
            async with _session(where, environ) as session:
                ask = _Question(session, where, region, credentials, clock, environ)
                ids = {*await _profiles(ask), *await _models(ask)}
    except TimeoutError as error:
        raise ControlError(f"{backend.name}: AWS did not list its models within {PATIENCE:.0f} s") from error
    except CredentialError as error:
        raise ControlError(f"{backend.name}: {error}", hint=error.hint) from error
    except aiohttp.ClientError as error:
        raise ControlError(f"{backend.name}: AWS cannot be reached ({type(error).__name__})") from error
    return Listing(tuple(sorted(ids)), region, clock.now().wall)


def _session(where: str, environ: Mapping[str, str]) -> aiohttp.ClientSession:
    ca_file = environ.get("AWS_CA_BUNDLE") or environ.get("SSL_CERT_FILE")
    context = tls.context("1.2", ca_file) if where.startswith("https:") else True
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context), trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
    )


class _Question:
    """One signed GET after the other."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        where: str,
        region: str,
        credentials: AwsCredentials,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        self._session = session
        self._origin = where
        self._region = region
        self._credentials = credentials
        self._clock = clock
        self._proxy = proxy_for(where, environ)

    async def __call__(self, target: str) -> dict[str, Any]:
        lines = (("accept", "application/json"),)
        credential = await self._credentials.get()
        url = self._origin + target
        if credential.api_key is not None:
            proof: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {credential.api_key.reveal()}"),)
        else:
            proof = signing.sign(
                await asyncio.to_thread(signing.load),
                credential,
                method="GET",
                url=url,
                headers=lines,
                body_hash=signing.payload_hash(b""),
                service=_SERVICE,
                region=endpoints.checked_region(self._region),
                now=Epoch(self._clock.now().wall),
            )
        proxy = self._proxy
        async with self._session.get(
            URL(url, encoded=True),
            headers=dict([*lines, *proof]),
            allow_redirects=False,
            proxy=proxy.url if proxy is not None else None,
            proxy_headers=proxy.headers if proxy is not None else None,
        ) as response:
            body = b""
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MAX_ANSWER:
                    raise ControlError(f"{target.partition('?')[0]}: the answer is too long")
            if response.status != 200:
                raise ControlError(_refusal(target, response.status, body), hint=_HINTS.get(response.status))
        found = _decoded(body)
        if found is None:
            raise ControlError(f"{target.partition('?')[0]}: the answer is not understood")
        return found


_HINTS: Final = {403: "allow bedrock:ListInferenceProfiles and bedrock:ListFoundationModels, or do without"}


def _refusal(target: str, status: int, body: bytes) -> str:
    said = (_decoded(body) or {}).get("message")
    detail = f": {said[:200]}" if isinstance(said, str) and said else ""
    return f"AWS answered {status} to {target.partition('?')[0]}{detail}"


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


async def _profiles(ask: _Question) -> list[str]:
    """Ids of the system-defined profiles that are active, with their prefix: ``us.anthropic.…``."""
    found: list[str] = []
    token = ""
    for _ in range(PAGES):
        more = f"&nextToken={quote(token, safe='')}" if token else ""
        page = await ask(f"/inference-profiles?maxResults=1000{more}&type=SYSTEM_DEFINED")
        listed = _listed(page, "inferenceProfileSummaries")
        found += [str(one.get("inferenceProfileId", "")) for one in listed if one.get("status", "ACTIVE") == "ACTIVE"]
        token = str(page.get("nextToken") or "")
        if not token:
            break
    return [one for one in found if ".anthropic." in one]


async def _models(ask: _Question) -> list[str]:
    """Ids of foundation models that can be called without a profile."""
    page = await ask("/foundation-models?byProvider=anthropic")
    return [
        str(one["modelId"])
        for one in _listed(page, "modelSummaries")
        if "ON_DEMAND" in (one.get("inferenceTypesSupported") or ())
        and str(one.get("modelId", "")).startswith("anthropic.")
    ]


def _listed(page: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = page.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def by_backend(listings: Mapping[str, Listing]) -> dict[BackendName, tuple[str, ...]]:
    """The ids alone, for the catalog."""
    return {BackendName(name): listing.ids for name, listing in listings.items()}
