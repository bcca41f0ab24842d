"""explain and models as text. Pure."""

from __future__ import annotations

from datetime import tzinfo
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from claude_failover.cli.durations import clock_time
from claude_failover.cli.render import plain_table, to_text
from claude_failover.control.api import Explain, Models
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
    table = plain_table("attempt", "backend", "why tried", "how it ended", "tokens in/out", "cost")
    for one in story.attempts:
        ended = Text(one.outcome.value.replace("_", " "), "green" if one.outcome is Outcome.SUCCESS else "red")
        if one.status is not None:
            ended.append(f" {one.status}", "dim")
        if one.detail:
            ended.append(f": {one.detail}", "default")
        backend = Text(one.backend, "bold")
        if one.surface is not None:
            backend.append(f" {one.surface.value}", "dim")
        table.add_row(
            str(one.attempt), backend, one.reason.value.replace("_", " "), ended, _tokens(one), Text(_cost(one))
        )
    return table


def _tokens(one: AttemptRecord) -> str:
    usage = one.usage
    if not usage.prompt and not usage.output:
        return "-"
    cached = f" ({usage.cache_read} cached)" if usage.cache_read else ""
    return f"{usage.prompt}{cached} / {usage.output}"


def _cost(one: AttemptRecord) -> str:
    if not one.cost_nusd:
        return "-"
    about = "~" if one.price_estimated else ""
    return f"{about}${one.cost_nusd / _NANO:.4f}" + ("" if one.paid else " notional")


def models_text(answer: Models, *, width: int, colour: bool) -> str:
    """List the models, and what has been learned about them."""
    table = plain_table("Claude model", "backend", "surface", "$/MTok in/out", "source", "goes out as")
    for entry in answer.entries:
        price = (
            f"{entry.input_usd_per_mtok:g} / {entry.output_usd_per_mtok:g}"
            if entry.input_usd_per_mtok is not None and entry.output_usd_per_mtok is not None
            else "-"
        )
        goes = Text(entry.upstream_id or "not served", "default" if entry.upstream_id else "red")
        if entry.note:
            goes.append(f"  {entry.note}", "dim")
        table.add_row(
            Text(entry.claude_id, "bold"), entry.backend, ", ".join(entry.surfaces), price, entry.source, goes
        )
    blocks: list[RenderableType] = [table]
    if answer.learned:
        learned = plain_table("learned", "model", "surface", "not sent any more")
        for one in answer.learned:
            learned.add_row(one.backend, one.model, one.surface, one.what)
        blocks += [Text(""), learned]
    return to_text(Group(*blocks), width=width, colour=colour)
