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

_NOT_TO_PRIMARY: Final = HOP_BY_HOP | {"host", "accept-encoding", "content-length", "expect"}
_NOT_TO_CLIENT: Final = HOP_BY_HOP | {"content-length"}


def get(headers: Headers, name: str) -> str | None:
    """Return the first value of *name* (lower case), or ``None``."""
    size = len(name)
    for key, value in headers:
        # Measured: half the time of making every name lower case. A dozen such questions are asked of a request.
        if len(key) == size and key.lower() == name:
            return value
    return None


def _passing(headers: Headers, dropped: frozenset[str]) -> list[tuple[str, str]]:
    """The lines that are neither *dropped*, nor named by ``Connection``, nor ours."""
    kept: list[tuple[str, str]] = []
    named: set[str] = set()
    for line in headers:
        name = line[0].lower()
        if name in dropped:
            if name == "connection":
                named.update(token.strip().lower() for token in line[1].split(","))
        elif not name.startswith(OURS):
            kept.append(line)
    # Nearly always it says keep-alive, which is dropped anyway.
    return kept if named <= dropped else [line for line in kept if line[0].lower() not in named]


def to_primary(headers: Headers) -> Headers:
    """The client's header lines as they go to the Claude API: order, spelling and duplicates kept.

    ``accept-encoding`` becomes ``identity``, because we read usage out of the answer and never
    decompress. ``host`` and ``content-length`` belong to the connection that carries the request.
    """
    return (*_passing(headers, _NOT_TO_PRIMARY), ("accept-encoding", "identity"))


def to_client(headers: Headers, *, whole: bool = True) -> Headers:
    """An upstream's header lines as they go to the client.

    Args:
        headers: The upstream's.
        whole: Whether the body is relayed whole, so that its ``content-length`` holds.
    """
    return tuple(_passing(headers, HOP_BY_HOP if whole else _NOT_TO_CLIENT))


def without(headers: Headers, *names: str) -> Headers:
    """The lines except those of *names* (lower case)."""
    return tuple((key, value) for key, value in headers if key.lower() not in names)
