"""explain and models as text. Pure."""

from __future__ import annotations

from datetime import tzinfo
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from claude_failover.cli.durations import clock_time
from claude_failover.cli.render import plain_table, to_text
from claude_failover.control.api import Explain, ModelEntry, Models
from claude_failover.core.types import AttemptRecord, ExchangeRecord, Outcome

_NANO: Final = 1_000_000_000


def explain_text(answer: Explain, *, width: int, colour: bool, zone: tzinfo | None = None) -> str:
    """Tell the story of one request."""
    story = answer.exchange
    blocks: list[RenderableType] = [_head(story, zone), Text(""), _steps(story)]
    if story.attempts:
        blocks += [Text(""), _attempts(story)]
    return to_text(Group(*blocks), width=width, colour=colour)


def _head(story: ExchangeRecord, zone: tzinfo | None) -> RenderableType:
    who = f"answered by {story.backend}" if story.backend else "answered by claude-failover itself"
    rescued = ", failed over" if story.failed_over else ""
    status = f" with {story.status}" if story.status is not None else ""
    lines = [
        Text(
            f"{story.exchange}  {story.model or 'no model'}  {'streaming' if story.streaming else 'not streaming'}",
            "bold",
        ),
        Text(f"{story.outcome.replace('_', ' ')}{status}, {who}{rescued}", _outcome_style(story.outcome)),
    ]
    facts = [f"at {clock_time(story.started, story.started, zone)}", f"{story.duration:.2f} s"]
    if story.ttft is not None:
        facts.append(f"first content after {story.ttft:.2f} s")
    facts.append(f"{story.overhead * 1000:.1f} ms were ours")
    lines.append(Text(", ".join(facts)))
    for name, value in (("session", story.session), ("agent", story.agent), ("class", story.request_class)):
        if value:
            lines.append(Text(f"{name} {value}", "dim"))
    return Group(*lines)


def _outcome_style(outcome: str) -> str:
    return "green" if outcome == "served" else "yellow" if outcome in {"client_gone", "bypassed"} else "red"


def _steps(story: ExchangeRecord) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for step in story.steps:
        table.add_row(Text(f"{step.at:.3f} s", "dim"), Text(step.backend, "bold"), step.what, step.detail)
    return table


def _attempts(story: ExchangeRecord) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in story.attempts:
        where = Text(one.backend, "bold")
        if one.surface is not None:
            where.append(f" over {one.surface.value}", "default")
        where.append(f", because: {one.reason.value.replace('_', ' ')}", "default")
        table.add_row(Text(f"attempt {one.attempt}", "dim"), where)
        ended = Text(one.outcome.value.replace("_", " "), "green" if one.outcome is Outcome.SUCCESS else "red")
        if one.status is not None:
            ended.append(f" {one.status}", "default")
        if one.detail:
            ended.append(f": {one.detail}", "default")
        table.add_row("", ended)
        facts = [f"{one.duration:.2f} s", _tokens(one), _cost(one), one.upstream_request_id or ""]
        table.add_row("", Text(", ".join(fact for fact in facts if fact), "dim"))
    return table


def _tokens(one: AttemptRecord) -> str:
    usage = one.usage
    if not usage.prompt and not usage.output:
        return ""
    cached = f" ({usage.cache_read} cached)" if usage.cache_read else ""
    return f"{usage.prompt} tokens in{cached}, {usage.output} out"


def _cost(one: AttemptRecord) -> str:
    if not one.cost_nusd:
        return ""
    about = "~" if one.price_estimated else ""
    return f"{about}${one.cost_nusd / _NANO:.4f}" + ("" if one.paid else " notional")


WIDE: Final = 120
"""Columns from which a model fits on one line."""


def models_text(answer: Models, *, width: int, colour: bool) -> str:
    """List the models, and what has been learned about them."""
    blocks: list[RenderableType] = [_models(answer, wide=width >= WIDE)]
    if answer.learned:
        learned = plain_table("learned", "model", "surface", "not sent any more")
        for one in answer.learned:
            learned.add_row(one.backend, one.model, one.surface, one.what)
        blocks += [Text(""), learned]
    return to_text(Group(*blocks), width=width, colour=colour)


def _models(answer: Models, *, wide: bool) -> RenderableType:
    columns = ["Claude model", "backend", "surface", "$/MTok in/out", "source"]
    table = plain_table(*columns, "goes out as") if wide else plain_table(*columns)
    for entry in answer.entries:
        goes = Text(entry.upstream_id or "not served", "default" if entry.upstream_id else "red")
        if entry.note:
            goes.append(f"  {entry.note}", "dim")
        cells: list[RenderableType] = [
            Text(entry.claude_id, "bold"),
            entry.backend,
            ", ".join(entry.surfaces),
            _price(entry),
            entry.source,
        ]
        table.add_row(*cells, *([goes] if wide else []))
    if wide:
        return table
    lines: list[RenderableType] = [table, Text("")]
    lines.extend(
        Text(f"{entry.claude_id} → ", overflow="fold").append(
            f"{entry.upstream_id or 'not served'} {entry.note}".rstrip(), "default" if entry.upstream_id else "red"
        )
        for entry in answer.entries
    )
    return Group(*lines)


def _price(entry: ModelEntry) -> str:
    if entry.input_usd_per_mtok is None or entry.output_usd_per_mtok is None:
        return "-"
    return f"{entry.input_usd_per_mtok:g} / {entry.output_usd_per_mtok:g}"
