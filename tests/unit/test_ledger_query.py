"""Questions to the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from claude_failover.core.types import Epoch, ExchangeRecord, Outcome, Usage
from claude_failover.errors import LedgerError, UsageError
from claude_failover.ledger_batch import Batch, write
from claude_failover.ledger_query import By, CostLine, Pressure, Reader, by_of, read_pressures
from claude_failover.ledger_rows import Conversations, Rows
from claude_failover.ledger_schema import open_for_writing
from tests.ledger_records import AT_BEDROCK, AT_CLAUDE, CLAUDE, DAY, NOON, PRICES, SERVED, UTC, open_ledger


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Two days: yesterday one turn at Claude; today one at Claude, and one that was rescued by Bedrock."""
    connection = open_for_writing(tmp_path / "ledger.db", "x").connection
    rows, batch = Rows(UTC, CLAUDE, PRICES, Conversations()), Batch()
    yesterday = Epoch(NOON - 86_400)
    at_claude = replace(SERVED, exchange="cfr_1", started=NOON, backend=CLAUDE, failed_over=False, steps=())
    for record in (
        replace(AT_CLAUDE, exchange="cfr_0", started=yesterday, session=None),
        replace(at_claude, exchange="cfr_0", started=yesterday, session=None),
        AT_CLAUDE,
        at_claude,
        replace(AT_CLAUDE, exchange="cfr_2", status=429, cost_nusd=0, list_cost_nusd=0, committed=False),
        AT_BEDROCK,
        SERVED,
    ):
        if isinstance(record, ExchangeRecord):
            batch.exchange(rows.exchange(record), 100)
        else:
            batch.attempt(rows.attempt(record), 100)
    write(connection, batch)
    yield connection
    connection.close()


def keys(db: sqlite3.Connection, by: By, since: str = "2026-11-21") -> list[str]:
    return [line.key for line in Reader(db).costs(since, DAY, by)[0]]


def test_what_was_spent(db: sqlite3.Connection) -> None:
    reader = Reader(db)
    assert reader.spent(DAY) == 264_040_000
    assert reader.spent("1999-01-01") == 0


def test_backends_can_be_left_out_of_what_was_spent(db: sqlite3.Connection) -> None:
    reader = Reader(db)
    backends = {line.key: line.spent_nusd for line in reader.costs(DAY, DAY, By.BACKEND)[0]}
    assert sum(backends.values()) == 264_040_000
    for name, spent in backends.items():
        assert reader.spent(DAY, {name}) == 264_040_000 - spent
    assert reader.spent(DAY, set(backends)) == 0
    assert reader.spent_by_day("2026-11-21") == {"2026-11-21": 0, DAY: 264_040_000}
    assert reader.spent_in_session("s1") == 264_040_000
    assert reader.spent_in_session("s2") == 0


def test_the_total_keeps_real_money_notional_value_and_extra_cost_apart(db: sqlite3.Connection) -> None:
    total = Reader(db).costs("2026-11-21", DAY, By.DAY)[1]
    assert total == CostLine(
        key="total",
        requests=3,
        rescued=1,
        attempts=4,
        input=40,
        output=800,
        cache_read=150_000,
        write_5m=55_000,
        spent_nusd=264_040_000,
        notional_nusd=40_000_000,
        failover_nusd=264_040_000,
        primary_nusd=19_240_000,
        rebuild_nusd=244_800_000,
    )
    assert total.extra_nusd == 244_800_000


@pytest.mark.parametrize("by", list(By))
def test_the_total_is_the_same_by_whatever_it_is_counted(db: sqlite3.Connection, by: By) -> None:
    assert Reader(db).costs("2026-11-21", DAY, by)[1] == Reader(db).costs("2026-11-21", DAY, By.DAY)[1]


def test_lines_by_time_are_in_the_order_of_time_and_others_dearest_first(db: sqlite3.Connection) -> None:
    assert keys(db, By.DAY) == ["2026-11-21", DAY]
    assert keys(db, By.DAY, DAY) == [DAY]
    assert keys(db, By.HOUR) == ["2026-11-21 12", "2026-11-22 12"]
    assert keys(db, By.BACKEND) == ["bedrock", "claude"]
    assert keys(db, By.MODEL) == ["claude-opus-5-5"]
    assert keys(db, By.SESSION) == ["s1", ""]


def test_too_many_lines_are_cut_and_counted(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_failover.ledger_query.MAX_LINES", 1)
    lines, total, omitted = Reader(db).costs("2026-11-21", DAY, By.SESSION)
    assert ([line.key for line in lines], omitted, total.requests) == (["s1"], 1, 3)


def test_nothing_recorded_is_an_empty_answer(db: sqlite3.Connection) -> None:
    for by in By:
        lines, total, omitted = Reader(db).costs("2020-01-01", "2020-01-02", by)
        assert (lines, total, omitted) == ([], CostLine("total"), 0)


def test_one_requests_story(db: sqlite3.Connection) -> None:
    story = Reader(db).exchange("cfr_2")
    assert story is not None
    assert [attempt["backend"] for attempt in story["attempts"]] == ["claude", "bedrock"]
    assert story["steps"][1] == [0.3, "failed over", "bedrock", "5 h window used up"]
    last = Reader(db).exchange()
    assert last is not None
    assert last["exchange"] == "cfr_2"
    assert Reader(db).exchange("cfr_99") is None


def test_the_price_table_of_the_last_attempt_is_known(db: sqlite3.Connection) -> None:
    assert Reader(db).prices_as_of() == "2026-11-22"
    db.execute("DELETE FROM attempts")
    assert Reader(db).prices_as_of() == ""


def test_what_can_be_counted_by_is_named() -> None:
    assert by_of("session") is By.SESSION
    with pytest.raises(UsageError, match="--by colour: expected one of day, hour, model, backend, session"):
        by_of("colour")


def test_how_quotas_were_met_the_most_throttled_model_first(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    ledger = open_ledger(path)
    throttled = replace(AT_BEDROCK, outcome=Outcome.THROTTLED, usage=Usage(), detail="Too many tokens")
    for number, record in enumerate(
        (
            replace(AT_CLAUDE, outcome=Outcome.THROTTLED),
            replace(throttled, started=Epoch(NOON - 1)),
            replace(AT_BEDROCK, model="claude-haiku-5-5", started=NOON),
            AT_BEDROCK,
            throttled,
            replace(throttled, detail="Too many tokens per day"),
        )
    ):
        ledger.record(replace(record, exchange=f"cfr_{number}"))
    assert ledger.close() == 0
    assert read_pressures(path, int(NOON * 1000)) == [
        Pressure("bedrock", "claude-opus-5-5", requests=3, throttled=2, per_day=1, longest=200),
        Pressure("bedrock", "claude-haiku-5-5", requests=1, throttled=0, per_day=0, longest=200),
    ]
    assert read_pressures(tmp_path / "none.db", 0) == []


def test_a_ledger_without_attempts_says_that_it_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE days (day TEXT)")
    connection.close()
    with pytest.raises(LedgerError, match="no such table: attempts"):
        read_pressures(path, 0)
