"""A mapping that forgets what was used longest ago: keys come from clients, so every table of them has an end."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """At most *most* entries; putting or getting one makes it the youngest.

    Values are never ``None``: :meth:`get` answers that for "not here".
    """

    peek: Callable[[K], V | None]
    """Look up without counting it as use: for reads that must change nothing. The dict's own method: a request
    asks more than ten times."""
    held: Mapping[K, V]
    """What is here, to look at. Whether that is anything at all costs no call to ask of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: dict[K, V] = {}
        self.peek = self._entries.get
        self.held = self._entries

    def get(self, key: K) -> V | None:
        """Look up, and count it as use."""
        entries = self._entries
        value = entries.pop(key, None)
        if value is not None:
            entries[key] = value
        return value

    def put(self, key: K, value: V) -> None:
        """Set, forgetting the oldest beyond the bound."""
        entries = self._entries
        entries.pop(key, None)
        entries[key] = value
        while len(entries) > self._most:
            del entries[next(iter(entries))]

    def pop(self, key: K) -> V | None:
        """Remove and return."""
        return self._entries.pop(key, None)

    def items(self) -> list[tuple[K, V]]:
        """All entries, the oldest first; a copy, so that the loop over it may remove."""
        return list(self._entries.items())

    def values(self) -> list[V]:
        """All values, the oldest first; a copy."""
        return list(self._entries.values())

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._entries))

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)
