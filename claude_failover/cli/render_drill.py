"""The report of a fire drill -> table. Pure: no clock, no terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from claude_failover.cli.render import plain_table
from claude_failover.drill.fire import Report, Result
from claude_failover.drill.scenarios import Scenario


def report_screen(report: Report) -> RenderableType:
    """Draw everything that ``drill`` shows."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in ("scenario", "what breaks", "the client saw", "rescue", "attempts", ""):
        table.add_column(name, no_wrap=name not in _FOLDING, justify="right" if name == "rescue" else "left")
    for result in report.results:
        table.add_row(
            result.name,
            result.title,
            Text(shortened(result.saw)),
            _seconds(result),
            f"{result.claude_attempts} + {result.bedrock_attempts}",
            _verdict(result),
        )
    return Group(table, *_problems(report.results), Text(""), Text(_summary(report)))


def scenarios_screen(scenarios: Iterable[Scenario]) -> Table:
    """Draw what ``drill --list`` shows."""
    table = plain_table("scenario", "what breaks")
    for scenario in scenarios:
        table.add_row(scenario.name, scenario.title)
    return table


_FOLDING: Final = ("what breaks", "the client saw")

SAW: Final = 72
"""Characters of what the client saw that the table shows; ``--json`` has all of it."""


def shortened(text: str) -> str:
    """Not more than :data:`SAW` characters."""
    return text if len(text) <= SAW else f"{text[: SAW - 1].rstrip()}…"


def _seconds(result: Result) -> str:
    return "-" if result.rescue_s is None else f"{result.rescue_s:.2f} s"


def _verdict(result: Result) -> Text:
    if not result.expected:
        return Text("FAILED", style="bold red")
    return Text("rescued", style="green") if result.rescued else Text("told", style="yellow")


def _problems(results: Iterable[Result]) -> Iterable[Text]:
    for result in results:
        if result.problem:
            yield Text(f"{result.name}: {result.problem}", style="red")


def _summary(report: Report) -> str:
    rescued = sum(result.rescued and result.expected for result in report.results)
    told = sum(not result.rescued and result.expected for result in report.results)
    failed = len(report.results) - rescued - told
    parts = [f"{rescued} rescued"]
    if told:
        parts.append(f"{told} told the truth")
    if failed:
        parts.append(f"{failed} NOT AS IT MUST BE")
    return (
        f"{', '.join(parts)}; {report.seconds:.0f} s. Attempts: at the Claude API + at Bedrock, both simulated.\n"
        "Rescue: until the first content of the whole answer; the simulators themselves answer at once."
    )
