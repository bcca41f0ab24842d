"""How much the ledger keeps: rows for a time, sums for ever, the file below a size.

Rule: rows go in chunks, oldest first, so that no transaction holds the writer up (50,000 rows took 42 ms
where it was measured); their days' sums stay.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from claude_failover.core.types import Epoch

CHUNK: Final = 5_000
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is kept."""

    days: int = 400
    """Of attempts and requests: a year and a month, to compare with the same month last year."""
    max_bytes: int = 256 * 1024 * 1024
    """Of the file: 500 requests a day are some 20 MB a year; a loop gone wild is not."""


def prune(db: sqlite3.Connection, now: Epoch, bounds: Bounds) -> int:
    """Delete what is too old, then the oldest until the file is small enough; returns the number of rows deleted."""
    oldest = int(now * 1_000) - bounds.days * DAY_MS
    deleted = 0
    for table in ("attempts", "exchanges"):
        while True:
            gone = _delete(db, table, "WHERE started_ms < ?", (oldest,))
            deleted += gone
            if gone < CHUNK:
                break
    while _used(db) > bounds.max_bytes:
        gone = sum(_delete(db, table, "", ()) for table in ("attempts", "exchanges"))
        deleted += gone
        if not gone:
            break
    if deleted:
        # Each step frees one page, and execute() takes a single step of a statement without columns.
        db.executescript("PRAGMA incremental_vacuum")
    return deleted


def _delete(db: sqlite3.Connection, table: str, where: str, values: tuple[int, ...]) -> int:
    chunk = f"SELECT rowid FROM {table} {where} ORDER BY started_ms LIMIT {CHUNK}"  # noqa: S608 - constant names
    return db.execute(f"DELETE FROM {table} WHERE rowid IN ({chunk})", values).rowcount  # noqa: S608 - as above


def _used(db: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)
