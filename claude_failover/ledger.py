"""The ledger: one row per attempt in SQLite, and what must survive a crash.

Rules:

- **Nobody waits for it.** :meth:`Ledger.record` puts the record into a queue in memory and returns. One
  thread with the only connection writes batches: after 250 ms, at 400 rows, or at once for money that
  is reserved. ``kill -9`` loses at most the batch that was not yet written; a power cut at most the
  batches since the last sync of the journal (WAL, ``synchronous=NORMAL``).
- **Nothing is lost silently.** When the disk is full or the file cannot be written, requests go on, the
  rows wait in memory and are written when it works again. Beyond :data:`QUEUE_MAX` rows the single rows
  are given up, counted and announced; what they cost is still added to the day's sum.
- **Money under way survives a crash.** A reservation is written down before its attempt can cost much
  (:meth:`Ledger.held`, the budget's journal). What is still open at the next start was cut off by a
  crash and is booked as an estimate: all that was reserved, so that the day's limit holds then too.
  It is taken out again only *after* the attempt's own row is safely in the file.
- A damaged file is set aside, a new one begun, the day's sums carried over; a newer version's file is
  left alone (:mod:`~claude_failover.ledger_schema`).

Questions are asked through the same thread (:meth:`Ledger.ask`), so they see everything recorded before.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from claude_failover import ledger_schema as schema
from claude_failover.core.prices import PriceTable
from claude_failover.core.spend import Reservation
from claude_failover.core.types import AttemptRecord, BackendName, Epoch, ExchangeRecord
from claude_failover.errors import LedgerError
from claude_failover.ledger_batch import Batch
from claude_failover.ledger_days import Zone
from claude_failover.ledger_prune import Bounds
from claude_failover.ledger_query import Reader
from claude_failover.ledger_rows import Conversations, DayKey, Hold, Rows, Sums, clean, keep
from claude_failover.ledger_store import Announce, Store

FLUSH_AFTER: Final = 0.25
"""Seconds that a row may wait for others to be written with it."""

FLUSH_ROWS: Final = 400
"""Rows that do not wait any longer; a transaction costs as much as many of them."""

_WORTH_A_CALL: Final = frozenset({0, FLUSH_ROWS - 1})
"""Rows that waited already when the writer is to hear of another: it is the first, or enough for a transaction."""

QUEUE_MAX: Final = 10_000
"""Rows kept in memory while the disk refuses: about 10 MB."""

RETRY_FIRST: Final = 0.5
RETRY_MAX: Final = 15.0
"""Seconds between two tries to write while it fails; doubling."""

CLOSE_PATIENCE: Final = 5.0

MOST_HELD: Final = 1_000_000 * 1_000_000_000
"""Nano-dollars of one reservation that are written down: a client may ask for more tokens than SQLite has numbers."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """What ``status`` and the metrics say about the ledger."""

    path: str
    failing: bool
    """Rows wait in memory because the file cannot be written."""
    error: str
    """Why, in SQLite's words."""
    queued: int
    written: int
    """Rows since the start."""
    write_failures: int
    dropped: int
    """Rows given up since the start; their money is in the sums."""
    set_aside: str
    """Where a damaged file went at this start, or since."""
    file_bytes: int


