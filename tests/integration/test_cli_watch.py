"""status --watch on a real terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from claude_failover.cli import spawn
from claude_failover.clock import SystemClock
from claude_failover.config_paths import Paths, find_paths
from claude_failover.control.api import ForceRequest, StopRequest
from claude_failover.control.client import ControlClient
from claude_failover.core.types import Seconds
from claude_failover.errors import DaemonNotRunning
from tests.control_fakes import clean_environment, short_directory

FAKE = (sys.executable, "-P", "-m", "tests.control_fakes")
ENTER, LEAVE = r"\x1b\[\?1049h", r"\x1b\[\?1049l"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with short_directory() as directory:
        for name, value in clean_environment(directory).items():
            monkeypatch.setenv(name, value)
        yield directory
        try:
            ControlClient(paths_of(directory).socket).stop(StopRequest(now=True))
        except DaemonNotRunning:
            return
        assert spawn.wait_until_gone(paths_of(directory), SystemClock(), Seconds(40), lambda: None)


def paths_of(home: Path) -> Paths:
    return find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")})


def begin(home: Path) -> int:
    return spawn.start_daemon(paths_of(home), SystemClock(), command=FAKE).pid


def watching(home: Path, rows: int = 40) -> pexpect.spawn:
    environ = clean_environment(home, TERM="xterm-256color")
    del environ["COLUMNS"]
    return pexpect.spawn(
        sys.executable, ["-P", "-m", "claude_failover", "status", "--watch"], env=environ, cwd=str(home),
        encoding="utf-8", timeout=40, dimensions=(rows, 100),
    )  # fmt: skip


def test_the_screen_is_live_and_q_gives_the_terminal_back(home: Path) -> None:
    begin(home)
    terminal = watching(home)
    terminal.expect(ENTER)
    terminal.expect("Failed over: bedrock answers")
    ControlClient(paths_of(home).socket).force(ForceRequest("claude"))
    terminal.expect("forced to claude")
    terminal.expect("override.set backend=claude")
    terminal.send("q")
    terminal.expect(LEAVE)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (terminal.exitstatus, terminal.signalstatus) == (0, None)


def test_an_interrupt_gives_the_terminal_back_too(home: Path) -> None:
    begin(home)
    terminal = watching(home)
    terminal.expect("Failed over")
    terminal.sendintr()
    terminal.expect(LEAVE)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130


def test_it_survives_the_daemon_and_finds_the_next_one(home: Path) -> None:
    pid = begin(home)
    terminal = watching(home)
    terminal.expect("Failed over")
    os.kill(pid, signal.SIGKILL)
    terminal.expect("the daemon does not run; waiting for it")
    again = begin(home)
    terminal.expect(f"pid {again}")
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_it_can_be_begun_before_there_is_a_daemon(home: Path) -> None:
    terminal = watching(home)
    terminal.expect("the daemon does not run; waiting for it")
    begin(home)
    terminal.expect("Failed over")
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()


def test_a_small_terminal_shows_what_fits(home: Path) -> None:
    begin(home)
    terminal = watching(home, rows=6)
    terminal.expect("Failed over")
    terminal.setwinsize(40, 120)
    terminal.expect("spent today")
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()


def test_into_a_pipe_it_prints_a_line_when_something_changes(home: Path) -> None:
    begin(home)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "claude_failover", "status", "--watch"],
        env=clean_environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "failed_over · bedrock · until 12:18 · $1.82/$20\n"
    ControlClient(paths_of(home).socket).stop(StopRequest(now=True))
    assert "the daemon does not run" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 130
