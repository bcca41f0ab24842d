"""What the live screen knows and draws."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

from claude_failover.cli import render, watch
from claude_failover.cli.watch import View, screen, sparkline
from claude_failover.control.api import Event
from claude_failover.control.status import Totals
from tests.control_fakes import NOW, sample_status


def drawn(view: View, width: int = 100) -> str:
    return render.to_text(screen(view, UTC), width=width, colour=False)


def test_before_the_first_answer_there_is_only_the_way_out() -> None:
    assert drawn(View()).strip() == "q quits"


def test_requests_between_two_looks_make_the_sparkline() -> None:
    view = View()
    for requests in (134, 134, 135, 143):
        view.saw(sample_status(totals=Totals(requests)))
    assert list(view.requests) == [0, 1, 8]
    assert "requests ▁▂█" in drawn(view)


def test_a_daemon_that_was_restarted_does_not_count_backwards() -> None:
    view = View()
    view.saw(sample_status(totals=Totals(100)))
    view.saw(replace(sample_status(totals=Totals(2)), pid=4712))
    view.saw(replace(sample_status(totals=Totals(5)), pid=4712))
    assert list(view.requests) == [3]


def test_trouble_stands_on_top_of_what_was_last_seen() -> None:
    view = View()
    view.saw(sample_status())
    view.trouble = "the daemon does not run"
    text = drawn(view)
    assert text.startswith("the daemon does not run")
    assert "Failed over: bedrock answers" in text


def test_an_answer_ends_the_trouble() -> None:
    view = View(trouble="gone")
    view.saw(sample_status())
    assert view.trouble == ""


def test_the_latest_events_are_shown_and_the_oldest_go() -> None:
    view = View()
    for number in range(20):
        view.events.append(Event(number, NOW, "attempt.ended", {"n": number, "none": None, "empty": "", "list": ["a"]}))
    text = drawn(view)
    assert "11:06:40 attempt.ended n=19 list=['a']" in text
    assert "n=11" not in text
    assert text.count("attempt.ended") == watch.EVENTS


def test_a_long_event_is_cut_at_the_edge() -> None:
    view = View()
    view.events.append(Event(1, NOW, "attempt.ended", {"detail": "x" * 300}))
    assert max(len(line) for line in drawn(view, 80).splitlines()) <= 80


def test_a_sparkline_of_nothing_is_flat() -> None:
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""
