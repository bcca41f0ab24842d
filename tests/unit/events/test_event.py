from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from claude_failover.core.types import Epoch, Kind
from claude_failover.events.event import MAX_LINE, Event, Value, clean, plain_text, read_line, render_text, stamp
from claude_failover.events.names import Level

AT = Epoch(1_795_000_000.25)
"""2026-11-18T11:06:40.250Z."""


def event(level: Level = Level.WARNING, **fields: Value) -> Event:
    return told(fields, level)


def told(fields: Mapping[str, Value], level: Level = Level.WARNING) -> Event:
    return Event(7, AT, "failover.happened", level, fields, plain_text(fields))


def test_an_event_is_one_json_line_with_its_moment_first() -> None:
    assert (
        event(backend="claude", until=AT, tried=["claude:plan_limit"], n=2, ok=True, none=None).line()
        == b'{"ts":"2026-11-18T11:06:40.250Z","level":"warning","event":"failover.happened","backend":"claude",'
        b'"until":1795000000.25,"tried":["claude:plan_limit"],"n":2,"ok":true,"none":null}\n'
    )


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_795_000_000.25, "2026-11-18T11:06:40.250Z"),
        (1_795_000_000.0009, "2026-11-18T11:06:40.000Z"),
        (1_795_000_000.9999, "2026-11-18T11:06:40.999Z"),
        (1_795_000_000.9999998, "2026-11-18T11:06:41.000Z"),
        (1_795_046_399.9999998, "2026-11-19T00:00:00.000Z"),
    ],
)
def test_a_moment_is_written_in_whole_milliseconds(at: float, written: str) -> None:
    assert stamp(at) == written


@given(st.floats(0, 4e9))
def test_a_moment_is_written_as_datetime_does(at: float) -> None:
    assert datetime.fromisoformat(stamp(at)) == datetime.fromtimestamp(at, UTC).replace(
        microsecond=datetime.fromtimestamp(at, UTC).microsecond // 1_000 * 1_000
    )


def test_a_field_cannot_pretend_to_be_the_head() -> None:
    read = json.loads(event(event="other", ts="never").line())
    assert (read["event"], read["ts"]) == ("failover.happened", stamp(AT))


@pytest.mark.parametrize(
    "name",
    ["body", "request_body", "headers", "header", "authorization", "api_key", "prompt", "cookie", "client_secret"],
)
def test_fields_that_would_hold_what_must_not_be_written_are_masked(name: str) -> None:
    assert clean(name, "hello world") == "[redacted]"


def test_numbers_of_tokens_are_no_tokens() -> None:
    assert clean("tokens_input", 5) == 5
    assert clean("body_bytes", 5) == 5


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (1.5, 1.5),
        (object(), "<object>"),
        ({"a": 1}, "<dict>"),
        (b"bytes", "<bytes>"),
        (("a", 1), ["a", "1"]),
        ("a\x1b[31m\nb", "a [31m\nb"),
        ("\ud800", " "),
        ("key sk-ant-api03-abcdefgh", "key [redacted]"),
        ("x" * 600, "x" * 499 + "…"),
    ],
)
def test_values_are_made_safe(value: object, written: Value) -> None:
    assert clean("detail", value) == written


def test_long_lists_and_many_fields_are_cut() -> None:
    assert clean("tried", [str(number) for number in range(100)]) == [str(number) for number in range(16)]
    read = json.loads(told({f"f{number}": number for number in range(200)}).line())
    assert len(read) == 3 + 48


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("body", "hello", "[redacted]"),
        ("tried", ["x"] * 100, ["x"] * 16),
        ("tried", ["sk-ant-api03-abcdefgh"], ["[redacted]"]),
        ("share", float("inf"), None),
        ("what", {"a": 1}, "<dict>"),
        ("detail", "x" * 600, "x" * 499 + "…"),
        ("detail", "a\x1bb", "a b"),
        ("detail", "key sk-ant-api03-abcdefgh", "key [redacted]"),
    ],
)
def test_whatever_a_line_is_given_it_is_cleaned(name: str, value: Any, written: Value) -> None:
    assert json.loads(told({name: value, "plain": 1.5}).line())[name] == written


def test_what_is_plain_is_written_as_if_it_had_been_cleaned() -> None:
    looked_at = event(
        backend="claude", tried=["claude:cut"], pair=("a", "b"), none=None, ok=False, n=3, share=0.5, empty=[]
    )
    assert looked_at.plain == "claude claude:cut a b"
    assert looked_at.line() == structs.replace(looked_at, plain=None).line()


def test_a_member_of_an_enumeration_is_written_as_its_value() -> None:
    read = json.loads(event(kind=Kind.BEDROCK, kinds=[Kind.BEDROCK, "b"], at=Level.INFO).line())
    assert (read["kind"], read["kinds"], read["at"]) == ("bedrock", ["bedrock", "b"], 20)


def test_a_line_is_never_longer_than_its_bound() -> None:
    wide = told({f"field_{number}": "é" * 500 for number in range(40)})
    assert len(wide.line()) <= MAX_LINE
    assert json.loads(wide.line())["field_0"] == "é" * 80
    lists = told({f"field_{number}": ["é" * 500] * 16 for number in range(40)})
    read = json.loads(lists.line())
    assert len(lists.line()) <= MAX_LINE
    assert read["oversized"] > MAX_LINE


def test_a_traceback_may_be_longer_than_other_texts() -> None:
    assert clean("trace", "x" * 3000) == "x" * 3000


def test_lines_are_read_back_and_torn_ones_are_not() -> None:
    assert read_line(event(backend="claude").line()) == {
        "ts": "2026-11-18T11:06:40.250Z",
        "level": "warning",
        "event": "failover.happened",
        "backend": "claude",
    }
    for torn in (b"", b'{"ts":"20', b"[1]", b'{"a":1}', b"\xff", b"[" * 100_000):
        assert read_line(torn) is None


def test_for_people_an_event_is_one_line_of_words() -> None:
    line = render_text(
        event(backend="claude", why="two words", share=0.123456789, ok=True, tried=["a", "b"], gone=None), zone=UTC
    )
    assert line == (
        '11:06:40.250 warning  failover.happened backend=claude why="two words" share=0.123457 ok=true tried=a,b'
    )


def test_a_terminal_shows_the_level_in_colour_unless_it_is_ordinary() -> None:
    assert "\x1b[33mwarning \x1b[0m" in render_text(event(), colour=True, zone=UTC)
    assert "\x1b" not in render_text(event(Level.INFO), colour=True, zone=UTC)


def test_journald_gets_the_level_as_a_priority_and_adds_the_time_itself() -> None:
    assert render_text(event(Level.ERROR, a=1), journald=True) == "<3>failover.happened a=1"
    assert render_text(event(Level.DEBUG), journald=True) == "<7>failover.happened"
