"""Bringing a daemon up: the handshake, and every way in which it can fail."""

from __future__ import annotations

import importlib.metadata
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.cli import spawn
from claude_failover.clock import SystemClock
from claude_failover.config_paths import Paths
from claude_failover.control import claim
from claude_failover.control.client import ControlClient
from claude_failover.core.types import Seconds
from claude_failover.errors import AlreadyRunning, ConfigError, DaemonFailed
from tests.cli_homes import paths_of_a_fake, start_fake

CLOCK = SystemClock()


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    with paths_of_a_fake(monkeypatch) as found:
        yield found


def test_start_returns_when_socket_and_port_answer(paths: Paths) -> None:
    word = start_fake(paths)
    assert word.address.startswith("http://127.0.0.1:")
    assert word.notes == ("claude: ready",)
    assert ControlClient(paths.socket).ping().pid == word.pid


def test_the_daemon_is_nobodys_child_and_has_its_own_session(paths: Paths) -> None:
    word = start_fake(paths)
    assert os.getsid(word.pid) != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(word.pid, os.WNOHANG)


def test_nothing_of_ours_is_left_open_in_the_daemon(paths: Paths) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    word = start_fake(paths)
    os.close(writing)
    assert os.read(reading, 1) == b""  # the daemon does not hold the other end
    os.close(reading)
    assert Path(f"/proc/{word.pid}/fd/0").resolve() == Path(os.devnull)


def test_a_second_start_says_that_it_runs_and_by_what_pid(paths: Paths) -> None:
    word = start_fake(paths)
    with pytest.raises(AlreadyRunning, match=f"pid {word.pid}"):
        start_fake(paths)


def test_a_stale_pid_and_a_stale_socket_are_in_nobodys_way(paths: Paths) -> None:
    word = start_fake(paths)
    os.kill(word.pid, signal.SIGKILL)
    assert spawn.wait_until_gone(paths, CLOCK, Seconds(40), lambda: None)
    assert paths.socket.exists()
    again = start_fake(paths)
    assert again.pid != word.pid


def test_a_reason_is_told_as_the_daemon_told_it(paths: Paths) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml:3: no") as caught:
        start_fake(paths, "--refuse", "config.yaml:3: no")
    assert caught.value.hint == "claude-failover config check"


def test_a_crash_shows_the_end_of_what_was_said(paths: Paths) -> None:
    with pytest.raises(DaemonFailed, match=r"ended before it was ready; it said:\n  ImportError: no module") as caught:
        start_fake(paths, "--crash", "ImportError: no module")
    assert caught.value.hint == "claude-failover start --foreground"
    assert (paths.log_dir / "boot.log").stat().st_mode & 0o777 == 0o600


def test_a_crash_without_a_word_is_still_told(paths: Paths) -> None:
    with pytest.raises(DaemonFailed, match=r"ended before it was ready$"):
        spawn.start_daemon(paths, CLOCK, command=["/bin/sh", "-c", "exit 3", "sh"])


def test_a_daemon_that_never_gets_ready_is_not_waited_for_for_ever(paths: Paths) -> None:
    with pytest.raises(DaemonFailed, match="did not get ready"):
        start_fake(paths, "--mute", patience=1.0)
    ControlClient(paths.socket, patience=Seconds(40)).ping()  # it runs all the same; the fixture stops it


def test_a_program_that_is_not_there_is_told(paths: Paths) -> None:
    with pytest.raises(DaemonFailed, match="could not be started"):
        spawn.start_daemon(paths, CLOCK, command=["/nonexistent/python"])


def test_a_port_that_does_not_answer_is_not_ready(paths: Paths) -> None:
    assert not spawn.port_answers("http://127.0.0.1:1")


def test_a_file_named_like_a_module_of_ours_is_not_run(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """``start`` may be typed in a directory that somebody else filled."""
    trap = paths.state_dir.parent.parent / "repository"
    trap.mkdir()
    (trap / "msgspec.py").write_text("raise SystemExit('trapped')")
    monkeypatch.chdir(trap)
    assert start_fake(paths).pid


def test_waiting_for_the_end_has_an_end(paths: Paths) -> None:
    paths.prepare()
    lock = claim.acquire(paths.lock)
    looked: list[int] = []
    assert not spawn.wait_until_gone(paths, CLOCK, Seconds(0.1), lambda: looked.append(1))
    assert looked
    lock.release()
    assert spawn.wait_until_gone(paths, CLOCK, Seconds(0.1), lambda: None)


def test_a_checkout_that_is_not_installed_finds_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    root = str(Path(spawn.__file__).parent.parent.parent)
    assert spawn.environment({"A": "1"}) == {"A": "1", "PYTHONPATH": root}
    assert spawn.environment({"PYTHONPATH": "/x"}) == {"PYTHONPATH": f"{root}:/x"}


def test_an_installed_package_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1")
    assert spawn.environment({"A": "1"}) == {"A": "1"}
