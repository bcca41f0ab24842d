"""The status screen: what it says, at any width, with and without colour."""

from __future__ import annotations

import json
import re
from datetime import UTC

import pytest

from claude_failover.cli import render
from claude_failover.control.status import (
    BackendStatus,
    Latency,
    ModelState,
    Notice,
    Override,
    PlanWindow,
    Severity,
    Spend,
    State,
    Status,
    Store,
)
from tests.control_fakes import NOW, sample_status


def draw(status: Status, width: int = 100, *, colour: bool = False) -> str:
    return render.to_text(render.status_screen(status, UTC), width=width, colour=colour)


def everything() -> Status:
    """A status in which every part has something to say."""
    return sample_status(
        needs_you=(
            Notice("sso", "AWS login of profile work has expired", "aws sso login --profile work", Severity.CRITICAL),
            Notice("key", "the key is old"),
            Notice("note", "a newer version is installed", severity=Severity.INFO),
        ),
        override=Override("bedrock", "claude-opus-5-5", NOW + 1800),
        draining=True,
        backends=(
            BackendStatus(
                "claude", "anthropic", State.COOLDOWN, NOW + 4320, "the 5-hour window is used up",
                models=(
                    ModelState("claude-opus-5-5", State.OPEN, NOW + 12, "5 failures in a row"),
                    ModelState("claude-haiku-5"),
                ),
                attempts=9, failures=2, duration=Latency(9, 1.0, 2.0, 3.0), ttft=Latency(9, 0.5, None, 1.5),
            ),
            BackendStatus("bedrock", "bedrock", usable=False, where="us-east-1", credential="none found"),
        ),
        config_error="config.yaml:3: no",
        config_exists=False,
        ledger=Store("/state/ledger.db", ok=False, detail="disk full"),
        log=Store("/log/daemon.log", ok=False),
    )  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in draw(everything(), width).splitlines()) <= width


@pytest.mark.parametrize("width", [80, 140])
def test_everything_that_needs_saying_is_said(width: int) -> None:
    text = " ".join(draw(everything(), width).split())
    for words in (
        "Failed over: bedrock answers until 12:18 (in 1 h 12 min): the 5-hour window is used up",
        "forced to bedrock for claude-opus-5-5 until 11:36 (in 30 min)",
        "draining: 2 requests still run",
        "AWS login of profile work has expired",
        "→ aws sso login --profile work",
        "claude-opus-5-5 resting",
        "bedrock unusable",
        "plan 5h",
        "100 % rejected resets 12:18",
        "$1.82 of $20.00",
        "$0.41 reserved",
        "134 requests, 14 rescued, 0 failed",
        "last reload refused, the old configuration is in force: config.yaml:3: no",
        "ledger /state/ledger.db: disk full",
        "log /log/daemon.log: cannot be written",
        "(not there: defaults)",
    ):
        assert words in text


def test_a_model_that_is_ready_is_not_listed() -> None:
    assert "claude-haiku-5" not in draw(everything())


def test_without_colour_there_is_not_one_escape() -> None:
    assert "\x1b" not in draw(everything())


def test_with_colour_the_words_are_the_same() -> None:
    coloured = draw(everything(), colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == draw(everything()).split()


def test_brackets_in_a_reason_are_text_and_not_markup() -> None:
    status = sample_status(needs_you=(Notice("x", "model [red]x[/red] and :smile:"),))
    assert "model [red]x[/red] and :smile:" in draw(status)


def test_no_limit_is_said_and_has_no_bar() -> None:
    text = draw(sample_status(spend=Spend(today_usd=1.0, notional_usd=12.5)))
    assert "$1.00, no limit" in text
    assert "subscription traffic worth $12.50" in text


def test_nothing_measured_shows_no_latency_table() -> None:
    assert "first content" not in draw(sample_status(backends=(BackendStatus("claude", "anthropic"),)))


def test_no_plan_is_not_shown() -> None:
    assert "plan " not in draw(sample_status(plan=()))


def test_a_window_of_which_only_the_status_is_known_shows_that() -> None:
    text = draw(sample_status(plan=(PlanWindow("7d", None, "rejected", None),)))
    assert "plan 7d" in text
    assert "rejected" in text


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0.0, "░░░░"), (0.01, "█░░░"), (0.5, "██░░"), (1.0, "████"), (1.7, "████"), (-1.0, "░░░░")],
)
def test_a_bar_shows_anything_above_nothing_and_stops_at_full(share: float, drawn: str) -> None:
    assert render.bar(share, 4) == drawn


@pytest.mark.parametrize(
    ("window", "style"),
    [
        (PlanWindow("5h", 0.5), "green"),
        (PlanWindow("5h", 0.85), "yellow"),
        (PlanWindow("5h", 0.5, "allowed_warning"), "yellow"),
        (PlanWindow("5h", 1.0), "red"),
        (PlanWindow("5h", 0.5, "rejected"), "red"),
    ],
)
def test_a_window_is_coloured_by_how_full_it_is(window: PlanWindow, style: str) -> None:
    assert render._window_style(window) == style


def test_json_has_every_field_and_what_is_computed() -> None:
    tree = json.loads(render.status_json(sample_status()))
    assert tree["schema_version"] == 1
    assert (tree["exit_code"], tree["uptime_s"]) == (4, 10800.0)
    assert tree["summary"].startswith("Failed over: bedrock answers")
    assert tree["backends"][0]["ttft"] == {"count": 119, "p50_s": 0.8, "p95_s": 2.1, "p99_s": 3.04}


def test_any_message_is_indented_json() -> None:
    assert render.as_json(Override("bedrock")) == '{\n  "backend": "bedrock",\n  "model": null,\n  "until": null\n}'
