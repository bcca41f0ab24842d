"""Records as rows, and what they add to the sums."""

from __future__ import annotations

import json

from msgspec.structs import replace

from claude_failover.core.types import BackendName, Ended, Epoch, Kind, Outcome, Reason, Seconds, Step, Surface, Usage
from claude_failover.ledger_rows import (
    ATTEMPT_COLUMNS,
    EXCHANGE_COLUMNS,
    MAX_STEPS_BYTES,
    Conversations,
    Hold,
    Rows,
    add,
    day_of_attempt,
    day_of_exchange,
)
from tests.ledger_records import AT_BEDROCK, AT_CLAUDE, CLAUDE, DAY, NOON, PRICES, SERVED, UTC


def rows() -> Rows:
    return Rows(UTC, CLAUDE, PRICES, Conversations())


def test_a_row_has_the_columns_in_their_order() -> None:
    assert tuple(rows().attempt(AT_CLAUDE)) == ATTEMPT_COLUMNS
    assert tuple(rows().exchange(SERVED)) == EXCHANGE_COLUMNS
    assert tuple(rows().left_open(Hold("r:1", DAY, 5, None, 0))) == ATTEMPT_COLUMNS


def test_an_attempt_becomes_a_row() -> None:
    row = rows().attempt(replace(AT_BEDROCK, surface=Surface.MESSAGES, extra={"region": "eu-west-1"}))
    assert row["day"] == DAY
    assert row["hour"] == "2026-11-22 12"
    assert row["started_ms"] == 1_795_348_860_000
    assert (row["backend"], row["scope"], row["region"], row["surface"]) == (
        "bedrock",
        "global",
        "eu-west-1",
        "messages",
    )
    assert (row["ttfb_ms"], row["ttft_ms"], row["duration_ms"]) == (200, 900, 4_000)
    assert (row["paid"], row["failover"], row["cost_nusd"]) == (1, 1, 264_040_000)
    assert row["prices_as_of"] == "2026-11-22"


def test_without_prices_a_row_names_none() -> None:
    plain = Rows(UTC, CLAUDE, None, Conversations())
    plain.attempt(AT_CLAUDE)
    row = plain.attempt(AT_BEDROCK)
    assert (row["prices_as_of"], row["rebuild_nusd"]) == ("", 0)
    assert plain.left_open(Hold("r:1", DAY, 5, None, 0))["prices_as_of"] == ""


def test_the_scope_is_that_of_the_id_that_was_sent_or_the_one_told() -> None:
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x"
    assert rows().attempt(replace(AT_BEDROCK, upstream_model="jp.anthropic.claude-opus-5-5"))["scope"] == "jp"
    assert rows().attempt(replace(AT_BEDROCK, upstream_model=arn, extra={"scope": "us"}))["scope"] == "us"
    assert rows().attempt(AT_CLAUDE)["scope"] == ""


def test_a_backend_that_the_owner_chose_is_no_failover() -> None:
    for reason in (Reason.FORCED, Reason.PREFERRED):
        assert rows().attempt(replace(AT_BEDROCK, reason=reason))["failover"] == 0
    assert rows().attempt(replace(AT_BEDROCK, reason=Reason.RETRY))["failover"] == 1
    assert rows().attempt(replace(AT_CLAUDE, reason=Reason.RETRY))["failover"] == 0


def test_a_cold_cache_is_what_the_other_backend_had_warm() -> None:
    """51,000 tokens were cached at Claude; 52,000 are written at Bedrock: 51,000 x (5 - 0.20) millionths."""
    ledger = rows()
    assert ledger.attempt(AT_CLAUDE)["rebuild_nusd"] == 0
    assert ledger.attempt(AT_BEDROCK)["rebuild_nusd"] == 244_800_000
    assert ledger.attempt(replace(AT_BEDROCK, exchange="cfr_3"))["rebuild_nusd"] == 0, "the second turn there is warm"


def test_going_back_to_the_primary_builds_its_cache_anew_too() -> None:
    ledger = rows()
    ledger.attempt(AT_BEDROCK)
    back = replace(AT_CLAUDE, started=Epoch(NOON + 600), usage=Usage(cache_write_5m=52_000))
    assert ledger.attempt(back)["rebuild_nusd"] == 249_600_000, "52,000 x 4.80"


def test_a_cache_that_has_gone_cold_by_itself_is_not_failovers_fault() -> None:
    ledger = rows()
    ledger.attempt(AT_CLAUDE)
    assert ledger.attempt(replace(AT_BEDROCK, started=Epoch(NOON + 3_601)))["rebuild_nusd"] == 0


