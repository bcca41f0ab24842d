"""The desk: looks at the conditions now and then, and hands what they say to every channel.

Rule: :meth:`Desk.tick` and the notes never wait. A channel that hangs or fails delays its own notices only: they
wait in its queue, are tried again with growing pauses, and at last given up, which is an event of its own. A notice
that is over before it could be delivered is still delivered, in order.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from claude_failover.alerts.channels import Channel, Command, Desktop, Failed, Webhook
from claude_failover.core.conditions import Change, Conditions, Notice
from claude_failover.core.gauges import Gauges
from claude_failover.core.settings import Alerts
from claude_failover.core.types import ExchangeRecord
from claude_failover.events import Event, Level, crash, emit

WAITING: Final = 100
"""Notices that wait for one channel."""
FIRST_PAUSE: Final = 1.0
PAUSE_GROWTH: Final = 4.0
LONGEST_PAUSE: Final = 300.0
"""Seconds between two tries of one notice: 1, 4, 16, 64, 256."""


def channels_of(settings: Alerts) -> tuple[Channel, ...]:
    """Build the channels that the configuration asks for."""
    found: list[Channel] = []
    if settings.desktop and (desktop := Desktop()).possible:
        found.append(desktop)
    if settings.command:
        found.append(Command(settings.command))
    if settings.webhook:
        found.append(Webhook(settings.webhook))
    return tuple(found)


class Desk:
    """Watches the conditions and tells the owner."""

    def __init__(
        self, settings: Alerts, channels: Iterable[Channel] | None = None, *, first_pause: float = FIRST_PAUSE
    ) -> None:
        self._conditions = Conditions(settings)
        self._first_pause = first_pause
        self._couriers = self._hire(channels_of(settings) if channels is None else channels)

    def reload(self, settings: Alerts, channels: Iterable[Channel] | None = None) -> None:
        """Take over changed settings; what is raised stays raised."""
        old = self._couriers
        self._conditions.settings = settings
        self._couriers = self._hire(channels_of(settings) if channels is None else channels)
        for courier in old:
            courier.dismiss()

    def concluded(self, record: ExchangeRecord) -> None:
        """Note a request."""
        self._conditions.concluded(record)

    def __call__(self, event: Event) -> None:
        """Take note of credentials and breakers: a sink of events."""
        match event.name:
            case "credential.failed":
                backend, detail = event.fields.get("backend", "a backend"), event.fields.get("detail", "")
                self._conditions.refreshed(f"{backend}: {detail}".rstrip(": "))
            case "credential.refreshed":
                self._conditions.refreshed(None)
            case "breaker.changed" if (event.fields.get("from"), event.fields.get("to")) == ("closed", "open"):
                self._conditions.tripped(event.at)
            case _:
                pass

    def tick(self, gauges: Gauges) -> list[Notice]:
        """Look, and hand over what is to be told. Call every few seconds."""
        notices = self._conditions.evaluate(gauges)
        for notice in notices:
            resolved = notice.change is Change.RESOLVED
            emit(
                "alert.resolved" if resolved else "alert.raised",
                level=None if resolved or notice.severity.value == "warning" else Level.ERROR,
                alert=notice.code,
                severity=notice.severity.value,
                change=notice.change.value,
                detail=notice.detail,
                since=notice.since,
            )
            for courier in self._couriers:
                courier.hand(notice)
        return notices

    def active(self) -> tuple[Notice, ...]:
        """What is raised now."""
        return self._conditions.active()

    def close(self, timeout: float = 2.0) -> None:
        """End every channel; what is under way gets *timeout* seconds."""
        for courier in self._couriers:
            courier.dismiss()
        for courier in self._couriers:
            courier.join(timeout)

    def _hire(self, channels: Iterable[Channel]) -> Sequence[_Courier]:
        return tuple(_Courier(channel, self._first_pause) for channel in channels)


class _Courier:
    """One channel's queue and thread; the thread is made with the first notice."""

    def __init__(self, channel: Channel, first_pause: float) -> None:
        self._channel = channel
        self._first_pause = first_pause
        self._queue: queue.Queue[Notice | None] = queue.Queue(WAITING)
        self._dismissed = threading.Event()
        self._thread: threading.Thread | None = None

    def hand(self, notice: Notice) -> None:
        """Have *notice* delivered; if too many wait already, it is lost and that is said."""
        try:
            self._queue.put_nowait(notice)
        except queue.Full:
            emit("alert.failed", channel=self._channel.name, alert=notice.code, detail="too many alerts wait")
            return
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=f"alerts-{self._channel.name}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # the system has no thread to give; the next notice asks again, and this one waits for it
            self._thread = thread

    def dismiss(self) -> None:
        """Deliver what waits, once, and end."""
        self._dismissed.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            # The thread looks at the flag after each delivery.
            return

    def join(self, timeout: float) -> None:
        """Wait for the end."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (notice := self._queue.get()) is not None:
            self._deliver(notice)
            if self._dismissed.is_set() and self._queue.empty():
                return

    def _deliver(self, notice: Notice) -> None:
        pause = self._first_pause
        for number in range(1, self._channel.tries + 1):
            try:
                self._channel.deliver(notice)
            except Failed as failure:
                if number == self._channel.tries or self._dismissed.is_set():
                    emit("alert.failed", channel=self._channel.name, alert=notice.code, detail=str(failure))
                    return
                self._dismissed.wait(pause)
                pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
            except Exception as error:  # noqa: BLE001 - it costs this notice, not all that come after it
                crash(f"alerts-{self._channel.name}", error)
                emit("alert.failed", channel=self._channel.name, alert=notice.code, detail=type(error).__name__)
                return
            else:
                return
