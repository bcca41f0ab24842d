"""The costs, shown: ask the running daemon; without one read the ledger's file. Either way the same report.

The file is opened read-only and never checkpointed: a daemon that starts meanwhile is not disturbed. Imports no parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claude_failover.cli.invocation import Invocation, coloured, out, width
from claude_failover.control.client import ControlClient
from claude_failover.errors import EXIT_OK, ConfigError, FailoverError, LedgerError

if TYPE_CHECKING:
    from claude_failover.ledger_query import CostReport

TODAY: Final = {"since": "today"}
"""What is asked when nothing else was typed."""


def show_costs(invocation: Invocation, query: dict[str, str], *, json: bool = False, csv: bool = False) -> int:
    """Ask, and print the answer."""
    from claude_failover.cli import render, render_costs  # noqa: PLC0415 - not for a mistyped option

    report = ask(invocation, query)
    if json:
        out(render_costs.costs_json(report))
    elif csv:
        out(render_costs.costs_csv(report))
    else:
        out(render.to_text(render_costs.costs_screen(report), width=width(), colour=coloured()))
    return EXIT_OK


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
