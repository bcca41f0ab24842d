"""The log, shown. Imports no parser."""

from __future__ import annotations

import sys
from typing import Final

from claude_failover.cli.durations import parse_moment
from claude_failover.cli.invocation import Invocation, coloured, out, say
from claude_failover.cli.logfiles import LEVELS, Follower, Line, Wanted, follow, last_lines, readable
from claude_failover.errors import EXIT_OK, FailoverError, UsageError

DEFAULT_LINES: Final = 50


def show_logs(
    invocation: Invocation,
    *,
    following: bool = False,
    count: int | None = None,
    level: str = LEVELS[0],
    since: str | None = None,
    audit: bool = False,
    json: bool = False,
) -> int:
    """Print the chosen lines, and those to come.

    Raises:
        UsageError: There is no such level, or no such moment.
        FailoverError: The file cannot be read.
    """
    if level not in LEVELS:
        raise UsageError(f"--level: {level!r} is not known", hint=f"one of {', '.join(LEVELS)}")
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
