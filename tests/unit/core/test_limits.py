from __future__ import annotations

import pytest

from claude_failover.core import limits
from claude_failover.core.limits import MAX_TOLD, PlanLimits, Quota, Window, plan_limits, quotas, retry_after
from claude_failover.core.types import Epoch

NOW = Epoch(1_787_290_000.0)

HEALTHY = {
    # claude.md 3.3, "Sample, healthy".
    "anthropic-ratelimit-unified-status": "allowed",
    "anthropic-ratelimit-unified-reset": "1787296800",
    "anthropic-ratelimit-unified-representative-claim": "five_hour",
    "anthropic-ratelimit-unified-fallback-percentage": "0.5",
    "anthropic-ratelimit-unified-5h-status": "allowed",
    "anthropic-ratelimit-unified-5h-utilization": "0.0",
    "anthropic-ratelimit-unified-5h-reset": "1787296800",
    "anthropic-ratelimit-unified-7d-status": "allowed",
    "anthropic-ratelimit-unified-7d-utilization": "0.53",
    "anthropic-ratelimit-unified-7d-reset": "1787695200",
    "anthropic-ratelimit-unified-overage-status": "rejected",
    "anthropic-ratelimit-unified-overage-disabled-reason": "member_zero_credit_limit",
}


def test_a_healthy_subscription_shows_its_windows_and_its_missing_overage() -> None:
    assert plan_limits(HEALTHY) == PlanLimits(
        status="allowed",
        resets=Epoch(1_787_296_800.0),
        claim="5h",
        windows=(
            Window("5h", "allowed", 0.0, Epoch(1_787_296_800.0)),
            Window("7d", "allowed", 0.53, Epoch(1_787_695_200.0)),
        ),
        overage=Window("overage", "rejected"),
        overage_disabled_reason="member_zero_credit_limit",
    )


def test_a_healthy_plan_is_not_rejected_because_there_is_no_overage_to_be_had() -> None:
    plan = plan_limits(HEALTHY)
    assert plan is not None
    assert not plan.rejected
    assert plan.rejected_windows == ()


def test_an_answer_without_unified_headers_tells_nothing_about_a_plan() -> None:
    assert plan_limits({"retry-after": "3", "anthropic-ratelimit-tokens-limit": "10000"}) is None


def test_a_200_that_was_paid_beyond_the_plan_says_so() -> None:
    """claude.md 3.3: status ``rejected`` and overage in use, on a success."""
    plan = plan_limits(
        {
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-5h-status": "rejected",
            "anthropic-ratelimit-unified-overage-status": "allowed",
            "anthropic-ratelimit-unified-overage-in-use": "true",
            "anthropic-ratelimit-unified-overage-utilization": "0.25",
        }
    )
    assert plan is not None
    assert plan.rejected
    assert plan.paid_overage
    assert plan.overage == Window("overage", "allowed", 0.25)


def test_an_allowed_plan_is_not_paid_overage_even_if_the_flag_lingers() -> None:
    plan = plan_limits(
        {
            "anthropic-ratelimit-unified-status": "allowed",
            "anthropic-ratelimit-unified-overage-in-use": "true",
        }
    )
    assert plan is not None
    assert not plan.paid_overage


def test_without_an_overall_status_the_windows_decide() -> None:
    plan = plan_limits({"anthropic-ratelimit-unified-7d_opus-status": "rejected"})
    assert plan is not None
    assert plan.rejected
    assert [window.name for window in plan.rejected_windows] == ["7d_opus"]


@pytest.mark.parametrize(
    ("window", "rejected"),
    [
        (Window("5h", "rejected"), True),
        (Window("5h", "allowed_warning", 0.97), False),
        (Window("5h", "allowed", 1.01), False),
        (Window("5h", None, 1.01), True),
        (Window("5h", None, 0.99), False),
        (Window("5h"), False),
    ],
    ids=["told", "warned", "status wins over a full window", "full without a status", "nearly full", "nothing told"],
)
def test_a_window_refuses_if_it_says_so_or_is_full(window: Window, rejected: bool) -> None:
    assert window.rejected is rejected


@pytest.mark.parametrize(
    ("name", "label", "family"),
    [
        ("5h", "session limit", None),
        ("7d", "weekly limit", None),
        ("7d_opus", "Opus limit", "opus"),
        ("7d_sonnet", "Sonnet limit", "sonnet"),
        ("7d_oi", "Fable limit", "fable"),
        ("overage", "usage credit limit", None),
        ("30d_apps", "30d_apps limit", None),
    ],
)
def test_windows_are_called_what_the_client_calls_them(name: str, label: str, family: str | None) -> None:
    assert Window(name).label == limits.label(name) == label
    assert Window(name).family == limits.family(name) == family


def test_no_claim_names_no_family() -> None:
    assert limits.family(None) is None


@pytest.mark.parametrize(
    ("claim", "window"),
    [
        ("five_hour", "5h"),
        ("seven_day", "7d"),
        ("seven_day_opus", "7d_opus"),
        ("seven_day_sonnet", "7d_sonnet"),
        ("seven_day_overage_included", "7d_oi"),
        ("overage", "overage"),
        ("lunar_month", "lunar_month"),
        ("", None),
    ],
)
def test_a_claim_names_its_window(claim: str, window: str | None) -> None:
    plan = plan_limits({"anthropic-ratelimit-unified-representative-claim": claim})
    assert plan is not None
    assert plan.claim == window


