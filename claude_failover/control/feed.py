"""The last events in a window, and whoever is listening to the next ones.

Rule: nothing here grows without bound and nobody here can hold the daemon up. The window
keeps the newest :data:`WINDOW` events; a subscriber that does not keep up is dropped, and
learns it by its subscription ending.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from claude_failover.control.api import Event
from claude_failover.core.types import Epoch

WINDOW: Final = 1000
"""Events kept (product.md 7)."""

BACKLOG: Final = 4 * WINDOW
"""Events that a subscriber may be behind by."""


class Subscription:
    """One listener's queue."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(BACKLOG)
        self._ended = False

    def put(self, event: Event | None) -> bool:
        """Hand an event over; False if the listener is too far behind. ``None`` is the end."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._ended = True
            return False
        return True

    async def next(self) -> Event | None:
        """Wait for the next event; ``None`` = the subscription is over. Cancelling it loses nothing."""
        if self._ended and self._queue.empty():
            return None
        return await self._queue.get()


class Feed:
    """The window and its subscribers; one event loop's."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window: deque[Event] = deque(maxlen=window)
        self._subscriptions: set[Subscription] = set()
        self._seq = 0

    def publish(self, name: str, fields: Mapping[str, Any], at: Epoch) -> Event:
        """Number an event, keep it, and hand it to whoever listens."""
        self._seq += 1
        event = Event(self._seq, at, name, fields)
        self._window.append(event)
        if self._subscriptions:
            self._subscriptions = {one for one in self._subscriptions if one.put(event)}
        return event

    def recent(self) -> tuple[Event, ...]:
        """The window, oldest first."""
        return tuple(self._window)

    @contextlib.contextmanager
    def subscribe(self, since: int | None = None) -> Iterator[Subscription]:
        """Listen; first come the events after *since* that the window still has (``None``: none of them)."""
        subscription = Subscription()
        if since is not None:
            for event in self._window:
                if event.seq > since:
                    subscription.put(event)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def end(self) -> None:
        """Tell every subscriber that no more comes."""
        for subscription in self._subscriptions:
            subscription.put(None)
        self._subscriptions = set()

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._subscriptions)
