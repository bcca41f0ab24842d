"""Under systemd: say when the daemon is ready, and every few seconds that it is well.

The daemon itself knows nothing of systemd. Beside it, in the same process, a thread hears
the readiness handshake that ``start`` hears too, and then asks the control channel the
question that ``status`` asks. That answer comes from the event loop, so a loop that hangs
stops the watchdog's pings, which is what a watchdog is for. Source: sd_notify(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from claude_failover.clock import Clock, pause
from claude_failover.control import handshake
from claude_failover.control.client import ControlClient
from claude_failover.core.types import Seconds
from claude_failover.errors import FailoverError

START_PATIENCE: Final = Seconds(60.0)

_MICRO: Final = 1e-6


def notify(environ: Mapping[str, str], state: str) -> bool:
    """Tell systemd; False if nobody listens."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError:
            return False
    return True


def watchdog_period(environ: Mapping[str, str], pid: int) -> Seconds | None:
    """Say how often to ping: a third of what systemd allows; ``None`` if it does not watch this process."""
    allowed = environ.get("WATCHDOG_USEC", "")
    if not allowed.isdigit() or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return Seconds(int(allowed) * _MICRO / 3)


def supervise(environ: Mapping[str, str], control: Path, clock: Clock) -> int | None:
    """Begin to report to systemd, if it asked to be told.

    Returns:
        The descriptor to hand to the daemon as its ``--ready-fd``; ``None`` if nobody is to be told.
    """
    if not environ.get("NOTIFY_SOCKET"):
        return None
    reading, writing = os.pipe()
    threading.Thread(target=report, args=(environ, control, clock, reading), daemon=True).start()
    return writing


def report(environ: Mapping[str, str], control: Path, clock: Clock, reading: int) -> None:
    """Hear the daemon's first word on *reading*, pass it on, and ping for as long as the process lives."""
    try:
        word = handshake.hear(reading, clock, START_PATIENCE)
    except FailoverError:
        word = None
    finally:
        os.close(reading)
    if word is None:
        return
    if not word.ready:
        # The daemon told the pipe instead of its stderr; the journal reads stderr.
        sys.stderr.write(f"{word.error}\n" + (f"hint: {word.hint}\n" if word.hint else ""))
        sys.stderr.flush()
        return
    notify(environ, f"READY=1\nSTATUS={word.address}")
    period = watchdog_period(environ, os.getpid())
    if period is not None:
        ping_for_ever(environ, period, ControlClient(control, timeout=period).ping)


def ping_for_ever(
    environ: Mapping[str, str],
    period: Seconds,
    ask: Callable[[], object],
    wait: Callable[[Seconds], None] = pause,
) -> None:
    """Ping after each answer; ends when systemd is no longer there."""
    while True:
        wait(period)
        with contextlib.suppress(FailoverError):
            ask()
            if not notify(environ, "WATCHDOG=1"):
                return
