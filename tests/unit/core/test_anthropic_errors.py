from __future__ import annotations

import pytest

from claude_failover.core.anthropic_errors import classify, classify_event
from claude_failover.core.error_body import Told
from claude_failover.core.types import Epoch, Instant, Monotonic, Outcome, Scope, Seconds, Verdict

NOW = Instant(Epoch(1_791_500_000.0), Monotonic(50.0))
"""Early on 2026-10-09."""
U = "anthropic-ratelimit-unified-"
SOON, LATER, WEEK = 1_791_506_000, 1_791_510_000, 1_791_900_000


def unified(**fields: str | int) -> dict[str, str]:
    """Build unified headers: ``_`` is ``-``, and a leading ``w`` keeps a digit a name (``w7d_opus__status``)."""
    return {
        U + name.removeprefix("w").replace("__", "-").replace("_in_use", "-in-use"): str(value)
        for name, value in fields.items()
    }


def both(status: int, headers: dict[str, str], told: Told = Told()) -> Verdict:  # noqa: B008 - frozen
    return classify(status, headers, told, NOW)


PLAN_ROWS = [
    pytest.param(
        unified(status="rejected", w5h__status="rejected", w5h__reset=SOON, w7d__status="allowed", w7d__reset=WEEK),
        Verdict(Outcome.PLAN_LIMIT, "session limit used up", Scope.BACKEND, until=Epoch(SOON)),
        id="the 5 h window alone: its reset, not the healthy week's",
    ),
    pytest.param(
        unified(status="rejected", w5h__status="rejected", w5h__reset=SOON, w7d__status="rejected", w7d__reset=WEEK),
        Verdict(Outcome.PLAN_LIMIT, "session limit and weekly limit used up", Scope.BACKEND, until=Epoch(WEEK)),
        id="both windows: the later of the two",
    ),
    pytest.param(
        unified(
            status="rejected",
            w7d__status="rejected",
            w7d__reset=LATER,
            w7d_opus__status="rejected",
            w7d_opus__reset=WEEK,
        ),
        Verdict(Outcome.PLAN_LIMIT, "weekly limit used up", Scope.BACKEND, until=Epoch(LATER)),
        id="the week and a family: plan-wide, and only the plan-wide window's reset",
    ),
    pytest.param(
        unified(
            status="rejected",
            reset=LATER,
            w5h__status="allowed",
            w7d__status="allowed",
            w7d_opus__status="rejected",
            w7d_opus__reset=WEEK,
        ),
        Verdict(Outcome.FAMILY_LIMIT, "Opus limit used up", Scope.FAMILY, family="opus", until=Epoch(WEEK)),
        id="only the Opus window",
    ),
    pytest.param(
        unified(status="rejected", w5h__status="allowed", w7d_oi__status="rejected", w7d_oi__reset=WEEK),
        Verdict(Outcome.FAMILY_LIMIT, "Fable limit used up", Scope.FAMILY, family="fable", until=Epoch(WEEK)),
        id="the overage-included window is Fable's",
    ),
    pytest.param(
        unified(
            status="rejected",
            representative_claim="x",
            w7d_sonnet__status="rejected",
            w7d_sonnet__reset=SOON,
            w7d_opus__status="rejected",
            w7d_opus__reset=WEEK,
        ),
        Verdict(Outcome.FAMILY_LIMIT, "Opus limit used up", Scope.FAMILY, family="opus", until=Epoch(WEEK)),
        id="two families without a claim: the one that lasts longest",
    ),
    pytest.param(
        unified(status="rejected", w7d_sonnet__status="rejected", w7d_sonnet__reset=SOON, w7d_opus__status="rejected")
        | {U + "representative-claim": "seven_day_sonnet"},
        Verdict(Outcome.FAMILY_LIMIT, "Sonnet limit used up", Scope.FAMILY, family="sonnet", until=Epoch(SOON)),
        id="two families with a claim: this request's",
    ),
    pytest.param(
        # claude.md 3.3, the sample of 2026-10-08: no 5 h and no 7 d window at all.
        unified(status="rejected", reset=1_793_491_200)
        | {
            U + "overage-status": "rejected",
            U + "overage-disabled-reason": "member_zero_credit_limit",
            "retry-after": "1995495",
        },
        Verdict(
            Outcome.PLAN_LIMIT,
            "plan limit used up",
            Scope.BACKEND,
            until=Epoch(1_793_491_200),
            retry_after=Seconds(1_995_495),
        ),
        id="the captured 429 without any window",
    ),
    pytest.param(
        unified(status="rejected", reset=LATER) | {U + "representative-claim": "seven_day_opus"},
        Verdict(Outcome.FAMILY_LIMIT, "Opus limit used up", Scope.FAMILY, family="opus", until=Epoch(LATER)),
        id="no window, but a claim that names a family",
    ),
    pytest.param(
        unified(status="rejected", reset=LATER) | {U + "representative-claim": "five_hour"},
        Verdict(Outcome.PLAN_LIMIT, "session limit used up", Scope.BACKEND, until=Epoch(LATER)),
        id="no window, but a claim that names the session",
    ),
    pytest.param(
        unified(status="rejected") | {U + "overage-status": "rejected", U + "overage-reset": str(WEEK)},
        Verdict(Outcome.PLAN_LIMIT, "usage credit limit used up", Scope.BACKEND, until=Epoch(WEEK)),
        id="an account on a usage-credit pool carries only overage headers",
    ),
    pytest.param(
        unified(status="rejected")
        | {U + "representative-claim": "overage", U + "overage-disabled-reason": "out_of_credits"},
        Verdict(Outcome.BILLING, "out of usage credits", Scope.BACKEND),
        id="a pool without credits and without an end is about money",
    ),
    pytest.param(
        unified(status="rejected") | {U + "representative-claim": "overage", "retry-after": "60"},
        Verdict(
            Outcome.PLAN_LIMIT,
            "usage credit limit used up",
            Scope.BACKEND,
            until=Epoch(1_791_500_060),
            retry_after=Seconds(60),
        ),
        id="a pool that names its end by retry-after",
    ),
    pytest.param(
        unified(status="rejected", reset=1_791_400_000, w5h__status="rejected", w5h__reset=1_791_400_000)
        | {"retry-after": "30", "x-should-retry": "true"},
        Verdict(
            Outcome.PLAN_LIMIT,
            "session limit used up",
            Scope.BACKEND,
            until=Epoch(1_791_500_030),
            retry_after=Seconds(30),
            should_retry=True,
        ),
        id="resets in the past are stale: retry-after then, whatever x-should-retry says",
    ),
    pytest.param(
        unified(w5h__status="rejected"),
        Verdict(Outcome.PLAN_LIMIT, "session limit used up", Scope.BACKEND),
        id="no overall status and no end at all",
    ),
]


