"""costs: ask the running daemon; without one read the ledger's file. Either way the same report.

The file is opened read-only and never checkpointed: a daemon that starts meanwhile is not disturbed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli.invocation import Invocation, coloured, out, width
from claude_failover.control.client import ControlClient
from claude_failover.errors import EXIT_OK, ConfigError, FailoverError, LedgerError, UsageError

if TYPE_CHECKING:
    from claude_failover.ledger_query import CostReport


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
    from claude_failover.cli import render, render_costs  # noqa: PLC0415 - not for a mistyped option

    if json and csv:
        raise UsageError("--json and --csv are two formats; choose one")
    query = question(today=today, month=month, since=since, until=until, by=by)
    report = ask(cli.of(context), query)
    if json:
        out(render_costs.costs_json(report))
    elif csv:
        out(render_costs.costs_csv(report))
    else:
        out(render.to_text(render_costs.costs_screen(report), width=width(), colour=coloured()))
    return EXIT_OK


def question(*, today: bool, month: bool, since: str | None, until: str | None, by: str | None) -> dict[str, str]:
    """The query of the words typed.

    Raises:
        UsageError: More than one beginning was named, or ``--by`` something that is not.
    """
    from claude_failover.ledger_query import by_of  # noqa: PLC0415 - sqlite3 comes with it

    named = [flag for flag, given in (("--today", today), ("--month", month), ("--since", since)) if given]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)}: choose one")
    query = {"since": "month" if month else since or "today"}
    if until is not None:
        query["until"] = until
    if by is not None:
        query["by"] = by_of(by.strip().lower())
    return query


def ask(invocation: Invocation, query: dict[str, str]) -> CostReport:
    """Ask the daemon, or read the file if there is none that answers.

    Raises:
        UsageError: The question cannot be understood.
        LedgerError: There is no ledger that can be read.
    """
    from claude_failover.ledger_query import CostReport  # noqa: PLC0415

    try:
        client: ControlClient = invocation.client()
        return client.costs(query, CostReport)
    except FailoverError:
        # No daemon, or one that cannot tell (its ledger is off or broken): the file may still say something.
        return read_file(invocation, query)


def read_file(invocation: Invocation, query: dict[str, str]) -> CostReport:
    """Make the report from the file, with the limits of the configuration."""
    from claude_failover.config import load  # noqa: PLC0415 - only without a daemon
    from claude_failover.core.settings import CostTracking  # noqa: PLC0415
    from claude_failover.core.spend import dollars, nusd  # noqa: PLC0415
    from claude_failover.ledger_days import Zone  # noqa: PLC0415
    from claude_failover.ledger_query import Reader  # noqa: PLC0415
    from claude_failover.ledger_report import Money, report, span  # noqa: PLC0415
    from claude_failover.ledger_schema import open_for_reading, read_mirror  # noqa: PLC0415

    notes: tuple[str, ...] = ()
    try:
        tracking = load(invocation.chosen).settings.cost_tracking
    except ConfigError as error:
        tracking = CostTracking()
        notes = (f"the configuration is wrong, so the limit shown is the default: {str(error).splitlines()[0]}",)
    zone, now = Zone.of(tracking.timezone), invocation.clock.now().wall
    span(query["since"], query.get("until"), zone, now)
    path = invocation.paths.ledger
    try:
        connection = open_for_reading(path)
    except LedgerError as error:
        sums = read_mirror(path)
        if sums:
            spent = dollars(sums.get(zone.day(now).key, 0))
            raise LedgerError(f"{error} (spent today, by the copy beside it: {spent})", hint=error.hint) from error
        raise
    try:
        money = Money(nusd(tracking.daily_limit), nusd(tracking.alert_threshold), notes=notes)
        return report(Reader(connection), query, zone, now, money)
    finally:
        connection.close()
