from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.error_body import MAX_DETAIL
from claude_failover.core.failures import classify, classify_event, present
from claude_failover.core.types import Epoch, Instant, Kind, Monotonic, Outcome, Scope

NOW = Instant(Epoch(1_795_000_000.0), Monotonic(50.0))
KINDS = st.sampled_from(list(Kind))
STATUSES = st.one_of(st.integers(100, 599), st.sampled_from([200, 400, 403, 424, 429, 503, 529]))
NAMES = st.sampled_from(
    [
        "content-type", "date", "retry-after", "x-should-retry", "x-amzn-errortype", "x-amzn-requestid",
        "anthropic-ratelimit-unified-status", "anthropic-ratelimit-unified-5h-status",
        "anthropic-ratelimit-unified-7d_opus-status", "anthropic-ratelimit-unified-reset",
        "anthropic-ratelimit-unified-representative-claim", "anthropic-ratelimit-tokens-remaining",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["rejected", "0", "1795010000", "text/html", "application/json", "ThrottlingException:http://x"]),
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8).map(tuple)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=80))
ERRORS = st.fixed_dictionaries(
    {},
    optional={
        "type": SCALARS,
        "error": st.one_of(
            SCALARS, st.fixed_dictionaries({}, optional={"type": SCALARS, "message": SCALARS, "details": SCALARS})
        ),
        "message": SCALARS,
        "Message": SCALARS,
        "__type": SCALARS,
        "Output": st.one_of(SCALARS, st.fixed_dictionaries({"__type": SCALARS})),
        "originalStatusCode": SCALARS,
        "request_id": SCALARS,
    },
)
BODIES = st.one_of(st.binary(max_size=200), ERRORS.map(lambda value: json.dumps(value).encode()))
HeaderLines = tuple[tuple[str, str], ...]


@settings(max_examples=200)
@given(KINDS, STATUSES, HEADERS, BODIES)
def test_any_answer_gets_a_verdict_and_an_error_that_the_client_can_read(
    kind: Kind, status: int, headers: HeaderLines, body: bytes
) -> None:
    verdict = classify(kind, None, status, headers, body, NOW)
    assert len(verdict.detail) <= MAX_DETAIL
    assert "\n" not in verdict.detail
    assert verdict.until is None or verdict.until > NOW.wall
    assert (verdict.family is not None) == (verdict.scope is Scope.FAMILY) == (verdict.outcome is Outcome.FAMILY_LIMIT)
    assert status // 100 == 2 or verdict.outcome is not Outcome.SUCCESS
    shown, kept, told = present(kind, None, status, headers, body, verdict)
    if kind is Kind.ANTHROPIC:
        assert (shown, kept, told) == (status, headers, body)
    else:
        assert shown in {400, 402, 404, 413, 429, 500, 529}
        assert json.loads(told)["type"] == "error"
        assert not any(name.startswith("anthropic-") for name, _ in kept)


@settings(max_examples=200)
@given(KINDS, st.sampled_from(["error", "exception", "malformed", "new"]), st.text(max_size=40), BODIES)
def test_any_end_of_a_stream_gets_a_verdict_that_is_no_success(kind: Kind, event: str, name: str, data: bytes) -> None:
    verdict = classify_event(kind, event, name, data, NOW)
    assert verdict.outcome is not Outcome.SUCCESS
    assert verdict.detail
    assert len(verdict.detail) <= MAX_DETAIL


@settings(max_examples=100)
@given(HEADERS)
def test_a_429_of_the_claude_api_is_always_one_of_the_kinds_of_limit(headers: HeaderLines) -> None:
    assert classify(Kind.ANTHROPIC, None, 429, headers, b"", NOW).outcome in {
        Outcome.PLAN_LIMIT,
        Outcome.FAMILY_LIMIT,
        Outcome.THROTTLED,
        Outcome.TRANSIENT_LIMIT,
        Outcome.ENTITLEMENT,
        Outcome.BILLING,
    }
