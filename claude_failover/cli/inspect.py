"""status, explain, models: parse, one call, print."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli import render
from claude_failover.cli.glance import show_status
from claude_failover.cli.invocation import Invocation, coloured, out, say, width
from claude_failover.errors import EXIT_OK, DaemonNotRunning, UsageError


def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="A live screen; q or Ctrl-C ends it.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 0 protected, 4 degraded or failed over, 5 spend limit reached.")
    ] = False,
    short: Annotated[bool, typer.Option("--short", help="One line.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> int:
    """Show whether you are protected, and by whom.

    Which backend answers, why, until when; how full the plan's windows are; breakers and cooldowns per model; spend
    today against the limit; latencies; what needs you.
    """
    invocation = cli.of(context)
    if watch:
        if short or json or check:
            raise UsageError("--watch is a screen of its own; it goes with none of --check, --short, --json")
        return _watch(invocation)
    return show_status(invocation, check=check, short=short, json=json)


def _watch(invocation: Invocation) -> int:
    from claude_failover.cli.watch import watch  # noqa: PLC0415 - `status --short` does without a screen

    return watch(invocation)


def explain(
    context: typer.Context,
    request: Annotated[str, typer.Argument(metavar="[REQUEST_ID|last]", help="From a log line or a header.")] = "last",
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """Tell the story of one request.

    Its attempts, why each backend was chosen or left, waits, the commit, tokens, cost. The daemon remembers the last
    thousand.
    """
    from claude_failover.cli import story  # noqa: PLC0415 - not for `status`

    answer = cli.of(context).client().explain(None if request == "last" else request)
    out(render.as_json(answer) if json else story.explain_text(answer, width=width(), colour=coloured()))
    return EXIT_OK


def models(
    context: typer.Context,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask AWS what the account has first.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """List Claude models and what they become.

    Which Bedrock model, over which surface, at what price, and who says so: the built-in table, a rule, the
    configuration, or what was discovered in the account.
    """
    from claude_failover.cli import story  # noqa: PLC0415 - not for `status`
    from claude_failover.cli.progress import waiting  # noqa: PLC0415

    invocation = cli.of(context)
    try:
        with waiting("asking AWS for its models"):
            answer = invocation.client().models(refresh=refresh)
    except DaemonNotRunning:
        if refresh:
            raise
        # By name: it reads the daemon's tables, which those who only ask the daemon must not seem to import.
        answer = importlib.import_module("claude_failover.cli.local_models").local_models(invocation.chosen)
        say("no daemon runs: this is the built-in table with your configuration; nothing was discovered or learned")
    out(render.as_json(answer) if json else story.models_text(answer, width=width(), colour=coloured()))
    return EXIT_OK
