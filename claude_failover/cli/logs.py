"""logs: the daemon's structured log, readable."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli.durations import parse_moment
from claude_failover.cli.invocation import coloured, out, say
from claude_failover.cli.logfiles import LEVELS, Follower, Line, Wanted, follow, last_lines, readable
from claude_failover.errors import EXIT_OK, FailoverError, UsageError

DEFAULT_LINES = 50


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
    if level not in LEVELS:
        raise UsageError(f"--level: {level!r} is not known", hint=f"one of {', '.join(LEVELS)}")
    invocation = cli.of(context)
    path = invocation.paths.audit if audit else invocation.paths.log
    start = None if since is None else parse_moment(since, invocation.clock.now().wall)
    wanted = Wanted(level, start)
    lines = count if count is not None else DEFAULT_LINES if since is None else None
    colour = coloured()

    def show(line: Line) -> None:
        out(line.raw if json else readable(line, colour=colour))
        if following:
            sys.stdout.flush()

    follower = Follower(path)
    try:
        # First the mark, then the lines before it: what is written in between is neither lost nor shown twice.
        found = last_lines(path, lines, wanted, follower.skip_to_end() if following else None)
    except OSError as error:
        raise FailoverError(f"{path}: cannot be read: {error.strerror}", hint=f"ls -l {path}") from error
    for line in found:
        show(line)
    if not found and not following:
        say(f"nothing in {path}" if path.exists() else f"{path} is not there yet: no daemon has run")
    if following:
        follow(follower, wanted, show)
    return EXIT_OK
