"""The log, read: last lines over rotated files, following across rotation, and the line for people."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from claude_failover.cli.logfiles import Follower, Wanted, follow, last_lines, parse, readable, rotated
from claude_failover.core.types import Epoch

AT = 1_795_000_000.0
STAMP = "2026-11-18T11:06:40.000Z"


def entry(name: str, level: str = "info", stamp: str = STAMP, **fields: object) -> str:
    return json.dumps({"ts": stamp, "level": level, "event": name, **fields})


def names(path: Path, count: int | None = None, wanted: Wanted | None = None) -> list[str]:
    return [line.name for line in last_lines(path, count, wanted or Wanted())]


def test_a_line_is_its_moment_level_name_and_fields() -> None:
    line = parse(entry("attempt.ended", "warning", backend="claude"))
    assert (line.at, line.level, line.name, line.fields) == (AT, "warning", "attempt.ended", {"backend": "claude"})


@pytest.mark.parametrize("text", ["Traceback (most recent call last):", "[1]", "{broken", '"text"'])
def test_what_is_no_event_is_kept_as_it_is(text: str) -> None:
    line = parse(text)
    assert (line.raw, line.at) == (text, None)
    assert readable(line, colour=False) == text


def test_a_stamp_without_zone_is_utc_and_nonsense_is_none() -> None:
    assert parse(entry("x", stamp="2026-11-18T11:06:40")).at == AT
    assert parse(entry("x", stamp="yesterday")).at is None


def test_rotated_files_are_read_oldest_first(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    for suffix, name in ((".10", "a"), (".2", "b"), (".1", "c"), ("", "d"), (".gz", "not ours"), (".bak1", "nor this")):
        (tmp_path / f"daemon.log{suffix}").write_text(entry(name) + "\n")
    assert [one.name for one in rotated(log)] == ["daemon.log.10", "daemon.log.2", "daemon.log.1", "daemon.log"]
    assert names(log) == ["a", "b", "c", "d"]
    assert names(log, 2) == ["c", "d"]
    assert names(log, 0) == []


def test_no_log_yet_is_no_lines(tmp_path: Path) -> None:
    assert names(tmp_path / "daemon.log") == []


def test_level_means_this_and_worse(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text("\n".join(entry(level, level) for level in ("debug", "info", "warning", "error", "critical", "odd")))
    assert names(log, wanted=Wanted("warning")) == ["warning", "error", "critical", "odd"]


def test_since_keeps_what_came_later_and_lines_without_a_time(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text(f"{entry('old')}\nTraceback\n{entry('new', stamp='2026-11-18T11:06:41Z')}\n")
    assert names(log, wanted=Wanted(since=Epoch(AT + 1))) == ["Traceback", "new"]


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_bytes(b"\xff\xfe\n\n" + entry("after").encode() + b"\r\n")
    assert names(log)[-1] == "after"


# --- following -----------------------------------------------------------------------------------


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_following_begins_after_what_is_there(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    append(log, "old\n")
    follower = Follower(log)
    follower.skip_to_end()
    assert list(follower.read()) == []
    append(log, "new\n")
    assert list(follower.read()) == ["new"]
    follower.close()


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    follower = Follower(log)
    follower.skip_to_end()
    append(log, "ha")
    assert list(follower.read()) == []
    append(log, "lf\nnext\n")
    assert list(follower.read()) == ["half", "next"]
    follower.close()


def test_rotation_loses_nothing_on_either_side(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    append(log, "")
    follower = Follower(log)
    follower.skip_to_end()
    append(log, "last of the old\n")
    log.rename(tmp_path / "daemon.log.1")
    append(log, "first of the new\n")
    assert list(follower.read()) == ["last of the old", "first of the new"]
    follower.close()


def test_between_the_two_renames_nothing_is_lost_either(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    append(log, "")
    follower = Follower(log)
    follower.skip_to_end()
    append(log, "old\n")
    log.rename(tmp_path / "daemon.log.1")
    assert list(follower.read()) == ["old"]
    append(log, "new\n")
    assert list(follower.read()) == ["new"]
    follower.close()


def test_a_file_that_was_cut_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    append(log, "a long line that is gone\n")
    follower = Follower(log)
    follower.skip_to_end()
    log.write_text("new\n")
    assert list(follower.read()) == ["new"]
    follower.close()


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    follower = Follower(log)
    follower.skip_to_end()
    assert list(follower.read()) == []
    append(log, "first\n")
    assert list(follower.read()) == ["first"]
    follower.close()
    follower.close()


def test_follow_shows_what_is_wanted_until_told_to_stop(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    shown: list[str] = []
    looks = 0

    def until() -> bool:
        nonlocal looks
        looks += 1
        append(log, f"{entry('quiet', 'debug')}\n{entry('loud', 'error')}\n")
        return looks > 2

    follow(Follower(log), Wanted("error"), lambda line: shown.append(line.name), until)
    assert shown == ["loud", "loud"]


@pytest.mark.parametrize("rotate", [False, True], ids=["in place", "rotated"])
def test_what_is_written_between_the_mark_and_the_reading_comes_once(tmp_path: Path, rotate: bool) -> None:
    log = tmp_path / "daemon.log"
    append(log, f"{entry('old')}\n{entry('half')[:10]}")
    follower = Follower(log)
    mark = follower.skip_to_end()
    append(log, f"{entry('half')[10:]}\n{entry('meanwhile')}\n")
    if rotate:
        log.rename(tmp_path / "daemon.log.1")
        append(log, entry("next") + "\n")
    before = [line.name for line in last_lines(log, 10, Wanted(), mark)]
    after = [parse(text).name for text in follower.read()]
    assert (before, after) == (["old"], ["half", "meanwhile"] + (["next"] if rotate else []))
    follower.close()


# --- for people ----------------------------------------------------------------------------------


def test_a_line_for_people_has_local_time_level_name_and_fields() -> None:
    fields: dict[str, Any] = {
        "backend": "claude",
        "ttfb_s": 0.410,
        "detail": "two words",
        "none": None,
        "n": 3,
        "ok": True,
        "tried": ["a"],
    }
    assert readable(parse(entry("attempt.ended", **fields)), colour=False, zone=UTC) == (
        "11-18 11:06:40.000 info     attempt.ended            "
        'backend=claude ttfb_s=0.41 detail="two words" n=3 ok=true tried=["a"]'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "x=plain"),
        ("", 'x=""'),
        ("a=b", 'x="a=b"'),
        ('q"', r'x="q\""'),
        ("l\nf", r'x="l\nf"'),
        (1.0, "x=1"),
        ("ü", "x=ü"),
    ],
)
def test_a_value_is_quoted_when_it_must_be(value: object, text: str) -> None:
    assert readable(parse(entry("e", x=value)), colour=False, zone=UTC).endswith(text)


@pytest.mark.parametrize(
    ("value", "text"), [(0.000123, "0.000123"), (0.0000004, "0"), (0.0215, "0.0215"), (1.5, "1.5"), (0, "0")]
)
def test_money_is_shown_down_to_what_a_cheap_request_costs(value: float, text: str) -> None:
    assert readable(parse(entry("e", cost_usd=value)), colour=False, zone=UTC).endswith(f" cost_usd={text}")


def test_colour_marks_what_is_worse_than_info() -> None:
    assert "\x1b" not in readable(parse(entry("e")), colour=True)
    assert readable(parse(entry("e", "error")), colour=True).startswith("\x1b[31m")
    assert "\x1b" not in readable(parse(entry("e", "error")), colour=False)
