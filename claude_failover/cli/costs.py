"""costs: the words; the answer is :mod:`~claude_failover.cli.bill`'s."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli.bill import TODAY, show_costs
from claude_failover.errors import UsageError


def costs(
    context: typer.Context,
    today: Annotated[bool, typer.Option("--today", help="Today; the default.")] = False,
    month: Annotated[bool, typer.Option("--month", help="This month.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DAY", help="From a day on: 2026-11-22, 2026-11, 7d, 2w."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DAY", help="The last day, in the same words; default today.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="WHAT", help="day, hour, model, backend or session.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs; money in integer nano-dollars.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="For spreadsheets; money in US dollars.")] = False,
) -> int:
    """Show what was spent, of which limit, what a subscription's use was worth, and what failing over cost."""
    if json and csv:
        raise UsageError("--json and --csv are two formats; choose one")
    query = question(today=today, month=month, since=since, until=until, by=by)
    return show_costs(cli.of(context), query, json=json, csv=csv)


def question(*, today: bool, month: bool, since: str | None, until: str | None, by: str | None) -> dict[str, str]:
    """The query of the words typed.

    Raises:
        UsageError: More than one beginning was named, or ``--by`` something that is not.
    """
    from claude_failover.ledger_query import by_of  # noqa: PLC0415 - sqlite3 comes with it

    named = [flag for flag, given in (("--today", today), ("--month", month), ("--since", since)) if given]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)}: choose one")
    query = {"since": "month" if month else since or TODAY["since"]}
    if until is not None:
        query["until"] = until
    if by is not None:
        query["by"] = by_of(by.strip().lower())
    return query
