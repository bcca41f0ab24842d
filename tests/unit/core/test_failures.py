from __future__ import annotations

import json

import pytest

from claude_failover.core import failures
from claude_failover.core.commands import Failure
from claude_failover.core.failures import classify, classify_event, classify_failure, lower, present
from claude_failover.core.types import Epoch, Headers, Instant, Kind, Monotonic, Outcome, Surface, Verdict

NOW = Instant(Epoch(1_795_000_000.0), Monotonic(50.0))
JSON: Headers = (("Content-Type", "application/json"),)
SSE: Headers = (("content-type", "text/event-stream; charset=utf-8"),)


def test_header_names_are_lowered_and_the_first_of_two_counts() -> None:
    assert lower((("Retry-After", "1"), ("X-A", "b"), ("retry-after", "2"))) == {"retry-after": "1", "x-a": "b"}


def test_a_plan_limit_of_the_claude_api_is_seen_through_any_spelling_of_its_headers() -> None:
    headers = (
        ("Anthropic-Ratelimit-Unified-Status", "rejected"),
        ("Anthropic-Ratelimit-Unified-5h-Status", "rejected"),
        ("Anthropic-Ratelimit-Unified-5h-Reset", "1795010000"),
    )
    verdict = classify(Kind.ANTHROPIC, None, 429, headers, b"", NOW)
    assert (verdict.outcome, verdict.until) == (Outcome.PLAN_LIMIT, 1_795_010_000.0)


def test_an_exception_name_in_a_header_wins_over_the_bodys() -> None:
    headers = (("x-amzn-ErrorType", "ThrottlingException:http://internal.amazon.com/coral/"),)
    verdict = classify(Kind.BEDROCK, Surface.INVOKE, 400, headers, b'{"__type":"a#ValidationException"}', NOW)
    assert (verdict.outcome, verdict.error_type) == (Outcome.THROTTLED, "ThrottlingException")


def test_without_the_header_the_body_names_the_exception() -> None:
    verdict = classify(Kind.BEDROCK, Surface.INVOKE, 400, (), b'{"__type":"a#ThrottlingException"}', NOW)
    assert verdict.error_type == "ThrottlingException"


SUCCESS_ROWS = [
    # kind, headers, body, outcome
    (Kind.ANTHROPIC, SSE, b"", Outcome.SUCCESS),
    (Kind.ANTHROPIC, SSE, b"event: error\n\n", Outcome.SUCCESS),
    (Kind.BEDROCK, (("content-type", "application/vnd.amazon.eventstream"),), b"\x00\x01", Outcome.SUCCESS),
    (Kind.ANTHROPIC, JSON, b'{"type":"message","content":[]}', Outcome.SUCCESS),
    (Kind.ANTHROPIC, JSON, b"", Outcome.SUCCESS),
    (Kind.ANTHROPIC, (("content-type", "application/octet-stream"),), b"\x00", Outcome.SUCCESS),
    (Kind.ANTHROPIC, (("content-type", "text/html; charset=utf-8"),), b"", Outcome.MALFORMED),
    (Kind.ANTHROPIC, JSON, b"<html>", Outcome.MALFORMED),
    (Kind.ANTHROPIC, (), b'{"type":"message"', Outcome.MALFORMED),
    (Kind.ANTHROPIC, JSON, b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
     Outcome.OVERLOADED),
    (Kind.BEDROCK, JSON, b'{"type":"error","error":{"type":"invalid_request_error","message":"invalid beta flag"}}',
     Outcome.REPAIRABLE),
    # bedrock.md 1.1: a route that runtime Messages does not know.
    (Kind.BEDROCK, JSON, b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}',
     Outcome.REPAIRABLE),
    (Kind.BEDROCK, (*JSON, ("x-amzn-errortype", "ServiceUnavailableException")), b"{}", Outcome.OVERLOADED),
    (Kind.BEDROCK, (*JSON, ("x-amzn-errortype", "ServiceUnavailableException")), b"<html>", Outcome.OVERLOADED),
    (Kind.BEDROCK, (*JSON, ("x-amzn-errortype", " ")), b"{}", Outcome.SUCCESS),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "headers", "body", "outcome"), SUCCESS_ROWS)
def test_a_2xx_is_a_success_only_if_an_answer_is_in_it(
    kind: Kind, headers: Headers, body: bytes, outcome: Outcome
) -> None:
    assert classify(kind, None, 200, headers, body, NOW).outcome is outcome


def test_a_success_that_was_paid_beyond_the_plan_is_a_success() -> None:
    """claude.md 3.3: 200 with status ``rejected`` and overage in use."""
    headers = (
        *SSE,
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("anthropic-ratelimit-unified-overage-in-use", "true"),
    )
    assert classify(Kind.ANTHROPIC, None, 200, headers, b"", NOW) == Verdict(Outcome.SUCCESS)


