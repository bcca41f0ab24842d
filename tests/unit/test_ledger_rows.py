"""Records as rows, and what they add to the sums."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Ended,
    Epoch,
    Kind,
    Outcome,
    Reason,
    Seconds,
    Step,
    Surface,
    Usage,
)
from claude_failover.ledger_rows import (
    MAX_STEPS_BYTES,
    RECOVERED,
    SUM_COLUMNS,
    Conversations,
    DayKey,
    Hold,
    Rows,
    Sums,
    Value,
    keep,
)
from tests.ledger_records import AT_BEDROCK, AT_CLAUDE, CLAUDE, DAY, NOON, PRICES, SERVED, UTC, columns, sums


def rows() -> Rows:
    return Rows(UTC, CLAUDE, PRICES, Conversations())


def attempt(record: AttemptRecord) -> dict[str, Value | None]:
    return columns(rows().attempt(record))


def test_an_attempts_row_has_every_value_in_its_column() -> None:
    record = AttemptRecord(
        exchange="cfr_7",
        attempt=3,
        backend=BackendName("bedrock"),
        kind=Kind.BEDROCK,
        model="claude-opus-5-5",
        upstream_model="eu.anthropic.claude-opus-5-5",
        surface=Surface.MESSAGES,
        reason=Reason.PLAN_LIMIT,
        outcome=Outcome.CUT,
        detail="broken off",
        status=200,
        started=Epoch(NOON + 60.25),
        ttfb=Seconds(0.2),
        ttft=Seconds(0.9),
        duration=Seconds(4.0),
        usage=Usage(
            input=11,
            output=12,
            cache_read=13,
            cache_write_5m=14,
            cache_write_1h=15,
            web_searches=16,
            thinking=17,
            geo_us=True,
        ),
        usage_state=Ended.PARTIAL,
        upstream_request_id="req_1",
        session="s1",
        agent="a1",
        request_class="c1",
        paid=True,
        cost_nusd=18,
        list_cost_nusd=19,
        committed=True,
        extra={"region": "eu-west-1"},
    )
    assert attempt(record) == {
        "exchange": "cfr_7",
        "attempt": 3,
        "started_ms": 1_795_348_860_250,
        "day": DAY,
        "hour": "2026-11-22 12",
        "backend": "bedrock",
        "kind": "bedrock",
        "model": "claude-opus-5-5",
        "upstream_model": "eu.anthropic.claude-opus-5-5",
        "scope": "eu",
        "region": "eu-west-1",
        "surface": "messages",
        "reason": "plan_limit",
        "outcome": "cut",
        "detail": "broken off",
        "status": 200,
        "ttfb_ms": 200,
        "ttft_ms": 900,
        "duration_ms": 4_000,
        "input": 11,
        "output": 12,
        "cache_read": 13,
        "write_5m": 14,
        "write_1h": 15,
        "web_searches": 16,
        "thinking": 17,
        "geo_us": 1,
        "fast": 0,
        "usage_state": "partial",
        "upstream_request_id": "req_1",
        "session": "s1",
        "agent": "a1",
        "request_class": "c1",
        "paid": 1,
        "cost_nusd": 18,
        "list_nusd": 19,
        "rebuild_nusd": 0,
        "estimated": 0,
        "committed": 1,
        "streaming": 1,
        "failover": 1,
        "prices_as_of": "2026-11-22",
    }


@pytest.mark.parametrize(
    ("record", "column"),
    [
        (replace(AT_CLAUDE, usage=Usage(geo_us=True)), "geo_us"),
        (replace(AT_CLAUDE, usage=Usage(fast=True)), "fast"),
        (replace(AT_CLAUDE, paid=True), "paid"),
        (replace(AT_CLAUDE, price_estimated=True), "estimated"),
        (replace(AT_CLAUDE, committed=True), "committed"),
        (replace(AT_CLAUDE, streaming=True), "streaming"),
        (replace(AT_CLAUDE, backend=BackendName("b"), reason=Reason.PLAN_LIMIT), "failover"),
    ],
)
def test_each_flag_has_a_column_of_its_own(record: AttemptRecord, column: str) -> None:
    flags = ("geo_us", "fast", "paid", "estimated", "committed", "streaming", "failover")
    bare = replace(record, committed=column == "committed", streaming=column == "streaming")
    row = attempt(bare)
    assert [name for name in flags if row[name]] == [column]
    assert {type(row[name]) for name in flags} == {int}


def test_a_requests_row_has_every_value_in_its_column() -> None:
    record = replace(SERVED, session="s1", agent="a1", request_class="c1", streaming=False)
    assert columns(rows().exchange(record)) == {
        "exchange": "cfr_2",
        "started_ms": 1_795_348_859_000,
        "day": DAY,
        "hour": "2026-11-22 12",
        "model": "claude-opus-5-5",
        "outcome": "served",
        "status": 200,
        "backend": "bedrock",
        "reason": "plan_limit",
        "duration_ms": 5_000,
        "overhead_ms": 4,
        "ttft_ms": 1_200,
        "session": "s1",
        "agent": "a1",
        "request_class": "c1",
        "failed_over": 1,
        "streaming": 0,
        "steps": '[[0.0,"opened","claude",""],[0.3,"failed over","bedrock","5 h window used up"]]',
    }


def test_a_duration_is_in_whole_milliseconds_and_never_negative() -> None:
    for seconds, written in ((0.0014, 1), (0.0016, 2), (0.0, 0), (-0.5, 0), (None, None)):
        assert attempt(replace(AT_CLAUDE, ttfb=seconds if seconds is None else Seconds(seconds)))["ttfb_ms"] == written


def test_without_prices_a_row_names_none() -> None:
    plain = Rows(UTC, CLAUDE, None, Conversations())
    plain.attempt(AT_CLAUDE)
    row = columns(plain.attempt(AT_BEDROCK))
    assert (row["prices_as_of"], row["rebuild_nusd"]) == ("", 0)
    assert columns(plain.left_open(Hold("r:1", DAY, 5, None, 0)))["prices_as_of"] == ""


def test_the_scope_is_that_of_the_id_that_was_sent_or_the_one_told() -> None:
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x"
    assert attempt(replace(AT_BEDROCK, upstream_model="jp.anthropic.claude-opus-5-5"))["scope"] == "jp"
    assert attempt(replace(AT_BEDROCK, upstream_model=arn, extra={"scope": "us"}))["scope"] == "us"
    assert attempt(AT_CLAUDE)["scope"] == ""


def test_a_backend_that_the_owner_chose_is_no_failover() -> None:
    for reason in (Reason.FORCED, Reason.PREFERRED):
        assert attempt(replace(AT_BEDROCK, reason=reason))["failover"] == 0
    assert attempt(replace(AT_BEDROCK, reason=Reason.RETRY))["failover"] == 1
    assert attempt(replace(AT_CLAUDE, reason=Reason.RETRY))["failover"] == 0


def test_a_cold_cache_is_what_the_other_backend_had_warm() -> None:
    """51,000 tokens were cached at Claude; 52,000 are written at Bedrock: 51,000 x (5 - 0.20) millionths."""
    ledger = rows()
    assert columns(ledger.attempt(AT_CLAUDE))["rebuild_nusd"] == 0
    assert columns(ledger.attempt(AT_BEDROCK))["rebuild_nusd"] == 244_800_000
    again = replace(AT_BEDROCK, exchange="cfr_3")
    assert columns(ledger.attempt(again))["rebuild_nusd"] == 0, "the second turn there is warm"


def test_going_back_to_the_primary_builds_its_cache_anew_too() -> None:
    ledger = rows()
    ledger.attempt(AT_BEDROCK)
    back = replace(AT_CLAUDE, started=Epoch(NOON + 600), usage=Usage(cache_write_5m=52_000))
    assert columns(ledger.attempt(back))["rebuild_nusd"] == 249_600_000, "52,000 x 4.80"


def test_a_cache_that_has_gone_cold_by_itself_is_not_failovers_fault() -> None:
    ledger = rows()
    ledger.attempt(AT_CLAUDE)
    assert columns(ledger.attempt(replace(AT_BEDROCK, started=Epoch(NOON + 3_601))))["rebuild_nusd"] == 0


def test_other_agents_and_unknown_conversations_have_caches_of_their_own() -> None:
    ledger = rows()
    ledger.attempt(AT_CLAUDE)
    assert columns(ledger.attempt(replace(AT_BEDROCK, agent="a1")))["rebuild_nusd"] == 0
    assert columns(ledger.attempt(replace(AT_BEDROCK, session=None)))["rebuild_nusd"] == 0
    assert columns(ledger.attempt(replace(AT_BEDROCK, committed=False)))["rebuild_nusd"] == 0


def test_conversations_are_forgotten_oldest_first() -> None:
    conversations = Conversations()
    for number in range(2_001):
        conversations.warm_elsewhere(replace(AT_CLAUDE, session=f"s{number}"))
    assert conversations.warm_elsewhere(replace(AT_BEDROCK, session="s0")) == 0
    assert conversations.warm_elsewhere(replace(AT_BEDROCK, session="s2000")) == 51_000


def test_real_money_and_a_subscriptions_value_are_kept_apart() -> None:
    ledger = rows()
    row = ledger.attempt(AT_CLAUDE)
    key, added = row.day, sums(row)
    assert key == (DAY, "claude", "claude-opus-5-5")
    assert (added["spent_nusd"], added["notional_nusd"], added["failover_nusd"]) == (0, 20_000_000, 0)
    row = ledger.attempt(AT_BEDROCK)
    key, added = row.day, sums(row)
    assert key == (DAY, "bedrock", "claude-opus-5-5")
    assert (added["spent_nusd"], added["notional_nusd"], added["failover_nusd"]) == (264_040_000, 0, 264_040_000)
    assert added["primary_nusd"] == 19_240_000, "what it cost less the cold cache"
    assert added["rebuild_nusd"] == 244_800_000


def test_a_cut_attempt_and_an_estimated_price_are_counted() -> None:
    added = sums(rows().attempt(replace(AT_BEDROCK, usage_state=Ended.PARTIAL, price_estimated=True)))
    assert (added["partial"], added["estimated"]) == (1, 1)


def test_a_request_counts_where_it_was_answered() -> None:
    row = rows().exchange(SERVED)
    assert row.day == (DAY, "bedrock", "claude-opus-5-5")
    assert {name: value for name, value in sums(row).items() if value} == {"requests": 1, "rescued": 1}
    row = rows().exchange(replace(SERVED, backend=None, reason=None, outcome="refused", ttft=None))
    assert row.day == (DAY, "", "claude-opus-5-5")
    assert {name: value for name, value in sums(row).items() if value} == {"requests": 1}


def test_what_a_crash_left_open_costs_all_that_was_held() -> None:
    row = rows().left_open(Hold("run:7", DAY, 5_000_000, "s1", int(NOON * 1_000)))
    key, added = row.day, sums(row)
    assert key == (DAY, "(crash)", "")
    assert (added["spent_nusd"], added["partial"], added["estimated"], added["attempts"]) == (5_000_000, 1, 1, 1)
    told = columns(row)
    assert (told["exchange"], told["session"], told["kind"]) == ("crash:run:7", "s1", "bedrock")
    assert (told["outcome"], told["reason"], told["detail"]) == ("cut", "last_resort", RECOVERED)
    assert (told["status"], told["ttfb_ms"], told["ttft_ms"], told["duration_ms"]) == (None, None, None, 0)
    assert (told["failover"], told["committed"], told["streaming"], told["scope"]) == (1, 0, 0, "")


def test_what_a_crash_left_open_counts_on_the_day_that_it_was_reserved_on() -> None:
    row = rows().left_open(Hold("run:7", "2026-11-21", 5, None, int(NOON * 1_000)))
    assert row.day == ("2026-11-21", "(crash)", "")
    assert columns(row)["day"] == "2026-11-21"


@pytest.mark.parametrize("moment", [int(NOON * 1_000) + number for number in (1, 2, 501, 999)])
def test_what_a_crash_left_open_keeps_its_moment(moment: int) -> None:
    assert columns(rows().left_open(Hold("run:7", DAY, 5, None, moment)))["started_ms"] == moment


def test_halves_of_characters_are_replaced() -> None:
    row = rows().attempt(replace(AT_CLAUDE, session="caf\udce9", detail="ü", model="m\udce9"))
    told = columns(row)
    assert (told["session"], told["detail"], told["model"]) == ("caf?", "ü", "m?")
    assert row.day == (DAY, "claude", "m?")
    steps = (Step(Seconds(0.5), "ref\udce9", "ü", "\udce9\n"),)
    row = rows().exchange(replace(SERVED, agent="\udce9", model="m\udce9", steps=steps))
    told = columns(row)
    assert (told["agent"], told["model"], told["steps"]) == ("?", "m?", '[[0.5,"ref?","ü","?\\n"]]')
    assert row.day == (DAY, "bedrock", "m?")


@pytest.mark.parametrize(
    "column",
    [
        "exchange",
        "backend",
        "model",
        "upstream_model",
        "detail",
        "upstream_request_id",
        "session",
        "agent",
        "request_class",
    ],
)
def test_no_text_of_an_attempt_can_hold_half_a_character(column: str) -> None:
    assert attempt(replace(AT_CLAUDE, **{column: "\udce9"}))[column] == "?"


def test_no_text_of_a_backend_can_hold_half_a_character() -> None:
    assert attempt(replace(AT_CLAUDE, request_class="\udce9"))["request_class"] == "?"
    assert attempt(replace(AT_BEDROCK, extra={"region": "\udce9"}))["region"] == "?"
    assert attempt(replace(AT_BEDROCK, upstream_model="x", extra={"scope": "\udce9"}))["scope"] == "?"


@pytest.mark.parametrize("column", ["exchange", "backend", "model", "outcome", "session", "agent", "request_class"])
def test_no_text_of_a_request_can_hold_half_a_character(column: str) -> None:
    assert columns(rows().exchange(replace(SERVED, **{column: "\udce9"})))[column] == "?"


def test_a_timeline_may_hold_other_kinds_of_text() -> None:
    class Shown(str):
        __slots__ = ()

    steps = (Step(Seconds(0.5), "opened", CLAUDE, Shown("as told")), Step(Seconds(0.6), "ended", CLAUDE, Outcome.CUT))
    told = columns(rows().exchange(replace(SERVED, steps=steps)))["steps"]
    assert told == '[[0.5,"opened","claude","as told"],[0.6,"ended","claude","cut"]]'


def test_a_long_timeline_is_shortened_in_its_middle() -> None:
    steps = tuple(Step(Seconds(float(n)), "held", "bedrock", "x" * 80) for n in range(1_000))
    text = columns(rows().exchange(replace(SERVED, steps=steps)))["steps"]
    assert isinstance(text, str)
    assert len(text) <= MAX_STEPS_BYTES
    kept = json.loads(text)
    assert (kept[0][0], kept[-1][0]) == (0.0, 999.0)


def test_a_timeline_that_cannot_be_shortened_is_left_out() -> None:
    steps = tuple(Step(Seconds(0.0), "held", "b", "x" * 30_000) for _ in range(5))
    assert columns(rows().exchange(replace(SERVED, steps=steps)))["steps"] == "[]"


def test_sums_add_up() -> None:
    table: dict[DayKey, Sums] = {}
    for record in (AT_CLAUDE, replace(AT_CLAUDE, exchange="cfr_9")):
        row = rows().attempt(record)
        keep(table, row.day, row.added)
    keep(table, (DAY, "", ""), rows().exchange(SERVED).added)
    at_claude = dict(zip(SUM_COLUMNS, table[DAY, "claude", "claude-opus-5-5"], strict=True))
    assert (at_claude["attempts"], at_claude["output"], at_claude["notional_nusd"]) == (2, 400, 40_000_000)
    assert table[DAY, "", ""] == (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
