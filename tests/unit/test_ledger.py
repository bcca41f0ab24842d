"""The ledger as the daemon uses it: nobody waits, nothing is lost, questions see everything before them."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from msgspec.structs import replace

from claude_failover.core.spend import Reservation, SpendBudget
from claude_failover.core.types import Epoch, Instant, Monotonic
from claude_failover.errors import LedgerError
from claude_failover.ledger import Ledger
from claude_failover.ledger_days import Zone
from claude_failover.ledger_query import By, Reader
from claude_failover.ledger_schema import open_for_reading, write_mirror
from tests.ledger_records import AT_BEDROCK, AT_CLAUDE, BEDROCK, DAY, NOON, SERVED, UTC, Told, open_ledger

NOW = Instant(NOON, Monotonic(0))


def total(ledger: Ledger) -> int:
    return ledger.ask(lambda reader: reader.costs(DAY, DAY, By.DAY)[1].attempts).result(30)


def test_a_question_sees_everything_recorded_before_it(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.db")
    ledger.record(AT_CLAUDE)
    ledger.record(AT_BEDROCK)
    ledger.record_exchange(SERVED)
    assert total(ledger) == 2
    assert ledger.spent(DAY) == 264_040_000
    assert ledger.status().written == 3
    assert ledger.close() == 0


def test_rows_are_written_without_being_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    ledger = open_ledger(path)
    ledger.record(AT_CLAUDE)
    ledger.close()
    reader = open_for_reading(path)
    assert Reader(reader).costs(DAY, DAY, By.DAY)[1].attempts == 1
    reader.close()


def test_it_goes_on_where_the_last_daemon_stopped(tmp_path: Path) -> None:
    for run in (1, 2):
        ledger = open_ledger(tmp_path / "l.db", now=NOON + run)
        ledger.record(replace(AT_BEDROCK, exchange=f"cfr_{run}"))
        assert ledger.spent(DAY) == run * 264_040_000
        ledger.close()


def test_the_budgets_reservations_survive_a_crash_and_settled_ones_do_not_come_back(tmp_path: Path) -> None:
    path, told = tmp_path / "l.db", Told()
    ledger = open_ledger(path)
    budget = SpendBudget(10_000_000_000, None, UTC.day, ledger)
    done, open_ = budget.reserve(1_000_000_000, NOW), budget.reserve(2_000_000_000, NOW)
    free = budget.reserve(0, NOW)
    assert isinstance(done, Reservation)
    assert isinstance(open_, Reservation)
    assert isinstance(free, Reservation)
    budget.settle(done, 264_040_000, NOW)
    budget.settle(free, 0, NOW)
    ledger.record(AT_BEDROCK)
    ledger.close()
    after = open_ledger(path, now=NOON + 5, announce=told)
    assert after.spent(DAY) == 2_264_040_000
    assert told.names == ["ledger.settled_open"]
    after.close()


def test_a_closed_ledger_answers_no_question(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.db")
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.ask(lambda reader: reader.spent(DAY))
    write_mirror(tmp_path / "l.db", {DAY: 5})
    assert ledger.spent(DAY) == 5


def test_an_askers_mistake_is_raised_where_it_is_awaited(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.db")

    def wrong(reader: Reader) -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        ledger.ask(wrong).result(30)
    with pytest.raises(LedgerError, match="no such table"):
        ledger.ask(lambda reader: reader._db.execute("SELECT * FROM absent")).result(30)
    assert total(ledger) == 0
    ledger.close()


def test_a_question_that_nobody_waits_for_any_more_is_skipped(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.db")
    gate = threading.Event()
    held = ledger.ask(lambda reader: gate.wait(30))
    dropped: Future[int] = ledger.ask(lambda reader: reader.spent(DAY))
    assert dropped.cancel()
    gate.set()
    assert held.result(30)
    assert total(ledger) == 0
    ledger.close()


def test_a_newer_ledger_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    ledger = open_ledger(path)
    ledger.ask(lambda reader: reader._db.execute("PRAGMA user_version = 99")).result(30)
    ledger.close()
    with pytest.raises(LedgerError, match="newer"):
        open_ledger(path)


def test_a_ledger_that_cannot_be_opened_keeps_rows_in_memory_and_catches_up(tmp_path: Path) -> None:
    """The directory comes back: an external disk, a home that is mounted late."""
    directory, told = tmp_path / "away", Told()
    ledger = open_ledger(directory / "l.db", announce=told)
    ledger.record(AT_BEDROCK)
    with pytest.raises(LedgerError):
        total(ledger)
    status = ledger.status()
    assert (status.failing, status.queued, status.file_bytes) == (True, 1, 0)
    assert "No such file or directory" in status.error
    directory.mkdir()
    assert ledger.close() == 0
    assert told.names == ["ledger.write_failed", "ledger.recovered"]
    reader = open_for_reading(directory / "l.db")
    assert Reader(reader).spent(DAY) == 264_040_000
    reader.close()


def test_rows_that_are_lost_at_the_end_are_counted_and_told(tmp_path: Path) -> None:
    told = Told()
    ledger = open_ledger(tmp_path / "away" / "l.db", announce=told)
    ledger.record(AT_BEDROCK)
    assert ledger.close() == 1
    assert told.names[-1] == "ledger.closed_with_loss"


def test_memory_is_bounded_and_money_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_failover.ledger.QUEUE_MAX", 10)
    directory, told = tmp_path / "away", Told()
    ledger = open_ledger(directory / "l.db", announce=told)
    for number in range(25):
        ledger.record(replace(AT_BEDROCK, exchange=f"cfr_{number}"))
        ledger.record_exchange(replace(SERVED, exchange=f"cfr_{number}"))
    status = ledger.status()
    assert status.queued <= 20
    directory.mkdir()
    ledger.close()
    assert told.names.count("ledger.overflowed") == 1
    assert ledger.status().dropped >= 30
    reader = open_for_reading(directory / "l.db")
    line = Reader(reader).costs(DAY, DAY, By.DAY)[1]
    assert (line.attempts, line.requests, line.rescued) == (25, 25, 25)
    assert Reader(reader).spent(DAY) == 25 * 264_040_000
    reader.close()


def test_one_odd_record_does_not_end_the_writer(tmp_path: Path) -> None:
    told = Told()
    ledger = open_ledger(tmp_path / "l.db", announce=told)
    ledger.record(replace(AT_BEDROCK, started=Epoch(float("inf"))))
    ledger.record(replace(AT_BEDROCK, exchange="cfr_7", status=2**70))
    ledger.record(replace(AT_BEDROCK, exchange="cfr_8"))
    assert ledger.spent(DAY) == 2 * 264_040_000
    assert told.names == ["ledger.overflowed"]
    assert ledger.status().dropped == 2
    ledger.close()


def test_a_session_that_is_no_text_does_not_end_the_writer_with_its_reservation(tmp_path: Path) -> None:
    # A header's bytes that are no UTF-8 are surrogates in its text.
    ledger = open_ledger(tmp_path / "l.db")
    budget = SpendBudget(None, None, UTC.day, ledger)
    held = budget.reserve(1_000_000_000, NOW, session="half\udcc3", session_limit_nusd=2_000_000_000)
    assert isinstance(held, Reservation)
    ledger.record(AT_BEDROCK)
    assert ledger.spent(DAY) == 264_040_000
    ledger.close()
    after = open_ledger(tmp_path / "l.db", now=NOON + 5)
    assert after.spent(DAY) == 1_264_040_000
    after.close()


def test_a_reservation_beyond_all_numbers_of_sqlite_does_not_end_the_writer(tmp_path: Path) -> None:
    # A client may ask for 10**30 tokens; where there is no limit the money for them is reserved.
    ledger = open_ledger(tmp_path / "l.db")
    ledger.held(Reservation(1, DAY, 10**30, None), NOON)
    ledger.record(AT_BEDROCK)
    assert ledger.spent(DAY) == 264_040_000
    ledger.close()
    after = open_ledger(tmp_path / "l.db", now=NOON + 5)
    assert after.spent(DAY) == 1_000_000 * 1_000_000_000 + 264_040_000
    after.close()


def test_what_nobody_thought_of_is_a_failure_to_write_and_not_the_end_of_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    ledger = open_ledger(tmp_path / "l.db", announce=told)

    def broken(*_: object) -> tuple[int, int]:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(ledger._store, "write", broken)
        ledger.record(AT_BEDROCK)
        assert ledger.spent(DAY) == 0
        assert (ledger.status().failing, told.names) == (True, ["ledger.write_failed"])
    ledger.close()
    assert told.names == ["ledger.write_failed", "ledger.recovered"]


def test_a_reload_counts_for_the_rows_after_it(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.db")
    ledger.record(AT_BEDROCK)
    assert total(ledger) == 1
    ledger.configure(zone=Zone.of("Pacific/Kiritimati"), primary=BEDROCK, prices=None)
    ledger.record(replace(AT_BEDROCK, exchange="cfr_9"))
    days = ledger.ask(lambda reader: reader.spent_by_day("2000-01-01")).result(30)
    assert days == {DAY: 264_040_000, "2026-11-23": 264_040_000}
    failover = ledger.ask(lambda reader: reader.costs("2026-11-23", "2026-11-23", By.DAY)[1].failover_nusd).result(30)
    assert failover == 0
    ledger.close()


def test_many_threads_may_record_at_once(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.db")

    def work(worker: int) -> None:
        for number in range(200):
            ledger.record(replace(AT_BEDROCK, exchange=f"cfr_{worker}_{number}"))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert total(ledger) == 1_600
    assert ledger.spent(DAY) == 1_600 * 264_040_000
    ledger.close()
