"""The first word of a daemon: one JSON line on an inherited descriptor, "ready" or "cannot, because".

``start`` hands the daemon the writing end of a pipe (``--ready-fd N``) and reads until the
line or the end of the pipe. A daemon that dies without a word closes the pipe by dying, so
the reader never waits for a corpse.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from claude_failover.clock import Clock
from claude_failover.control.api import decode, encode
from claude_failover.core.types import Seconds
from claude_failover.errors import (
    AlreadyRunning,
    ConfigError,
    ControlError,
    CredentialError,
    DaemonFailed,
    FailoverError,
    LedgerError,
    UsageError,
)

_MAX_BYTES: Final = 65536
"""A daemon that writes more than this into the pipe before its newline is not ours."""


@dataclass(frozen=True, slots=True)
class Word:
    """The line."""

    ready: bool = False
    pid: int = 0
    address: str = ""
    """The data port's URL."""
    error: str = ""
    """What and where; empty when ready."""
    kind: str = ""
    """The error's class in :mod:`claude_failover.errors`."""
    hint: str = ""
    exit_code: int = 0
    notes: tuple[str, ...] = ()
    """What works and what is missing, for the person who typed ``start``; one sentence each."""


_KINDS = {
    kind.__name__: kind
    for kind in (AlreadyRunning, ConfigError, CredentialError, DaemonFailed, LedgerError, UsageError)
}


def tell_ready(descriptor: int, *, pid: int, address: str, notes: tuple[str, ...] = ()) -> None:
    """Say that the daemon answers on socket and port; closes *descriptor*."""
    _tell(descriptor, Word(ready=True, pid=pid, address=address, notes=notes))


def tell_failed(descriptor: int, error: FailoverError) -> None:
    """Say why it cannot; closes *descriptor*."""
    _tell(
        descriptor,
        Word(error=str(error), kind=type(error).__name__, hint=error.hint or "", exit_code=error.exit_code),
    )


def _tell(descriptor: int, word: Word) -> None:
    _tell_line(descriptor, encode(word) + b"\n")


def _tell_line(descriptor: int, line: bytes) -> None:
    try:
        while line:
            line = line[os.write(descriptor, line) :]
    except BrokenPipeError:
        pass  # whoever started us has gone; the daemon's own life does not depend on it
    finally:
        os.close(descriptor)


def hear(descriptor: int, clock: Clock, patience: Seconds, waiting: Callable[[], None] = lambda: None) -> Word | None:
    """Wait for the line.

    Args:
        descriptor: The reading end; the caller closes it.
        clock: For the time limit.
        patience: How long to wait.
        waiting: Called about every half second meanwhile.

    Returns:
        The word, ``None`` if the pipe closed without one.

    Raises:
        DaemonFailed: Nothing came within *patience*, or what came is not the line.
    """
    deadline = clock.now().monotonic + patience
    heard = b""
    while b"\n" not in heard:
        left = deadline - clock.now().monotonic
        if left <= 0:
            raise DaemonFailed(f"the daemon did not get ready within {patience:.0f} s")
        readable, _, _ = select.select([descriptor], [], [], min(left, 0.5))
        if not readable:
            waiting()
            continue
        data = os.read(descriptor, _MAX_BYTES)
        if not data:
            return None
        heard += data
        if len(heard) > _MAX_BYTES:
            raise DaemonFailed("what started is not our daemon: it does not speak the handshake")
    try:
        return decode(heard.partition(b"\n")[0], Word)
    except ControlError as error:
        raise DaemonFailed(f"what started is not our daemon: {error}") from error


def error_of(word: Word) -> FailoverError:
    """Make the exception that *word* tells of."""
    error = _KINDS.get(word.kind, DaemonFailed)(word.error, hint=word.hint or None)
    if word.kind not in _KINDS and word.exit_code:
        error.exit_code = word.exit_code
    return error
