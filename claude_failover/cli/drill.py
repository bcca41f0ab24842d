"""drill: a real daemon between simulated backends that fail, and what a client of it sees."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_failover.cli.invocation import coloured, out, width
from claude_failover.errors import EXIT_FAILED, EXIT_OK


def drill(
    scenario: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="Which; all of them if none is named.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say which scenarios there are.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """Rehearse: simulated backends that limit, fail and break off, a real daemon, a client like Claude Code.

    Needs no account and touches nothing of yours: everything runs on loopback, in a temporary directory.
    """
    # Imported here: half a second that `--help` can do without.
    import asyncio  # noqa: PLC0415

    from claude_failover.cli import render, render_drill  # noqa: PLC0415
    from claude_failover.cli.progress import Progress  # noqa: PLC0415
    from claude_failover.drill import fire  # noqa: PLC0415

    chosen = fire.choose(scenario or ())
    if list_:
        listed = [{"name": one.name, "title": one.title} for one in chosen]
        if json:
            out(render.as_json({"schema_version": fire.SCHEMA_VERSION, "scenarios": listed}))
        else:
            out(render.to_text(render_drill.scenarios_screen(chosen), width=width(), colour=coloured()))
        return EXIT_OK
    with Progress("fire drill") as progress:
        count = 0

        def done(result: fire.Result) -> None:
            nonlocal count
            count += 1
            progress.say(f"fire drill: {count} of {len(chosen)}, {result.name}")

        report = asyncio.run(fire.drill(chosen, done))
    if json:
        out(render.as_json(report))
    else:
        out(render.to_text(render_drill.report_screen(report), width=width(), colour=coloured()))
    return EXIT_OK if report.expected else EXIT_FAILED