@pytest.mark.parametrize(("headers", "verdict"), PLAN_ROWS)
def test_a_rejected_plan_is_judged_by_its_windows(headers: dict[str, str], verdict: Verdict) -> None:
    """claude.md 3.3 and 3.4; failover-policy's first two kinds of 429."""
    assert both(429, headers) == verdict


LIMIT_ROWS = [
    pytest.param(
        {"retry-after": "12", "anthropic-ratelimit-input-tokens-remaining": "0"},
        Told("rate_limit_error", message="This request would exceed your organization's rate limit"),
        Verdict(
            Outcome.THROTTLED,
            "rate limit: input-tokens used up",
            Scope.MODEL,
            until=Epoch(1_791_500_012),
            retry_after=Seconds(12),
            error_type="rate_limit_error",
        ),
        id="classic headers and retry-after",
    ),
    pytest.param(
        {
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2026-10-09T00:53:40Z",
            "anthropic-ratelimit-tokens-remaining": "0",
        },
        Told(),
        Verdict(Outcome.THROTTLED, "rate limit: requests, tokens used up", Scope.MODEL, until=Epoch(1_791_507_220)),
        id="classic headers without retry-after: the empty bucket's reset",
    ),
    pytest.param(
        {"anthropic-ratelimit-requests-remaining": "4"},
        Told(message="acceleration limit"),
        Verdict(Outcome.THROTTLED, "acceleration limit", Scope.MODEL),
        id="classic headers with nothing exhausted name no end",
    ),
    pytest.param(
        {"retry-after": "0"},
        Told(),
        Verdict(Outcome.THROTTLED, "rate limit", Scope.MODEL, retry_after=Seconds(0)),
        id="retry-after zero names no end",
    ),
    pytest.param(
        unified(status="allowed") | {"retry-after": "5"},
        Told(message="busy"),
        Verdict(Outcome.THROTTLED, "busy", Scope.MODEL, until=Epoch(1_791_500_005), retry_after=Seconds(5)),
        id="a plan that allows, and retry-after",
    ),
    pytest.param(
        {"x-should-retry": "true"},
        Told("rate_limit_error", message="Error"),
        Verdict(Outcome.TRANSIENT_LIMIT, "Error", should_retry=True, error_type="rate_limit_error"),
        id="neither unified headers nor retry-after",
    ),
    pytest.param(
        {"retry-after": "abc", "x-should-retry": "perhaps"},
        Told(),
        Verdict(Outcome.TRANSIENT_LIMIT, "429 without a limit's name or end"),
        id="garbage is nothing",
    ),
    pytest.param(
        {"retry-after": "3600"},
        Told(message="Extra usage is required for long context requests."),
        Verdict(Outcome.ENTITLEMENT, "Extra usage is required for long context requests.", retry_after=Seconds(3600)),
        id="1M context needs extra usage",
    ),
    pytest.param(
        unified(status="rejected", reset=LATER),
        Told(message="Usage credits required for 1M context"),
        Verdict(Outcome.ENTITLEMENT, "Usage credits required for 1M context"),
        id="1M context needs credits, and no window refuses",
    ),
    pytest.param(
        unified(status="rejected", w5h__status="rejected", w5h__reset=SOON),
        Told(message="Usage credits required for 1M context"),
        Verdict(Outcome.PLAN_LIMIT, "session limit used up", Scope.BACKEND, until=Epoch(SOON)),
        id="a window that refuses wins over words",
    ),
    pytest.param(
        {},
        Told(message="Usage credits are required for fast mode"),
        Verdict(Outcome.ENTITLEMENT, "Usage credits are required for fast mode"),
        id="fast mode needs credits",
    ),
    pytest.param(
        {"anthropic-fast-input-tokens-remaining": "0", "anthropic-ratelimit-tokens-remaining": "5", "retry-after": "9"},
        Told(),
        Verdict(Outcome.ENTITLEMENT, "fast mode's own limit is used up", retry_after=Seconds(9)),
        id="fast mode's own buckets",
    ),
    pytest.param(
        {},
        Told("rate_limit_error", message="Spend limit", code="enforced_spend_limit_reached"),
        Verdict(Outcome.BILLING, "Spend limit", Scope.BACKEND, error_type="rate_limit_error"),
        id="a tier's spend cap",
    ),
    pytest.param(
        {},
        Told(code="credits_required"),
        Verdict(Outcome.BILLING, "credits_required", Scope.BACKEND),
        id="credits required, without words",
    ),
    pytest.param(
        {"x-should-retry": "false", "retry-after": "7200"},
        Told("billing_error", message="The workspace's budget is used up"),
        Verdict(
            Outcome.BILLING,
            "The workspace's budget is used up",
            Scope.BACKEND,
            until=Epoch(1_791_507_200),
            retry_after=Seconds(7200),
            should_retry=False,
            error_type="billing_error",
        ),
        id="a gateway's spend cap",
    ),
]


