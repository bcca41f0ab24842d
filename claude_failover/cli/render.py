"""Messages of the control channel -> text. Pure: no clock, no terminal; width, colour and time zone are handed in.

Plain words first: a person who reads only the first line knows whether work goes on, on
which backend, why, and until when. Colour repeats what the words say and never replaces them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from datetime import tzinfo
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from claude_failover.cli.durations import clock_time, spell, until
from claude_failover.cli.words import headline
from claude_failover.control.api import encode
from claude_failover.control.status import (
    BackendStatus,
    Health,
    Latency,
    PlanWindow,
    Severity,
    State,
    Status,
)

_HEALTH_STYLE: Final = {
    Health.PROTECTED: "bold green",
    Health.FAILED_OVER: "bold yellow",
    Health.UNPROTECTED: "bold yellow",
    Health.SPEND_LIMIT: "bold red",
    Health.DOWN: "bold red",
}

_STATE_STYLE: Final = {
    State.READY: "green",
    State.HALF_OPEN: "yellow",
    State.COOLDOWN: "yellow",
    State.OPEN: "red",
    State.BLOCKED: "red",
}

_STATE_WORD: Final = {
    State.READY: "ready",
    State.HALF_OPEN: "probing",
    State.COOLDOWN: "cooldown",
    State.OPEN: "resting",
    State.BLOCKED: "blocked",
}

BAR_CELLS: Final = 20


def to_text(renderable: RenderableType, *, width: int, colour: bool) -> str:
    """Draw for *width* columns; without *colour* not one escape sequence is in it."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(renderable)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    return "\n".join(line.rstrip() for line in drawn.splitlines())


def as_json(message: object) -> str:
    """Write what ``--json`` prints: indented, in the order of the fields."""
    return json.dumps(json.loads(encode(message)), indent=2, ensure_ascii=False)


def status_json(status: Status) -> str:
    """Write the status as JSON, with what is computed from it."""
    tree: dict[str, Any] = json.loads(encode(status))
    tree["uptime_s"] = status.uptime_s
    tree["exit_code"] = status.check_exit_code
    tree["summary"] = headline(status)
    return json.dumps(tree, indent=2, ensure_ascii=False)


def bar(share: float, cells: int = BAR_CELLS) -> str:
    """Draw a share of 1 as a bar; more than 1 is full, and anything above 0 shows."""
    filled = min(cells, round(max(0.0, share) * cells))
    if share > 0 and filled == 0:
        filled = 1
    return "█" * filled + "░" * (cells - filled)


def status_screen(status: Status, zone: tzinfo | None = None) -> RenderableType:
    """Draw everything that ``status`` shows."""
    blocks: list[RenderableType] = [_head(status, zone)]
    if status.needs_you:
        blocks.append(_notices(status))
    blocks.append(_backends(status, zone))
    if any(one.duration.count for one in status.backends):
        blocks.append(_latencies(status))
    if status.plan:
        blocks.append(_plan(status, zone))
    blocks.extend((_spend(status, zone), _foot(status)))
    return Group(*_spaced(blocks))


def _spaced(blocks: Iterable[RenderableType]) -> Iterable[RenderableType]:
    for index, block in enumerate(blocks):
        if index:
            yield Text("")
        yield block


def _head(status: Status, zone: tzinfo | None) -> RenderableType:
    lines = [Text("● ", style=_HEALTH_STYLE[status.health]) + Text(headline(status, zone), style="bold")]
    if status.override is not None:
        what = f" for {status.override.model}" if status.override.model else ""
        ends = f" until {until(status.override.until, status.now, zone)}" if status.override.until else ""
        lines.append(
            Text(f"  forced to {status.override.backend}{what}{ends}; `force-backend auto` ends it", "magenta")
        )
    if status.draining:
        lines.append(Text(f"  draining: {status.streams} requests still run, new ones are refused", "yellow"))
    return Group(*lines)


def _notices(status: Status) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(overflow="fold")
    for notice in status.needs_you:
        mark, style = ("!", "red") if notice.severity is Severity.CRITICAL else ("!", "yellow")
        if notice.severity is Severity.INFO:
            mark, style = "i", "cyan"
        table.add_row(Text(mark, style), Text(notice.title, style))
        if notice.hint:
            table.add_row("", Text(f"→ {notice.hint}", "dim"))
    return table


