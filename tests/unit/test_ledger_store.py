"""The connection: opened when needed, let go when the file is damaged, holds settled."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from claude_failover.core.types import Epoch
from claude_failover.errors import LedgerError
from claude_failover.ledger_batch import Batch
from claude_failover.ledger_prune import Bounds
from claude_failover.ledger_rows import Conversations, Hold, Rows
from claude_failover.ledger_schema import read_mirror
from claude_failover.ledger_store import PRUNE_EVERY, Store
from tests.ledger_records import AT_BEDROCK, AT_CLAUDE, CLAUDE, DAY, NOON, PRICES, UTC, Told

ROWS = Rows(UTC, CLAUDE, PRICES, Conversations())


def store(path: Path, told: Told | None = None, now: float = NOON, bounds: Bounds | None = None) -> Store:
    return Store(path, told or Told(), bounds or Bounds(), Epoch(now), "stamp")


def money() -> Batch:
    batch = Batch()
    batch.attempt(ROWS.attempt(AT_BEDROCK), 10)
    return batch


def test_it_opens_with_the_first_write(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    ledger = store(path)
    with pytest.raises(LedgerError, match="cannot be read now"):
        ledger.reader()
    assert ledger.write(money(), ROWS) == (0, 1)
    assert ledger.reader().spent(DAY) == 264_040_000
    ledger.close()
    assert not (tmp_path / "l.db-wal").exists(), "the journal is in the file"
    ledger.close()


def test_real_money_is_mirrored_and_notional_value_is_not(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    ledger = store(path)
    batch = Batch()
    batch.attempt(ROWS.attempt(AT_CLAUDE), 10)
    ledger.write(batch, ROWS)
    assert read_mirror(path) == {}
    ledger.write(money(), ROWS)
    assert read_mirror(path) == {DAY: 264_040_000}
    ledger.close()


def test_what_a_crash_left_open_is_booked_once(tmp_path: Path) -> None:
    path, told = tmp_path / "l.db", Told()
    before = store(path)
    batch = Batch()
    batch.hold(Hold(f"{before.run}:1", DAY, 3_000_000, "s1", int(NOON * 1_000)))
    batch.hold(Hold(f"{before.run}:2", DAY, 4_000_000, None, int(NOON * 1_000)))
    before.write(batch, ROWS)
    for later in (60, 120):
        after = store(path, told, now=NOON + later)
        after.connect(ROWS)
        assert after.reader().spent(DAY) == 7_000_000
        assert after.reader().spent_in_session("s1") == 3_000_000
        after.close()
    assert told.names == ["ledger.settled_open"]
    assert told.facts == [{"attempts": 2, "nusd": 7_000_000}]
    assert read_mirror(path) == {DAY: 7_000_000}
    before.close()


def test_its_own_reservations_are_not_left_open(tmp_path: Path) -> None:
    """The same run opens the file again after trouble with the disk."""
    path = tmp_path / "l.db"
    ledger = store(path)
    batch = Batch()
    batch.hold(Hold(f"{ledger.run}:1", DAY, 3_000_000, None, 0))
    ledger.write(batch, ROWS)
    ledger.close()
    ledger.connect(ROWS)
    assert ledger.reader().spent(DAY) == 0
    ledger.close()


def test_a_file_that_breaks_is_let_go_and_replaced(tmp_path: Path) -> None:
    path, told = tmp_path / "l.db", Told()
    ledger = store(path, told)
    ledger.write(money(), ROWS)
    ledger.failed(sqlite3.OperationalError("database or disk is full"))
    assert ledger.reader().spent(DAY) == 264_040_000, "a full disk is no reason to let go"
    ledger.close()
    path.write_bytes(b"rubbish" * 1_000)
    ledger.connect(ROWS)
    assert told.names == ["ledger.replaced"]
    assert ledger.set_aside == str(tmp_path / "l.db.corrupt-stamp")
    assert ledger.reader().spent(DAY) == 264_040_000, "from the mirror"
    broken = sqlite3.DatabaseError("database disk image is malformed")
    broken.sqlite_errorname = "SQLITE_CORRUPT"
    ledger.failed(broken)
    with pytest.raises(LedgerError):
        ledger.reader()
    ledger.failed(broken)
    ledger.close()


def test_a_failure_while_settling_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    first = store(path)
    db = first.connect(ROWS)
    batch = Batch()
    batch.hold(Hold("old:1", DAY, 3_000_000, None, 0))
    first.write(batch, ROWS)
    db.execute("CREATE TRIGGER no BEFORE INSERT ON days BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
    first.close()
    second = store(path, now=NOON + 1)
    with pytest.raises(sqlite3.IntegrityError, match="no"):
        second.connect(ROWS)
    with pytest.raises(LedgerError):
        second.reader()
    fixed = sqlite3.connect(path)
    fixed.execute("DROP TRIGGER no")
    fixed.close()
    second.connect(ROWS)
    assert second.reader().spent(DAY) == 3_000_000
    second.close()


def test_old_rows_go_once_a_day(tmp_path: Path) -> None:
    ledger = store(tmp_path / "l.db", bounds=Bounds(days=0))
    ledger.write(money(), ROWS)
    db = ledger.connect(ROWS)
    count = "SELECT count(*) FROM attempts"
    assert db.execute(count).fetchone() == (1,), "its own moment is not older than itself"
    batch = Batch()
    batch.attempt(ROWS.attempt(replace(AT_BEDROCK, exchange="x", started=Epoch(NOON + 3_600))), 10)
    ledger.write(batch, ROWS)
    assert db.execute(count).fetchone() == (2,)
    batch = Batch()
    batch.attempt(ROWS.attempt(replace(AT_BEDROCK, exchange="y", started=Epoch(NOON + PRUNE_EVERY + 61))), 10)
    ledger.write(batch, ROWS)
    assert db.execute(count).fetchone() == (1,)
    ledger.close()
