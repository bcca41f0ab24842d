"""status --watch: a live screen that outlives the daemon it looks at.

Two threads: one waits for events and says "something happened", the screen's own asks for
the status then, and at least every :data:`EVERY` seconds. A daemon that goes away is said
to be away, and found again when it is back.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from claude_failover.cli import render, words
from claude_failover.cli.invocation import Invocation, coloured, out, width
from claude_failover.clock import pause
from claude_failover.control.api import Event
from claude_failover.control.status import Status
from claude_failover.core.types import Seconds
from claude_failover.errors import EXIT_OK, DaemonNotRunning, FailoverError

EVERY: Final = 1.0
"""Seconds between two looks when nothing happens: countdowns run in seconds."""

SOONEST: Final = 0.2
"""Seconds between two looks however much happens."""

EVENTS: Final = 8
"""Latest events shown."""

SPARKS: Final = "▁▂▃▄▅▆▇█"

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_CLEAR_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"


@dataclass
class View:
    """What the screen knows."""

    status: Status | None = None
    trouble: str = ""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS))
    requests: deque[int] = field(default_factory=lambda: deque(maxlen=60))
    """Requests in each of the last looks, for the sparkline."""
    _total: int | None = None
    _pid: int | None = None

    def saw(self, status: Status) -> None:
        """Take a look's result in."""
        if self._pid == status.pid and self._total is not None:
            self.requests.append(max(0, status.totals.requests - self._total))
        self._pid, self._total = status.pid, status.totals.requests
        self.status, self.trouble = status, ""


def sparkline(values: deque[int] | list[int]) -> str:
    """Draw counts as a row of eighths."""
    most = max(values, default=0)
    return "".join(SPARKS[round(value / most * (len(SPARKS) - 1))] if most else SPARKS[0] for value in values)


def screen(view: View, zone: tzinfo | None = None) -> RenderableType:
    """Draw the view. Pure."""
    blocks: list[RenderableType] = []
    if view.trouble:
        blocks += [Text(view.trouble, "bold red"), Text("")]
    if view.status is not None:
        blocks.append(render.status_screen(view.status, zone))
    if view.requests:
        blocks += [Text(""), Text(f"requests {sparkline(view.requests)}", "cyan")]
    if view.events:
        blocks += [Text(""), *(_event(event, zone) for event in view.events)]
    return Group(*blocks, Text(""), Text("q quits", "dim"))


def _event(event: Event, zone: tzinfo | None) -> RenderableType:
    then = datetime.fromtimestamp(event.at, tz=UTC).astimezone(zone).strftime("%H:%M:%S")
    words = " ".join(f"{name}={value}" for name, value in event.fields.items() if value is not None and value != "")
    return Text(f"{then} {event.name} {words}", "dim", no_wrap=True, overflow="ellipsis")


def watch(invocation: Invocation) -> int:
    """Show the live screen until q or an interrupt; without a terminal, print a line at each change instead."""
    view = View()
    if not sys.stdout.isatty():
        return _plain(invocation, view)
    happened = threading.Event()
    threading.Thread(target=_listen, args=(invocation, view, happened), daemon=True).start()
    with _own_screen() as keys:
        while True:
            _look(invocation, view)
            _draw(view)
            if _quit(keys, happened):
                return EXIT_OK


def _look(invocation: Invocation, view: View) -> None:
    try:
        view.saw(invocation.client().status())
    except DaemonNotRunning:
        view.trouble = "the daemon does not run; waiting for it (claude-failover start)"
    except FailoverError as error:
        view.trouble = str(error)


def _draw(view: View) -> None:
    text = render.to_text(screen(view), width=width(), colour=coloured())
    rows = os.get_terminal_size(sys.stdout.fileno()).lines
    lines = text.splitlines()[: rows - 1]
    sys.stdout.write(_HOME + "".join(f"{line}{_CLEAR_LINE}\r\n" for line in lines) + _CLEAR_BELOW)
    sys.stdout.flush()


def _listen(invocation: Invocation, view: View, happened: threading.Event) -> None:
    """Follow the events, over restarts of the daemon; what was in the window before comes first."""
    since = 0
    while True:
        try:
            for event in invocation.client().events(since):
                since = event.seq
                view.events.append(event)
                happened.set()
            since = 0
        except FailoverError:
            since = 0
        pause(Seconds(0.5))


def _quit(keys: int | None, happened: threading.Event) -> bool:
    """Wait for a key, an event, or the next second; True if the key says so."""
    waited = 0.0
    while waited < EVERY:
        readable, _, _ = select.select([keys] if keys is not None else [], [], [], SOONEST)
        if readable and keys is not None and os.read(keys, 16)[:1] in {b"q", b"Q", b"\x03", b""}:
            return True
        waited += SOONEST
        if happened.is_set():
            break
    happened.clear()
    return False


@contextmanager
def _own_screen() -> Iterator[int | None]:
    """Take the alternate screen and single keys; give everything back however it ends."""
    keys = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = termios.tcgetattr(keys) if keys is not None else None
    sys.stdout.write(_ENTER)
    try:
        if keys is not None:
            tty.setcbreak(keys)
        yield keys
    finally:
        if keys is not None and before is not None:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _plain(invocation: Invocation, view: View) -> int:
    """For pipes: one line whenever it differs from the last."""
    last = ""
    while True:
        _look(invocation, view)
        line = view.trouble or (words.short(view.status) if view.status is not None else "")
        if line != last:
            out(line)
            sys.stdout.flush()
            last = line
        pause(Seconds(EVERY))