def _backends(status: Status, zone: tzinfo | None) -> RenderableType:
    table = plain_table("backend", "state", "until", "why")
    for backend in status.backends:
        table.add_row(
            Text(backend.name, "bold"),
            _state(backend.state, usable=backend.usable),
            _ends(backend.until, status.now, zone),
            Text(backend.why or _where(backend)),
        )
        for model in backend.models:
            if model.state is not State.READY:
                table.add_row(
                    Text(f"  {model.model}"), _state(model.state), _ends(model.until, status.now, zone), Text(model.why)
                )
    return table


def _where(backend: BackendStatus) -> str:
    return ", ".join(part for part in (backend.where, backend.credential) if part)


def _state(state: State, *, usable: bool = True) -> Text:
    return Text(_STATE_WORD[state], _STATE_STYLE[state]) if usable else Text("unusable", "red")


def _ends(moment: float | None, now: float, zone: tzinfo | None) -> Text:
    return Text(until(moment, now, zone) if moment is not None else "")


def _latencies(status: Status) -> RenderableType:
    table = plain_table("", "answers", "failed", "first content p50/p95/p99", "whole p50/p95/p99")
    for backend in status.backends:
        if backend.duration.count:
            table.add_row(
                backend.name,
                str(backend.attempts),
                str(backend.failures),
                _percentiles(backend.ttft),
                _percentiles(backend.duration),
            )
    return table


def _percentiles(latency: Latency) -> str:
    values = (latency.p50_s, latency.p95_s, latency.p99_s)
    return " / ".join("-" if value is None else f"{value:.2f}" for value in values) + " s"


def _plan(status: Status, zone: tzinfo | None) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for window in status.plan:
        used = window.used
        table.add_row(
            Text(f"plan {window.name}"),
            Text(bar(used) if used is not None else "", _window_style(window)),
            Text("" if used is None else f"{used * 100:.0f} %", _window_style(window)),
            Text("rejected" if window.status == "rejected" else "", "red"),
            Text(f"resets {until(window.resets, status.now, zone)}" if window.resets else ""),
        )
    return table


def _window_style(window: PlanWindow) -> str:
    if window.status == "rejected" or (window.used or 0.0) >= 1.0:
        return "red"
    return "yellow" if window.status != "allowed" or (window.used or 0.0) >= 0.8 else "green"


def _spend(status: Status, zone: tzinfo | None) -> RenderableType:
    spend = status.spend
    share = spend.today_usd / spend.limit_usd if spend.limit_usd else 0.0
    alerted = spend.alert_usd is not None and spend.today_usd >= spend.alert_usd
    style = "red" if spend.reached else "yellow" if alerted else "green"
    table = Table.grid(padding=(0, 2))
    words = f"${spend.today_usd:.2f}" + (f" of ${spend.limit_usd:.2f}" if spend.limit_usd is not None else ", no limit")
    notes = [f"${spend.reserved_usd:.2f} reserved"] if spend.reserved_usd >= 0.005 else []
    if spend.notional_usd >= 0.005:
        notes.append(f"subscription traffic worth ${spend.notional_usd:.2f}")
    if spend.resets is not None and spend.limit_usd is not None:
        notes.append(f"resets {clock_time(spend.resets, status.now, zone)}")
    table.add_row(
        Text("spent today"),
        Text(bar(share) if spend.limit_usd else "", style),
        Text(words, style),
        Text(", ".join(notes)),
    )
    return table


def _foot(status: Status) -> RenderableType:
    totals = status.totals
    served = f"{totals.requests} requests, {totals.rescued} rescued, {totals.failed} failed since start"
    config = status.config_file if status.config_exists else f"{status.config_file} (not there: defaults)"
    learned = f" · {status.learned} learned (claude-failover models)" if status.learned else ""
    lines = (
        f"{status.streams} in flight · {served}{learned}",
        f"{status.listen} · pid {status.pid} · up {spell(status.uptime_s)} · version {status.version}",
        f"config {config}",
    )
    texts = [Text(line, "dim", overflow="fold") for line in lines]
    if status.config_error:
        texts.append(Text(f"last reload refused, the old configuration is in force: {status.config_error}", "red"))
    texts.extend(
        Text(f"{name} {store.path}: {store.detail or 'cannot be written'}", "red")
        for name, store in (("ledger", status.ledger), ("log", status.log))
        if not store.ok
    )
    return Group(*texts)


def plain_table(*columns: str) -> Table:
    """A table without lines, its last column folding."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in columns[:-1]:
        table.add_column(name, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    return table
