"""What every command starts from: the global options, the paths, the client, and how to speak.

Data goes to stdout with :func:`out`, talk to stderr with :func:`say`; nothing else prints.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from claude_failover.clock import Clock, SystemClock
from claude_failover.config_paths import Paths, find_paths
from claude_failover.control.client import ControlClient
from claude_failover.core.types import Seconds

if TYPE_CHECKING:
    import typer

PROGRAM = "claude-failover"

CONFIG_VARIABLE = "CLAUDE_FAILOVER_CONFIG"


@dataclass
class Invocation:
    """One run of the command line."""

    config: Path | None = None
    """From ``--config``, absolute."""
    verbose: bool = False
    clock: Clock = field(default_factory=SystemClock)

    @property
    def chosen(self) -> Path | None:
        """The configuration file that the user named, by flag or variable; such a file must exist."""
        named = os.environ.get(CONFIG_VARIABLE)
        return self.config or (Path(named).expanduser().absolute() if named else None)

    @cached_property
    def paths(self) -> Paths:
        """Where everything lives."""
        return find_paths(self.config)

    def client(self, *, patience: float = 0.0, warn: Callable[[str], None] | None = None) -> ControlClient:
        """Make a client of the daemon of these paths; *warn* is told of another release, on stderr by default."""
        paths = self.paths
        return ControlClient(
            paths.socket, lock=paths.lock, patience=Seconds(patience), warn=warn or say, clock=self.clock
        )

    def export(self) -> None:
        """Let everything below us, commands of other modules and child processes, see ``--config`` too."""
        if self.config is not None:
            os.environ[CONFIG_VARIABLE] = str(self.config)


def of(context: typer.Context) -> Invocation:
    """Find the invocation that the global callback left in *context*."""
    found = context.find_object(Invocation)
    return found if found is not None else Invocation()


def out(text: str) -> None:
    """Print data."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def say(text: str) -> None:
    """Talk to the person; never mixed into data."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def coloured(stream: object = None) -> bool:
    """Whether colour may be used: only on a terminal, and not with NO_COLOR (no-color.org) or TERM=dumb."""
    stream = sys.stdout if stream is None else stream
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(getattr(stream, "isatty", lambda: False)())


def width() -> int:
    """Columns to draw in: the terminal's, ``COLUMNS`` elsewhere, 100 where nobody says (80 at least is assumed)."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)
