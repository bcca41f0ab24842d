"""The journal: events on disk as JSON lines, the audit beside them, written by a thread of its own.

Rule: the hot path puts an event into a bounded queue and goes on. Serialising, redacting and writing happen in the
journal's thread; a queue that is full, or a disk that is, loses events, and how many is said as soon as it can be.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from claude_failover.events.event import Event, render_text
from claude_failover.events.live_secrets import LiveSecrets
from claude_failover.events.names import AUDITED, Level
from claude_failover.events.rotating import RotatingFile

QUEUE: Final = 10_000
"""Events that wait to be written; some 5 MB at the most."""
BATCH: Final = 256
"""Events written at once."""
LINGER: Final = 0.1
"""Seconds that an event may wait for others to be written with; an error does not wait."""
AUDIT_BACKUPS: Final = 10


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the log can be written."""

    path: Path
    error: str | None
    dropped: int
    """Events lost since the start."""
    queued: int


class Journal:
    """Writes events to ``path``, the audited ones also to ``audit_path``, and to a stream if there is one.

    A :data:`~claude_failover.events.hub.Sink`. Call :meth:`start` after the daemon has forked for the last time, and
    :meth:`close` at its end.
    """

    def __init__(
        self,
        path: Path | None,
        audit_path: Path | None,
        *,
        secrets: LiveSecrets,
        level: Level = Level.INFO,
        max_bytes: int = 10_000_000,
        backups: int = 5,
        queue_size: int = QUEUE,
    ) -> None:
        self._file = RotatingFile(path, max_bytes=max_bytes, backups=backups) if path else None
        self._audit = (
            RotatingFile(audit_path, max_bytes=max_bytes, backups=AUDIT_BACKUPS, sync=True) if audit_path else None
        )
        self._path = path or Path()
        self._secrets = secrets
        self._queue: deque[tuple[Event, bool] | threading.Event | None] = deque()
        self._size = queue_size
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._stream: tuple[TextIO, Callable[[Event], str]] | None = None
        self._unsaid = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self.level = level
        """Quieter events are not written; may be changed at any time."""

    def __call__(self, event: Event) -> None:
        """Take note of *event*; loses it if the writer is too far behind."""
        loud = event.level >= self.level
        if not loud and event.name not in AUDITED:
            return
        if len(self._queue) >= self._size:
            self._lose(1)
            return
        self._queue.append((event, loud))
        self._ring(hurry=event.level >= Level.ERROR)

    def also_to(self, stream: TextIO, *, colour: bool = False, journald: bool = False, json: bool = False) -> None:
        """Write to *stream* too, for the foreground: lines for people, for journald, or JSON."""

        def render(event: Event) -> str:
            return event.line().decode() if json else render_text(event, colour=colour, journald=journald) + "\n"

        self._stream = (stream, render)

    def limits(self, *, level: Level, max_bytes: int, backups: int) -> None:
        """Take over changed settings without a restart."""
        self.level = level
        for file in (self._file, self._audit):
            if file is not None:
                file.max_bytes = max_bytes
        if self._file is not None:
            self._file.backups = backups

    def start(self) -> None:
        """Begin to write."""
        # Not in __init__: a thread does not survive the fork into the background.
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything emitted so far is written or lost; False if that takes longer than *timeout*."""
        done = threading.Event()
        self._queue.append(done)
        self._ring(hurry=True)
        return done.wait(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, and end."""
        if self._thread is None:
            return
        self._queue.append(None)
        self._ring(hurry=True)
        self._thread.join(timeout)
        self._thread = None

    def health(self) -> Health:
        """Say whether it can write, and what was lost."""
        error = self._file.error if self._file else None
        return Health(
            self._path, error or (self._audit.error if self._audit else None), self._dropped, len(self._queue)
        )

    def _ring(self, *, hurry: bool) -> None:
        """Wake the writer. Waking a thread costs ten times what noting an event does, so once per batch."""
        if hurry and not self._hurry.is_set():
            self._hurry.set()
        if not self._wake.is_set():
            self._wake.set()

    def _run(self) -> None:
        """Write batches until told to end."""
        ended = False
        while not ended:
            self._wake.wait()
            self._hurry.wait(LINGER)
            # Cleared before the queue is emptied: what comes after this rings again.
            self._hurry.clear()
            self._wake.clear()
            due = len(self._queue)
            while due > 0 and not ended:
                ended = self._drain()
                due -= BATCH
            if self._queue:
                # What came meanwhile waits for company again: under load every line would be a batch of its own.
                self._wake.set()
        for file in (self._file, self._audit):
            if file is not None:
                file.close()

    def _drain(self) -> bool:
        """Write one batch; true if it was the last."""
        batch: list[tuple[Event, bool]] = []
        waiting: list[threading.Event] = []
        ended = False
        while self._queue and len(batch) < BATCH and not ended:
            match self._queue.popleft():
                case None:
                    ended = True
                case (Event(), _) as noted:
                    batch.append(noted)
                case threading.Event() as one:
                    waiting.append(one)
        try:
            self._write(batch)
        except Exception:  # noqa: BLE001 - a bug must cost these lines, not the log for as long as the daemon runs
            self._lose(len(batch))
        for one in waiting:
            one.set()
        return ended

    def _write(self, batch: list[tuple[Event, bool]]) -> None:
        with self._lock:
            unsaid, self._unsaid = self._unsaid, 0
        if not batch:
            self._lose(0, said=unsaid)
            return
        loud = [event for event, is_loud in batch if is_loud]
        if unsaid:
            loud.append(Event(0, batch[-1][0].at, "log.dropped", Level.WARNING, {"count": unsaid}))
        if self._file is not None and loud:
            lost = self._file.write(self._lines(loud))
            # A notice that could not be written is said again, with the events that it could not be written with.
            self._lose(max(0, lost - (1 if unsaid else 0)), said=unsaid if lost else 0)
        audited = [event for event, _ in batch if event.name in AUDITED]
        if self._audit is not None and audited:
            self._lose(self._audit.write(self._lines(audited)))
        if self._stream is not None:
            stream, render = self._stream
            try:
                stream.write("".join(self._secrets.mask(render(event)) for event in loud))
                stream.flush()
            except (OSError, ValueError):
                # The terminal is gone; the file goes on.
                self._stream = None

    def _lines(self, events: list[Event]) -> list[bytes]:
        """Their lines, masked. All are looked at together, for hardly ever is there anything to mask."""
        lines = [event.line() for event in events]
        together = b"".join(lines).decode()
        if self._secrets.mask(together) is together:
            return lines
        return [self._secrets.mask(line.decode()).encode() for line in lines]

    def _lose(self, count: int, *, said: int = 0) -> None:
        if count or said:
            with self._lock:
                self._unsaid += count + said
                self._dropped += count
