"""Days and hours in the owner's zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from claude_failover.core.types import Epoch
from claude_failover.errors import ConfigError
from claude_failover.ledger_days import Zone


def moment(text: str) -> Epoch:
    return Epoch(datetime.fromisoformat(text).timestamp())


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own zone for one test."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_day_begins_at_local_midnight() -> None:
    berlin = Zone.of("Europe/Berlin")
    assert berlin.day(moment("2026-11-21T22:59:59+00:00")).key == "2026-11-21"
    day = berlin.day(moment("2026-11-21T23:00:00+00:00"))
    assert (day.key, day.label) == ("2026-11-22", "00:00 Europe/Berlin")
    assert day.ends == moment("2026-11-22T23:00:00+00:00")


@pytest.mark.parametrize(
    ("noon", "ends"),
    [
        ("2026-03-29T12:00:00+02:00", "2026-03-30T00:00:00+02:00"),
        ("2026-10-25T12:00:00+01:00", "2026-10-26T00:00:00+01:00"),
    ],
    ids=["23 hours", "25 hours"],
)
def test_days_of_23_and_25_hours_end_at_midnight(noon: str, ends: str) -> None:
    assert Zone.of("Europe/Berlin").day(moment(noon)).ends == moment(ends)


def test_where_midnight_does_not_exist_the_day_begins_at_the_first_moment_after() -> None:
    """Beirut's clocks went from 00:00 to 01:00 on 2024-03-31."""
    day = Zone.of("Asia/Beirut").day(moment("2024-03-30T20:00:00+02:00"))
    assert day.ends == moment("2024-03-31T01:00:00+03:00")
    assert day.label == "01:00 Asia/Beirut"


def test_utc_by_any_spelling() -> None:
    assert Zone.of("utc").day(moment("2026-11-22T23:59:59+00:00")).key == "2026-11-22"
    assert Zone.of("utc").begins(date(2026, 11, 22)) == moment("2026-11-22T00:00:00+00:00")


@pytest.mark.usefixtures("tokyo")
def test_local_is_the_machines_zone() -> None:
    local = Zone.of("local")
    day = local.day(moment("2026-11-21T15:00:00+00:00"))
    assert (day.key, day.label) == ("2026-11-22", "00:00 JST")
    assert day.ends == moment("2026-11-22T15:00:00+00:00")
    assert local.hour(moment("2026-11-21T15:30:00+00:00")) == "2026-11-22 00"


def test_hours_are_local_and_sort_as_time_does() -> None:
    assert Zone.of("Asia/Kolkata").hour(moment("2026-11-22T10:15:00+00:00")) == "2026-11-22 15"


def test_an_hour_ends_where_the_next_begins() -> None:
    kolkata = Zone.of("Asia/Kolkata")
    asked = ["2026-11-22T09:29:59+00:00", "2026-11-22T09:29:59.999+00:00", "2026-11-22T09:30:00+00:00"]
    assert [kolkata.hour(moment(text))[-2:] for text in (*asked, asked[0])] == ["14", "14", "15", "14"]


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "\0"])
def test_a_zone_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        Zone.of(name)


def test_every_moment_lies_in_its_day() -> None:
    zone = Zone.of("America/Sao_Paulo")
    start = datetime(2018, 11, 3, tzinfo=UTC).timestamp()
    for step in range(0, 4 * 86_400, 1_800):
        now = Epoch(start + step)
        day = zone.day(now)
        assert now < day.ends
        assert zone.day(Epoch(day.ends - 1)).key == day.key
        assert zone.day(day.ends).key > day.key