class Ledger:
    """See the module's rules. Build it with :meth:`open`; the methods may be called from any thread."""

    def __init__(self, path: Path, rows: Rows, announce: Announce, bounds: Bounds, now: Epoch) -> None:
        self._path = path
        self._rows = rows
        self._announce = announce
        self._store = Store(path, announce, bounds, now, f"{rows.zone.at(now):%Y%m%d-%H%M%S}")
        self._queue: deque[AttemptRecord | ExchangeRecord | Hold | str] = deque()
        self._overflow: dict[DayKey, Sums] = {}
        self._questions: deque[tuple[Callable[[Reader], Any], Future[Any]]] = deque()
        self._lock = threading.RLock()
        """The condition's; entered by itself where nobody waits, because the condition's own way in is Python."""
        self._condition = threading.Condition(self._lock)
        self._urgent = False
        self._closing = False
        self._batch = Batch()
        self._failing = False
        self._error = ""
        self._written = 0
        self._failures = 0
        self._dropped = 0
        self._announced_drop = False
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        zone: Zone,
        primary: BackendName,
        now: Epoch,
        prices: PriceTable | None = None,
        announce: Announce = lambda name, facts: None,  # noqa: ARG005 - the default tells nobody
        bounds: Bounds | None = None,
    ) -> Ledger:
        """Open or create the file, settle what a crash left open, start the writer.

        Args:
            path: Of the database; its directory exists and is private.
            zone: In which a day begins.
            primary: The first backend; an attempt elsewhere that nobody asked for is a failover.
            now: Names a damaged file that is set aside, and this run.
            prices: For the cost of cold caches; without it that column stays 0.
            announce: Told of failures and recoveries.
            bounds: How much is kept.

        Raises:
            LedgerError: A newer version wrote the file. (A full disk or missing rights raise nothing: the rows
                wait in memory, it is announced, and tried again.)
        """
        ledger = cls(path, Rows(zone, primary, prices, Conversations()), announce, bounds or Bounds(), now)
        try:
            ledger._store.connect(ledger._rows)
        except (sqlite3.Error, OSError) as error:
            ledger._failed(error)
        ledger._thread.start()
        return ledger

    # --- what is recorded ---------------------------------------------------------------------

    def record(self, record: AttemptRecord) -> None:
        """Write one attempt down; exactly one per opened attempt."""
        self._put(record)

    def record_exchange(self, record: ExchangeRecord) -> None:
        """Write one request down: who answered it, whether it was rescued, its timeline."""
        self._put(record)

    def held(self, reservation: Reservation, now: Epoch) -> None:
        """Write a reservation down at once (the budget's journal)."""
        if reservation.amount_nusd:
            self._put(
                Hold(
                    f"{self._store.run}:{reservation.id}",
                    reservation.day,
                    min(reservation.amount_nusd, MOST_HELD),
                    None if reservation.session is None else clean(reservation.session),
                    int(now * 1_000),
                ),
                urgent=True,
            )

    def settled(self, reservation: Reservation) -> None:
        """The reservation is over; its attempt's row carries the cost (the budget's journal)."""
        if reservation.amount_nusd:
            self._put(f"{self._store.run}:{reservation.id}")

    # --- what can be asked ----------------------------------------------------------------------

    def ask(self, question: Callable[[Reader], Answer]) -> Future[Answer]:
        """Ask in the writer's thread, after everything recorded so far has been written.

        >>> ledger.ask(lambda reader: reader.spent("2026-11-22")).result(5)  # doctest: +SKIP
        0
        """
        future: Future[Answer] = Future()
        with self._condition:
            if self._closing:
                raise LedgerError("the ledger is closed")
            self._questions.append((question, future))
            self._condition.notify()
        return future

    def spent(self, day: str, patience: float = 5.0, *, besides: Collection[str] = ()) -> int:
        """Real money of a day in nano-dollars: where a restarted daemon goes on. Blocks; for the start only.

        If the file cannot be read now, the sum comes from its little mirror.
        """
        try:
            return self.ask(lambda reader: reader.spent(day, besides)).result(patience)
        except (LedgerError, TimeoutError):
            return schema.read_mirror(self._path).get(day, 0)

    def status(self) -> LedgerStatus:
        """How it is doing."""
        with contextlib.suppress(OSError):
            size = self._path.stat().st_size
            return self._status(size)
        return self._status(0)

    def configure(self, *, zone: Zone, primary: BackendName, prices: PriceTable | None) -> None:
        """Take a reloaded configuration: counts for rows written from now on."""
        with self._condition:
            self._rows = Rows(zone, primary, prices, self._rows.conversations)

    def close(self, patience: float = CLOSE_PATIENCE) -> int:
        """Write what is left and close; returns how many rows could not be written."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(patience)
        lost = self._batch.rows + len(self._queue)
        if lost:
            self._announce("ledger.closed_with_loss", {"rows": lost, "error": self._error})
        return lost

    # --- the writer's thread --------------------------------------------------------------------

    def _put(self, item: AttemptRecord | ExchangeRecord | Hold | str, *, urgent: bool = False) -> None:
        with self._lock:
            waiting = len(self._queue)
            if waiting >= QUEUE_MAX and isinstance(item, AttemptRecord | ExchangeRecord):
                # The writer hangs in the disk. Keep the sum, give the row up.
                with contextlib.suppress(ValueError, OverflowError):
                    self._keep_sum(item)
                self._dropped += 1
                return
            self._queue.append(item)
            self._urgent = self._urgent or urgent
            if urgent or waiting in _WORTH_A_CALL:
                self._condition.notify()

    def _keep_sum(self, item: AttemptRecord | ExchangeRecord) -> None:
        row = self._rows.attempt(item) if isinstance(item, AttemptRecord) else self._rows.exchange(item)
        keep(self._overflow, row.day, row.added)

    def _work(self) -> None:
        pause = 0.0
        while True:
            self._wait(pause)
            closing, questions = self._take()
            try:
                self._write()
                if closing and self._batch.waits:
                    # Reservations that have ended must not look left open at the next start.
                    self._write()
            except Exception as error:  # noqa: BLE001 - whatever it is, without this thread nothing more is written
                self._failed(error)
                pause = min(RETRY_MAX, max(RETRY_FIRST, pause * 2))
            else:
                pause = 0.0
            self._answer(questions)
            if closing and not self._queue:
                self._finish()
                return

    def _wait(self, pause: float) -> None:
        """Until there is something to write, and then until it is worth a transaction."""
        with self._condition:
            if pause:
                self._condition.wait_for(lambda: self._closing or bool(self._questions), pause)
                return
            after = FLUSH_AFTER if self._batch.waits else None
            self._condition.wait_for(lambda: bool(self._queue) or self._closing or bool(self._questions), after)
            self._condition.wait_for(
                lambda: self._urgent or len(self._queue) >= FLUSH_ROWS or self._closing or bool(self._questions),
                FLUSH_AFTER if self._queue else 0,
            )

    def _take(self) -> tuple[bool, list[tuple[Callable[[Reader], Any], Future[Any]]]]:
        """Move what is queued into the batch; rows are made here and not on the caller's time."""
        with self._condition:
            items, self._queue = self._queue, deque()
            overflow, self._overflow = self._overflow, {}
            questions = list(self._questions)
            self._questions.clear()
            self._urgent = False
            rows, closing = self._rows, self._closing
        for day, added in overflow.items():
            keep(self._batch.given_up, day, added)
            self._batch.money = True
        for item in items:
            try:
                self._into_batch(item, rows)
            except Exception as error:  # noqa: BLE001 - one odd record must not end the writer; it is counted and told
                self._drop(1, f"{type(error).__name__} in a record")
        if overflow:
            self._drop(0, self._error)
        return closing, questions

    def _into_batch(self, item: AttemptRecord | ExchangeRecord | Hold | str, rows: Rows) -> None:
        given_up = 0
        match item:
            case AttemptRecord():
                given_up = self._batch.attempt(rows.attempt(item), QUEUE_MAX)
            case ExchangeRecord():
                given_up = self._batch.exchange(rows.exchange(item), QUEUE_MAX)
            case Hold():
                self._batch.hold(item)
            case str():
                self._batch.release(item)
        if given_up:
            self._drop(1, self._error)

    def _drop(self, rows: int, why: str) -> None:
        """Count rows that were given up; say so once until it works again."""
        self._dropped += rows
        if not self._announced_drop:
            self._announced_drop = True
            self._announce("ledger.overflowed", {"rows": self._dropped, "error": why})

    def _write(self) -> None:
        """One transaction, and what follows from its success."""
        refused, rows = self._store.write(self._batch, self._rows)
        self._batch = self._batch.after()
        self._written += rows
        if refused:
            self._drop(refused, "a row that SQLite refused")
        if self._failing:
            self._failing, self._error, self._announced_drop = False, "", False
            self._announce("ledger.recovered", {"rows": rows, "dropped": self._dropped})

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._error = str(error)
        self._store.failed(error)
        if not self._failing:
            self._failing = True
            self._announce("ledger.write_failed", {"error": self._error, "path": str(self._path)})

    def _answer(self, questions: list[tuple[Callable[[Reader], Any], Future[Any]]]) -> None:
        for question, future in questions:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(question(self._store.reader()))
            except sqlite3.Error as error:
                future.set_exception(LedgerError(f"{self._path}: {error}"))
            except Exception as error:  # noqa: BLE001 - it is the asker's error, and is raised where it is awaited
                future.set_exception(error)

    def _finish(self) -> None:
        self._store.close()
        with self._condition:
            questions, self._questions = self._questions, deque()
        for _, future in questions:
            future.set_exception(LedgerError("the ledger is closed"))

    def _status(self, size: int) -> LedgerStatus:
        return LedgerStatus(
            path=str(self._path),
            failing=self._failing,
            error=self._error,
            queued=len(self._queue) + self._batch.rows,
            written=self._written,
            write_failures=self._failures,
            dropped=self._dropped,
            set_aside=self._store.set_aside,
            file_bytes=size,
        )
