"""Bring a daemon up in the background, and hear from it how that went.

Two processes down: a short-lived child takes a session of its own and starts the daemon,
so that the daemon is nobody's child. ``run`` becomes claude by ``exec``, and must not
leave it a child process that it never started.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import claude_failover
from claude_failover.clock import Clock, pause
from claude_failover.config_paths import Paths
from claude_failover.control import claim, handshake, ports
from claude_failover.control.client import ControlClient
from claude_failover.core.types import Seconds
from claude_failover.errors import AlreadyRunning, DaemonFailed, FailoverError

PATIENCE: Final = Seconds(20.0)
"""For the daemon to get ready. It needs under a second; a cold disk or a slow credential process may not."""

TAIL_LINES: Final = 15

DAEMON: Final = (sys.executable, "-P", "-m", "claude_failover.daemon")
"""``-P``: a file named like one of our modules, in the directory where ``start`` was typed, is not imported."""


def start_daemon(
    paths: Paths,
    clock: Clock,
    *,
    config: Path | None = None,
    command: Sequence[str] = DAEMON,
    patience: Seconds = PATIENCE,
    waiting: Callable[[], None] = lambda: None,
) -> handshake.Word:
    """Start the daemon and wait until it answers on socket and port.

    Args:
        paths: Where everything lives; the directories are made if they are not there.
        clock: For the time limits.
        config: A configuration file that the user chose, which then must exist; ``None`` = the default place.
        command: What to start.
        patience: How long to wait for the handshake.
        waiting: Called twice a second meanwhile.

    Raises:
        AlreadyRunning: Another daemon is there.
        DaemonFailed: It did not come up, with the end of what it said. Other kinds as the daemon raised them.
    """
    paths.prepare()
    if (pid := claim.holder(paths.lock)) is not None:
        raise AlreadyRunning(f"already running, pid {pid}" if pid else "already running")
    boot = paths.log_dir / "boot.log"
    reading, writing = os.pipe()
    try:
        chosen = ["--config", str(config)] if config is not None else []
        detach([*command, "--ready-fd", str(writing), *chosen], pass_fds=[writing], output=boot)
        os.close(writing)
        writing = -1
        try:
            word = handshake.hear(reading, clock, patience, waiting)
        except DaemonFailed as error:
            raise _with_tail(str(error), boot) from error
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if word is None:
        raise _with_tail("the daemon ended before it was ready", boot)
    if not word.ready:
        raise _with_owner(handshake.error_of(word))
    _verify(paths, clock, word)
    return word


def _with_owner(error: FailoverError) -> FailoverError:
    """Where a port is taken, say by whom: looked up here, because the daemon that found out has ended by now."""
    taken = re.search(r":(\d+) is taken by another program", str(error))
    holder = ports.owner(int(taken[1])) if taken else None
    if taken is None or holder is None:
        return error
    return type(error)(str(error).replace("another program", holder), hint=error.hint)


def detach(command: Sequence[str], *, pass_fds: Sequence[int] = (), output: Path | None = None) -> None:
    """Start *command* as nobody's child, in a session of its own, without our terminal.

    Raises:
        DaemonFailed: It could not be started.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if status:
            raise DaemonFailed(f"{command[0]}: could not be started")
        return
    code = 1
    try:
        os.setsid()
        path = Path(os.devnull) if output is None else output
        with path.open("wb") as sink:
            if output is not None:
                output.chmod(0o600)
            subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                pass_fds=pass_fds,
                env=environment(os.environ),
            )
        code = 0
    finally:
        os._exit(code)


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """What the daemon inherits: everything, and the way to the package where it is not installed (a checkout)."""
    inherited = dict(base)
    try:
        importlib.metadata.version("claude-failover")
    except importlib.metadata.PackageNotFoundError:
        root = str(Path(claude_failover.__file__).parent.parent)
        inherited["PYTHONPATH"] = os.pathsep.join(part for part in (root, base.get("PYTHONPATH", "")) if part)
    return inherited


def _verify(paths: Paths, clock: Clock, word: handshake.Word) -> None:
    """Believe it only when both ends answer: the socket, and the port that the daemon named."""
    ControlClient(paths.socket, patience=Seconds(2.0), clock=clock).ping()
    if word.address and not port_answers(word.address):
        raise DaemonFailed(f"the daemon runs (pid {word.pid}) but does not answer on {word.address}")


def port_answers(address: str) -> bool:
    """Whether ``/healthz`` on the data port at *address* answers as ours does."""
    split = urlsplit(address)
    connection = http.client.HTTPConnection(split.hostname or "127.0.0.1", split.port or 80, timeout=5.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _with_tail(message: str, boot: Path) -> FailoverError:
    """Add the end of what the daemon wrote before it could log."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = boot.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
    said = "".join(f"\n  {line}" for line in lines)
    return DaemonFailed(f"{message}; it said:{said}" if lines else message, hint="claude-failover start --foreground")


def wait_until_gone(paths: Paths, clock: Clock, patience: Seconds, waiting: Callable[[], None]) -> bool:
    """Wait until nobody holds the lock, which is the last thing a daemon lets go; False if it still does."""
    deadline = clock.now().monotonic + patience
    while claim.holder(paths.lock) is not None:
        if clock.now().monotonic >= deadline:
            return False
        pause(Seconds(0.02))
        waiting()
    return True
