"""Bodies of requests to ``/v1/messages``: read whole, and bounded one by one, in time, and all together.

A body is kept until its request is answered, for it may have to be sent again; the exchange lets go of it at the
commit. What all of them may take together is counted here as they come in, so that a crowd of large requests in front
of a backend that is slow to answer is told to come back instead of taking the machine's memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from enum import Enum
from typing import Any, Final

from aiohttp import HttpVersion11, StreamReader, web

MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of one body: twice what the Claude API takes (claude.md 3.1). Requests that are relayed are streamed."""

MAX_HELD: Final = 1024 * 1024 * 1024
"""Bytes of all bodies that are not answered yet: 32 of the largest that the Claude API takes, 13,000 usual ones."""

BIG_BODY: Final = 2 * 1024 * 1024
"""Bodies from here on are parsed in a thread: above ten milliseconds of parsing would stop every stream."""

UPLOAD: Final = 120.0
"""Seconds that a client may take for its body; over loopback the largest takes less than one."""

_HAS_BUFFER: Final = hasattr(StreamReader, "_buffer")


class Refusal(Enum):
    """Why there is no body."""

    TOO_LARGE = "too large"
    TOO_SLOW = "too slow"
    MALFORMED = "malformed"
    CROWDED = "crowded"


class Held:
    """What one request holds of the bytes that all may hold.

    Attributes:
        size: Bytes.
        needed: Whether its body may have to be sent again; asked when room gets scarce.
    """

    __slots__ = ("needed", "size")

    def __init__(self) -> None:
        self.size = 0
        self.needed: Callable[[], bool] = _yes


def _yes() -> bool:
    return True


class Bodies:
    """All that are held.

    Args:
        limit: Bytes together.
    """

    def __init__(self, limit: int = MAX_HELD) -> None:
        self._limit = limit
        self._holders: set[Held] = set()
        self._size = 0
        """Bytes that were taken in by those in the set."""

    @property
    def held(self) -> int:
        """Bytes at the most; those that a commit has freed may still be among them."""
        return self._size

    def begin(self) -> Held:
        """Begin to hold the body of one request."""
        held = Held()
        self._holders.add(held)
        return held

    def end(self, held: Held) -> None:
        """The request is over."""
        if held in self._holders:
            self._holders.remove(held)
            self._size -= held.size

    def _room(self, size: int) -> bool:
        if self._size + size <= self._limit:
            return True
        # Streams that run hold no body any more; nobody has told us, for they would have to do so a thousand times.
        for held in [held for held in self._holders if not held.needed()]:
            self.end(held)
        return self._size + size <= self._limit

    def _why_not(self, held: Held, size: int) -> Refusal | None:
        """Why *held* may not have so many bytes more."""
        if held.size + size > MAX_BODY:
            return Refusal.TOO_LARGE
        return None if self._room(size) else Refusal.CROWDED

    async def read(self, request: web.BaseRequest, held: Held) -> bytes | Refusal:
        """Read a whole body, or say what to answer instead. aiohttp's own ``read`` would keep a copy with the request.

        Args:
            request: Its head has been read.
            held: Of this request.
        """
        # What is announced to be too much is refused before it is sent.
        if (why := self._why_not(held, request.content_length or 0)) is not None:
            return why
        await continue_(request)
        content = request.content
        parts: list[bytes] = []
        try:
            # Most bodies are there already: nothing to wait for, and no timer to set.
            async with nullcontext() if content.is_eof() else asyncio.timeout(UPLOAD):
                while not content.at_eof():
                    part = await content.readany()
                    if (why := self._why_not(held, len(part))) is not None:
                        return why
                    held.size += len(part)
                    self._size += len(part)
                    parts.append(part)
        except TimeoutError:
            return Refusal.TOO_SLOW
        except web.RequestPayloadError:
            return Refusal.MALFORMED
        if _HAS_BUFFER:
            # The reader lives as long as the request, and its deque takes 700 bytes though it is empty.
            nothing: Any = ()
            content._buffer = nothing  # noqa: SLF001 - see above
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def continue_(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to go on with its body (RFC 9110 section 10.1.1)."""
    if request.version == HttpVersion11 and request.headers.get("Expect", "").strip().lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
