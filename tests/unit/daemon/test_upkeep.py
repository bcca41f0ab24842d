"""Upkeep: what is noticed, how often, and that nothing in it ends the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from claude_failover import events
from claude_failover.core.types import Epoch, Instant, Monotonic
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon import reloading, upkeep
from claude_failover.daemon.upkeep import Upkeep
from claude_failover.errors import ConfigError
from claude_failover.events import Event


@dataclass
class Clock:
    """Moves as a test says."""

    wall: float = 1000.0
    monotonic: float = 10.0

    def now(self) -> Instant:
        return Instant(Epoch(self.wall), Monotonic(self.monotonic))

    def move(self, monotonic: float, wall: float | None = None) -> None:
        self.monotonic += monotonic
        self.wall += monotonic if wall is None else wall


@dataclass
class FakeDaemon:
    """Notes what is asked of it."""

    clock: Clock = field(default_factory=Clock)
    done: list[str] = field(default_factory=list)
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    credentials: dict[str, CredentialView] = field(default_factory=dict)
    failing: str = ""
    served: int = 0

    def __post_init__(self) -> None:
        self.books = SimpleNamespace(changed=asyncio.Event())
        self.readings = SimpleNamespace(loop_lag=0.0)
        self.world = SimpleNamespace(in_flight=0)
        self.observers = SimpleNamespace(metrics=SimpleNamespace(load=lambda: self._do("load")))

    async def _do(self, what: str) -> None:
        self.done.append(what)
        if what == self.failing:
            raise ValueError("a bug")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in {
            "watch",
            "wake",
            "save",
            "warm",
            "close_retired",
            "look_at_credentials",
        }:
            raise AttributeError(name)
        return lambda: self._do(name)


@pytest.fixture
def said() -> Iterator[list[Event]]:
    with events.capture() as heard:
        yield heard


async def rounds(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, *moves: tuple[float, float]) -> None:
    """Live through so many rounds, the clock moving by that (monotonic, wall) in each."""
    left = iter(moves)

    async def sleep(seconds: float) -> None:
        assert seconds == upkeep.ROUND
        move = next(left, None)
        if move is None:
            raise asyncio.CancelledError
        daemon.clock.move(*move)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with contextlib.suppress(asyncio.CancelledError):
        await Upkeep(cast(Any, daemon)).run()


async def test_alerts_are_looked_at_every_five_rounds(monkeypatch: pytest.MonkeyPatch, said: list[Event]) -> None:
    daemon = FakeDaemon()
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 11)
    assert daemon.done.count("watch") == 2
    assert daemon.done.count("close_retired") == 11
    assert (said, daemon.readings.loop_lag) == ([], 0.0)


async def test_memory_is_given_back_after_requests_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = FakeDaemon()
    monkeypatch.setattr(upkeep, "give_back", lambda: daemon.done.append("given back"))
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 20)
    assert "given back" not in daemon.done
    daemon.served = 7
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 20)
    assert daemon.done.count("given back") == 1


async def test_memory_is_given_back_in_every_round_while_requests_are_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daemon = FakeDaemon(served=1)
    daemon.world.in_flight = 1
    monkeypatch.setattr(upkeep, "give_back", lambda: daemon.done.append("given back"))
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 3)
    assert daemon.done.count("given back") == 3


async def test_a_nights_sleep_is_noticed_once(monkeypatch: pytest.MonkeyPatch, said: list[Event]) -> None:
    daemon = FakeDaemon()
    await rounds(daemon, monkeypatch, (1.0, 1.0), (1.0, 3601.0), (1.0, 1.0))
    assert daemon.done.count("wake") == 1
    assert [(event.name, event.fields) for event in said] == [("machine.slept", {"seconds": 3600})]


async def test_a_clock_that_is_set_back_is_no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = FakeDaemon()
    await rounds(daemon, monkeypatch, (1.0, -3600.0), (1.0, 1.0))
    assert "wake" not in daemon.done


async def test_a_loop_that_is_late_is_measured_and_said(monkeypatch: pytest.MonkeyPatch, said: list[Event]) -> None:
    daemon = FakeDaemon()
    await rounds(daemon, monkeypatch, (1.1, 1.1), (3.0, 3.0))
    assert daemon.readings.loop_lag == pytest.approx(2.0)
    assert [(event.name, event.fields) for event in said] == [("loop.lagged", {"seconds": 2.0})]


async def test_credentials_that_work_are_looked_at_more_often_than_those_that_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daemon = FakeDaemon(credentials={"bedrock": CredentialView("AWS", problem="none")})
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 299)
    assert not daemon.fresh.is_set()
    daemon.credentials = {"bedrock": CredentialView("env", "long-term keys")}
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 30)
    assert daemon.fresh.is_set()


async def test_what_changes_quietly_is_saved_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = FakeDaemon()
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 59)
    assert not daemon.books.changed.is_set()
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 60)
    assert daemon.books.changed.is_set()


async def test_a_bug_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch, said: list[Event]) -> None:
    daemon = FakeDaemon(failing="close_retired")
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 5)
    assert daemon.done.count("close_retired") == 5
    assert daemon.done.count("watch") == 1
    assert {event.name for event in said} == {"code.crashed"}


async def test_a_system_without_a_thread_to_give_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, said: list[Event]
) -> None:
    async def none_left(work: object) -> None:
        del work
        raise RuntimeError("can't start new thread")

    daemon = FakeDaemon(served=1)
    monkeypatch.setattr(asyncio, "to_thread", none_left)
    await rounds(daemon, monkeypatch, *[(1.0, 1.0)] * 2)
    assert daemon.done.count("close_retired") == 2
    assert [event.name for event in said] == ["code.crashed"]


async def test_a_refused_configuration_in_upkeep_is_told(said: list[Event]) -> None:
    async def refuse() -> None:
        raise ConfigError("config.yaml:1: no")

    await upkeep.attempt(refuse)
    assert [event.fields.get("error") for event in said] == ["config.yaml:1: no"]


async def test_each_change_is_saved_and_many_at_once_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "SETTLE", 0.01)
    daemon = FakeDaemon()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        saving = tasks.create_task(Upkeep(cast(Any, daemon)).save())
        for _ in range(100):
            daemon.books.changed.set()
        while not daemon.done:  # noqa: ASYNC110 - a turn of the loop, not time
            await asyncio.sleep(0)
        daemon.books.changed.set()
        while len(daemon.done) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        saving.cancel()
    assert daemon.done == ["save", "save"]


@pytest.mark.parametrize("failing", ["", "load"])
async def test_after_the_start_and_every_change_what_is_needed_is_loaded(failing: str) -> None:
    # What cannot be loaded now is tried again: without the metrics every request waits in memory to be counted.
    daemon = FakeDaemon(failing=failing)
    daemon.fresh.set()
    once = ["load", "look_at_credentials", "warm", "look_at_credentials"]
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        warming = tasks.create_task(Upkeep(cast(Any, daemon)).warm())
        for count in (1, 2):
            while len(daemon.done) < 4 * count + 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert daemon.done == [*(once * count), "load"]
            daemon.fresh.set()
        warming.cancel()


async def test_a_hangup_reloads_and_a_refusal_or_a_bug_waits_for_the_next(
    monkeypatch: pytest.MonkeyPatch, said: list[Event]
) -> None:
    results = iter([ConfigError("no"), ValueError("a bug"), None])
    seen: list[object] = []

    def reload(daemon: object) -> None:
        del daemon
        result = next(results)
        seen.append(result)
        if result is not None:
            raise result

    monkeypatch.setattr(reloading, "reload", reload)
    asked = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(Upkeep(cast(Any, FakeDaemon())).reload(asked))
        for count in (1, 2, 3):
            asked.set()
            while len(seen) < count:  # noqa: ASYNC110
                await asyncio.sleep(0)
        waiting.cancel()
    assert [event.name for event in said] == ["code.crashed"]


async def test_the_stack_of_a_loop_that_stopped_is_asked_for_and_called_off(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        faulthandler, "dump_traceback_later", lambda after, file: asked.append((after, file is not None))
    )
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: asked.append("called off"))
    await rounds(FakeDaemon(), monkeypatch, (1.0, 1.0))
    assert asked == [(upkeep.STOPPED, True), (upkeep.STOPPED, True), "called off"]


def test_without_a_stderr_there_is_nothing_to_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.__stderr__", None)
    monkeypatch.setattr("sys.stderr", None)
    upkeep.watch_for_a_stop()
