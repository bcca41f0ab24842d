"""The line that says what is being waited for."""

from __future__ import annotations

import io
import threading

from claude_failover.cli.progress import Progress, waiting
from claude_failover.clock import FakeClock


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_what_is_quick_shows_nothing() -> None:
    clock, stream = FakeClock(), Terminal()
    with Progress("starting", stream=stream, clock=clock) as progress:
        clock.advance(0.6)
        progress.tick()
    assert stream.getvalue() == ""


def test_what_takes_longer_is_shown_and_wiped() -> None:
    clock, stream = FakeClock(), Terminal()
    with Progress("starting", stream=stream, clock=clock) as progress:
        clock.advance(2.0)
        progress.tick()
        assert stream.getvalue() == "\r\x1b[Kstarting … 2 s"
    assert stream.getvalue().endswith("\r\x1b[K")


def test_the_line_changes_at_most_twice_a_second() -> None:
    clock, stream = FakeClock(), Terminal()
    with Progress("waiting for 3 streams", stream=stream, clock=clock) as progress:
        clock.advance(2.0)
        progress.tick()
        shown = stream.getvalue()
        clock.advance(0.3)
        progress.tick()
        assert stream.getvalue() == shown
        clock.advance(0.3)
        assert progress.due()
        progress.say("waiting for 1 stream")
    assert "waiting for 1 stream … 3 s" in stream.getvalue()


def test_nothing_is_shown_where_nobody_looks() -> None:
    clock, stream = FakeClock(), io.StringIO()
    with Progress("starting", stream=stream, clock=clock) as progress:
        clock.advance(5.0)
        progress.tick()
    assert stream.getvalue() == ""


class Written(Terminal):
    """Says when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.happened = threading.Event()

    def write(self, text: str) -> int:
        self.happened.set()
        return super().write(text)


def test_what_cannot_tick_is_ticked_for() -> None:
    clock, stream = FakeClock(), Written()
    with waiting("asking AWS", stream=stream, clock=clock):
        clock.advance(3.0)
        assert stream.happened.wait(30)
    assert stream.getvalue().startswith("\r\x1b[Kasking AWS … 3 s")
    assert stream.getvalue().endswith("\r\x1b[K")
    assert "progress" not in [thread.name for thread in threading.enumerate()]
