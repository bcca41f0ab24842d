"""Times as people type and read them."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

import pytest

from claude_failover.cli.durations import clock_time, parse_duration, parse_moment, spell, until
from claude_failover.core.types import Epoch
from claude_failover.errors import UsageError

NOW = Epoch(1_795_000_000.0)
"""Wednesday 2026-11-18 11:06:40 UTC."""
MIDNIGHT = 1_794_960_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d", 86400),
     ("1 h 5 min", 3900), ("500ms", 0.5), ("1W", 604800)],
)  # fmt: skip
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "m", "-5", "5 parsecs", "1h30", "0", "0s", "1e3"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="--for") as caught:
        parse_duration(text, "--for")
    assert "30m" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - 7200),
        ("today", MIDNIGHT),
        ("Yesterday", MIDNIGHT - 86400),
        ("10:30", MIDNIGHT + 10.5 * 3600),
        ("23:30", MIDNIGHT - 1800),
        ("2026-11-17", MIDNIGHT - 86400),
        ("2026-11-18T10:00", MIDNIGHT + 36000),
        ("2026-11-18T10:00+02:00", MIDNIGHT + 28800),
    ],
)
def test_a_moment_is_read(text: str, moment: float) -> None:
    assert parse_moment(text, NOW, UTC) == pytest.approx(moment)


def test_a_moment_without_a_zone_is_the_persons() -> None:
    assert parse_moment("10:30", NOW, timezone(timedelta(hours=1))) == MIDNIGHT + 9.5 * 3600


def test_a_date_without_any_zone_given_is_the_machines() -> None:
    assert abs(parse_moment("2026-11-17", NOW) - (MIDNIGHT - 86400)) <= 14 * 3600


@pytest.mark.parametrize("text", ["", "whenever", "25:00", "2026-13-01"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        parse_moment(text, NOW, UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (65, "1 min 5 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (4320, "1 h 12 min"),
        (86399, "23 h 59 min"),
        (86400, "1 d"),
        (97200, "1 d 3 h"),
        (40 * 86400, "40 d"),
    ],
)
def test_a_duration_is_spelt_in_two_units_at_most(seconds: float, text: str) -> None:
    assert spell(seconds) == text


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        (4320, "12:18"),
        (86400, "Thu 11:06"),
        (6 * 86400, "Tue 11:06"),
        (7 * 86400, "2026-11-25 11:06"),
        (-86400, "2026-11-17 11:06"),
    ],
)
def test_a_moment_is_as_short_as_it_is_clear(offset: float, text: str) -> None:
    assert clock_time(NOW + offset, NOW, UTC) == text


def test_an_end_has_its_countdown() -> None:
    assert until(NOW + 4320, NOW, UTC) == "12:18 (in 1 h 12 min)"


def test_an_end_that_has_passed_is_any_moment() -> None:
    assert until(NOW - 1, NOW, UTC) == "any moment"