def test_other_agents_and_unknown_conversations_have_caches_of_their_own() -> None:
    ledger = rows()
    ledger.attempt(AT_CLAUDE)
    assert ledger.attempt(replace(AT_BEDROCK, agent="a1"))["rebuild_nusd"] == 0
    assert ledger.attempt(replace(AT_BEDROCK, session=None))["rebuild_nusd"] == 0
    assert ledger.attempt(replace(AT_BEDROCK, committed=False))["rebuild_nusd"] == 0


def test_conversations_are_forgotten_oldest_first() -> None:
    conversations = Conversations()
    for number in range(2_001):
        conversations.warm_elsewhere(replace(AT_CLAUDE, session=f"s{number}"))
    assert conversations.warm_elsewhere(replace(AT_BEDROCK, session="s0")) == 0
    assert conversations.warm_elsewhere(replace(AT_BEDROCK, session="s2000")) == 51_000


def test_real_money_and_a_subscriptions_value_are_kept_apart() -> None:
    ledger = rows()
    key, added = day_of_attempt(ledger.attempt(AT_CLAUDE))
    assert key == (DAY, "claude", "claude-opus-5-5")
    assert (added["spent_nusd"], added["notional_nusd"], added["failover_nusd"]) == (0, 20_000_000, 0)
    key, added = day_of_attempt(ledger.attempt(AT_BEDROCK))
    assert key == (DAY, "bedrock", "claude-opus-5-5")
    assert (added["spent_nusd"], added["notional_nusd"], added["failover_nusd"]) == (264_040_000, 0, 264_040_000)
    assert added["primary_nusd"] == 19_240_000, "what it cost less the cold cache"
    assert added["rebuild_nusd"] == 244_800_000


def test_a_cut_attempt_and_an_estimated_price_are_counted() -> None:
    row = rows().attempt(replace(AT_BEDROCK, usage_state=Ended.PARTIAL, price_estimated=True, outcome=Outcome.CUT))
    assert (day_of_attempt(row)[1]["partial"], day_of_attempt(row)[1]["estimated"]) == (1, 1)


def test_a_request_counts_where_it_was_answered() -> None:
    ledger = rows()
    assert day_of_exchange(ledger.exchange(SERVED)) == (
        (DAY, "bedrock", "claude-opus-5-5"),
        {"requests": 1, "rescued": 1},
    )
    refused = replace(SERVED, backend=None, reason=None, outcome="refused", ttft=None)
    assert day_of_exchange(ledger.exchange(refused)) == ((DAY, "", "claude-opus-5-5"), {"requests": 1, "rescued": 0})


def test_what_a_crash_left_open_costs_all_that_was_held() -> None:
    row = rows().left_open(Hold("run:7", DAY, 5_000_000, "s1", int(NOON * 1_000)))
    key, added = day_of_attempt(row)
    assert key == (DAY, "(crash)", "")
    assert (added["spent_nusd"], added["partial"], added["estimated"], added["attempts"]) == (5_000_000, 1, 1, 1)
    assert (row["exchange"], row["session"], row["kind"]) == ("crash:run:7", "s1", Kind.BEDROCK)


def test_halves_of_characters_are_replaced() -> None:
    row = rows().attempt(replace(AT_CLAUDE, session="caf\udce9", detail="ü"))
    assert (row["session"], row["detail"]) == ("caf?", "ü")


def test_a_long_timeline_is_shortened_in_its_middle() -> None:
    steps = tuple(Step(Seconds(float(n)), "held", "bedrock", "x" * 80) for n in range(1_000))
    text = rows().exchange(replace(SERVED, steps=steps))["steps"]
    assert isinstance(text, str)
    assert len(text) <= MAX_STEPS_BYTES
    kept = json.loads(text)
    assert (kept[0][0], kept[-1][0]) == (0.0, 999.0)


def test_a_timeline_that_cannot_be_shortened_is_left_out() -> None:
    steps = tuple(Step(Seconds(0.0), "held", "b", "x" * 30_000) for _ in range(5))
    assert rows().exchange(replace(SERVED, steps=steps))["steps"] == "[]"


def test_sums_add_up() -> None:
    sums: dict[tuple[str, str, str], dict[str, int]] = {}
    key = (DAY, BackendName("b"), "m")
    add(sums, key, {"requests": 1})
    add(sums, key, {"requests": 2, "input": 5})
    assert (sums[key]["requests"], sums[key]["input"], sums[key]["output"]) == (3, 5, 0)
