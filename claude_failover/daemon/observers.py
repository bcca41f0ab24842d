"""The observers: the log, the window of events, the metrics, the alerts and whoever watches over the control channel.

Rule: they hear and look, and change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from claude_failover import events
from claude_failover.alerts import Desk
from claude_failover.core.gates import ANY_MODEL
from claude_failover.core.models import Catalog
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Kind
from claude_failover.daemon.late import LateMetrics

if TYPE_CHECKING:
    from claude_failover.daemon.life import Daemon

_OF_RECORDS: Final = frozenset({"exchange.ended", "attempt.ended"})
"""Events of which the metrics and the alerts have had the record."""

_OF_CREDENTIALS: Final = frozenset({"credential.failed", "credential.refreshed"})


class Observers:
    """Everybody who only looks at *daemon*.

    Args:
        daemon: Started as far as its world.
        hub: Where events come from; ``None``: nobody hears of them.
    """

    def __init__(self, daemon: Daemon, hub: events.Hub | None) -> None:
        settings = daemon.settings
        self._daemon = daemon
        self.window = events.EventsWindow()
        self.desk = Desk(settings.alerts)
        self.metrics = LateMetrics(
            settings.primary.name,
            _models(daemon.world.current.counsel.catalog),
            daemon.readings.take,
            [backend.name for backend in settings.backends],
        )
        daemon.books.attempts = (self.metrics,)
        daemon.books.exchanges = (self.metrics, self.desk)
        self._switch(settings)
        loop = asyncio.get_running_loop()
        sinks: tuple[events.Sink, ...] = (self.window, self._publish, self._count)
        # Credentials are refreshed in threads, and say so there.
        self._leave: list[Callable[[], None]] = (
            [] if hub is None else [hub.subscribe(events.on_loop(loop, sink)) for sink in sinks]
        )

    def _publish(self, event: events.Event) -> None:
        self._daemon.feed.publish(event.name, events.shown(event), event.at)

    def _count(self, event: events.Event) -> None:
        """Tell the metrics and the alerts; of credentials, whose they are."""
        if event.name in _OF_RECORDS:
            return
        for one in self._told(event):
            self.metrics(one)
            self.desk(one)

    def _told(self, event: events.Event) -> list[events.Event]:
        """A credential's event names its source; the metrics and the alerts want the backend.

        That there is none where there never was one is no failed refresh: Bedrock may simply not be set up.
        """
        if event.name not in _OF_CREDENTIALS:
            return [event]
        kind = Kind.BEDROCK if event.fields.get("source") == "AWS" or self._is_aws(event) else Kind.ANTHROPIC
        known = self._daemon.credentials
        names = [
            backend.name
            for backend in self._daemon.settings.backends
            if backend.kind is kind
            and (event.name != "credential.failed" or ((seen := known.get(backend.name)) is not None and seen.usable))
        ]
        detail = event.fields.get("reason") or ""
        told = [{**event.fields, "backend": name, "detail": detail} for name in names]
        return [structs.replace(event, fields=fields, plain=None) for fields in told]

    def _is_aws(self, event: events.Event) -> bool:
        """Whether an event's source is where a Bedrock backend's keys are from."""
        bedrock = [backend.name for backend in self._daemon.settings.backends if backend.kind is Kind.BEDROCK]
        known = self._daemon.credentials
        return any(name in known and known[name].source == event.fields.get("source") for name in bedrock)

    def _switch(self, settings: Settings) -> None:
        self._daemon.world.metrics = self.metrics.exposition if settings.metrics.enabled else None

    def configure(self, settings: Settings) -> None:
        """Take a reloaded configuration."""
        names = [backend.name for backend in settings.backends]
        self.metrics.configure(settings.primary.name, _models(self._daemon.world.current.counsel.catalog), names)
        self._switch(settings)
        self.desk.reload(settings.alerts)
        journal, log = self._daemon.journal, settings.logging
        if journal is not None:
            journal.limits(level=events.Level.parse(log.level), max_bytes=log.max_bytes, backups=log.backups)

    def restore(self, summary: object) -> None:
        """Count events on from before the restart."""
        if isinstance(summary, Mapping):
            self.window.restore({name: count for name, count in summary.items() if _counts(name, count)})

    def watch(self) -> None:
        """Look whether something is worth an alert."""
        self.desk.tick(self._daemon.readings.take())

    async def close(self) -> None:
        """Hear no more; notices under way get a moment."""
        for leave in self._leave:
            leave()
        await asyncio.to_thread(self.desk.close)


def _counts(name: object, count: Any) -> bool:
    return name in events.NAMES and isinstance(count, int) and count >= 0


def _models(catalog: Catalog) -> list[str]:
    """Claude ids that get a label of their own, and the word for every model."""
    anywhere = Backend(BackendName("bedrock"), Kind.BEDROCK)
    return [ANY_MODEL, *(entry.claude_model for entry in catalog.entries(anywhere))]
