"""``run --ephemeral``: stop the daemon when claude has ended, without standing between claude and its terminal.

``run`` becomes claude by ``exec`` as always. Before that it leaves a small watcher behind,
``python -m claude_failover.cli.ephemeral``, which waits for that very process to end and
then asks the daemon to stop.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from pathlib import Path
from typing import Final

from claude_failover.cli.spawn import detach
from claude_failover.clock import pause
from claude_failover.control.api import StopRequest
from claude_failover.control.client import ControlClient
from claude_failover.core.types import Seconds
from claude_failover.errors import FailoverError

MODULE: Final = (sys.executable, "-P", "-m", "claude_failover.cli.ephemeral")

DRAIN: Final = 10.0
"""Seconds for another session that has come to use the daemon meanwhile."""

_POLL: Final = Seconds(0.5)


def stop_after(pid: int, socket: Path) -> None:
    """Leave a watcher behind that stops the daemon of *socket* when process *pid* has ended."""
    handle = os.pidfd_open(pid) if sys.platform.startswith("linux") else -1
    try:
        # The descriptor means this process and no later one of the same number.
        detach([*MODULE, str(pid), str(handle), str(socket)], pass_fds=[handle] if handle >= 0 else [])
    finally:
        if handle >= 0:
            os.close(handle)


def wait_for(pid: int, handle: int) -> None:
    """Wait until the process has ended."""
    if handle >= 0:
        select.select([handle], [], [])
        return
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            pause(_POLL)


def main(arguments: list[str]) -> None:
    """Be the watcher."""
    pid, handle, socket = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    wait_for(pid, handle)
    with contextlib.suppress(FailoverError):
        ControlClient(socket).stop(StopRequest(drain_s=DRAIN))


if __name__ == "__main__":
    main(sys.argv[1:])
