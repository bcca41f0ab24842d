"""The watcher that run --ephemeral leaves behind."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from claude_failover.cli import spawn
from claude_failover.cli.ephemeral import stop_after, wait_for
from claude_failover.clock import SystemClock
from claude_failover.config_paths import Paths
from claude_failover.control import claim
from claude_failover.core.types import Seconds
from tests.cli_homes import paths_of_a_fake, start_fake

CLOCK = SystemClock()


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    with paths_of_a_fake(monkeypatch) as found:
        yield found


def test_the_watcher_stops_the_daemon_when_claude_has_ended(paths: Paths) -> None:
    start_fake(paths)
    claude = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    stop_after(claude.pid, paths.socket)
    assert claim.holder(paths.lock) is not None
    claude.communicate(timeout=40)
    assert spawn.wait_until_gone(paths, CLOCK, Seconds(40), lambda: None)


def test_a_process_without_a_handle_is_polled() -> None:
    short = subprocess.Popen(["/bin/sleep", "0.2"])
    began = time.perf_counter()
    while short.poll() is None:
        pass
    wait_for(short.pid, -1)
    assert time.perf_counter() - began < 40
