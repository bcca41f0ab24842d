"""Connections between two requests: the one used last goes out first, and there are never many.

Why not aiohttp's own pool, which still makes them: it hands out the one that has waited longest, so that of a crowd
of a thousand all stay open as long as anybody asks; and it can only be asked inside a coroutine, so that even a
request that has nothing to wait for would need a task. Requests that are relayed as they are go on using that pool.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

KEEP_ALIVE: Final = 50.0
"""Seconds that an idle connection is kept: load balancers commonly drop theirs after 60."""

MAX_IDLE: Final = 128
"""Idle connections to one origin; of more, the one that has waited longest is closed."""


class Idle:
    """Idle connections to one origin.

    Args:
        keep: Seconds that one is kept.
        limit: How many.
    """

    def __init__(self, keep: float = KEEP_ALIVE, limit: int = MAX_IDLE) -> None:
        self._keep = keep
        self._limit = limit
        self._waiting: list[tuple[Any, float]] = []
        """aiohttp's connections, the one used last at the end, and since when (the loop's time) each waits."""
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, connection: Any) -> None:
        """Keep a connection whose last response has been read to its end; close it if nobody will want it."""
        if self._limit <= 0:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._waiting.append((connection, loop.time()))
        if len(self._waiting) > self._limit:
            self._waiting.pop(0)[0].close()
        if self._sweep is None:
            self._sweep = loop.call_later(self._keep, self._close_old)

    def take(self) -> Any:
        """Give the connection that was used last, if there is one that is open and silent, else ``None``."""
        oldest = asyncio.get_running_loop().time() - self._keep
        while self._waiting:
            connection, since = self._waiting.pop()
            protocol = connection.protocol
            # One that has said something which nobody asked for must not have it taken for the next answer.
            if protocol.is_connected() and not protocol.should_close and since >= oldest:
                return connection
            connection.close()
        return None

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiting and self._waiting[0][1] + self._keep <= now:
            self._waiting.pop(0)[0].close()
        self._sweep = loop.call_at(self._waiting[0][1] + self._keep, self._close_old) if self._waiting else None

    def close(self) -> None:
        """Close them all, and those that come later."""
        self._limit = 0
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        waiting, self._waiting = self._waiting, []
        for connection, _ in waiting:
            connection.close()
