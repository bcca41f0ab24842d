"""One attempt as its exchange sees it."""

from __future__ import annotations

from claude_failover.core import attempt as attempts
from claude_failover.core import request
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import ClientRequest, HeadReceived
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Ended,
    Epoch,
    Headers,
    Instant,
    Kind,
    Monotonic,
    Outcome,
    Surface,
    Verdict,
)
from tests.exchanges import MODEL, PRICES, World, an_attempt, start

EU = Backend(BackendName("eu"), Kind.BEDROCK, region="eu-west-1", scope="eu")


def at(seconds: float) -> Instant:
    return Instant(Epoch(1_795_000_000.0 + seconds), Monotonic(1_000.0 + seconds))


def recorded(attempt: Attempt, outcome: Outcome = Outcome.SUCCESS, seconds: float = 3.0) -> AttemptRecord:
    client = ClientRequest("cfr_1", "/v1/messages", (("x-claude-code-session-id", "s1"),), World().body())
    return attempt.record(Verdict(outcome, "why"), "cfr_1", request.peek(client), PRICES, at(seconds))


def usage(**fields: int) -> bytes:
    inner = ",".join(f'"{name}":{count}' for name, count in fields.items())
    return f'{{"type":"message_delta","usage":{{{inner}}}}}'.encode()


def head(attempt: Attempt, headers: Headers = ()) -> Attempt:
    attempt.receive_head(HeadReceived(0, 200, headers), at(0.5))
    return attempt


def test_the_head_is_noted_with_its_time() -> None:
    attempt = head(an_attempt(), (("x", "1"),))
    assert (attempt.status, attempt.headers, attempt.ttfb) == (200, (("x", "1"),), 0.5)
    assert attempt.heard == attempt.answered == 1_000.5
    attempt.listen(at(9.0))
    assert (attempt.heard, attempt.answered) == (1_009.0, 1_000.5)


def test_holding_and_keeping_are_bounded() -> None:
    attempt = an_attempt()
    assert attempt.hold(b"x" * attempts.HELD_MAX)
    assert not attempt.hold(b"x")
    assert attempt.keep(b"abc", 5)
    assert not attempt.keep(b"def", 5)
    assert attempt.whole() == attempt.whole() == b"abcdef"
    assert an_attempt().whole() == b""


def test_the_commit_gives_out_what_was_held_and_lets_the_request_go() -> None:
    attempt = an_attempt()
    attempt.hold(b"one ")
    attempt.hold(b"two")
    assert not attempt.streams
    assert attempt.commit(at(2.0)) == b"one two"
    assert (attempt.committed, attempt.ttft, attempt.command, attempt.held, attempt.held_bytes) == (
        True,
        2.0,
        None,
        [],
        0,
    )


def test_a_boundary_is_where_an_event_of_ours_may_stand() -> None:
    attempt = an_attempt()
    assert not attempt.at_boundary
    for piece, boundary in (
        (b"data: x\n\n", True),
        (b"data", False),
        (b"\r\n", False),
        (b"\r\n", True),
        (b"\r\r", True),
    ):
        assert attempt.passed(piece) == piece
        assert attempt.at_boundary is boundary, piece


def test_a_subscriptions_attempt_is_notional_and_has_nothing_of_aws() -> None:
    attempt = head(an_attempt(), (("Request-Id", "req_1"),))
    attempt.usage.event("message_start", start().split(b"data: ")[1])
    attempt.usage.event("message_stop", b'{"type":"message_stop"}')
    record = recorded(attempt)
    assert (record.exchange, record.attempt, record.backend, record.kind) == ("cfr_1", 0, "claude", Kind.ANTHROPIC)
    assert (record.session, record.duration, record.upstream_request_id) == ("s1", 3.0, "req_1")
    assert (record.paid, record.extra, record.usage_state) == (False, {}, Ended.COMPLETE)
    assert record.cost_nusd == record.list_cost_nusd > 0


def test_at_bedrock_the_id_that_was_sent_decides_the_price() -> None:
    """A regional id costs a tenth more than the list price."""
    for upstream, scope, factor in ((f"eu.anthropic.{MODEL}", "eu", 1.1), (f"global.anthropic.{MODEL}", "global", 1.0)):
        attempt = head(an_attempt(EU))
        attempt.upstream_model = upstream
        attempt.usage.event("message_delta", usage(input_tokens=100_000, output_tokens=1_000))
        record = recorded(attempt, Outcome.CUT)
        assert record.extra == {"scope": scope, "region": "eu-west-1"}
        assert record.cost_nusd == round(record.list_cost_nusd * factor)
        assert record.usage_state is Ended.PARTIAL
        assert record.surface is Surface.MESSAGES


def test_a_region_that_is_not_configured_is_not_made_up() -> None:
    assert recorded(head(an_attempt(Settings().backends[1]))).extra == {"scope": "global"}


def test_the_model_that_answered_is_the_one_that_is_paid() -> None:
    asked, answered = an_attempt(), an_attempt()
    for attempt, model in ((asked, MODEL), (answered, "claude-haiku-4-5-20251001")):
        attempt.usage.event("message_start", start(model, 100_000).split(b"data: ")[1])
    assert recorded(answered).cost_nusd < recorded(asked).cost_nusd
    assert recorded(answered).model == MODEL


def test_nothing_seen_costs_nothing() -> None:
    attempt = an_attempt(EU)
    attempt.model = attempt.upstream_model = "claude-unheard-of"
    record = recorded(attempt, Outcome.SILENT)
    assert (record.cost_nusd, record.list_cost_nusd, record.price_estimated) == (0, 0, False)
    assert record.usage_state is Ended.NOTHING


def test_an_unknown_model_is_priced_by_an_estimate_that_says_so() -> None:
    attempt = an_attempt(EU)
    attempt.model = attempt.upstream_model = "claude-unheard-of"
    attempt.usage.event("message_delta", usage(input_tokens=10))
    assert recorded(attempt).price_estimated


def test_two_counts_that_differ_are_written_down() -> None:
    attempt = an_attempt(EU)
    attempt.usage.event("message_delta", usage(input_tokens=10, output_tokens=5))
    metrics = b'{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":12,"outputTokenCount":5}}'
    attempt.usage.event("message_stop", metrics)
    assert recorded(attempt).extra["disagreement"] == "input 10 != 12"
