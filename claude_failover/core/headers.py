"""Which header lines cross which border.

To the primary everything goes as it came except what belongs to one hop, what we must
recompute, and what is ours: the set of headers is open (claude.md 1.2), so this is a list of
what stays behind, never of what may pass. To Bedrock nothing of the client's goes at all:
translation builds that set from nothing. Back to the client the same rule as to the primary.
"""

from __future__ import annotations

from typing import Final

from claude_failover.core.types import Headers

OURS: Final = "x-claude-failover-"
"""Prefix of our own headers, both ways; stripped before every upstream."""

FORCE: Final = "x-claude-failover-force"
KEY: Final = "x-claude-failover-key"
BUDGET: Final = "x-claude-failover-budget"

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110 section 7.6.1 and its predecessors; what ``Connection`` names comes on top."""

_CREDENTIALS: Final = frozenset({"authorization", "x-api-key"})

_REQUEST_REBUILT: Final = frozenset({"host", "accept-encoding", "content-length", "expect"})


def get(headers: Headers, name: str) -> str | None:
    """Return the first value of *name* (lower case), or ``None``."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def brings_credential(headers: Headers) -> bool:
    """Whether the request carries an Anthropic credential of its own; it is not looked at."""
    return any(key.lower() in _CREDENTIALS for key, _ in headers)


def _named_by_connection(headers: Headers) -> frozenset[str]:
    return frozenset(
        token.strip().lower() for key, value in headers if key.lower() == "connection" for token in value.split(",")
    )


def to_primary(headers: Headers) -> Headers:
    """The client's header lines as they go to the Claude API: order, spelling and duplicates kept.

    ``accept-encoding`` becomes ``identity``, because we read usage out of the answer and never
    decompress. ``host`` and ``content-length`` belong to the connection that carries the request.
    """
    dropped = HOP_BY_HOP | _REQUEST_REBUILT | _named_by_connection(headers)
    kept = tuple(
        (key, value) for key, value in headers if key.lower() not in dropped and not key.lower().startswith(OURS)
    )
    return (*kept, ("accept-encoding", "identity"))


def to_client(headers: Headers) -> Headers:
    """An upstream's header lines as they go to the client.

    ``content-length`` stays only where the caller relays the body whole; it decides.
    """
    dropped = HOP_BY_HOP | _named_by_connection(headers)
    return tuple(
        (key, value) for key, value in headers if key.lower() not in dropped and not key.lower().startswith(OURS)
    )


def without(headers: Headers, *names: str) -> Headers:
    """The lines except those of *names* (lower case)."""
    return tuple((key, value) for key, value in headers if key.lower() not in names)
