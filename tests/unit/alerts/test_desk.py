from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from claude_failover.alerts import Desk, Failed, channels_of
from claude_failover.alerts.desk import WAITING
from claude_failover.core.conditions import Change, Notice
from claude_failover.core.gauges import BackendGauges, Gauges
from claude_failover.core.settings import Alerts
from claude_failover.core.types import BackendName, Epoch
from claude_failover.events import Event, EventName, Hub, Level, Value, capture, use

AT = Epoch(1_795_000_000.0)
QUIET = Gauges(AT, (BackendGauges(BackendName("claude")),), alert_usd=80.0)
SPENT = replace(QUIET, spent_usd=90.0)


class Recorder:
    """A channel that fails as often as it is told, and can be made to wait."""

    name = "recorder"
    tries = 3

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls = 0
        self.got: list[Notice] = []
        self.gate = threading.Event()
        self.gate.set()
        self.delivered = threading.Semaphore(0)
        self.called = threading.Semaphore(0)

    def deliver(self, notice: Notice) -> None:
        self.calls += 1
        self.called.release()
        self.gate.wait(30)
        if self.failures:
            self.failures -= 1
            raise Failed("not now")
        self.got.append(notice)
        self.delivered.release()


@pytest.fixture
def seen() -> Iterator[list[Event]]:
    before = use(Hub(lambda: AT))
    with capture() as found:
        yield found
    use(before)


def event(name: EventName, **fields: Value) -> Event:
    return Event(1, AT, name, Level.INFO, fields)


def test_an_alert_is_emitted_and_delivered_and_so_is_its_end(seen: list[Event]) -> None:
    channel = Recorder()
    desk = Desk(Alerts(), [channel])
    desk.tick(SPENT)
    desk.tick(replace(QUIET, at=Epoch(AT + 120)))
    assert channel.delivered.acquire(timeout=30)
    assert channel.delivered.acquire(timeout=30)
    assert [notice.change for notice in channel.got] == [Change.RAISED, Change.RESOLVED]
    assert [(one.name, one.fields["alert"]) for one in seen] == [("alert.raised", "cost"), ("alert.resolved", "cost")]
    desk.close()


def test_a_critical_alert_is_an_error_in_the_log(seen: list[Event]) -> None:
    desk = Desk(Alerts(), [])
    desk.tick(replace(QUIET, spent_usd=100.0, limit_usd=100.0))
    assert [(one.fields["alert"], one.level) for one in seen] == [
        ("cost", Level.WARNING),
        ("spend_limit", Level.ERROR),
    ]
    assert [notice.code for notice in desk.active()] == ["cost", "spend_limit"]


def test_a_delivery_that_fails_is_tried_again(seen: list[Event]) -> None:
    channel = Recorder(failures=2)
    desk = Desk(Alerts(), [channel], first_pause=0.001)
    desk.tick(SPENT)
    assert channel.delivered.acquire(timeout=30)
    assert channel.calls == 3
    desk.close()
    assert [one.name for one in seen] == ["alert.raised"]


def test_a_delivery_that_fails_for_good_is_said(seen: list[Event]) -> None:
    channel = Recorder(failures=99)
    desk = Desk(Alerts(), [channel], first_pause=0.001)
    desk.tick(SPENT)
    for _ in range(3):
        assert channel.called.acquire(timeout=30)
    desk.close()
    assert channel.calls == 3
    assert [(one.name, one.fields.get("detail")) for one in seen][1:] == [("alert.failed", "not now")]


def test_a_notice_that_a_channel_cannot_take_at_all_does_not_cost_the_next_ones(seen: list[Event]) -> None:
    class Odd(Recorder):
        def deliver(self, notice: Notice) -> None:
            if not self.calls:
                self.calls = 1
                raise ValueError("embedded null byte")  # as subprocess says of an argument
            super().deliver(notice)

    channel = Odd()
    desk = Desk(Alerts(), [channel])
    desk.tick(SPENT)
    desk.tick(replace(QUIET, at=Epoch(AT + 120)))
    assert channel.delivered.acquire(timeout=5)
    desk.close()
    assert [notice.change for notice in channel.got] == [Change.RESOLVED]
    assert {"code.crashed", "alert.failed"} <= {one.name for one in seen}


