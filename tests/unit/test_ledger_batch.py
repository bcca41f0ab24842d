"""Batches: written whole, once, and bounded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from claude_failover.ledger_batch import Batch, Written, write
from claude_failover.ledger_query import By, Reader
from claude_failover.ledger_rows import AT_ONCE, Conversations, Hold, Row, Rows
from claude_failover.ledger_schema import open_for_writing
from tests.ledger_records import AT_BEDROCK, AT_CLAUDE, CLAUDE, DAY, PRICES, SERVED, UTC, columns, sums


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_for_writing(tmp_path / "ledger.db", "x").connection
    yield connection
    connection.close()


def rows() -> Rows:
    return Rows(UTC, CLAUDE, PRICES, Conversations())


def filled() -> Batch:
    batch = Batch()
    batch.attempt(rows().attempt(AT_CLAUDE), 10)
    batch.attempt(rows().attempt(AT_BEDROCK), 10)
    batch.exchange(rows().exchange(SERVED), 10)
    return batch


def with_values(row: Row, **values: Any) -> Row:
    return replace(row, values=tuple((columns(row) | values).values()))


def counts(db: sqlite3.Connection) -> tuple[int, int, int]:
    return tuple(db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("attempts", "exchanges", "holds"))


def test_rows_and_their_sums_are_written_together(db: sqlite3.Connection) -> None:
    assert write(db, filled()) == Written(rows=3)
    assert counts(db) == (2, 1, 0)
    assert Reader(db).spent(DAY) == 264_040_000


@pytest.mark.parametrize("count", [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE + 2])
def test_however_many_rows_there_are_each_is_written_once(db: sqlite3.Connection, count: int) -> None:
    batch = Batch()
    for number in range(count):
        batch.attempt(rows().attempt(replace(AT_BEDROCK, exchange=f"cfr_{number:02d}")), 100)
        batch.exchange(rows().exchange(replace(SERVED, exchange=f"cfr_{number:02d}")), 100)
    assert write(db, batch) == Written(rows=2 * count)
    names = [(f"cfr_{number:02d}",) for number in range(count)]
    for table in ("attempts", "exchanges"):
        assert db.execute(f"SELECT exchange FROM {table} ORDER BY exchange").fetchall() == names
    total = Reader(db).costs(DAY, DAY, By.DAY)[1]
    assert (total.attempts, total.requests, total.spent_nusd) == (count, count, count * 264_040_000)


def test_what_is_not_known_is_null_in_the_file(db: sqlite3.Connection) -> None:
    batch = Batch()
    batch.attempt(rows().attempt(replace(AT_CLAUDE, status=None, ttfb=None, ttft=None, session=None)), 10)
    batch.attempt(rows().attempt(replace(AT_CLAUDE, attempt=1, session="", agent="a1", upstream_request_id="")), 10)
    nothing = replace(SERVED, status=None, backend=None, reason=None, ttft=None, session=None, agent="")
    batch.exchange(rows().exchange(nothing), 10)
    write(db, batch)
    kept = "SELECT surface, status, ttfb_ms, ttft_ms, upstream_request_id, session, agent, request_class FROM attempts"
    assert db.execute(kept).fetchall() == [
        (None, None, None, None, None, None, None, None),
        (None, 200, 200, 900, "", "", "a1", None),
    ]
    kept = "SELECT status, backend, reason, ttft_ms, session, agent, request_class FROM exchanges"
    assert db.execute(kept).fetchall() == [(None, None, None, None, None, "", None)]


def test_writing_a_batch_again_changes_nothing(db: sqlite3.Connection) -> None:
    write(db, filled())
    assert write(db, filled()) == Written(rows=0)
    assert Reader(db).spent(DAY) == 264_040_000
    assert Reader(db).costs(DAY, DAY, By.DAY)[1].requests == 1


def test_an_empty_batch_touches_nothing(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA query_only = 1")
    assert write(db, Batch()) == Written()


def test_a_batch_that_fails_leaves_nothing_behind(db: sqlite3.Connection) -> None:
    batch = filled()
    batch.hold(Hold("r:1", DAY, 5, None, 1))
    db.execute("CREATE TRIGGER no BEFORE INSERT ON days BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError, match="no"):
        write(db, batch)
    assert counts(db) == (0, 0, 0)
    db.execute("DROP TRIGGER no")
    db.execute("CREATE TRIGGER no BEFORE INSERT ON attempts BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError, match="no"):
        write(db, batch)
    db.execute("DROP TRIGGER no")
    assert write(db, batch) == Written(rows=3)


def test_a_row_that_sqlite_refuses_is_given_up_and_its_money_is_not(db: sqlite3.Connection) -> None:
    batch = filled()
    batch.attempts[1] = with_values(batch.attempts[1], ttfb_ms=2**70)
    assert write(db, batch) == Written(rows=2, refused=1)
    assert counts(db) == (1, 1, 0)
    assert Reader(db).spent(DAY) == 264_040_000


def test_of_a_row_that_sqlite_refuses_only_numbers_are_kept(db: sqlite3.Connection) -> None:
    batch = filled()
    odd: dict[str, Any] = {"output": "many", "rebuild_nusd": 0.5}
    row = with_values(batch.attempts[1], **odd)
    batch.attempts[1] = replace(row, added=tuple((sums(row) | odd).values()))
    assert write(db, batch) == Written(rows=2, refused=1)
    total = Reader(db).costs(DAY, DAY, By.DAY)[1]
    assert (total.spent_nusd, total.output, total.rebuild_nusd) == (264_040_000, 200, 0)


def test_known_rows_add_nothing_and_new_ones_beside_them_do(db: sqlite3.Connection) -> None:
    write(db, filled())
    batch = filled()
    batch.attempt(rows().attempt(replace(AT_BEDROCK, exchange="cfr_9")), 10)
    assert write(db, batch) == Written(rows=1)
    assert counts(db) == (3, 1, 0)
    assert Reader(db).spent(DAY) == 528_080_000


def test_beyond_the_bound_only_the_sum_is_kept(db: sqlite3.Connection) -> None:
    batch = Batch()
    assert batch.attempt(rows().attempt(AT_CLAUDE), 1) == 0
    assert batch.attempt(rows().attempt(AT_BEDROCK), 1) == 1
    assert batch.attempt(rows().attempt(replace(AT_BEDROCK, exchange="cfr_9")), 1) == 1
    assert batch.exchange(rows().exchange(SERVED), 1) == 1
    assert batch.rows == 1
    assert write(db, batch) == Written(rows=1)
    assert Reader(db).spent(DAY) == 528_080_000
    assert Reader(db).costs(DAY, DAY, By.DAY)[1].rescued == 1


def test_a_reservation_goes_only_after_the_batch_that_may_hold_its_row(db: sqlite3.Connection) -> None:
    batch = Batch()
    batch.hold(Hold("r:1", DAY, 5, "s", 1))
    batch.release("r:1")
    assert not batch.empty
    write(db, batch)
    assert counts(db) == (0, 0, 1)
    after = batch.after()
    assert after.waits
    write(db, after)
    assert counts(db) == (0, 0, 0)
    assert not after.after().waits


def test_a_batch_knows_its_newest_row_and_whether_money_is_in_it() -> None:
    batch = Batch()
    batch.attempt(rows().attempt(AT_CLAUDE), 10)
    assert (batch.newest, batch.money) == (AT_CLAUDE.started, False)
    batch.attempt(rows().attempt(AT_BEDROCK), 10)
    assert (batch.newest, batch.money) == (AT_BEDROCK.started, True)
    batch.attempt(rows().attempt(AT_CLAUDE), 10)
    assert (batch.newest, batch.money) == (AT_BEDROCK.started, True)
