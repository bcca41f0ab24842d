"""A batch: what goes into the ledger in one transaction, and waits in memory while that fails.

Rule: memory is bounded and money is not lost. Beyond the bound a row is given up, but what it adds to its
day's sum stays, and there are only as many sums as days, backends and models. A batch that was rolled
back is tried again whole; a row that is in the file already adds nothing a second time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from claude_failover.ledger_rows import (
    ADD_TO_DAY,
    AT_ONCE,
    INSERT_ATTEMPT,
    INSERT_EXCHANGE,
    DayKey,
    Hold,
    Insert,
    Row,
    Sums,
    keep,
)
from claude_failover.ledger_schema import immediate

REFUSED: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)
"""What one odd row raises. It must not keep the others from being written: it is given up, its sum kept."""


@dataclass(slots=True)
class Batch:
    """Rows, sums of rows given up, reservations that began and ended."""

    attempts: list[Row] = field(default_factory=list)
    exchanges: list[Row] = field(default_factory=list)
    given_up: dict[DayKey, Sums] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    """Reservations to be taken out with this batch."""
    ended_next: list[str] = field(default_factory=list)
    """Reservations to be taken out with the next one: the row that carries their cost may be in either."""
    newest: float = 0.0
    """Epoch seconds of the newest row."""
    money: bool = False
    """Whether real money is in it."""

    @property
    def rows(self) -> int:
        """How many rows wait."""
        return len(self.attempts) + len(self.exchanges)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.attempts or self.exchanges or self.given_up or self.holds or self.ended)

    @property
    def waits(self) -> bool:
        """Whether something is to be written even if nothing new comes."""
        return not self.empty or bool(self.ended_next)

    def attempt(self, row: Row, most: int) -> int:
        """Add an attempt; returns 1 if only its sum could be kept."""
        return self._add(self.attempts, row, most)

    def exchange(self, row: Row, most: int) -> int:
        """Add an exchange; returns 1 if only its sum could be kept."""
        return self._add(self.exchanges, row, most)

    def hold(self, hold: Hold) -> None:
        """A reservation began."""
        self.holds[hold.id] = hold

    def release(self, hold: str) -> None:
        """A reservation ended; its row comes with this batch or the next."""
        self.ended_next.append(hold)

    def release_now(self, hold: str) -> None:
        """A reservation ended and its row is in this batch."""
        self.ended.append(hold)

    def after(self) -> Batch:
        """What to begin with once this one is in the file."""
        return Batch(ended=self.ended_next)

    def _add(self, waiting: list[Row], row: Row, most: int) -> int:
        self.newest = max(self.newest, row.started)
        self.money = self.money or row.paid
        if len(self.attempts) + len(self.exchanges) >= most:
            keep(self.given_up, row.day, row.added)
            return 1
        waiting.append(row)
        return 0


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction did."""

    rows: int = 0
    """New ones."""
    refused: int = 0
    """Rows that SQLite would not take."""


class _SeenBeforeError(Exception):
    """Not all rows were new."""


def write(db: sqlite3.Connection, batch: Batch) -> Written:
    """Write a batch in one transaction.

    Raises:
        sqlite3.Error: Nothing of it was written.
    """
    if batch.empty:
        return Written()
    try:
        return _write(db, batch, _together)
    except (*REFUSED, _SeenBeforeError):
        # Nearly never: only now it is worth to look at each row alone.
        return _write(db, batch, _one_by_one)


_Way = Callable[[sqlite3.Connection, Insert, list[Row], dict[DayKey, Sums]], Written]


def _write(db: sqlite3.Connection, batch: Batch, insert: _Way) -> Written:
    sums = dict(batch.given_up)
    with immediate(db):
        db.executemany(
            "INSERT OR REPLACE INTO holds (id, day, amount_nusd, session, held_ms) VALUES (?, ?, ?, ?, ?)",
            [(h.id, h.day, h.amount_nusd, h.session, h.held_ms) for h in batch.holds.values()],
        )
        attempts = insert(db, INSERT_ATTEMPT, batch.attempts, sums)
        exchanges = insert(db, INSERT_EXCHANGE, batch.exchanges, sums)
        db.executemany(ADD_TO_DAY, [(*day, *added) for day, added in sums.items()])
        db.executemany("DELETE FROM holds WHERE id = ?", [(hold,) for hold in batch.ended])
    return Written(attempts.rows + exchanges.rows, attempts.refused + exchanges.refused)


def _together(db: sqlite3.Connection, insert: Insert, rows: list[Row], sums: dict[DayKey, Sums]) -> Written:
    """Insert rows that are all new, as quickly as it goes."""
    values = [row.values for row in rows]
    left = len(values) % AT_ONCE
    new = db.executemany(insert.one, values[:left]).rowcount
    for at in range(left, len(values), AT_ONCE):
        new += db.execute(insert.many, tuple(chain.from_iterable(values[at : at + AT_ONCE]))).rowcount
    if new != len(rows):
        raise _SeenBeforeError
    of_days: dict[DayKey, list[Sums]] = {}
    for row in rows:
        of_days.setdefault(row.day, []).append(row.added)
    for day, every in of_days.items():
        keep(sums, day, tuple(map(sum, zip(*every, strict=True))))
    return Written(new)


def _one_by_one(db: sqlite3.Connection, insert: Insert, rows: list[Row], sums: dict[DayKey, Sums]) -> Written:
    """Insert what is new and what SQLite takes."""
    written = refused = 0
    for row in rows:
        try:
            if db.execute(insert.one, row.values).rowcount <= 0:
                continue
            written += 1
        except REFUSED:
            if not db.in_transaction:
                raise
            refused += 1
        keep(sums, row.day, row.added)
    return Written(written, refused)
