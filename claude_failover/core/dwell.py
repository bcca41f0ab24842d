"""Dwell: once left, a backend is not returned to at once.

Each provider has its own prompt cache, so going back and forth costs real money. A (backend, model) that new
requests had to leave is returned to after 60 s at the earliest; if it has to be left again within a quarter of an
hour of its return, twice as long, up to 15 min. It only orders preferences: where nothing else can serve, it is no
obstacle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from claude_failover.core.bounded import Bounded
from claude_failover.core.deadline import Deadline
from claude_failover.core.types import BackendName, Epoch, Instant, Reason, Seconds

DWELL_FIRST: Final = Seconds(60.0)
DWELL_MOST: Final = Seconds(900.0)
FLAPPING: Final = Seconds(900.0)
"""Left again within this of the return: it flaps."""

MAX_KEPT: Final = 512


@dataclass(slots=True)
class _Place:
    away: Deadline | None = None
    """Left; until then it is not returned to."""
    returned: Deadline | None = None
    """Back; until then leaving again counts as flapping."""
    length: Seconds = DWELL_FIRST
    reason: Reason = Reason.COOLDOWN
    """Why it was left."""


class Dwells:
    """Which (backend, model) new requests have left, and since when."""

    def __init__(self) -> None:
        self._places: Bounded[tuple[BackendName, str], _Place] = Bounded(MAX_KEPT)
        self.left: Collection[tuple[BackendName, str]] = self._places.held
        """What has ever been left: as a rule nothing, which costs no call to see."""

    def leave(self, backend: BackendName, model: str, reason: Reason, now: Instant) -> bool:
        """New requests go elsewhere from now on; false if they did already."""
        place = self._places.get((backend, model)) or _Place()
        if place.away is not None:
            return False
        flaps = place.returned is not None and not place.returned.over(now)
        place.length = Seconds(min(place.length * 2.0, DWELL_MOST)) if flaps else DWELL_FIRST
        place.away = Deadline(Epoch(now.wall + place.length), now)
        place.returned = None
        place.reason = reason
        self._places.put((backend, model), place)
        return True

    def remaining(self, backend: BackendName, model: str, now: Instant, most: Seconds) -> Seconds:
        """How long it should still be left alone.

        Args:
            backend: Which.
            model: Which.
            now: Both clocks.
            most: Count at most this long since it was left (``max_retry_after`` bounds every wait for a real request).
        """
        place = self._places.peek((backend, model))
        if place is None or place.away is None:
            return Seconds(0.0)
        return Seconds(max(0.0, place.away.remaining(now) - max(0.0, place.length - most)))

    def reason(self, backend: BackendName, model: str) -> Reason:
        """Why it was left."""
        place = self._places.peek((backend, model))
        return Reason.COOLDOWN if place is None else place.reason

    def is_away(self, backend: BackendName, model: str) -> bool:
        """Whether new requests have left it, and are not back."""
        place = self._places.peek((backend, model))
        return place is not None and place.away is not None

    def back(self, backend: BackendName, model: str, now: Instant) -> bool:
        """New requests go there again; false if they never left."""
        place = self._places.get((backend, model))
        if place is None or place.away is None:
            return False
        place.away = None
        place.returned = Deadline(Epoch(now.wall + FLAPPING), now)
        return True

    def forget(self, backends: frozenset[BackendName]) -> None:
        """Keep only what belongs to *backends*."""
        for key in self._places:
            if key[0] not in backends:
                self._places.pop(key)

    def snapshot(self) -> list[dict[str, Any]]:
        """What must survive a restart, as JSON values."""
        return [
            {
                "backend": backend,
                "model": model,
                "away": None if place.away is None else place.away.at,
                "returned": None if place.returned is None else place.returned.at,
                "length": place.length,
                "reason": place.reason.value,
            }
            for (backend, model), place in self._places.items()
        ]

    def restore(self, entries: object, backends: frozenset[BackendName], now: Instant) -> None:
        """Take back what :meth:`snapshot` said; what makes no sense is left out."""
        for entry in entries if isinstance(entries, list) else []:
            try:
                backend, model = BackendName(str(entry["backend"])), str(entry["model"])
                length = Seconds(min(max(float(entry["length"]), DWELL_FIRST), DWELL_MOST))
                away, returned = _until(entry, "away", length, now), _until(entry, "returned", FLAPPING, now)
                place = _Place(away, returned, length, Reason(entry["reason"]))
            except (KeyError, TypeError, ValueError):
                continue
            if backend in backends:
                self._places.put((backend, model), place)


def _until(entry: Mapping[str, Any], name: str, most: float, now: Instant) -> Deadline | None:
    if entry[name] is None:
        return None
    return Deadline(Epoch(now.wall + min(max(float(entry[name]) - now.wall, 0.0), most)), now)
