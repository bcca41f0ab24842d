"""The state file: whole or not at all, and never in the way of a start."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from claude_failover import events
from claude_failover.clock import SystemClock
from claude_failover.config import Loaded, Paths, write_private
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Kind
from claude_failover.daemon.life import Daemon
from claude_failover.daemon.state import StateFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_what_was_saved_is_loaded(path: Path) -> None:
    StateFile(path).save({"policy": {"cooldowns": [1]}, "denials": {}})
    assert StateFile(path).load()["policy"] == {"cooldowns": [1]}
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_no_state(path: Path) -> None:
    assert StateFile(path).load() == {}


@pytest.mark.parametrize("content", [b"{torn", b"[]", b'{"version": 2}', b"\xff", b"[" * 100_000])
def test_what_cannot_be_used_is_set_aside_and_said(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with events.capture() as said:
        assert StateFile(path).load() == {}
    assert path.with_suffix(".unreadable.json").read_bytes() == content
    assert not path.exists()
    assert [event.name for event in said] == ["ledger.failed"]
    assert "state.unreadable.json" in str(said[0].fields["error"])


def test_a_disk_that_refuses_is_said_once_until_it_works_again(path: Path) -> None:
    state = StateFile(path.parent / "gone" / "state.json")
    with events.capture() as said:
        state.save({})
        state.save({})
    assert state.error == "No such file or directory"
    assert len(said) == 1
    (path.parent / "gone").mkdir()
    state.save({"events": {}})
    assert state.error == ""
    assert json.loads((path.parent / "gone/state.json").read_bytes()) == {"version": 1, "events": {}}


async def test_what_is_saved_last_stays_although_an_older_state_was_still_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon's end: upkeep is cancelled while its thread writes, and then the last state is saved."""
    claude, clock = BackendName("claude"), SystemClock()
    paths = Paths(tmp_path / "config.yaml", tmp_path, tmp_path, tmp_path)
    loaded = Loaded(Settings(backends=(Backend(claude, Kind.ANTHROPIC),)), {})
    daemon = Daemon(loaded, paths, clock, {"HOME": str(tmp_path)})
    begun, go_on, written = threading.Event(), threading.Event(), threading.Semaphore(0)

    def slow_at_first(path: Path, data: bytes) -> None:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(30)
        write_private(path, data)
        written.release()

    monkeypatch.setattr("claude_failover.daemon.state.write_private", slow_at_first)
    async with asyncio.TaskGroup() as tasks:
        upkeep = tasks.create_task(daemon.save())
        assert await asyncio.to_thread(begun.wait, 30)
        upkeep.cancel()
        await asyncio.wait([upkeep])
        daemon.standing.policy.force(claude, None, None, clock.now())
        last = tasks.create_task(daemon.save())
        await asyncio.wait([last], timeout=0.2)
        go_on.set()
    for _ in range(2):
        assert await asyncio.to_thread(written.acquire, timeout=30)
    [order] = json.loads(paths.state.read_bytes())["policy"]["overrides"]
    assert order["backend"] == "claude"