@pytest.mark.parametrize(("headers", "told", "verdict"), LIMIT_ROWS)
def test_a_429_without_a_rejected_window_is_judged_by_words_then_headers(
    headers: dict[str, str], told: Told, verdict: Verdict
) -> None:
    """claude.md 3.2-3.4; failover-policy's other four kinds of 429."""
    assert both(429, headers, told) == verdict


SERVER_STATUSES = (500, 501, 502, 503, 504, 520, 522, 524, 599)
CLIENT_STATUSES = (400, 401, 403, 404, 405, 409, 413, 418, 422)
STATUS_ROWS = [
    (529, Told("overloaded_error", message="Overloaded"), Outcome.OVERLOADED, Scope.MODEL),
    (529, Told(), Outcome.OVERLOADED, Scope.MODEL),
    (503, Told("overloaded_error", message="Overloaded"), Outcome.OVERLOADED, Scope.MODEL),
    *[(status, Told(), Outcome.SERVER_ERROR, Scope.REQUEST) for status in SERVER_STATUSES],
    (408, Told(), Outcome.SERVER_ERROR, Scope.REQUEST),
    (307, Told(), Outcome.SERVER_ERROR, Scope.REQUEST),
    (402, Told("billing_error", message="Payment"), Outcome.BILLING, Scope.BACKEND),
    (400, Told("invalid_request_error", message="Your credit balance is too low to access the Anthropic API."),
     Outcome.BILLING, Scope.BACKEND),
    (400, Told("invalid_request_error", message="You have reached your specified API usage limits. You will regain"),
     Outcome.BILLING, Scope.BACKEND),
    (403, Told("permission_error", code="out_of_credits"), Outcome.BILLING, Scope.BACKEND),
    (400, Told("invalid_request_error", message="prompt is too long: 210000 tokens > 200000 maximum"),
     Outcome.CLIENT_ERROR, Scope.REQUEST),
    (400, Told("invalid_request_error", message="capability_rejected: beta_header:x"),
     Outcome.CLIENT_ERROR, Scope.REQUEST),
    (413, Told("request_too_large", message="spending limit"), Outcome.CLIENT_ERROR, Scope.REQUEST),
    *[(status, Told(), Outcome.CLIENT_ERROR, Scope.REQUEST) for status in CLIENT_STATUSES],
]  # fmt: skip


