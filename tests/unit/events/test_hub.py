from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from claude_failover.clock import FakeClock
from claude_failover.events import hub
from claude_failover.events.event import Event
from claude_failover.events.hub import (
    BURST,
    KINDS,
    EventsWindow,
    Hub,
    capture,
    crash,
    emit,
    hook_interpreter,
    on_loop,
    use,
)
from claude_failover.events.names import Level


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def seen(clock: FakeClock) -> Iterator[list[Event]]:
    before = use(Hub(lambda: clock.now().wall))
    with capture() as found:
        yield found
    use(before)


def test_an_event_carries_its_moment_number_and_level(clock: FakeClock, seen: list[Event]) -> None:
    emit("failover.happened", backend="claude")
    clock.advance(2)
    emit("exchange.ended", level=Level.ERROR, status=500)
    assert seen == [
        Event(1, clock.now().wall - 2, "failover.happened", Level.WARNING, {"backend": "claude"}, "claude"),  # type: ignore[arg-type]
        Event(2, clock.now().wall, "exchange.ended", Level.ERROR, {"status": 500}, ""),
    ]


def test_a_sink_that_raises_is_counted_and_the_others_still_hear() -> None:
    one = Hub(lambda: FakeClock().now().wall)

    def broken(event: Event) -> None:
        raise RuntimeError(event.name)

    heard: list[Event] = []
    one.subscribe(broken)
    one.subscribe(heard.append)
    one.emit("daemon.started", {})
    one.emit("daemon.stopped", {})
    assert [event.name for event in heard] == ["daemon.started", "daemon.stopped"]
    assert one.sink_failures == 2


def test_fields_that_are_none_are_not_the_callers_trouble(seen: list[Event]) -> None:
    fields: dict[Any, Any] = {1: "one"}
    hub.say("daemon.started", fields)
    assert [event.plain for event in seen] == [None]


def test_whoever_ends_its_subscription_hears_no_more(seen: list[Event]) -> None:
    heard: list[Event] = []
    unsubscribe = hub._hub.subscribe(heard.append)
    emit("daemon.started")
    unsubscribe()
    unsubscribe()
    emit("daemon.stopped")
    assert [event.name for event in heard] == ["daemon.started"]
    assert len(seen) == 2


def test_what_repeats_is_held_back_and_counted(clock: FakeClock, seen: list[Event]) -> None:
    for _ in range(100):
        emit("client.refused", why="host", status=421)
    assert len(seen) == BURST
    emit("client.refused", why="key", status=401)
    assert len(seen) == BURST + 1
    clock.advance(60)
    emit("client.refused", why="host", status=421)
    assert seen[-1].fields == {"why": "host", "status": 421, "held_back": 95}


def test_a_burst_is_said_while_it_goes_on(clock: FakeClock, seen: list[Event]) -> None:
    for _ in range(BURST + 1_000):
        emit("client.refused", why="key", status=401)
    assert [event.fields.get("burst") for event in seen] == [None] * BURST + [105, 1005]
    assert seen[-1].fields == {"why": "key", "status": 401, "burst": 1005}


def test_a_clock_set_back_does_not_silence_a_kind_for_ever(clock: FakeClock, seen: list[Event]) -> None:
    for _ in range(BURST + 1):
        emit("loop.lagged", lag_s=1.0)
    clock.wall -= 3600
    emit("loop.lagged", lag_s=1.0)
    assert seen[-1].fields == {"lag_s": 1.0, "held_back": 1}


def test_kinds_of_repeats_are_bounded(seen: list[Event]) -> None:
    for number in range(KINDS * 2):
        emit("price.missed", model=f"made-up-{number}")
    assert len(seen) == KINDS * 2
    assert len(hub._hub._repeats) == KINDS


def test_details_are_put_together_only_if_somebody_wants_them() -> None:
    one = Hub(lambda: FakeClock().now().wall)
    heard: list[Event] = []
    one.subscribe(heard.append)
    one.emit("attempt.ended", {})
    assert heard == []
    assert not one.is_debugged()
    window = EventsWindow(level=Level.DEBUG)
    one.subscribe(window)
    assert one.is_debugged()
    one.emit("attempt.ended", {})
    assert [event.name for event in window.recent()] == ["attempt.ended"]
    assert heard == []
    window.level = Level.INFO
    assert not one.is_debugged()


