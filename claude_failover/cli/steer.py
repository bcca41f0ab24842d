"""force-backend: send requests to one backend for a while."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli.durations import parse_duration, until
from claude_failover.cli.invocation import out, say
from claude_failover.control.api import ForceRequest, encode
from claude_failover.errors import EXIT_OK, UsageError

AUTO = "auto"


def force_backend(
    context: typer.Context,
    backend: Annotated[str, typer.Argument(metavar="claude|bedrock|NAME|auto", help="auto ends the override.")],
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="End by itself after 30m, 2h, 1d …")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="MODEL", help="For this Claude model only.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """Send requests to one backend for a while.

    Whatever its cooldown or breaker says, but never past the spend limit. Without --for it holds until
    `force-backend auto`.
    """
    if backend == AUTO and duration is not None:
        raise UsageError("--for: there is nothing to end later with auto", hint="claude-failover force-backend auto")
    invocation = cli.of(context)
    seconds = None if duration is None else parse_duration(duration, "--for")
    result = invocation.client().force(ForceRequest(None if backend == AUTO else backend, model, seconds))
    if json:
        out(encode(result).decode())
    elif result.override is None:
        say("automatic again")
    else:
        what = f" for {result.override.model}" if result.override.model else ""
        now = invocation.clock.now().wall
        ends = f" until {until(result.override.until, now)}" if result.override.until else " until `force-backend auto`"
        say(f"forced to {result.override.backend}{what}{ends}")
    return EXIT_OK
