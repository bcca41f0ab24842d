"""The gate of the data port: who may ask, and for what, before a byte of the body is read.

Loopback is no wall: any web page can send requests to it and any other user of the machine can
connect. So every request must name us by a loopback ``Host``, must not come from a browser, and
must carry the local key unless the owner switched that off. Refusals have constant texts; nothing
of the request is echoed (a malformed credential line would otherwise come back in the answer).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from claude_failover.core import headers
from claude_failover.core.members import at_hand
from claude_failover.core.types import Headers

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})

_BROWSER: Final = frozenset({"origin", "referer", "cookie", "sec-fetch-dest", "sec-fetch-user"})
"""Sent by every browser, never by an HTTP library. ``sec-fetch-mode`` alone proves nothing: Node's fetch sends it."""

_UNUSUAL: Final = _BROWSER | {"sec-fetch-site", "upgrade"}
"""A request with none of these names is neither a browser's nor an upgrade."""

HINT: Final = 'start Claude Code with `claude-failover run`, or `eval "$(claude-failover env)"` first'


@at_hand
class Route(StrEnum):
    """Where a request goes."""

    MESSAGES = "messages"
    """``POST /v1/messages``: the exchange, with failover."""
    COUNT_TOKENS = "count_tokens"
    """The primary, or 404 when it cannot be used."""
    RELAY = "relay"
    """Anything else: streamed through to the primary, never to Bedrock."""
    HELLO = "hello"
    """``HEAD /`` and ``HEAD /api/hello``: answered here."""
    HEALTH = "health"
    METRICS = "metrics"


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """May pass."""

    route: Route
    headers: Headers
    """The request's, without any line that carries our key."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """May not; what to answer."""

    status: int
    error_type: str
    message: str
    why: str
    """A short word for the log and the metrics."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the gate knows of us.

    Args:
        hosts: Acceptable ``Host`` names, without port.
        port: Ours.
        key_digest: SHA-256 of the local key; ``None`` = no key is asked for.
    """

    port: int
    key_digest: bytes | None
    hosts: frozenset[str] = LOOPBACK_HOSTS


def digest(key: str) -> bytes:
    """What is compared instead of keys, so that the time it takes says nothing about them."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


_FREE: Final = {("HEAD", "/"): Route.HELLO, ("HEAD", "/api/hello"): Route.HELLO, ("GET", "/healthz"): Route.HEALTH}
_KEYED: Final = {
    ("POST", "/v1/messages"): Route.MESSAGES,
    ("POST", "/v1/messages/count_tokens"): Route.COUNT_TOKENS,
    ("GET", "/metrics"): Route.METRICS,
}


def admit(method: str, target: str, lines: Headers, door: Door) -> Admitted | Refused:
    """Judge one request by its first line and its headers.

    Args:
        method: As received.
        target: The request target exactly as received, query included.
        lines: Header lines as received.
        door: What we know of ourselves.
    """
    names = [name.lower() for name, _ in lines]
    refused = _target(method, target) or _host(names, lines, door)
    if refused is None and not _UNUSUAL.isdisjoint(names):
        refused = _browser(names, lines) or _upgrade(names)
    if refused is not None:
        return refused
    path = target.partition("?")[0]
    free = _FREE.get((method, path))
    if free is not None:
        return Admitted(free, ())
    admitted = _without_key(names, lines, door)
    if admitted is None:
        return Refused(401, "authentication_error", f"the local key is missing or wrong: {HINT}", "key")
    return Admitted(_KEYED.get((method, path), Route.RELAY), admitted)


def _target(method: str, target: str) -> Refused | None:
    if method == "CONNECT" or not target.startswith("/") or target.startswith("//"):
        return Refused(400, "invalid_request_error", "only origin-form request targets are served", "target")
    path = target.partition("?")[0].lower()
    if "%" not in path and "\\" not in path and "/." not in path:
        return None  # nothing below can be there
    if "\\" in path or any(trick in path for trick in ("%2e", "%2f", "%5c", "%00")):
        return Refused(400, "invalid_request_error", "encoded separators and dots are not served", "target")
    if any(segment in {".", ".."} for segment in path.split("/")):
        return Refused(400, "invalid_request_error", "dot segments are not served", "target")
    return None


def _host(names: list[str], lines: Headers, door: Door) -> Refused | None:
    if names.count("host") == 1:
        host, port = _split_host(lines[names.index("host")][1].strip().lower())
        if host in door.hosts and (port == str(door.port) or (door.port == 80 and not port)):
            return None
    return Refused(403, "permission_error", "requests must name this machine's loopback address as Host", "host")


def _split_host(value: str) -> tuple[str, str]:
    if value.startswith("["):
        host, _, port = value.partition("]")
        return host + "]", port.removeprefix(":")
    host, _, port = value.partition(":")
    return host, port


def _browser(names: list[str], lines: Headers) -> Refused | None:
    told = not _BROWSER.isdisjoint(names)
    if not told and "sec-fetch-site" in names:
        sites = [value for name, (_, value) in zip(names, lines, strict=True) if name == "sec-fetch-site"]
        told = any(site.strip().lower() != "none" for site in sites)
    if told:
        return Refused(403, "permission_error", "requests of a web browser are not served", "browser")
    return None


def _upgrade(names: list[str]) -> Refused | None:
    if "upgrade" in names:
        # What follows an upgrade is not HTTP/1.1 any more, and nothing here would look at it.
        return Refused(400, "invalid_request_error", "only HTTP/1.1 is spoken here", "upgrade")
    return None


def _without_key(names: list[str], lines: Headers, door: Door) -> Headers | None:
    """The lines without those that carry our key; ``None`` if a key is asked for and none is right."""
    if door.key_digest is None:
        return tuple(line for name, line in zip(names, lines, strict=True) if name != headers.KEY)
    wanted = door.key_digest
    found = False
    ours: list[int] = []  # of twenty lines one or two: the others are not even touched
    for at, name in enumerate(names):
        if name in _CARRIERS:
            right = hmac.compare_digest(digest(_CARRIERS[name](lines[at][1])), wanted)
            found |= right
            if right or name == headers.KEY:
                ours.append(at)
    kept = list(lines)
    for at in reversed(ours):
        del kept[at]
    return tuple(kept) if found else None


def _bearer(value: str) -> str:
    scheme, _, token = value.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


_CARRIERS: Final[dict[str, Callable[[str], str]]] = {
    headers.KEY: str.strip,
    "authorization": _bearer,
    "x-api-key": str.strip,
}
