"""The drill's table."""

from __future__ import annotations

from dataclasses import replace

from claude_failover.cli import render
from claude_failover.cli.render_drill import SAW, report_screen, scenarios_screen, shortened
from claude_failover.drill.fire import Report, Result
from claude_failover.drill.scenarios import ALL

RESCUED = Result("plan-limit", "the limit is reached", "Bedrock's answer", 0.034, 1, 1, rescued=True, expected=True)
TOLD = Result("spend-limit", "no money left", "429 rate_limit_error", None, 1, 0, rescued=False, expected=True)
FAILED = replace(RESCUED, name="outage", expected=False, problem="no whole answer")


def draw(*results: Result, colour: bool = False) -> str:
    report = Report(1, all(result.expected for result in results), 12.3, results)
    return render.to_text(report_screen(report), width=100, colour=colour)


def test_a_line_says_what_was_seen_how_fast_and_with_how_many_attempts() -> None:
    line = draw(RESCUED).splitlines()[1]
    assert line.split() == [
        "plan-limit", "the", "limit", "is", "reached", "Bedrock's", "answer", "0.03", "s", "1", "+", "1", "rescued",
    ]  # fmt: skip


def test_the_sum_tells_rescued_from_told() -> None:
    text = draw(RESCUED, TOLD)
    assert "1 rescued, 1 told the truth; 12 s." in text
    assert "\x1b[" not in text
    assert "\x1b[" in draw(RESCUED, colour=True)


def test_a_failure_is_named_with_its_reason() -> None:
    text = draw(FAILED, RESCUED)
    assert "outage: no whole answer" in text
    assert "1 rescued, 1 NOT AS IT MUST BE; 12 s." in text


def test_long_words_are_cut() -> None:
    assert shortened("x" * SAW) == "x" * SAW
    assert shortened("x" * (SAW + 1)) == "x" * (SAW - 1) + "…"


def test_the_list_names_every_scenario() -> None:
    text = render.to_text(scenarios_screen(ALL.values()), width=100, colour=False)
    assert all(name in text for name in ALL)
