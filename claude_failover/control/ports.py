"""Who holds a TCP port, so that "taken" can say by whom.

Linux keeps the answer in ``/proc``: ``/proc/net/tcp`` maps the listening address to a socket's
inode, and ``/proc/PID/fd`` maps inodes to processes, as far as we may look (our own user's,
or all for root; not one that made itself undumpable, as our own daemon does). Elsewhere
``lsof`` is asked, if it is there.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"
"""``st`` column of ``/proc/net/tcp`` for TCP_LISTEN (include/net/tcp_states.h)."""

_LSOF_PATIENCE: Final = 3.0


def owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """Name the process that listens on *port* as ``pid 4711 (nginx)``; ``None`` if it cannot be known."""
    if not sys.platform.startswith("linux"):
        return _ask_lsof(port, shutil.which("lsof"))
    inodes = _inodes(port, proc)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for directory in proc.iterdir():
        if directory.name.isdigit() and _holds(directory, wanted):
            return f"pid {directory.name} ({_command(directory)})"
    return "a process that we may not look into"


def _inodes(port: int, proc: Path) -> set[str]:
    found = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / name).read_text("ascii", "replace").splitlines()[1:]:
                columns = line.split()
                if len(columns) > 9 and columns[3] == _LISTEN and columns[1].endswith(f":{port:04X}"):
                    found.add(columns[9])
    return found


def _holds(directory: Path, wanted: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in (directory / "fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) in wanted:
                    return True
    return False


def _command(directory: Path) -> str:
    """The program's name only: a whole command line may hold another program's secret."""
    try:
        words = (directory / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        name = (directory / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "unknown"
    return name if not words[0] else Path(words[0]).name


def _ask_lsof(port: int, program: str | None) -> str | None:
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - the program was looked up, the port is a number
            [program, "-nP", "-Fpc", "-sTCP:LISTEN", f"-iTCP:{port}"],
            capture_output=True,
            text=True,
            timeout=_LSOF_PATIENCE,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    fields = {line[0]: line[1:] for line in answer.splitlines() if line}
    return f"pid {fields['p']} ({fields.get('c', 'unknown')})" if "p" in fields else None
