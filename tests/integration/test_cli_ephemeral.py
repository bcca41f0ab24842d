"""The watcher that run --ephemeral leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from claude_failover.cli import spawn
from claude_failover.cli.ephemeral import stop_after, wait_for
from claude_failover.clock import SystemClock
from claude_failover.config_paths import Paths, find_paths
from claude_failover.control import claim
from claude_failover.control.api import StopRequest
from claude_failover.control.client import ControlClient
from claude_failover.control.handshake import Word
from claude_failover.core.types import Seconds
from claude_failover.errors import DaemonNotRunning
from tests.control_fakes import clean_environment, short_directory

CLOCK = SystemClock()


FAKE = (sys.executable, "-P", "-m", "tests.control_fakes")


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    with short_directory() as home:
        environ = clean_environment(home)
        for name in list(os.environ):
            if name.startswith(("CLAUDE", "ANTHROPIC", "AWS_")):
                monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        found = find_paths()
        yield found
        stop(found)


def stop(paths: Paths) -> None:
    try:
        ControlClient(paths.socket).stop(StopRequest(now=True))
    except DaemonNotRunning:
        return
    assert spawn.wait_until_gone(paths, CLOCK, Seconds(10), lambda: None)


def start(paths: Paths, *more: str, patience: float = 20.0) -> Word:
    return spawn.start_daemon(paths, CLOCK, command=[*FAKE, *more], patience=Seconds(patience))


def test_the_watcher_stops_the_daemon_when_claude_has_ended(paths: Paths) -> None:
    start(paths)
    claude = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    stop_after(claude.pid, paths.socket)
    assert claim.holder(paths.lock) is not None
    claude.communicate(timeout=10)
    assert spawn.wait_until_gone(paths, CLOCK, Seconds(15), lambda: None)


def test_a_process_without_a_handle_is_polled() -> None:
    short = subprocess.Popen(["/bin/sleep", "0.2"])
    began = time.perf_counter()
    while short.poll() is None:
        pass
    wait_for(short.pid, -1)
    assert time.perf_counter() - began < 5
