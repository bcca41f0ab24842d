"""logs: the words; what is shown is :mod:`~claude_failover.cli.logbook`'s affair."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli.logbook import show_logs
from claude_failover.cli.logfiles import LEVELS


def logs(
    context: typer.Context,
    *,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, across rotation.")] = False,
    count: Annotated[
        int | None, typer.Option("--lines", "-n", metavar="N", min=0, help="How many; default 50.")
    ] = None,
    level: Annotated[str, typer.Option("--level", metavar="|".join(LEVELS), help="This level and worse.")] = "debug",
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="2h, today, 14:20, 2026-11-22 …; all lines since then."),
    ] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Who did what, instead of what happened.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The lines as they are in the file.")] = False,
) -> int:
    """Show the daemon's log.

    Reads the files, so it works without a daemon too; -f follows across rotation.
    """
    return show_logs(
        cli.of(context), following=following, count=count, level=level, since=since, audit=audit, json=json
    )
