"""The store: the ledger's one connection, and what is done with it.

Rule: the connection is opened when it is needed and given up when the file turns out damaged, so that "try
again" is always the same two steps: connect, write. Only the writer's thread uses it once it has started.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from claude_failover import ledger_schema as schema
from claude_failover.core.types import Epoch
from claude_failover.errors import LedgerError
from claude_failover.ledger_batch import Batch, write
from claude_failover.ledger_prune import Bounds, prune
from claude_failover.ledger_query import Reader
from claude_failover.ledger_rows import Hold, Rows

PRUNE_EVERY: Final = 86_400.0
"""Seconds."""

Announce = Callable[[str, Mapping[str, str | int]], None]
"""Called, mostly from the writer's thread, with ``ledger.write_failed``, ``ledger.recovered``,
``ledger.overflowed``, ``ledger.replaced``, ``ledger.settled_open``, ``ledger.closed_with_loss`` and their facts."""


class Store:
    """The file of a ledger, open or waiting to be opened."""

    def __init__(self, path: Path, announce: Announce, bounds: Bounds, now: Epoch, stamp: str) -> None:
        self.run = f"{int(now * 1_000):x}"
        """Names this run of the daemon: its reservations are not left open, they are under way."""
        self.set_aside = ""
        """Where a damaged file went."""
        self._path = path
        self._announce = announce
        self._bounds = bounds
        self._stamp = stamp
        self._db: sqlite3.Connection | None = None
        self._prune_next = now

    def connect(self, rows: Rows) -> sqlite3.Connection:
        """Open the file if it is not open; what a crash left there is booked first.

        Raises:
            LedgerError: A newer version wrote the file.
            sqlite3.Error: It cannot be opened or written now.
        """
        if self._db is None:
            opened = schema.open_for_writing(self._path, self._stamp)
            if opened.set_aside is not None:
                self.set_aside = str(opened.set_aside)
                self._announce("ledger.replaced", {"path": self.set_aside, "why": opened.why})
            try:
                self._settle_left_open(opened.connection, rows)
            except BaseException:
                opened.connection.close()
                raise
            self._db = opened.connection
        return self._db

    def write(self, batch: Batch, rows: Rows) -> tuple[int, int]:
        """Write a batch; returns how many rows SQLite refused, and how many were new.

        Raises:
            sqlite3.Error: Nothing of it was written.
        """
        db = self.connect(rows)
        done = write(db, batch)
        if batch.money:
            self._mirror(db)
        if batch.newest >= self._prune_next:
            self._prune_next = Epoch(batch.newest + PRUNE_EVERY)
            with contextlib.suppress(sqlite3.Error):
                # What could not be deleted today is tomorrow's; the batch itself is safe.
                prune(db, Epoch(batch.newest), self._bounds)
        return done.refused, done.rows

    def failed(self, error: Exception) -> None:
        """If the file broke under us, let go of it: the next :meth:`connect` sets it aside and begins a new one."""
        if self._db is not None and schema.is_damage(error):
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def reader(self) -> Reader:
        """Ask the file.

        Raises:
            LedgerError: It is not open.
        """
        if self._db is None:
            raise LedgerError(f"{self._path}: cannot be read now")
        return Reader(self._db)

    def close(self) -> None:
        """Bring the journal into the file and close it."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()
            self._db = None

    # --- inside -----------------------------------------------------------------------------

    def _settle_left_open(self, db: sqlite3.Connection, rows: Rows) -> None:
        """Book what was under way when the last daemon died."""
        mine = f"{self.run}:"
        found = db.execute("SELECT id, day, amount_nusd, session, held_ms FROM holds")
        holds = [hold for hold in (Hold(*row) for row in found) if not hold.id.startswith(mine)]
        if not holds:
            return
        batch = Batch()
        for hold in holds:
            batch.attempt(rows.left_open(hold), len(holds))
            batch.release_now(hold.id)
        write(db, batch)
        self._mirror(db)
        booked = sum(hold.amount_nusd for hold in holds)
        self._announce("ledger.settled_open", {"attempts": len(holds), "nusd": booked})

    def _mirror(self, db: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            sums = db.execute("SELECT day, sum(spent_nusd) FROM days GROUP BY day ORDER BY day DESC LIMIT 3")
            schema.write_mirror(self._path, {str(day): int(total) for day, total in sums})
