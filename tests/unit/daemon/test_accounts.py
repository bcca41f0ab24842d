"""The ledger and the budget together: what one remembers, the other goes on from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from claude_failover import events
from claude_failover.core.prices import PriceTable
from claude_failover.core.settings import CostTracking, Settings
from claude_failover.core.spend import Refusal, Reservation, SpendBudget
from claude_failover.core.types import Epoch, Instant, Monotonic
from claude_failover.daemon.accounts import Accounts, ledger_notes, ledger_says
from claude_failover.daemon.tables import read_table
from claude_failover.errors import ConfigError, UsageError
from claude_failover.ledger import LedgerStatus
from claude_failover.ledger_days import Zone
from tests.control_fakes import NOW, sample_story

USD = 1_000_000_000
UTC = Settings(cost_tracking=CostTracking(timezone="UTC", daily_limit=10.0, alert_threshold=None))


class Fixed:
    """A clock that stands until a test moves it."""

    later = 60.0

    def now(self) -> Instant:
        return Instant(Epoch(NOW + self.later), Monotonic(self.later))


@pytest.fixture
def prices() -> PriceTable:
    return PriceTable.build(read_table("prices"))


class Desk:
    """Accounts over one file, as often as a test restarts."""

    def __init__(self, path: Path, prices: PriceTable) -> None:
        self.path, self.prices = path, prices
        self.clock = Fixed()
        self.open()

    def open(self) -> None:
        self.spend = SpendBudget(None, None, Zone.of("UTC").day)
        self.accounts = Accounts(self.path, self.spend, self.clock)
        self.accounts.configure(UTC, self.prices)

    def tell(self, exchange: str = "cfr_1") -> None:
        story = sample_story(exchange)
        paid = structs.replace(story.attempts[1], session="s1", cost_nusd=2 * USD)
        free = structs.replace(story.attempts[0], cost_nusd=3 * USD)
        for attempt in (free, paid):
            self.accounts.record(attempt)
        self.accounts.conclude(story)

    async def restart(self) -> None:
        await self.accounts.close()
        self.clock.later += 60.0  # each start has a moment of its own
        self.open()


@pytest.fixture
async def desk(tmp_path: Path, prices: PriceTable) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path / "ledger.db", prices)
    yield desk
    await desk.accounts.close()


async def test_costs_are_answered_from_what_was_recorded_this_moment(desk: Desk) -> None:
    desk.tell()
    report = await desk.accounts.report({"since": "today"}, desk.prices)
    assert (report.total.spent_nusd, report.total.notional_nusd, report.total.requests) == (2 * USD, 3 * USD, 1)
    assert (report.limit_nusd, report.today, report.notes) == (10 * USD, "2026-11-18", ())
    assert report.prices_as_of == desk.prices.as_of
    with pytest.raises(UsageError):
        await desk.accounts.report({"since": "whenever"}, desk.prices)


async def test_after_a_restart_the_day_goes_on(desk: Desk) -> None:
    desk.tell()
    assert desk.accounts.notional_nusd == 3 * USD
    await desk.restart()
    assert desk.spend.view(desk.clock.now()).spent == 2 * USD
    assert desk.accounts.notional_nusd == 0
    desk.tell("cfr_2")
    await desk.accounts.remember()
    assert desk.accounts.notional_nusd == 6 * USD


async def test_a_session_with_a_budget_of_its_own_remembers_what_it_spent(desk: Desk) -> None:
    desk.tell()
    await desk.restart()
    await desk.accounts.remember()
    now = desk.clock.now()
    assert desk.spend.knows_session("s1")
    refused = desk.spend.reserve(USD, now, session="s1", session_limit_nusd=2 * USD)
    assert isinstance(refused, Refusal)
    assert refused.spent == 2 * USD
    assert isinstance(desk.spend.reserve(USD, now, session="s2", session_limit_nusd=2 * USD), Reservation)


async def test_a_reservation_that_a_crash_left_open_is_spent_money(desk: Desk) -> None:
    held = desk.spend.reserve(4 * USD, desk.clock.now())
    assert isinstance(held, Reservation)
    await desk.restart()
    assert desk.spend.view(desk.clock.now()).spent == 4 * USD


async def test_a_story_is_found_by_its_id_or_as_the_last(desk: Desk) -> None:
    desk.tell()
    story = await desk.accounts.story("cfr_1")
    assert story is not None
    assert story == await desk.accounts.story(None)
    assert await desk.accounts.story("cfr_2") is None


async def test_without_a_ledger_money_is_not_counted(desk: Desk) -> None:
    off = replace(UTC, cost_tracking=replace(UTC.cost_tracking, enabled=False))
    desk.accounts.configure(off, desk.prices)
    desk.tell()
    assert (desk.accounts.status(), desk.accounts.notional_nusd) == (None, 0)
    assert desk.spend.view(desk.clock.now()).limit is None
    assert await desk.accounts.story(None) is None
    await desk.accounts.remember()
    with pytest.raises(UsageError, match="cost tracking is off"):
        await desk.accounts.report({}, desk.prices)
    desk.accounts.configure(UTC, desk.prices)
    assert desk.accounts.status() is not None


async def test_a_wrong_zone_changes_nothing(desk: Desk) -> None:
    wrong = replace(UTC, cost_tracking=replace(UTC.cost_tracking, timezone="Mars/Olympus", daily_limit=1.0))
    with pytest.raises(ConfigError):
        desk.accounts.configure(wrong, desk.prices)
    assert desk.spend.view(desk.clock.now()).limit == 10 * USD


async def test_new_limits_hold_at_once(desk: Desk) -> None:
    desk.accounts.configure(replace(UTC, cost_tracking=replace(UTC.cost_tracking, daily_limit=1.0)), desk.prices)
    assert isinstance(desk.spend.reserve(2 * USD, desk.clock.now()), Refusal)


async def test_two_days_of_notional_money_are_kept(desk: Desk) -> None:
    free = structs.replace(sample_story().attempts[0], cost_nusd=USD)
    for day in (0, 1, 2, 3):
        desk.accounts.record(structs.replace(free, attempt=day, started=Epoch(NOW - day * 86_400)))
    assert desk.accounts.notional_nusd == USD


def test_what_is_wrong_with_the_ledger_is_one_sentence_each() -> None:
    fine = LedgerStatus("ledger.db", False, "", 0, 9, 0, 0, "", 1)
    assert ledger_notes(fine) == ()
    bad = replace(fine, failing=True, error="disk full", queued=3, dropped=2, set_aside="old.db")
    assert ledger_notes(bad) == (
        "the ledger cannot be written (disk full); 3 rows wait in memory",
        "2 rows were given up; their cost is in the sums",
        "a damaged ledger was set aside: old.db",
    )


@pytest.mark.parametrize(
    ("said", "name", "fields"),
    [
        ("ledger.recovered", "ledger.recovered", {"rows": 1}),
        ("ledger.write_failed", "ledger.failed", {"what": "ledger.write_failed", "rows": 1}),
    ],
)
def test_what_the_ledger_announces_becomes_an_event(said: str, name: str, fields: Mapping[str, object]) -> None:
    with events.capture() as heard:
        ledger_says(said, {"rows": 1})
    assert [(event.name, event.fields) for event in heard] == [(name, fields)]


async def test_a_reload_at_the_very_end_does_not_open_the_ledger_again(tmp_path: Path, prices: PriceTable) -> None:
    desk = Desk(tmp_path / "ledger.db", prices)
    await desk.accounts.close()
    desk.accounts.configure(UTC, prices)
    assert desk.accounts.ledger is None


async def test_a_ledger_that_cannot_be_opened_at_the_start_is_said_and_in_nobodys_way(
    tmp_path: Path, prices: PriceTable
) -> None:
    with events.capture() as said:
        desk = Desk(tmp_path / "away" / "ledger.db", prices)
        await desk.accounts.remember()
        assert isinstance(desk.spend.reserve(USD, desk.clock.now()), Reservation)
        assert (status := desk.accounts.status()) is not None
        assert status.failing
    assert {(event.name, event.fields["what"]) for event in said} == {
        ("ledger.failed", "ledger.write_failed"),
        ("ledger.failed", "start"),
    }
    (tmp_path / "away").mkdir()
    await desk.accounts.close()


async def test_what_was_under_way_when_costs_were_switched_off_is_not_counted_twice_once_they_are_on_again(
    desk: Desk,
) -> None:
    held = desk.spend.reserve(4 * USD, desk.clock.now())
    assert isinstance(held, Reservation)
    assert desk.accounts.ledger is not None
    gone = desk.accounts.ledger
    desk.accounts.configure(replace(UTC, cost_tracking=replace(UTC.cost_tracking, enabled=False)), desk.prices)
    gone.close()
    desk.clock.later += 5.0
    desk.accounts.configure(UTC, desk.prices)
    desk.spend.settle(held, USD, desk.clock.now())
    assert desk.spend.view(desk.clock.now()).spent == USD
