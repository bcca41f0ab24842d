"""The metrics, loaded after the start: their library takes a tenth of a second that nobody should wait for.

Rule: nothing is missed. What happens before they are loaded is kept and counted then; whoever scrapes earlier loads
them.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from claude_failover.core.gauges import Gauges
from claude_failover.core.types import AttemptRecord, BackendName, ExchangeRecord

if TYPE_CHECKING:
    from claude_failover.events import Event
    from claude_failover.metrics import Metrics


class LateMetrics:
    """Stands for :class:`claude_failover.metrics.Metrics` until that is loaded.

    Args:
        primary: As there.
        models: As there.
        read: As there.
        backends: As there.
    """

    def __init__(
        self,
        primary: BackendName,
        models: Iterable[str],
        read: Callable[[], Gauges | None],
        backends: Iterable[BackendName],
    ) -> None:
        self._labels = (primary, tuple(models), tuple(backends))
        self._read = read
        self._metrics: Metrics | None = None
        self._kept: list[Callable[[Metrics], None]] = []

    def configure(self, primary: BackendName, models: Iterable[str], backends: Iterable[BackendName]) -> None:
        """Take over a changed configuration."""
        self._labels = (primary, tuple(models), tuple(backends))
        if self._metrics is not None:
            self._metrics.configure(*self._labels)

    def attempted(self, record: AttemptRecord) -> None:
        """Count an attempt."""
        if self._metrics is not None:
            self._metrics.attempted(record)
        else:
            self._kept.append(lambda metrics: metrics.attempted(record))

    def concluded(self, record: ExchangeRecord) -> None:
        """Count a request."""
        if self._metrics is not None:
            self._metrics.concluded(record)
        else:
            self._kept.append(lambda metrics: metrics.concluded(record))

    def __call__(self, event: Event) -> None:
        """Count what is only told by an event."""
        if self._metrics is not None:
            self._metrics(event)
        else:
            self._kept.append(lambda metrics: metrics(event))

    def exposition(self, accept: str | None = None) -> tuple[str, bytes]:
        """Write everything in the format that *accept* asks for: content type and body."""
        return self._loaded().exposition(accept)

    async def load(self) -> None:
        """Load them without stopping the loop, if they are not loaded yet."""
        if self._metrics is not None:
            return
        await asyncio.to_thread(importlib.import_module, "claude_failover.metrics")
        self._loaded()

    def _loaded(self) -> Metrics:
        if self._metrics is None:
            from claude_failover.metrics import Metrics  # noqa: PLC0415 - late on purpose

            primary, models, backends = self._labels
            self._metrics = Metrics(primary, models, self._read, backends)
            kept, self._kept = self._kept, []
            for what in kept:
                what(self._metrics)
        return self._metrics
