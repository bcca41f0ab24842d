"""The books: every record and every change goes to whoever keeps it, in one place and in one order.

Nothing here waits: the ledger and the journal have queues of their own, the rest is memory.
"""

from __future__ import annotations

from typing import Protocol

from claude_failover import events
from claude_failover.clock import Clock
from claude_failover.core.types import AttemptRecord, BackendName, ExchangeRecord, Headers, Transition
from claude_failover.daemon.history import History
from claude_failover.ledger import Ledger


class Counters(Protocol):
    """What counts."""

    def attempted(self, record: AttemptRecord) -> None:
        """One attempt is over."""

    def concluded(self, record: ExchangeRecord) -> None:
        """One exchange is over."""


class Books:
    """What a driver writes into.

    Args:
        ledger: Money; ``None`` if cost tracking is off.
        history: The short memory.
        metrics: Counters; ``None`` if they are off.
        clock: The daemon's.
    """

    def __init__(self, ledger: Ledger | None, history: History, metrics: Counters | None, clock: Clock) -> None:
        self._ledger = ledger
        self._history = history
        self._metrics = metrics
        self._clock = clock
        self.dirty = False
        """Something has changed that must survive a restart."""

    def record(self, record: AttemptRecord) -> None:
        """One attempt is over."""
        if self._ledger is not None:
            self._ledger.record(record)
        self._history.attempt(record)
        if self._metrics is not None:
            self._metrics.attempted(record)
        events.attempted(record)

    def conclude(self, record: ExchangeRecord) -> None:
        """One exchange is over."""
        if self._ledger is not None:
            self._ledger.record_exchange(record)
        self._history.exchange(record)
        if self._metrics is not None:
            self._metrics.concluded(record)
        events.concluded(record)

    def announce(self, transition: Transition) -> None:
        """Something changed."""
        self.dirty = True
        events.announced(transition)

    def heard(self, backend: BackendName, headers: Headers) -> None:
        """A backend answered with these headers."""
        self._history.heard(backend, headers, self._clock.now().wall)
