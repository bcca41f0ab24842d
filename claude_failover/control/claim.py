"""Who may serve: one daemon per state directory, decided by a lock that the kernel keeps.

Order, and it is the whole point: **lock, probe, unlink, bind**; at the end unlink the socket,
then let go of the lock. The lock file is never deleted: deleting a locked file makes two
daemons that each hold "the" lock. A pid is never evidence, since pids are used again; it is
only written into the lock file so that a loser can name the winner.

Probing before unlinking matters because asyncio would take a living daemon's socket over
without an error (style.md, traps 2); with the lock held nobody of ours can be alive, so the
probe protects a stranger's socket and a daemon of another state directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import Final

from claude_failover.clock import pause
from claude_failover.core.types import Seconds
from claude_failover.errors import AlreadyRunning, ConfigError, DaemonFailed

BACKLOG: Final = 64

MAX_SOCKET_PATH: Final = 100
"""Bytes; ``sun_path`` holds 108 on Linux and 104 on macOS, the closing NUL included."""

_TRIES: Final = 5
_BETWEEN: Final = Seconds(0.01)
"""A command that looks who holds the lock has it for microseconds; a daemon keeps it."""

_READ_BYTES: Final = 64
"""Of the lock file: a pid and a newline, with room to spare."""


class Lock:
    """The right to be the daemon. Gone with the process, however it ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; the file stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def acquire(path: Path) -> Lock:
    """Take the lock, or say who has it.

    Raises:
        AlreadyRunning: Another process holds it; names its pid.
        DaemonFailed: The file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise DaemonFailed(f"{path}: the lock cannot be opened: {error.strerror}", hint=f"ls -l {path}") from error
    left = _TRIES
    while not _locked(descriptor, fcntl.LOCK_EX):
        left -= 1
        if not left:
            pid = _read_pid(descriptor)
            os.close(descriptor)
            raise AlreadyRunning(f"already running, pid {pid}" if pid else "already running")
        pause(_BETWEEN)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return Lock(path, descriptor)


def holder(path: Path) -> int | None:
    """Name the process that holds the lock; ``None`` if nobody does. 0 = somebody who has not written its pid yet."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # Shared: two that look at once must not take each other for a daemon.
        return None if _locked(descriptor, fcntl.LOCK_SH) else _read_pid(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(descriptor: int) -> int:
    text = os.pread(descriptor, _READ_BYTES, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else 0


def bind(path: Path) -> socket.socket:
    """Make the listening socket at *path*, 0600 from its first moment. Call with the lock held.

    Raises:
        ConfigError: The path is too long for a socket, or something that is no socket lies there.
        AlreadyRunning: Somebody answers on it.
        DaemonFailed: The system refuses.
    """
    if len(os.fsencode(path)) >= MAX_SOCKET_PATH:
        raise ConfigError(
            f"{path}: too long for a socket ({len(os.fsencode(path))} bytes, under {MAX_SOCKET_PATH} are possible)",
            hint="export CLAUDE_FAILOVER_HOME=/a/shorter/path",
        )
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the file is born 0600: a chmod afterwards would leave a moment in between
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise DaemonFailed(f"{path}: the control socket cannot be made: {error.strerror}") from error
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _clear(path: Path) -> None:
    """Remove a socket that nobody answers on; refuse everything else."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise ConfigError(f"{path}: is in the way, and is not a socket", hint=f"mv {path} {path}.old")
    if answers(path):
        raise AlreadyRunning(f"somebody answers on {path}")
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def answers(path: Path) -> bool:
    """Whether anybody accepts connections on the socket at *path*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # a full backlog, a permission: somebody's, and not ours to remove
        return True


def unbind(path: Path) -> None:
    """Remove the socket file, which asyncio leaves behind (Python 3.11); the last step before the lock goes."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
