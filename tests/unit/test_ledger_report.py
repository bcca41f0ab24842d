"""Which days a question means, and what the report says besides the lines."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.core.types import Epoch
from claude_failover.errors import UsageError
from claude_failover.ledger_batch import Batch, write
from claude_failover.ledger_days import Zone
from claude_failover.ledger_query import By, Reader
from claude_failover.ledger_report import Money, report, span
from claude_failover.ledger_rows import Conversations, Rows
from claude_failover.ledger_schema import open_for_writing
from tests.ledger_records import AT_BEDROCK, CLAUDE, DAY, NOON, PRICES, UTC

USD = 1_000_000_000


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    connection = open_for_writing(tmp_path / "ledger.db", "x").connection
    batch = Batch()
    batch.attempt(Rows(UTC, CLAUDE, PRICES, Conversations()).attempt(AT_BEDROCK), 10)
    write(connection, batch)
    yield Reader(connection)
    connection.close()


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        ("today", None, ("2026-11-22", "2026-11-22")),
        ("yesterday", None, ("2026-11-21", "2026-11-22")),
        ("Month", None, ("2026-11-01", "2026-11-22")),
        ("1d", None, ("2026-11-22", "2026-11-22")),
        ("7d", None, ("2026-11-16", "2026-11-22")),
        ("2w", None, ("2026-11-09", "2026-11-22")),
        ("2026-11-20", None, ("2026-11-20", "2026-11-22")),
        ("2026-12-01", None, ("2026-12-01", "2026-12-01")),
        ("2026-02", None, ("2026-02-01", "2026-02-28")),
        ("2026-11", None, ("2026-11-01", "2026-11-22")),
        ("2026-12", None, ("2026-12-01", "2026-12-01")),
        ("2026-09", "2026-10", ("2026-09-01", "2026-10-31")),
        ("2026-11-01", "2026-11-05", ("2026-11-01", "2026-11-05")),
        ("7d", "yesterday", ("2026-11-16", "2026-11-21")),
        ("30d", "today", ("2026-10-24", "2026-11-22")),
    ],
)
def test_the_days_of_a_question(since: str, until: str | None, days: tuple[str, str]) -> None:
    assert span(since, until, UTC, NOON) == days


def test_today_is_the_owners_today() -> None:
    assert span("today", None, Zone.of("Pacific/Kiritimati"), NOON) == ("2026-11-23", "2026-11-23")


@pytest.mark.parametrize("word", ["", "soon", "2026-13", "2026-02-30", "7h", "999999w"])
def test_what_is_no_day_is_refused_with_examples(word: str) -> None:
    with pytest.raises(UsageError, match="not a day") as error:
        span(word, None, UTC, NOON)
    assert error.value.hint == "such as today, yesterday, 7d, 2w, 2026-11 or 2026-11-22"


def test_a_question_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageError, match="2026-11-22 is after 2026-10-31"):
        span("today", "2026-10", UTC, NOON)


def test_today_by_backend_is_the_default(reader: Reader) -> None:
    answer = report(reader, {}, UTC, NOON)
    assert (answer.since, answer.until, answer.by, answer.zone) == (DAY, DAY, By.BACKEND, "UTC")
    assert [(line.key, line.spent_nusd) for line in answer.lines] == [("bedrock", 264_040_000)]
    assert answer.today_spent_nusd == answer.total.spent_nusd == 264_040_000
    assert (answer.prices_as_of, answer.prices_age_days) == ("2026-11-22", 0)
    assert (answer.limit_nusd, answer.resets, answer.schema_version) == (None, "00:00 UTC", 1)


def test_several_days_are_by_day_unless_asked_otherwise(reader: Reader) -> None:
    assert report(reader, {"since": "7d"}, UTC, NOON).by == By.DAY
    assert report(reader, {"since": "7d", "by": "model"}, UTC, NOON).by == By.MODEL


def test_what_the_daemon_knows_better_is_taken_from_it(reader: Reader) -> None:
    money = Money(100 * USD, 80 * USD, 3 * USD, "2026-11-01", ("rows wait in memory",))
    answer = report(reader, {}, UTC, NOON, money)
    assert (answer.limit_nusd, answer.alert_nusd, answer.today_spent_nusd) == (100 * USD, 80 * USD, 3 * USD)
    assert (answer.prices_as_of, answer.prices_age_days) == ("2026-11-01", 21)
    assert answer.notes == ("rows wait in memory",)


def test_an_age_that_is_not_known_is_not_made_up(tmp_path: Path) -> None:
    connection = open_for_writing(tmp_path / "empty.db", "x").connection
    assert report(Reader(connection), {}, UTC, Epoch(NOON)).prices_age_days is None
    connection.close()


def test_questions_that_nobody_understands_are_refused(reader: Reader) -> None:
    with pytest.raises(UsageError, match="unknown question 'sice'"):
        report(reader, {"sice": "today"}, UTC, NOON)
    with pytest.raises(UsageError, match="--by x"):
        report(reader, {"by": "x"}, UTC, NOON)


def test_the_connection_is_only_read(reader: Reader) -> None:
    reader._db.execute("PRAGMA query_only = 1")
    assert isinstance(reader._db, sqlite3.Connection)
    assert report(reader, {"by": "hour"}, UTC, NOON).total.attempts == 1
