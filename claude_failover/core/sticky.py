"""Conversations: each stays where its prompt cache is while it is in the middle of a tool loop.

A conversation is a session and an agent. Two things are remembered of it: the backend that answered last, and for
90 s after a stream of it was cut, which backend cut it: its next attempt starts elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from claude_failover.core.bounded import Bounded
from claude_failover.core.types import BackendName, Monotonic, Seconds

MAX_CONVERSATIONS: Final = 4_096

CACHE_FOR: Final = Seconds(3600.0)
"""The longest life of a prompt cache without use; after that there is nothing left to stay for."""

AVOID_FOR: Final = Seconds(90.0)
"""After a cut (failover-policy, "Everything else")."""

Conversation = tuple[str, str]


@dataclass(slots=True)
class _Place:
    backend: BackendName | None = None
    used: Monotonic = Monotonic(0.0)
    avoid: BackendName | None = None
    avoided: Monotonic = Monotonic(0.0)


class Conversations:
    """Where the last few thousand conversations are."""

    def __init__(self) -> None:
        self._places: Bounded[Conversation, _Place] = Bounded(MAX_CONVERSATIONS)

    def answered(self, conversation: Conversation | None, backend: BackendName, now: Monotonic) -> None:
        """Its prompt is cached there now."""
        if conversation is not None:
            place = self._of(conversation)
            place.backend, place.used = backend, now
            if place.avoid == backend:
                place.avoid = None

    def cut(self, conversation: Conversation | None, backend: BackendName, now: Monotonic) -> None:
        """An answer broke off after its commit."""
        if conversation is not None:
            place = self._of(conversation)
            place.avoid, place.avoided = backend, now

    def home(self, conversation: Conversation | None, now: Monotonic) -> BackendName | None:
        """Where its prompt cache is, if anywhere."""
        place = None if conversation is None else self._places.get(conversation)
        return place.backend if place is not None and now - place.used <= CACHE_FOR else None

    def avoids(self, conversation: Conversation | None, now: Monotonic) -> BackendName | None:
        """Which backend its next attempt should not start at."""
        place = None if conversation is None else self._places.get(conversation)
        return place.avoid if place is not None and now - place.avoided <= AVOID_FOR else None

    def __len__(self) -> int:
        return len(self._places)

    def _of(self, conversation: Conversation) -> _Place:
        place = self._places.get(conversation)
        if place is None:
            place = _Place()
            self._places.put(conversation, place)
        return place
