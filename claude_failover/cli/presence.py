"""Bring the daemon up and take it down, and say what came of it. Imports no parser: `run` and `start` must be quick."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
from typing import Final

from claude_failover.cli.durations import spell
from claude_failover.cli.invocation import Invocation, say
from claude_failover.cli.progress import Progress
from claude_failover.cli.spawn import start_daemon, wait_until_gone
from claude_failover.cli.supervised import supervise
from claude_failover.control import claim
from claude_failover.control.api import StopRequest
from claude_failover.core.types import Seconds
from claude_failover.errors import EXIT_OK, AlreadyRunning, ControlError, DaemonFailed, DaemonNotRunning

DRAIN: Final = Seconds(30.0)
"""For running streams to finish, unless somebody says otherwise."""

GRACE: Final = Seconds(10.0)
"""After the drain's deadline, for the daemon to write what it must and go."""


def start_in_background(invocation: Invocation) -> int:
    """Start the daemon; one that runs already is as good."""
    try:
        bring_up(invocation)
        say("  next: claude-failover run")
    except AlreadyRunning as running:
        say(_already(invocation, running))
    return EXIT_OK


def _already(invocation: Invocation, running: AlreadyRunning) -> str:
    """Say who runs where; a daemon that holds the lock but does not answer is said to be just that."""
    try:
        ping = invocation.client(patience=2.0).ping()
    except (DaemonNotRunning, ControlError):
        return f"{running}, but it does not answer yet"
    return f"{running}, {ping.listen}"


def bring_up(invocation: Invocation) -> None:
    """Start the daemon in the background and say what came of it."""
    with Progress("starting the daemon") as progress:
        word = start_daemon(invocation.paths, invocation.clock, config=invocation.chosen, waiting=progress.tick)
    say(f"claude-failover runs: pid {word.pid}, {word.address}")
    for note in word.notes:
        say(f"  {note}")


def stay(invocation: Invocation) -> int:
    """Be the daemon, in this terminal or under a service manager."""
    if os.environ.get("NOTIFY_SOCKET") and claim.holder(invocation.paths.lock) is not None:
        # Started by hand while the service did not run. To end here would be a failure to systemd, again and again.
        say("a daemon runs that the service manager did not start: it is replaced")
        with contextlib.suppress(DaemonNotRunning):
            take_down(invocation, DRAIN, now=False)
    # By name: everything that serves is behind it, and those who only ask must not seem to import it.
    serving = importlib.import_module("claude_failover.daemon.__main__")
    words = ["--foreground"]
    if invocation.chosen is not None:
        words += ["--config", str(invocation.chosen)]
    told = supervise(os.environ, invocation.paths.socket, invocation.clock)
    if told is not None:
        words += ["--ready-fd", str(told)]
    return int(serving.main(words))


def take_down(invocation: Invocation, drain: float, *, now: bool) -> None:
    """Drain and stop, showing the streams that are waited for."""
    client = invocation.client()
    try:
        result = client.stop(StopRequest(drain_s=drain, now=now))
    except DaemonNotRunning:
        _interrupt_mute(invocation)
        return
    limit = Seconds((0.0 if now else drain) + GRACE)
    with Progress(_draining(result.streams)) as progress:

        def count() -> None:
            if progress.due():
                try:
                    progress.say(_draining(client.ping().streams))
                except (DaemonNotRunning, ControlError):
                    progress.say("closing")

        try:
            gone = wait_until_gone(invocation.paths, invocation.clock, limit, count)
        except KeyboardInterrupt:
            client.stop(StopRequest(drain_s=0.0, now=True))
            gone = wait_until_gone(invocation.paths, invocation.clock, GRACE, lambda: None)
    if not gone:
        raise DaemonFailed(
            f"the daemon (pid {result.pid}) did not end within {spell(limit)}", hint=f"kill {result.pid}"
        )


def _draining(streams: int) -> str:
    return f"waiting for {streams} stream{'' if streams == 1 else 's'}" if streams else "stopping"


def _interrupt_mute(invocation: Invocation) -> None:
    """Stop a daemon that holds the lock but has no socket (somebody removed it): a signal still reaches it."""
    pid = claim.holder(invocation.paths.lock)
    if not pid:
        raise DaemonNotRunning(f"no daemon answers on {invocation.paths.socket}")
    os.kill(pid, signal.SIGTERM)
    if not wait_until_gone(invocation.paths, invocation.clock, Seconds(40.0), lambda: None):
        raise DaemonFailed(f"the daemon (pid {pid}) does not answer and did not end", hint=f"kill -9 {pid}")
