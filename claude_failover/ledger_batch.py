"""A batch: what goes into the ledger in one transaction, and waits in memory while that fails.

Rule: memory is bounded and money is not lost. Beyond the bound a row is given up, but what it adds to its
day's sum stays, and there are only as many sums as days, backends and models. A batch that was rolled
back is tried again whole; a row that is in the file already adds nothing a second time.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from claude_failover.ledger_rows import (
    ADD_TO_DAY,
    INSERT_ATTEMPT,
    INSERT_EXCHANGE,
    SUM_COLUMNS,
    DayKey,
    Hold,
    Value,
    add,
    day_of_attempt,
    day_of_exchange,
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

    attempts: list[dict[str, Value]] = field(default_factory=list)
    exchanges: list[dict[str, Value]] = field(default_factory=list)
    given_up: dict[DayKey, dict[str, int]] = field(default_factory=dict)
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

    def attempt(self, row: dict[str, Value], most: int) -> int:
        """Add an attempt; returns 1 if only its sum could be kept."""
        self._note(row)
        self.money = self.money or bool(row["paid"])
        if self.rows >= most:
            add(self.given_up, *day_of_attempt(row))
            return 1
        self.attempts.append(row)
        return 0

    def exchange(self, row: dict[str, Value], most: int) -> int:
        """Add an exchange; returns 1 if only its sum could be kept."""
        self._note(row)
        if self.rows >= most:
            add(self.given_up, *day_of_exchange(row))
            return 1
        self.exchanges.append(row)
        return 0

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

    def _note(self, row: dict[str, Value]) -> None:
        started = row["started_ms"]
        if isinstance(started, int):
            self.newest = max(self.newest, started / 1_000)


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction did."""

    rows: int = 0
    """New ones."""
    refused: int = 0
    """Rows that SQLite would not take."""


def write(db: sqlite3.Connection, batch: Batch) -> Written:
    """Write a batch in one transaction.

    Raises:
        sqlite3.Error: Nothing of it was written.
    """
    if batch.empty:
        return Written()
    rows = refused = 0
    sums: dict[DayKey, dict[str, int]] = {}
    statements = (
        (INSERT_ATTEMPT, batch.attempts, day_of_attempt),
        (INSERT_EXCHANGE, batch.exchanges, day_of_exchange),
    )
    with immediate(db):
        db.executemany(
            "INSERT OR REPLACE INTO holds (id, day, amount_nusd, session, held_ms) VALUES (?, ?, ?, ?, ?)",
            [(h.id, h.day, h.amount_nusd, h.session, h.held_ms) for h in batch.holds.values()],
        )
        for statement, waiting, day_of in statements:
            for row in waiting:
                try:
                    new = db.execute(statement, tuple(row.values())).rowcount > 0
                except REFUSED:
                    if not db.in_transaction:
                        raise
                    refused += 1
                    add(sums, *day_of(row))
                    continue
                if new:
                    rows += 1
                    add(sums, *day_of(row))
        for key, added in batch.given_up.items():
            add(sums, key, added)
        db.executemany(ADD_TO_DAY, [(*key, *(added[column] for column in SUM_COLUMNS)) for key, added in sums.items()])
        db.executemany("DELETE FROM holds WHERE id = ?", [(hold,) for hold in batch.ended])
    return Written(rows, refused)
