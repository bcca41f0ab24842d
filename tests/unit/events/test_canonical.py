from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Epoch,
    ExchangeRecord,
    Kind,
    Outcome,
    Reason,
    Seconds,
    Surface,
    Transition,
    TransitionKind,
    Usage,
)
from claude_failover.events.canonical import announced, attempted, concluded
from claude_failover.events.event import Event
from claude_failover.events.hub import Hub, capture, use
from claude_failover.events.names import Level

AT = Epoch(1_795_000_000.0)
CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")

LIMITED = AttemptRecord(
    exchange="cfr_1",
    attempt=0,
    backend=CLAUDE,
    kind=Kind.ANTHROPIC,
    model="claude-opus-5-5",
    upstream_model="claude-opus-5-5",
    surface=None,
    reason=Reason.PRIMARY,
    outcome=Outcome.PLAN_LIMIT,
    detail="session limit used up",
    status=429,
    started=AT,
    ttfb=Seconds(0.12346),
    ttft=None,
    duration=Seconds(0.2),
    upstream_request_id="req_1",
)
SERVED = replace(
    LIMITED,
    attempt=1,
    backend=BEDROCK,
    kind=Kind.BEDROCK,
    upstream_model="global.anthropic.claude-opus-5-5",
    surface=Surface.MESSAGES,
    reason=Reason.PLAN_LIMIT,
    outcome=Outcome.SUCCESS,
    detail="",
    status=200,
    ttft=Seconds(0.9),
    usage=Usage(input=10, output=20, cache_read=30, cache_write_5m=4, cache_write_1h=5),
    upstream_request_id="aws-1",
    paid=True,
    cost_nusd=1_500_000,
    committed=True,
)
EXCHANGE = ExchangeRecord(
    exchange="cfr_1",
    started=AT,
    model="claude-opus-5-5",
    streaming=True,
    outcome="served",
    status=200,
    backend=BEDROCK,
    reason=Reason.PLAN_LIMIT,
    attempts=(LIMITED, SERVED),
    steps=(),
    duration=Seconds(2.5),
    overhead=Seconds(0.00123),
    ttft=Seconds(1.1),
    session="s1",
    agent=None,
    request_class="main",
    failed_over=True,
)


@pytest.fixture
def seen() -> Iterator[list[Event]]:
    before = use(Hub(lambda: AT))
    with capture() as found:
        yield found
    use(before)


def test_the_canonical_line_tells_a_requests_whole_story(seen: list[Event]) -> None:
    concluded(EXCHANGE)
    (event,) = seen
    assert (event.name, event.level) == ("exchange.ended", Level.INFO)
    assert event.fields == {
        "exchange": "cfr_1",
        "outcome": "served",
        "status": 200,
        "model": "claude-opus-5-5",
        "backend": "bedrock",
        "reason": "plan_limit",
        "attempts": 2,
        "tried": ["claude:plan_limit", "bedrock:success"],
        "failed_over": True,
        "streaming": True,
        "duration_s": 2.5,
        "overhead_s": 0.0012,
        "ttft_s": 1.1,
        "tokens_input": 10,
        "tokens_output": 20,
        "tokens_cache_read": 30,
        "tokens_cache_write": 9,
        "cost_usd": 0.0015,
        "upstream_model": "global.anthropic.claude-opus-5-5",
        "upstream_request_ids": ["req_1", "aws-1"],
        "session": "s1",
        "class": "main",
    }


def test_a_request_that_was_not_served_is_a_warning_and_says_why(seen: list[Event]) -> None:
    concluded(replace(EXCHANGE, outcome="passed_error", status=429, attempts=(LIMITED,), ttft=None))
    (event,) = seen
    assert event.level is Level.WARNING
    assert event.fields["detail"] == "session limit used up"
    assert "ttft_s" not in event.fields


def test_a_request_that_we_refused_ourselves_had_no_attempt(seen: list[Event]) -> None:
    concluded(replace(EXCHANGE, outcome="refused", status=429, attempts=(), backend=None, reason=None))
    (event,) = seen
    assert event.fields["attempts"] == 0
    assert "backend" not in event.fields
    assert "upstream_request_ids" not in event.fields


def test_an_attempt_is_not_even_put_together_when_nobody_debugs() -> None:
    heard: list[Event] = []
    hub = Hub(lambda: AT)
    hub.subscribe(heard.append)
    before = use(hub)
    attempted(LIMITED)
    concluded(EXCHANGE)
    use(before)
    assert [event.name for event in heard] == ["exchange.ended"]


def test_an_attempt_is_detail(seen: list[Event]) -> None:
    attempted(LIMITED)
    attempted(SERVED)
    first, second = seen
    assert (first.name, first.level) == ("attempt.ended", Level.DEBUG)
    assert first.fields == {
        "exchange": "cfr_1",
        "attempt": 0,
        "backend": "claude",
        "model": "claude-opus-5-5",
        "upstream_model": "claude-opus-5-5",
        "reason": "primary",
        "outcome": "plan_limit",
        "detail": "session limit used up",
        "status": 429,
        "ttfb_s": 0.1235,
        "duration_s": 0.2,
        "committed": False,
        "upstream_request_id": "req_1",
        "cost_usd": 0.0,
        "paid": False,
    }
    assert (second.fields["surface"], second.fields["ttft_s"]) == ("messages", 0.9)


@pytest.mark.parametrize("kind", list(TransitionKind))
def test_every_transition_becomes_the_event_of_its_name(seen: list[Event], kind: TransitionKind) -> None:
    announced(Transition(kind, CLAUDE, "claude-opus-5-5", "why", AT, {"to": "open", "nothing": None}))
    (event,) = seen
    assert event.name == kind.value
    assert event.fields == {
        "backend": "claude",
        "model": "claude-opus-5-5",
        "detail": "why",
        "until": AT,
        "to": "open",
    }


def test_a_breaker_that_closes_is_good_news(seen: list[Event]) -> None:
    announced(Transition(TransitionKind.BREAKER_CHANGED, CLAUDE, fields={"to": "closed"}))
    announced(Transition(TransitionKind.BREAKER_CHANGED, CLAUDE, fields={"to": "open"}))
    assert [event.level for event in seen] == [Level.INFO, Level.WARNING]