def test_where_there_is_no_thread_to_be_had_a_notice_waits_for_the_next(
    seen: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    channel = Recorder()
    desk = Desk(Alerts(), [channel])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        desk.tick(SPENT)
    desk.tick(replace(QUIET, at=Epoch(AT + 120)))
    assert channel.delivered.acquire(timeout=5)
    assert channel.delivered.acquire(timeout=5)
    desk.close()
    assert [notice.change for notice in channel.got] == [Change.RAISED, Change.RESOLVED]


def test_a_channel_that_hangs_holds_up_neither_the_desk_nor_another_channel(seen: list[Event]) -> None:
    slow, quick = Recorder(), Recorder()
    slow.gate.clear()
    desk = Desk(Alerts(), [slow, quick])
    desk.tick(SPENT)
    assert quick.delivered.acquire(timeout=30)
    assert slow.got == []
    slow.gate.set()
    assert slow.delivered.acquire(timeout=30)
    desk.close()


def test_notices_that_wait_are_bounded_and_the_lost_ones_are_said(seen: list[Event]) -> None:
    slow = Recorder()
    slow.gate.clear()
    desk = Desk(Alerts(), [slow])
    for number in range(WAITING + 10):
        desk.tick(replace(SPENT if number % 2 == 0 else QUIET, at=Epoch(AT + 100 * number)))
    lost = [one for one in seen if one.name == "alert.failed"]
    assert lost
    assert lost[0].fields["detail"] == "too many alerts wait"
    slow.gate.set()
    desk.close()


def test_closing_delivers_what_waits_once_and_does_not_wait_for_pauses(seen: list[Event]) -> None:
    channel = Recorder(failures=1)
    desk = Desk(Alerts(), [channel], first_pause=3600.0)
    desk.tick(SPENT)
    assert channel.called.acquire(timeout=30)
    desk.close()
    assert channel.calls == 2
    assert len(channel.got) == 1


def test_closing_a_desk_whose_queue_is_full_ends_too(seen: list[Event]) -> None:
    slow = Recorder()
    slow.gate.clear()
    desk = Desk(Alerts(), [slow])
    for number in range(2 * WAITING + 10):
        desk.tick(replace(SPENT if number % 2 == 0 else QUIET, at=Epoch(AT + 100 * number)))
    desk.close(timeout=0.01)
    slow.gate.set()
    desk.close()
    assert not desk._couriers[0]._thread or not desk._couriers[0]._thread.is_alive()


def test_credentials_and_breakers_are_heard_of_as_events(seen: list[Event]) -> None:
    desk = Desk(Alerts(), [])
    desk(event("credential.failed", backend="bedrock", detail="login expired"))
    for _ in range(5):
        desk(event("breaker.changed", **{"from": "closed", "to": "open"}))
    # A dead backend opens again after each probe: that is no coming and going.
    desk(event("breaker.changed", **{"from": "half_open", "to": "open"}))
    desk(event("exchange.ended"))
    assert [(notice.code, notice.detail) for notice in desk.tick(QUIET)] == [
        ("token_refresh", "bedrock: login expired"),
        ("breaker_flapping", "breakers opened 5 times in 30 minutes"),
    ]
    desk(event("credential.refreshed", backend="bedrock"))
    assert [notice.change for notice in desk.tick(replace(QUIET, at=Epoch(AT + 60)))] == [Change.RESOLVED]


def test_a_reload_changes_thresholds_and_channels_and_forgets_nothing(seen: list[Event]) -> None:
    first, second = Recorder(), Recorder()
    desk = Desk(Alerts(), [first])
    desk.tick(SPENT)
    assert first.delivered.acquire(timeout=30)
    desk.reload(Alerts(fallback_rate=0.5), [second])
    assert desk.tick(replace(SPENT, at=Epoch(AT + 10))) == []
    desk.tick(replace(QUIET, at=Epoch(AT + 120)))
    assert second.delivered.acquire(timeout=30)
    assert [notice.change for notice in second.got] == [Change.RESOLVED]
    assert len(first.got) == 1
    desk.close()


def test_without_channels_of_its_own_a_desk_takes_those_of_the_configuration(
    seen: list[Event], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "notify-send"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    desk = Desk(Alerts(desktop=False))
    assert [courier._channel.name for courier in desk._couriers] == []
    desk.reload(Alerts(desktop=True, command="true"))
    assert [courier._channel.name for courier in desk._couriers] == ["desktop", "command"]
    desk.close()


class TestChannelsOf:
    """Which channels a configuration makes."""

    NOTHING: ClassVar = Alerts(desktop=False)

    def test_none_without_any(self) -> None:
        assert channels_of(self.NOTHING) == ()

    def test_a_command_and_a_webhook(self) -> None:
        settings = Alerts(desktop=False, command="notify --now", webhook="https://example.invalid/hook")
        assert [channel.name for channel in channels_of(settings)] == ["command", "webhook"]

    def test_a_desktop_only_where_there_is_a_program_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert channels_of(Alerts(desktop=True)) == ()