EVENT_ROWS = [
    (Kind.ANTHROPIC, "error", "", b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
     Outcome.OVERLOADED, "Overloaded"),
    (Kind.BEDROCK, "error", "", b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}',
     Outcome.THROTTLED, "slow"),
    (Kind.BEDROCK, "error", "", b'{"type":"error","error":{"type":"brand_new","message":"x"}}',
     Outcome.SERVER_ERROR, "x"),
    (Kind.ANTHROPIC, "error", "", b"not json", Outcome.MALFORMED, "an error event without an error in it"),
    (Kind.BEDROCK, "exception", "throttlingException", b'{"message":"Too many tokens"}',
     Outcome.THROTTLED, "throttlingException: Too many tokens"),
    (Kind.BEDROCK, "exception", "modelStreamErrorException",
     b'{"message":"x","originalStatusCode":529,"originalMessage":"y"}',
     Outcome.OVERLOADED, "modelStreamErrorException: x"),
    (Kind.BEDROCK, "exception", "", b"", Outcome.SERVER_ERROR, "HTTP 500"),
    (Kind.BEDROCK, "malformed", "checksum mismatch", b"", Outcome.MALFORMED, "checksum mismatch"),
    (Kind.ANTHROPIC, "malformed", "", b"{", Outcome.MALFORMED, "bytes that are not the protocol's"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "event", "name", "data", "outcome", "detail"), EVENT_ROWS)
def test_what_ends_a_stream_inside_a_200_is_judged(
    kind: Kind, event: str, name: str, data: bytes, outcome: Outcome, detail: str
) -> None:
    verdict = classify_event(kind, event, name, data, NOW)
    assert (verdict.outcome, verdict.detail) == (outcome, detail)


FAILURE_ROWS = [
    (Failure.DNS, Outcome.UNREACHABLE, Outcome.CUT),
    (Failure.CONNECT, Outcome.UNREACHABLE, Outcome.CUT),
    (Failure.RESET_BEFORE_HEAD, Outcome.UNREACHABLE, Outcome.CUT),
    (Failure.STALE_CONNECTION, Outcome.UNREACHABLE, Outcome.CUT),
    (Failure.CUT, Outcome.CUT, Outcome.CUT),
    (Failure.PROTOCOL, Outcome.MALFORMED, Outcome.MALFORMED),
    (Failure.TLS, Outcome.TLS_FAILED, Outcome.CUT),
    (Failure.PIN, Outcome.PIN_FAILED, Outcome.PIN_FAILED),
    (Failure.CREDENTIALS, Outcome.CREDENTIALS, Outcome.CREDENTIALS),
    (Failure.LOCAL, Outcome.LOCAL, Outcome.LOCAL),
    (Failure.INTERNAL, Outcome.LOCAL, Outcome.LOCAL),
]


@pytest.mark.parametrize(("failure", "silent", "answered"), FAILURE_ROWS)
def test_broken_io_is_judged_by_the_fact_and_by_whether_an_answer_had_begun(
    failure: Failure, silent: Outcome, answered: Outcome
) -> None:
    assert classify_failure(failure, "why", answered=False).outcome is silent
    assert classify_failure(failure, "why", answered=True).outcome is answered


def test_every_failure_has_a_judgement() -> None:
    assert {row[0] for row in FAILURE_ROWS} == set(Failure)


def test_a_failure_keeps_its_name_and_gets_words_if_it_came_without() -> None:
    assert classify_failure(Failure.STALE_CONNECTION, "", answered=False) == Verdict(
        Outcome.UNREACHABLE, "stale connection", error_type="stale_connection"
    )
    assert classify_failure(Failure.DNS, "no such host", answered=False).detail == "no such host"


def test_errors_of_the_claude_api_come_back_as_they_came() -> None:
    headers = (("Request-Id", "req_1"), ("retry-after", "3"))
    verdict = Verdict(Outcome.THROTTLED)
    assert present(Kind.ANTHROPIC, None, 429, headers, b"as \xff it was", verdict) == (429, headers, b"as \xff it was")


def test_errors_of_bedrock_come_back_in_anthropics_shape() -> None:
    headers = (("X-Amzn-ErrorType", "ModelNotReadyException"), ("X-Amzn-RequestId", "aws-1"))
    body = b'{"message":"warming up"}'
    verdict = classify(Kind.BEDROCK, Surface.MESSAGES, 429, headers, body, NOW)
    status, kept, told = present(Kind.BEDROCK, Surface.MESSAGES, 429, headers, body, verdict)
    assert status == 529
    assert kept == (("content-type", "application/json"), ("request-id", "aws-1"), ("x-amzn-requestid", "aws-1"))
    assert json.loads(told)["error"] == {
        "type": "overloaded_error",
        "message": "Bedrock: ModelNotReadyException: warming up",
    }


def test_the_face_of_the_subject_has_the_writers_too() -> None:
    assert failures.error_event("api_error", "x").startswith(b"event: error\ndata: {")
    assert failures.error_body("api_error", "x").startswith(b'{"type":"error"')