def test_what_matters_per_request_is_never_held_back(seen: list[Event]) -> None:
    for _ in range(50):
        emit("exchange.ended", outcome="served")
    assert len(seen) == 50


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("invalid literal for int() with base 10: 'a prompt'", "invalid literal for int() with base 10: '…'"),
        ('no such key: "it\'s", "mine"', 'no such key: "…"'),
        ("two\n'lines\nof it' here", "two\n'…' here"),
        ("nothing quoted", "nothing quoted"),
    ],
)
def test_a_crash_leaves_out_what_its_message_quotes(seen: list[Event], message: str, kept: str) -> None:
    crash("exchange", ValueError(message))
    assert seen[-1].fields["message"] == kept


def test_a_crash_tells_where_without_any_local_value(seen: list[Event]) -> None:
    def inner() -> None:
        secret = "do-not-show-me"  # noqa: F841 - a local that must stay local
        raise ValueError("bad thing")

    try:
        inner()
    except ValueError as error:
        crash("exchange", error)
    (event,) = seen
    assert event.level is Level.ERROR
    assert event.fields["where"] == "exchange"
    assert event.fields["error"] == "ValueError"
    assert event.fields["message"] == "bad thing"
    trace = str(event.fields["trace"])
    assert trace.startswith("inner test_hub.py:")
    assert "do-not-show-me" not in trace


def test_the_window_keeps_the_newest_thousand_of_a_hundred_thousand(clock: FakeClock) -> None:
    window = EventsWindow()
    one = Hub(lambda: clock.now().wall)
    one.subscribe(window)
    for number in range(100_000):
        one.emit("failover.happened", {"n": number})
    assert len(window) == 1000
    assert [event.fields["n"] for event in window.recent(2)] == [99_998, 99_999]
    assert [event.seq for event in window.since(99_998)] == [99_999, 100_000]
    assert window.summary() == {"failover.happened": 100_000}


def test_the_window_leaves_out_what_is_too_quiet_and_can_be_asked_for_one_name(clock: FakeClock) -> None:
    window = EventsWindow()
    one = Hub(lambda: clock.now().wall)
    one.subscribe(window)
    one.emit("attempt.ended", {})
    one.emit("failover.happened", {})
    one.emit("failback.happened", {})
    assert [event.name for event in window.recent()] == ["failover.happened", "failback.happened"]
    assert [event.name for event in window.recent(name="failback.happened")] == ["failback.happened"]
    assert window.recent(0) == ()


def test_the_windows_summary_survives_a_restart() -> None:
    window = EventsWindow()
    window.restore({"failover.happened": 3})
    window(Event(1, FakeClock().now().wall, "failover.happened", Level.WARNING, {}))
    assert window.summary() == {"failover.happened": 4}


async def test_a_sink_of_the_event_loop_may_be_reached_from_any_thread(clock: FakeClock) -> None:
    heard: list[tuple[str, int]] = []
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def note(event: Event) -> None:
        heard.append((event.name, threading.get_ident()))
        if event.name == "daemon.stopped":
            done.set()

    one = Hub(lambda: clock.now().wall)
    one.subscribe(on_loop(loop, note))
    one.emit("daemon.started", {})
    await asyncio.to_thread(one.emit, "daemon.stopped", {})
    await done.wait()
    assert heard == [("daemon.started", threading.get_ident()), ("daemon.stopped", threading.get_ident())]


def test_a_loop_that_is_closed_has_nobody_left_to_tell(clock: FakeClock) -> None:
    loop = asyncio.new_event_loop()
    one = Hub(lambda: clock.now().wall)
    heard: list[Event] = []
    one.subscribe(on_loop(loop, heard.append))
    loop.close()
    thread = threading.Thread(target=one.emit, args=("daemon.stopped", {}))
    thread.start()
    thread.join()
    assert heard == []
    assert one.sink_failures == 0


def test_what_nobody_catches_reaches_the_log(
    seen: list[Event], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    hook_interpreter()

    def fail() -> None:
        raise RuntimeError("in a thread")

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    error = KeyError("at the top")
    sys.excepthook(KeyError, error, None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    class Bad:
        def __del__(self) -> None:
            raise OSError("in a destructor")

    bad = Bad()
    del bad
    assert [event.fields["where"] for event in seen] == ["thread worker", "program", "program", "destructor"]
    assert capsys.readouterr().err == "claude-failover: KeyError; see `claude-failover logs`\n"