def test_thresholds_the_slow_offer_and_new_windows_are_read() -> None:
    plan = plan_limits(
        {
            "anthropic-ratelimit-unified-slow-offer": "treatment",
            "anthropic-ratelimit-unified-30d_apps-utilization": "0.4",
            "anthropic-ratelimit-unified-30d_apps-surpassed-threshold": "0.25",
        }
    )
    assert plan is not None
    assert plan.slow_offered
    assert plan.windows == (Window("30d_apps", utilization=0.4, surpassed=0.25),)


def test_a_reset_may_be_unix_seconds_or_rfc3339() -> None:
    plan = plan_limits(
        {
            "anthropic-ratelimit-unified-5h-reset": "2026-08-21T10:00:00Z",
            "anthropic-ratelimit-unified-7d-reset": "1787306400",
        }
    )
    assert plan is not None
    assert [window.resets for window in plan.windows] == [1_787_306_400.0, 1_787_306_400.0]


@pytest.mark.parametrize(
    "text", ["", "soon", "nan", "inf", "-5", "0", "9" * 40, "\uff11\uff17", "2026-13-45T00:00:00Z"]
)
def test_a_reset_that_makes_no_sense_is_not_there(text: str) -> None:
    plan = plan_limits({"anthropic-ratelimit-unified-5h-reset": text})
    assert plan is not None
    assert plan.windows[0].resets is None


def test_a_year_that_no_clock_can_hold_is_not_there() -> None:
    plan = plan_limits({"anthropic-ratelimit-unified-5h-reset": "0001-01-01T00:00:00+14:00"})
    assert plan is not None
    assert plan.windows[0].resets is None or plan.windows[0].resets < 0


def test_token_buckets_are_read_in_the_order_of_their_names() -> None:
    """claude.md 3.2: ``reset`` is RFC 3339; 2026-08-21T08:07:00Z is 1,787,299,620."""
    assert quotas(
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2026-08-21T08:07:00Z",
            "anthropic-ratelimit-input-tokens-limit": "40000",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2026-08-21T08:07:00",
            "anthropic-fast-output-tokens-remaining": "0",
            "anthropic-priority-input-tokens-limit": "1000",
            "anthropic-ratelimit-unified-reset": "1",
            "content-type": "application/json",
        }
    ) == (
        Quota("fast-output-tokens", remaining=0),
        Quota("input-tokens", 40_000, 0, Epoch(1_787_299_620.0)),
        Quota("priority-input-tokens", limit=1000),
        Quota("requests", 50, 49, Epoch(1_787_299_620.0)),
    )


def test_a_bucket_is_exhausted_when_nothing_remains() -> None:
    assert Quota("tokens", 100, 0).exhausted
    assert not Quota("tokens", 100, 1).exhausted
    assert not Quota("tokens", 100).exhausted


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1995495"}, 1_995_495.0),
        ({"retry-after": "100000000"}, MAX_TOLD),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "abc"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Fri, 21 Aug 2026 05:28:00 GMT"}, 80.0),
        ({"retry-after": "Fri, 21 Aug 2026 05:20:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 21 Aux 2026 05:28:00 GMT"}, None),
        ({"retry-after": "Fri, 45 Aug 2026 05:28:00 GMT"}, None),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"x-amz-retry-after": "250"}, 0.25),
        ({"retry-after-ms": "-1", "retry-after": "2"}, 2.0),
        ({"retry-after-ms": "9e99"}, MAX_TOLD),
        ({}, None),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """NOW is Fri, 21 Aug 2026 05:26:40 GMT. The rows are those of the fault matrix, line 1."""
    assert retry_after(headers, NOW) == seconds


def test_http_dates_are_read_with_and_without_a_leap_second() -> None:
    assert limits.http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784_111_777.0
    assert limits.http_date(" Sat, 31 Dec 2016 23:59:60 GMT ") == 1_483_228_799.0
    assert limits.http_date(None) is None


def test_a_limit_ends_after_now_and_within_reason() -> None:
    assert limits.believable(None, NOW) is None
    assert limits.believable(NOW, NOW) is None
    assert limits.believable(Epoch(NOW + 10.0), NOW) == NOW + 10.0
    assert limits.believable(Epoch(NOW + 1e9), NOW) == NOW + 32 * 86_400


def test_the_next_midnight_is_after_now_even_at_midnight() -> None:
    assert limits.next_utc_midnight(Epoch(1_787_270_400.0)) == 1_787_356_800.0
    assert limits.next_utc_midnight(Epoch(1_787_290_000.0)) == 1_787_356_800.0


@pytest.mark.parametrize(
    ("model", "family"),
    [("claude-opus-5-5", "opus"), ("claude-3-5-haiku-20241022", "haiku"), ("claude-2.1", None), ("", None)],
)
def test_a_models_family_is_part_of_its_name(model: str, family: str | None) -> None:
    assert limits.family_of(model) == family
