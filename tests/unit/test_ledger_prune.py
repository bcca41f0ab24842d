"""What the ledger forgets, and what it never does."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from claude_failover.core.types import Epoch
from claude_failover.ledger_batch import Batch, write
from claude_failover.ledger_prune import Bounds, prune
from claude_failover.ledger_query import Reader
from claude_failover.ledger_rows import Conversations, Rows
from claude_failover.ledger_schema import open_for_writing
from tests.ledger_records import AT_BEDROCK, CLAUDE, NOON, SERVED, UTC

DAY_S = 86_400.0


def ledger(path: Path, days: int) -> sqlite3.Connection:
    """One attempt and one request a day, the newest now."""
    connection = open_for_writing(path, "x").connection
    rows, batch = Rows(UTC, CLAUDE, None, Conversations()), Batch()
    for ago in range(days):
        when = Epoch(NOON - ago * DAY_S)
        batch.attempt(rows.attempt(replace(AT_BEDROCK, exchange=f"cfr_{ago}", started=when)), 100_000)
        batch.exchange(rows.exchange(replace(SERVED, exchange=f"cfr_{ago}", started=when)), 100_000)
    write(connection, batch)
    return connection


def count(db: sqlite3.Connection, table: str = "attempts") -> int:
    return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_rows_go_after_their_time_and_sums_stay(tmp_path: Path) -> None:
    db = ledger(tmp_path / "l.db", 10)
    assert prune(db, NOON, Bounds(days=7)) == 4, "two days, of both tables; the row that is exactly 7 days old stays"
    assert (count(db), count(db, "exchanges")) == (8, 8)
    assert Reader(db).spent("2026-11-13") == 264_040_000
    assert len(Reader(db).spent_by_day("2000-01-01")) == 10
    db.close()


def test_deleting_goes_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_failover.ledger_prune.CHUNK", 2)
    db = ledger(tmp_path / "l.db", 9)
    assert prune(db, Epoch(NOON + DAY_S), Bounds(days=1)) == 16
    assert count(db) == 1
    db.close()


def test_a_file_that_has_grown_too_large_loses_its_oldest_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_failover.ledger_prune.CHUNK", 50)
    path = tmp_path / "l.db"
    db = ledger(path, 400)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size
    assert prune(db, NOON, Bounds(max_bytes=before // 2)) >= 100
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size <= before // 2, "the space is given back"
    assert db.execute("SELECT min(started_ms) < max(started_ms) FROM attempts").fetchone() == (1,)
    assert db.execute("SELECT max(started_ms) FROM attempts").fetchone() == (int(NOON * 1_000),)
    db.close()


def test_sums_alone_are_never_deleted_however_small_the_bound(tmp_path: Path) -> None:
    db = ledger(tmp_path / "l.db", 3)
    prune(db, NOON, Bounds(max_bytes=1))
    assert count(db) == 0
    assert len(Reader(db).spent_by_day("2000-01-01")) == 3
    db.close()


def test_with_nothing_to_delete_nothing_is_done(tmp_path: Path) -> None:
    db = ledger(tmp_path / "l.db", 3)
    assert prune(db, NOON, Bounds()) == 0
    db.close()
