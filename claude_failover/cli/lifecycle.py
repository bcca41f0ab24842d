"""start, stop, restart, reload: the words; what they do is in :mod:`~claude_failover.cli.presence`."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli.durations import parse_duration
from claude_failover.cli.invocation import say
from claude_failover.cli.presence import bring_up, start_in_background, stay, take_down
from claude_failover.cli.progress import waiting
from claude_failover.cli.spawn import PATIENCE
from claude_failover.control import claim
from claude_failover.core.types import Seconds
from claude_failover.errors import EXIT_OK, DaemonNotRunning


def start(
    context: typer.Context,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in this terminal; log to stderr.")] = False,
) -> int:
    """Start the daemon in the background.

    Returns when it answers on its socket and its port, or says why it does not. Running already: says so.
    """
    invocation = cli.of(context)
    return stay(invocation) if foreground else start_in_background(invocation)


def stop(
    context: typer.Context,
    drain: Annotated[
        str, typer.Option("--drain", metavar="SECONDS", help="How long running streams may finish: 5, 30s, 2m …")
    ] = "30",
    now: Annotated[bool, typer.Option("--now", help="Cut running streams off.")] = False,
) -> int:
    """Stop the daemon; running streams finish first.

    New requests are refused meanwhile. Ctrl-C while it waits cuts them off.
    """
    invocation = cli.of(context)
    take_down(invocation, _drain(drain), now=now)
    say("stopped")
    return EXIT_OK


def _drain(text: str) -> Seconds:
    """Read ``--drain``; unlike other durations it may be nothing."""
    return Seconds(0.0) if text.strip() == "0" else parse_duration(text, "--drain")


def restart(
    context: typer.Context,
    drain: Annotated[
        str, typer.Option("--drain", metavar="SECONDS", help="How long running streams may finish: 5, 30s, 2m …")
    ] = "30",
    now: Annotated[bool, typer.Option("--now", help="Cut running streams off.")] = False,
) -> int:
    """Stop the daemon and start it again.

    Stops as `stop` does; starts it too if it did not run; a service stays one. After an upgrade this is what brings
    the new version into force. A wrong configuration is told before anything is stopped.
    """
    from claude_failover.cli import service  # noqa: PLC0415 - the others do without both
    from claude_failover.config_load import load  # noqa: PLC0415

    invocation = cli.of(context)
    load(invocation.chosen)
    pid = claim.holder(invocation.paths.lock)
    managed = bool(pid) and service.keeps(pid or 0)
    if pid is not None:
        with contextlib.suppress(DaemonNotRunning):  # it ended by itself meanwhile
            take_down(invocation, _drain(drain), now=now)
    if managed:
        service.start_again()
        ping = invocation.client(patience=PATIENCE).ping()
        say(f"claude-failover runs: pid {ping.pid}, {ping.listen}, kept by the service manager")
    else:
        bring_up(invocation)
    return EXIT_OK


def reload(context: typer.Context) -> int:
    """Read configuration and credentials again.

    No stream is dropped. A wrong configuration is refused and the old one stays in force. A backend that is blocked
    because its certificate or its pinned key was wrong is tried, and compared, again.
    """
    with waiting("reading credentials again"):
        result = cli.of(context).client().reload()
    say(f"reloaded: {', '.join(result.changed)} changed" if result.changed else "reloaded: nothing changed")
    if result.restart_needed:
        say(f"takes effect with `claude-failover restart`: {', '.join(result.restart_needed)}")
    return EXIT_OK
