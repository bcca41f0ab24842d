"""Homes for tests of the command line: one whose daemon is surely ended, one with a program named claude."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from claude_failover.cli.spawn import start_daemon, wait_until_gone
from claude_failover.clock import SystemClock
from claude_failover.config_paths import Paths, find_paths, make_private_directory
from claude_failover.control import claim
from claude_failover.control.api import StopRequest
from claude_failover.control.client import ControlClient
from claude_failover.control.handshake import Word
from claude_failover.core.types import Seconds
from claude_failover.errors import DaemonNotRunning
from tests.control_fakes import clean_environment, short_directory

CONFIG = """\
listen: {{port: {port}}}
backends:
  - {{name: claude, kind: anthropic, base_url: "http://127.0.0.1:{upstream}"}}
{more}"""

CLAUDE = """#!{python} -P
import json, os, signal, sys
names = ("ANTHROPIC", "CLAUDE", "NO_PROXY", "no_proxy", "ENABLE")
print(json.dumps({{
    "argv": sys.argv[1:],
    "pid": os.getpid(),
    "stdin": sys.stdin.read(),
    "env": {{name: value for name, value in os.environ.items() if name.startswith(names)}},
}}), flush=True)
if "--die" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
sys.exit(int(os.environ.get("EXIT_WITH", "0")))
"""
"""Tells what it got."""


def paths_of(home: Path) -> Paths:
    return find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")})


def private_socket(home: Path) -> Path:
    """Where a fake daemon serves."""
    path = paths_of(home).socket
    make_private_directory(path.parent)
    return path


# --- with a real daemon ----------------------------------------------------------------------------


@contextlib.contextmanager
def home_of_a_daemon() -> Iterator[Path]:
    """Whatever a test starts there is ended afterwards."""
    with short_directory() as directory:
        yield directory
        paths = paths_of(directory)
        pid = claim.holder(paths.lock)
        if pid:
            try:
                ControlClient(paths.socket).stop(StopRequest(now=True))
            except DaemonNotRunning:
                os.kill(pid, signal.SIGKILL)
            assert wait_until_gone(paths, SystemClock(), Seconds(40), lambda: None)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def configure(home: Path, port: int | None = None, more: str = "", upstream: int = 9) -> int:
    """Write a configuration with one backend; answers the port."""
    port = port or free_port()
    config = home / "cf/config.yaml"
    config.parent.mkdir(mode=0o700, exist_ok=True)
    config.write_text(CONFIG.format(port=port, more=more, upstream=upstream))
    config.chmod(0o600)
    return port


# --- with a fake daemon of its own process -----------------------------------------------------------

FAKE: Final = (sys.executable, "-P", "-m", "tests.control_fakes")


@contextlib.contextmanager
def paths_of_a_fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    """This process's own environment leads to a clean home; what was started there is stopped."""
    with short_directory() as home:
        for name in list(os.environ):
            if name.startswith(("CLAUDE", "ANTHROPIC", "AWS_")):
                monkeypatch.delenv(name)
        for name, value in clean_environment(home).items():
            monkeypatch.setenv(name, value)
        found = find_paths()
        yield found
        stop_fake(found)


def stop_fake(paths: Paths) -> None:
    try:
        ControlClient(paths.socket).stop(StopRequest(now=True))
    except DaemonNotRunning:
        return
    assert wait_until_gone(paths, SystemClock(), Seconds(40), lambda: None)


def start_fake(paths: Paths, *more: str, patience: float = 40.0) -> Word:
    return start_daemon(paths, SystemClock(), command=[*FAKE, *more], patience=Seconds(patience))


# --- with a claude ---------------------------------------------------------------------------------


@contextlib.contextmanager
def home_with_a_claude() -> Iterator[Path]:
    with short_directory() as directory:
        paths = paths_of(directory)
        paths.prepare()
        paths.client_key.write_text("thekey\n")
        install_claude(directory / "bin")
        yield directory


def install_claude(place: Path, text: str = CLAUDE.format(python=sys.executable)) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / "claude").write_text(text)
    (place / "claude").chmod(0o755)
    return place / "claude"


def path_with(home: Path) -> str:
    return f"{home}/bin:/usr/bin:/bin"
