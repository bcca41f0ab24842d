"""The Claude API's refusals carry the headers that decide what they mean."""

from __future__ import annotations

import pytest

from claude_failover.drill import claude_faults
from claude_failover.drill.claude_faults import CATALOGUE, Plan, Window, classic, family_limit, plan_limit, throttle
from claude_failover.drill.script import Refusal

NOW = 1_795_000_000.0
UNIFIED = "anthropic-ratelimit-unified-"


def headers(refusal: Refusal) -> dict[str, str]:
    more = refusal.headers_at(NOW) if refusal.headers_at else ()
    return dict((*refusal.headers, *more))


def test_a_plan_limit_rejects_its_window_and_says_when_it_ends() -> None:
    told = headers(plan_limit("5h", resets_in=1800))
    assert told[UNIFIED + "status"] == "rejected"
    assert told[UNIFIED + "representative-claim"] == "five_hour"
    assert told[UNIFIED + "reset"] == told[UNIFIED + "5h-reset"] == "1795001800"
    assert told[UNIFIED + "5h-status"] == "rejected"
    assert told[UNIFIED + "7d-status"] == "allowed"
    assert told["retry-after"] == "1800"


def test_a_family_limit_leaves_the_plans_own_windows_allowed() -> None:
    told = headers(family_limit("fable"))
    assert told[UNIFIED + "7d_oi-status"] == "rejected"
    assert told[UNIFIED + "5h-status"] == told[UNIFIED + "7d-status"] == "allowed"
    assert told[UNIFIED + "representative-claim"] == "seven_day_overage_included"


def test_a_pool_limit_names_no_window() -> None:
    told = headers(claude_faults.pool_limit(1_995_495))
    assert not any("5h" in name or "7d" in name for name in told)
    assert told[UNIFIED + "overage-disabled-reason"] == "member_zero_credit_limit"


@pytest.mark.parametrize(
    ("refusal", "value"),
    [
        (throttle(7), "7"),
        (throttle(0.5), "0.5"),
        (throttle("soon"), "soon"),
        (throttle(30, date=True), "Wed, 18 Nov 2026 11:07:10 GMT"),
        (throttle(None), None),
    ],
)
def test_a_throttle_says_retry_after_as_it_was_told_to(refusal: Refusal, value: str | None) -> None:
    assert headers(refusal).get("retry-after") == value
    assert headers(refusal)["anthropic-ratelimit-input-tokens-remaining"] == "0"


def test_the_standing_of_a_plan_is_on_every_answer() -> None:
    plan = Plan(windows={"5h": Window("allowed_warning", 0.93, 600, 0.9)}, overage_in_use=True)
    told = dict(plan.headers(NOW))
    assert told[UNIFIED + "5h-utilization"] == "0.93"
    assert told[UNIFIED + "5h-surpassed-threshold"] == "0.9"
    assert told[UNIFIED + "overage-in-use"] == "true"


def test_a_keys_reset_is_a_date() -> None:
    assert dict(classic(NOW))["anthropic-ratelimit-tokens-reset"] == "2026-11-18T11:07:00Z"


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_refusal_of_the_catalogue_is_an_error(name: str) -> None:
    refusal = CATALOGUE[name]()
    assert refusal.status >= 400
    assert refusal.body or refusal.message


def test_the_catalogue_holds_what_its_names_say() -> None:
    assert [CATALOGUE[f"edge-{status}"]().status for status in range(520, 525)] == [520, 521, 522, 523, 524]
    assert CATALOGUE["overloaded"]().status == 529
    assert CATALOGUE["client-413"]().error_type == "request_too_large"
    assert (CATALOGUE["billing-402"]().status, CATALOGUE["billing-429"]().status) == (402, 429)
    late = claude_faults.quietly(claude_faults.overloaded(), 2.0)
    assert late.wire.before_head == 2.0
