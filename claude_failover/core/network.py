"""The network between us and all backends: a backend that cannot be reached is only to blame if another one can.

An unreachable attempt is kept as a *suspicion*. Any backend's answer proves that the network works, and turns the
suspicions against the others into failures. If none can be reached, we are offline: nobody is penalised, and the
first answer ends it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from claude_failover.core.gates import Entry, Spot
from claude_failover.core.types import BackendName, Monotonic, Seconds

SUSPECT_FOR: Final = Seconds(60.0)
"""After this an unproven suspicion is dropped."""

MAX_SUSPICIONS: Final = 64

RECENT: Final = Seconds(30.0)
"""A backend that could not be reached this recently still counts as unreachable."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """An attempt that reached nobody."""

    spot: Spot
    entry: Entry
    at: Monotonic


class Network:
    """Suspicions, and whether we are offline."""

    def __init__(self) -> None:
        self.offline = False
        self._suspicions: deque[Suspicion] = deque(maxlen=MAX_SUSPICIONS)
        self._unreachable: dict[BackendName, Monotonic] = {}

    def unreachable(self, spot: Spot, entry: Entry, now: Monotonic) -> None:
        """An attempt reached nobody."""
        self._unreachable[spot.backend] = now
        if not self.offline:
            self._suspicions.append(Suspicion(spot, entry, now))

    def answered(self, backend: BackendName, now: Monotonic) -> tuple[bool, list[Suspicion]]:
        """A backend answered.

        Returns:
            Whether this ended being offline, and the suspicions against others that it proves.
        """
        self._unreachable.pop(backend, None)
        if not self.offline and not self._suspicions:
            return False, []
        ended, self.offline = self.offline, False
        proven = [s for s in self._suspicions if s.spot.backend != backend and now - s.at <= SUSPECT_FOR]
        self._suspicions.clear()
        return ended, proven

    def recently_unreachable(self, backend: BackendName, now: Monotonic) -> bool:
        """Whether its last word was silence, a short while ago."""
        at = self._unreachable.get(backend)
        return at is not None and now - at <= RECENT

    def go_offline(self) -> list[Suspicion]:
        """None can be reached: all suspicions fall. Returns them, so that places can be given free."""
        self.offline = True
        fallen = list(self._suspicions)
        self._suspicions.clear()
        return fallen
