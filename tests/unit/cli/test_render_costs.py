"""The cost report on a screen, as JSON, as CSV."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from claude_failover.cli.render import to_text
from claude_failover.cli.render_costs import costs_csv, costs_json, costs_screen
from claude_failover.ledger_query import CostLine, CostReport

USD = 1_000_000_000
BEDROCK = CostLine(
    "bedrock", requests=7, rescued=7, attempts=7, input=1_200, output=34_000, cache_read=2_500_000, write_5m=300_000,
    write_1h=10, spent_nusd=4_210_000_000, failover_nusd=4_210_000_000, primary_nusd=2_000_000_000,
    rebuild_nusd=1_900_000_000, partial=1,
)  # fmt: skip
CLAUDE = CostLine("claude", requests=120, attempts=127, input=90, output=999, notional_nusd=31_500_000_000, estimated=2)
TOTAL = CostLine(
    "total", requests=127, rescued=7, attempts=134, input=1_290, output=34_999, cache_read=2_500_000, write_5m=300_000,
    write_1h=10, spent_nusd=4_210_000_000, notional_nusd=31_500_000_000, failover_nusd=4_210_000_000,
    primary_nusd=2_000_000_000, rebuild_nusd=1_900_000_000, partial=1, estimated=2,
)  # fmt: skip
REPORT = CostReport(
    schema_version=1, since="2026-11-22", until="2026-11-22", by="backend", zone="Europe/Berlin",
    lines=(BEDROCK, CLAUDE), total=TOTAL, today="2026-11-22", today_spent_nusd=4_210_000_000,
    limit_nusd=100 * USD, alert_nusd=80 * USD,
    resets="00:00 Europe/Berlin", prices_as_of="2026-11-20", prices_age_days=2,
)  # fmt: skip
EMPTY = replace(REPORT, lines=(), total=CostLine("total"), today_spent_nusd=0)


def draw(report: CostReport, width: int = 80, *, colour: bool = False) -> str:
    return to_text(costs_screen(report), width=width, colour=colour)


def test_the_screen_of_a_day_with_a_failover() -> None:
    assert draw(REPORT) == "\n".join(
        [
            "today: $4.21 spent, $31.50 notional on 127 requests, 7 rescued",
            "today's limit █░░░░░░░░░░░░░░░░░░░ $4.21 of $100.00, resets 00:00 Europe/Berlin",
            "",
            "backend    req resc spent notional extra primary",
            "bedrock      7    7 $4.21        - $2.21   $2.00 ██████████",
            "claude     120          -   $31.50     -       - ░░░░░░░░░░",
            "total      127    7 $4.21   $31.50 $2.21   $2.00",
            "",
            "spent: real money (Bedrock, API keys), before taxes, credits and discounts.",
            "notional: a subscription's tokens at list price; nobody pays it.",
            "failing over cost $4.21; the primary's list price for the same work is $2.00:",
            "$2.21 extra, of it $1.90 for prompt caches built anew after a switch.",
            "tokens: 1.3k in, 35.0k out, 2.5M cache read, 300.0k cache written.",
            "! 1 attempt ended early: counted by what was seen",
            "! 2 attempts without a price of their own: estimated",
            "prices as of 2026-11-20 (2 days old)",
        ]
    )


def test_a_day_without_anything_is_three_lines() -> None:
    assert draw(EMPTY).splitlines() == [
        "today: $0.00 spent on 0 requests",
        "today's limit ░░░░░░░░░░░░░░░░░░░░ $0.00 of $100.00, resets 00:00 Europe/Berlin",
        "prices as of 2026-11-20 (2 days old)",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("report", [REPORT, EMPTY], ids=["full", "empty"])
def test_no_line_is_wider_than_the_terminal(report: CostReport, width: int) -> None:
    long = replace(report, lines=(replace(BEDROCK, key="s" * 200), *report.lines), by="session")
    assert max(len(line) for line in draw(long, width).splitlines()) <= width


def test_colour_only_repeats_what_the_words_say() -> None:
    assert "\x1b[" not in draw(REPORT)
    assert "\x1b[" in draw(REPORT, colour=True)


def test_the_limit_bar_turns_yellow_at_the_alert_and_red_at_the_limit() -> None:
    assert "\x1b[32m█" in draw(REPORT, colour=True)
    assert "\x1b[33m█" in draw(replace(REPORT, today_spent_nusd=80 * USD), colour=True)
    assert "\x1b[31m█" in draw(replace(REPORT, today_spent_nusd=100 * USD), colour=True)
    assert "\x1b[32m█" in draw(replace(REPORT, today_spent_nusd=90 * USD, alert_nusd=None), colour=True)


def test_a_limit_of_nothing_and_no_limit_at_all() -> None:
    assert "████████████████████ $0.00 of $0.00" in draw(replace(EMPTY, limit_nusd=0))
    assert "no daily limit is set (cost_tracking.daily_limit)" in draw(replace(EMPTY, limit_nusd=None))


def test_several_days_say_from_when_to_when() -> None:
    week = replace(REPORT, since="2026-11-16", by="day", lines=(replace(BEDROCK, key="2026-11-20"), CLAUDE))
    assert "2026-11-16 to 2026-11-22: $4.21" in draw(week, 120)
    yesterday = replace(EMPTY, since="2026-11-21", until="2026-11-21")
    assert "2026-11-21: $0.00" in draw(yesterday)


def test_a_subscription_alone_has_bars_of_notional_value_and_no_columns_of_failover() -> None:
    quiet = replace(REPORT, lines=(CLAUDE,), total=replace(CLAUDE, key="total"), today_spent_nusd=0)
    text = draw(quiet)
    assert "extra" not in text
    assert "claude  " in text
    assert "██████████" in text
    assert "total" not in text, "one line needs no sum"


def test_without_a_cold_cache_none_is_mentioned() -> None:
    total = replace(TOTAL, rebuild_nusd=0)
    assert "built anew" not in draw(replace(REPORT, total=total))


def test_lines_that_were_left_out_are_counted() -> None:
    assert "… 12 more" in draw(replace(REPORT, omitted=12))


def test_a_session_that_is_not_known_has_a_name() -> None:
    assert "(none)" in draw(replace(REPORT, by="session", lines=(replace(CLAUDE, key=""), BEDROCK)))


def test_old_prices_say_so() -> None:
    assert "prices as of 2026-08-01 (113 days old); a newer release may know newer prices" in draw(
        replace(EMPTY, prices_as_of="2026-08-01", prices_age_days=113)
    )
    assert draw(replace(EMPTY, prices_as_of="")).count("prices") == 0
    assert "prices as of soon\n" in draw(replace(EMPTY, prices_as_of="soon", prices_age_days=None)) + "\n"


def test_notes_are_shown() -> None:
    assert "! 12 rows wait in memory: disk full" in draw(replace(EMPTY, notes=("12 rows wait in memory: disk full",)))


def test_a_clients_words_cannot_move_the_cursor_or_calculate() -> None:
    evil = replace(REPORT, by="session", lines=(replace(BEDROCK, key="\x1b[2J=1+1"), replace(CLAUDE, key="=1+1")))
    assert "\x1b[2J" not in draw(evil)
    assert costs_csv(evil).splitlines()[2].startswith("'=1+1,")


def test_large_token_counts_stay_short() -> None:
    total = replace(TOTAL, input=5, output=12_300_000_000)
    assert "tokens: 5 in, 12.3G out" in draw(replace(REPORT, total=total))


def test_json_has_everything_and_what_follows_from_it() -> None:
    tree = json.loads(costs_json(REPORT))
    assert tree["schema_version"] == 1
    assert tree["limit_nusd"] == 100 * USD
    assert [line["key"] for line in tree["lines"]] == ["bedrock", "claude"]
    assert tree["lines"][0]["extra_nusd"] == tree["total"]["extra_nusd"] == 2_210_000_000


def test_csv_has_exact_dollars_and_no_total() -> None:
    rows = list(csv.DictReader(io.StringIO(costs_csv(REPORT))))
    assert [row["backend"] for row in rows] == ["bedrock", "claude"]
    assert rows[0]["spent_usd"] == "4.210000000"
    assert rows[0]["extra_usd"] == "2.210000000"
    assert rows[1]["notional_usd"] == "31.500000000"
    assert rows[0]["cache_read"] == "2500000"


def test_an_extra_below_nothing_keeps_its_sign() -> None:
    """A cheaper place than the primary's list price."""
    cheap = replace(BEDROCK, failover_nusd=1, primary_nusd=1_500_000_001)
    row = next(csv.DictReader(io.StringIO(costs_csv(replace(REPORT, lines=(cheap,))))))
    assert row["extra_usd"] == "-1.500000000"
