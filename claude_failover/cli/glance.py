"""What is asked often and must be quick: ``status`` once, and the status line. Imports no parser.

Claude Code runs ``statusline`` after every answer with a JSON object on stdin and shows the
first line of stdout. A status line that fails or stalls spoils the prompt, so whatever goes
wrong there is said in that line, and the exit code is 0.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import Final

from claude_failover.cli import words
from claude_failover.cli.durations import clock_time
from claude_failover.cli.invocation import Invocation, coloured, out, width
from claude_failover.control.client import ControlClient
from claude_failover.control.status import Health, Status
from claude_failover.core.types import Seconds
from claude_failover.errors import EXIT_OK, DaemonNotRunning, FailoverError

PATIENCE: Final = Seconds(0.5)
"""For the daemon's answer."""


def show_status(invocation: Invocation, *, check: bool, short: bool, json: bool) -> int:
    """Ask for the status once and print it."""
    now = invocation.client().status()
    if short and not json:
        out(words.short(now))
    else:
        from claude_failover.cli import render  # noqa: PLC0415 - a line needs no tables

        if json:
            out(render.status_json(now))
        else:
            out(render.to_text(render.status_screen(now), width=width(), colour=coloured()))
    return now.check_exit_code if check else EXIT_OK


def show_statusline(invocation: Invocation) -> int:
    """Print the status line."""
    _drain_stdin()
    out(_line(invocation))
    return EXIT_OK


def _drain_stdin() -> None:
    """Take what Claude Code sends, so that it does not write into a closed pipe; none of it is needed."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if not sys.stdin.isatty() and select.select([sys.stdin], [], [], 0)[0]:
            os.read(sys.stdin.fileno(), 1 << 20)


def _line(invocation: Invocation) -> str:
    try:
        return line(ControlClient(invocation.paths.socket, timeout=PATIENCE).status())
    except DaemonNotRunning:
        return "failover: off"
    except FailoverError:
        return "failover: no answer"


def line(status: Status) -> str:
    """Write the line: ``Bedrock until 14:20 · $1.82/$20``."""
    name = (status.current.name or "nobody").capitalize()
    parts = [_who(status, name)]
    if status.override is not None:
        parts[0] += " (forced)"
    if status.current.until is not None and status.current.until > status.now:
        parts[0] += f" until {clock_time(status.current.until, status.now)}"
    elif status.plan and status.health is Health.PROTECTED:
        parts.extend(
            f"{window.name} {window.used * 100:.0f} %" for window in status.plan[:2] if window.used is not None
        )
    limit = "" if status.spend.limit_usd is None else f"/${status.spend.limit_usd:g}"
    if status.spend.today_usd >= 0.005 or status.health is Health.FAILED_OVER:
        parts.append(f"${status.spend.today_usd:.2f}{limit}")
    return " · ".join(parts)


def _who(status: Status, name: str) -> str:
    match status.health:
        case Health.PROTECTED | Health.FAILED_OVER:
            return name
        case Health.UNPROTECTED:
            return f"{name}, no failover"
        case Health.SPEND_LIMIT:
            return f"{name}, spend limit reached"
        case Health.DOWN:
            return "offline" if status.offline else "no backend answers"