@pytest.mark.parametrize(("status", "told", "outcome", "scope"), STATUS_ROWS)
def test_every_other_status(status: int, told: Told, outcome: Outcome, scope: Scope) -> None:
    """claude.md 3.1 and 3.5; failover-policy's second table."""
    verdict = both(status, {}, told)
    assert (verdict.outcome, verdict.scope) == (outcome, scope)


def test_an_overload_never_takes_the_plans_reset_for_its_own_duration() -> None:
    verdict = both(529, unified(status="rejected", reset=WEEK, w5h__status="rejected"))
    assert (verdict.outcome, verdict.until) == (Outcome.OVERLOADED, None)


def test_an_edge_page_is_described_not_quoted() -> None:
    assert both(522, {"content-type": "text/html"}).detail == "HTTP 522 text/html"


EVENT_ROWS = [
    (Told("overloaded_error", message="Overloaded"), Outcome.OVERLOADED, Scope.MODEL, "Overloaded"),
    (Told("api_error", message="Internal"), Outcome.SERVER_ERROR, Scope.REQUEST, "Internal"),
    (Told("timeout_error"), Outcome.SERVER_ERROR, Scope.REQUEST, "timeout_error"),
    (Told("brand_new_error", message="?"), Outcome.SERVER_ERROR, Scope.REQUEST, "?"),
    (Told(message="?"), Outcome.SERVER_ERROR, Scope.REQUEST, "?"),
    (Told(), Outcome.SERVER_ERROR, Scope.REQUEST, "an error event without a type"),
    (Told("rate_limit_error", message="busy"), Outcome.TRANSIENT_LIMIT, Scope.REQUEST, "busy"),
    (Told("rate_limit_error", code="credits_required"), Outcome.BILLING, Scope.BACKEND, "rate_limit_error"),
    (Told("rate_limit_error", message="Extra usage is required for long context requests."),
     Outcome.ENTITLEMENT, Scope.REQUEST, "Extra usage is required for long context requests."),
    (Told("api_error", code="out_of_credits"), Outcome.BILLING, Scope.BACKEND, "api_error"),
    (Told("billing_error", message="pay"), Outcome.BILLING, Scope.BACKEND, "pay"),
    (Told("invalid_request_error", message="Your credit balance is too low"), Outcome.BILLING, Scope.BACKEND,
     "Your credit balance is too low"),
    (Told("invalid_request_error", message="bad"), Outcome.CLIENT_ERROR, Scope.REQUEST, "bad"),
]  # fmt: skip


@pytest.mark.parametrize(("told", "outcome", "scope", "detail"), EVENT_ROWS)
def test_an_error_event_is_judged_by_its_type_and_words(
    told: Told, outcome: Outcome, scope: Scope, detail: str
) -> None:
    """claude.md 4: overloads arrive inside a 200."""
    verdict = classify_event(told)
    assert (verdict.outcome, verdict.scope, verdict.detail) == (outcome, scope, detail)
    assert verdict.error_type == (told.type or None)
