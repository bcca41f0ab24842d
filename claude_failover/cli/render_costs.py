"""The cost report -> text, JSON, CSV. Pure: no clock, no terminal.

Plain words first: what was really spent, of which limit, how many requests were rescued. Money that was
spent, a subscription's notional value and the extra cost of failing over are never in one column.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from claude_failover.cli.render import bar
from claude_failover.control.api import encode
from claude_failover.core.spend import NUSD_PER_USD, dollars
from claude_failover.ledger_query import CostLine, CostReport

OLD_PRICES_DAYS: Final = 60
"""Prices of new models appear about monthly; after two months the table says so itself."""

CSV_COLUMNS: Final = (
    "requests", "rescued", "attempts", "input", "output", "cache_read", "write_5m", "write_1h",
    "spent_usd", "notional_usd", "failover_usd", "primary_usd", "extra_usd", "rebuild_usd", "estimated", "partial",
)  # fmt: skip

_BAR_CELLS: Final = 10


def costs_screen(report: CostReport) -> RenderableType:
    """Draw everything that ``costs`` shows."""
    blocks: list[RenderableType] = [_head(report), _limit(report)]
    if report.lines:
        blocks.extend([Text(""), _table(report)])
        blocks.extend([Text(""), _words(report)])
    blocks.append(_foot(report))
    return Group(*blocks)


def costs_json(report: CostReport) -> str:
    """Write the report as JSON, with what is computed from it; money is integer nano-dollars (1e-9 USD)."""
    tree: dict[str, Any] = json.loads(encode(report))
    for line, shown in zip((*report.lines, report.total), (*tree["lines"], tree["total"]), strict=True):
        shown["extra_nusd"] = line.extra_nusd
    return json.dumps(tree, indent=2, ensure_ascii=False)


def costs_csv(report: CostReport) -> str:
    """Write the lines as CSV, without a total; money is US dollars with all its digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((report.by, *CSV_COLUMNS))
    for line in report.lines:
        writer.writerow((_safe(line.key), *(_cell(line, column) for column in CSV_COLUMNS)))
    return text.getvalue()


# --- the screen ------------------------------------------------------------------------------------


def _head(report: CostReport) -> Text:
    when = report.since if report.since == report.until else f"{report.since} to {report.until}"
    if report.since == report.until == report.today:
        when = "today"
    total = report.total
    rescued = f", {total.rescued:,} rescued" if total.rescued else ""
    notional = f", {dollars(total.notional_nusd)} notional" if total.notional_nusd else ""
    what = f"{dollars(total.spent_nusd)} spent{notional} on {_count(total.requests, 'request')}{rescued}"
    return Text(f"{when}: {what}", "bold")


def _limit(report: CostReport) -> Text:
    if report.limit_nusd is None:
        return Text("no daily limit is set (cost_tracking.daily_limit)", "yellow")
    share = report.today_spent_nusd / report.limit_nusd if report.limit_nusd else 1.0
    style = "green"
    if report.alert_nusd is not None and report.today_spent_nusd >= report.alert_nusd:
        style = "yellow"
    if share >= 1:
        style = "red"
    drawn = bar(share) if report.today_spent_nusd or not report.limit_nusd else bar(0.0)
    return (
        Text("today's limit ")
        + Text(drawn, style)
        + Text(f" {dollars(report.today_spent_nusd)} of {dollars(report.limit_nusd)}, resets {report.resets}")
    )


def _table(report: CostReport) -> Table:
    failed_over = report.total.failover_nusd > 0
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(report.by, overflow="ellipsis", no_wrap=True, min_width=10)
    for name in ("req", "resc", "spent", "notional", *(("extra", "primary") if failed_over else ())):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    real = report.total.spent_nusd > 0
    most = max((_size(line, real=real) for line in report.lines), default=0)
    for line in report.lines:
        share = _size(line, real=real) / most if most else 0.0
        table.add_row(*_cells(line, failed_over=failed_over), Text(bar(share, _BAR_CELLS), "cyan" if real else "dim"))
    if len(report.lines) > 1:
        table.add_row(*(Text(str(cell), "bold") for cell in _cells(report.total, failed_over=failed_over)), "")
    if report.omitted:
        table.add_row(Text(f"… {report.omitted} more", "dim"))
    return table


def _cells(line: CostLine, *, failed_over: bool) -> list[str]:
    cells = [_name(line.key), str(line.requests), str(line.rescued or ""), _money(line.spent_nusd)]
    cells.append(_money(line.notional_nusd))
    if failed_over:
        cells.extend([_money(line.extra_nusd), _money(line.primary_nusd)])
    return cells


def _words(report: CostReport) -> RenderableType:
    """What the columns mean, with the numbers that need words."""
    total = report.total
    lines = ["spent: real money (Bedrock, API keys), before taxes, credits and discounts."]
    if total.notional_nusd:
        lines.append("notional: a subscription's tokens at list price; nobody pays it.")
    if total.failover_nusd:
        rebuilt = ""
        if total.rebuild_nusd:
            rebuilt = f", of it {dollars(total.rebuild_nusd)} for prompt caches built anew after a switch"
        lines.append(
            f"failing over cost {dollars(total.failover_nusd)}; the primary's list price for the same work is "
            f"{dollars(total.primary_nusd)}: {dollars(total.extra_nusd)} extra{rebuilt}."
        )
    lines.append(
        f"tokens: {_tokens(total.input)} in, {_tokens(total.output)} out, {_tokens(total.cache_read)} cache read, "
        f"{_tokens(total.write_5m + total.write_1h)} cache written."
    )
    return Text("\n".join(lines), "dim")


def _foot(report: CostReport) -> RenderableType:
    lines: list[Text] = []
    total = report.total
    if total.partial:
        lines.append(Text(f"! {_count(total.partial, 'attempt')} ended early: counted by what was seen", "yellow"))
    if total.estimated:
        lines.append(Text(f"! {_count(total.estimated, 'attempt')} without a price of their own: estimated", "yellow"))
    lines.extend(Text(f"! {note}", "yellow") for note in report.notes)
    if report.prices_as_of:
        age = report.prices_age_days
        old = age is not None and age > OLD_PRICES_DAYS
        since = "" if age is None else f" ({_count(age, 'day')} old)"
        hint = "; a newer release may know newer prices" if old else ""
        lines.append(Text(f"prices as of {report.prices_as_of}{since}{hint}", "yellow" if old else "dim"))
    return Group(*lines)


# --- words and numbers -----------------------------------------------------------------------------


def _size(line: CostLine, *, real: bool) -> int:
    """What the bars compare: real money if there is any, else notional value."""
    return line.spent_nusd if real else line.notional_nusd


def _name(key: str) -> str:
    """A key for people; a session id's first part tells sessions apart."""
    return _safe(key)[:28] if key else "(none)"


def _safe(text: str) -> str:
    """No escape sequence of a client reaches a terminal, no formula a spreadsheet."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return f"'{printable}" if printable[:1] in {"=", "+", "-", "@"} else printable


def _money(nusd: int) -> str:
    return dollars(nusd) if nusd else "-"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _tokens(number: int) -> str:
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def _cell(line: CostLine, column: str) -> str:
    if column.endswith("_usd"):
        nusd: int = getattr(line, column.removesuffix("_usd") + "_nusd")
        sign = "-" if nusd < 0 else ""
        return f"{sign}{abs(nusd) // NUSD_PER_USD}.{abs(nusd) % NUSD_PER_USD:09d}"
    return str(getattr(line, column))
