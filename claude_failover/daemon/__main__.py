"""``python -m claude_failover.daemon``: the daemon as a process. ``claude-failover start`` is what people type."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final

from claude_failover import events
from claude_failover.clock import SystemClock, pause
from claude_failover.config import Loaded, Paths, find_paths, load
from claude_failover.control import claim, handshake
from claude_failover.core.types import Seconds
from claude_failover.credentials.threads import finish_all
from claude_failover.daemon.hardening import harden
from claude_failover.errors import FailoverError

LEAVE: Final = Seconds(3.0)
"""Seconds that are left for a proper end."""


def main(arguments: list[str] | None = None) -> int:
    """Start, serve, stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="claude_failover.daemon", description=__doc__)
    parser.add_argument("--ready-fd", type=int, help="tell readiness or the error there, as one JSON line")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--foreground", action="store_true", help="log to stderr too")
    parser.add_argument("--debuggable", action="store_true", help="leave the process open to debuggers and profilers")
    told = parser.parse_args(arguments)
    try:
        harden(debuggable=told.debuggable)
        paths = find_paths(told.config)
        loaded = load(told.config)
        paths.prepare()
        lock = claim.acquire(paths.lock)
    except FailoverError as error:
        return _fail(error, told.ready_fd)
    try:
        return run(loaded, paths, ready_fd=told.ready_fd, foreground=told.foreground, config=told.config)
    finally:
        lock.release()


def run(
    loaded: Loaded, paths: Paths, *, ready_fd: int | None = None, foreground: bool = False, config: Path | None = None
) -> int:
    """Serve with the lock held until told to stop; returns the exit code."""
    clock = SystemClock()
    settings = loaded.settings
    hub = events.Hub(lambda: clock.now().wall)
    events.use(hub)
    journal = events.Journal(
        paths.log,
        paths.audit,
        secrets=events.LIVE,
        level=events.Level.parse(settings.logging.level),
        max_bytes=settings.logging.max_bytes,
        backups=settings.logging.backups,
    )
    if foreground:
        under_systemd = "JOURNAL_STREAM" in os.environ
        journal.also_to(
            sys.stderr,
            colour=sys.stderr.isatty() and "NO_COLOR" not in os.environ,
            journald=under_systemd,
            json=settings.logging.format == "json" and not sys.stderr.isatty() and not under_systemd,
        )
    events.hook_interpreter()
    events.capture_libraries(events.Level.parse(settings.logging.level))
    hub.subscribe(journal)
    journal.start()
    try:
        return _serve(loaded, paths, clock, hub, journal, ready_fd, config)
    finally:
        journal.close()


def _serve(
    loaded: Loaded,
    paths: Paths,
    clock: SystemClock,
    hub: events.Hub,
    journal: events.Journal,
    ready_fd: int | None,
    config: Path | None,
) -> int:
    # Imported here: a bad configuration or a running daemon is told before half a second of imports.
    from claude_failover.daemon.life import Daemon  # noqa: PLC0415

    async def live() -> None:
        asyncio.get_running_loop().set_exception_handler(events.loop_exception_handler)
        daemon = Daemon(loaded, paths, clock, os.environ, config=config, hub=hub, journal=journal)
        await daemon.start()
        with contextlib.suppress(OSError):  # for people only; a full disk must not keep us from serving
            paths.pid.write_text(f"{os.getpid()}\n", encoding="ascii")
        if ready_fd is not None:
            handshake.tell_ready(ready_fd, pid=os.getpid(), address=daemon.address, notes=daemon.notes())
        try:
            await daemon.run()
        finally:
            paths.pid.unlink(missing_ok=True)
        _leave_soon(journal)

    try:
        _run(live)
    except FailoverError as error:
        return _fail(error, ready_fd)
    return 0


def _leave_soon(journal: events.Journal) -> None:
    """End the process in a moment: all is closed, but the event loop's own end waits for every thread of its pool.

    A name that is being looked up without a network hangs for half a minute, and the lock would be held as long.
    """

    def leave() -> None:
        pause(LEAVE)
        try:
            finish_all()
            journal.close()
        finally:
            os._exit(0)

    threading.Thread(target=leave, name="leave", daemon=True).start()


def _run(live: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run on uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(live())
    else:
        uvloop.run(live())


def _fail(error: FailoverError, ready_fd: int | None) -> int:
    if ready_fd is not None:
        handshake.tell_failed(ready_fd, error)
    else:
        sys.stderr.write(f"claude-failover: {error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
