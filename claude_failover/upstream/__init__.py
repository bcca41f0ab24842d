"""Upstreams: the adapters that talk to backends. A backend is decided about; an upstream is awaited.

Rule: an adapter reports facts and judges nothing. Whatever breaks becomes an
:class:`~claude_failover.core.commands.AttemptEnded` with a
:class:`~claude_failover.core.commands.Failure`; the only exception that leaves an attempt is
:class:`asyncio.CancelledError`. An adapter retries nothing, follows no redirect, keeps no cookie,
decompresses nothing and sets no limit on how long an answer may take: the exchange does.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Protocol

from claude_failover.core.commands import AttemptEnded, BodyReceived, HeadReceived, OpenAttempt
from claude_failover.core.types import Headers


class Attempt(Protocol):
    """One request sent once, and its response."""

    def start(self) -> bool:
        """Send at once if nothing has to be waited for; called before :meth:`head`, or not at all.

        Returns:
            Whether it is under way. Then :meth:`head` only waits: one that is cancelled loses nothing, and may be
            called again.
        """
        ...

    async def head(self) -> HeadReceived | AttemptEnded:
        """Connect, sign, send, and wait for the response's head. Called once; raises nothing but CancelledError."""
        ...

    async def read(self) -> BodyReceived | AttemptEnded:
        """Wait for the next bytes of the body, or its end; called after the head, one at a time.

        A cancelled read loses no bytes. Not reading slows the backend down.
        """
        ...

    def ready(self) -> bool:
        """Whether something has come that the next :meth:`head`, if started, or :meth:`read` gives without waiting."""
        ...

    def ended(self) -> AttemptEnded | None:
        """The end, if it is known without waiting: it often comes with the last bytes."""
        ...

    async def close(self) -> None:
        """Give up at once; may be called at any time and more than once.

        The connection is used again only if the body was read to its end.
        """
        ...


class Upstream(Protocol):
    """One backend's adapter."""

    def open(self, command: OpenAttempt) -> Attempt:
        """Prepare an attempt; nothing is sent before :meth:`Attempt.head`."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Relay(Protocol):
    """What the primary's adapter can do besides: pass any request through, streaming both ways."""

    def open_stream(
        self, method: str, target: str, headers: Headers, body: AsyncIterable[bytes] | bytes | None
    ) -> Attempt:
        """Prepare an attempt (its events carry the number 0) that sends *body* while it comes.

        Args:
            method: As received.
            target: Path and query exactly as received, percent-encoded.
            headers: As received; what belongs to one hop is taken out. A ``content-length`` is kept if *body* streams.
            body: The client's; read while the response may already be coming.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
