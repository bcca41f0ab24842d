"""The Claude API's errors: what a status, its headers and its words mean for failover.

The rule for a 429, whose status alone decides nothing (five kinds, failover-policy): what is said more exactly
wins. Unified headers that name a window > words that name a feature or money > classic headers and ``retry-after``
> nothing at all, which is a passing throttle. ``x-should-retry`` is noted and never decides: it was seen ``true`` on
limits of hours and ``false`` on ones that ended (claude.md 3.4).

Sources: claude.md 3.1-3.5; the error words are those of claude.md 3.3 and 3.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import structs

from claude_failover.core import limits
from claude_failover.core.error_body import Told, described, short
from claude_failover.core.limits import PlanLimits, Window
from claude_failover.core.types import Epoch, Instant, Outcome, Scope, Verdict

ENTITLEMENT = re.compile(
    r"(?:extra usage|usage credits?)\s+(?:is|are)?\s*required\s+for\s+"
    r"(?:long[ -]context|1m\b|the 1m|fast mode|fast\b)",
    re.IGNORECASE,
)
"""The account may not use 1M context or fast mode: this request's matter, no cooldown."""

BILLING = re.compile(
    r"specified (?:api|workspace|organization) usage limits?|credit balance is too low|purchase credits"
    r"|out of (?:extra usage|usage credits|credits)|spend(?:ing)? (?:limit|cap)|payment required"
    r"|monthly (?:spend|usage) limit",
    re.IGNORECASE,
)
"""Credits, spend cap, payment, in words."""

BILLING_CODES = frozenset(
    {"credits_required", "enforced_spend_limit_reached", "out_of_credits", "spend_limit_reached", "billing_error"}
)
"""``error.details.error_code`` (claude.md 3.2-3.4)."""

NO_CREDITS = frozenset({"out_of_credits"})
"""``overage-disabled-reason`` that is about money, not about a window."""

_TYPES = {
    "overloaded_error": Outcome.OVERLOADED,
    "api_error": Outcome.SERVER_ERROR,
    "timeout_error": Outcome.SERVER_ERROR,
    "billing_error": Outcome.BILLING,
    "invalid_request_error": Outcome.CLIENT_ERROR,
    "authentication_error": Outcome.CLIENT_ERROR,
    "permission_error": Outcome.CLIENT_ERROR,
    "not_found_error": Outcome.CLIENT_ERROR,
    "conflict_error": Outcome.CLIENT_ERROR,
    "request_too_large": Outcome.CLIENT_ERROR,
}
_SCOPES = {Outcome.BILLING: Scope.BACKEND, Outcome.OVERLOADED: Scope.MODEL, Outcome.THROTTLED: Scope.MODEL}


def classify(status: int, headers: Mapping[str, str], told: Told, now: Instant) -> Verdict:
    """Judge an error status of the Claude API, or of the edge before it.

    Args:
        status: Anything but a 2xx.
        headers: Names in lower case.
        told: What the body says, as far as it is in Anthropic's shape.
        now: For ``retry-after`` as a date, and for moments that have passed.
    """
    wait = limits.retry_after(headers, now.wall)
    verdict = _limit(headers, told, now) if status == 429 else _other(status, headers, told)
    return structs.replace(
        verdict,
        retry_after=wait,
        should_retry=_boolean(headers.get("x-should-retry")),
        error_type=told.type or verdict.error_type,
    )


def classify_event(told: Told) -> Verdict:
    """Judge an ``error`` event inside a stream: there are no headers, so the type and the words must do."""
    detail = short(told.message) or told.type or "an error event without a type"
    if told.type == "rate_limit_error":
        outcome = _by_words(told) or Outcome.TRANSIENT_LIMIT
    elif told.code in BILLING_CODES:
        outcome = Outcome.BILLING
    else:
        outcome = _TYPES.get(told.type, Outcome.SERVER_ERROR)
        if outcome is Outcome.CLIENT_ERROR and BILLING.search(told.message):
            outcome = Outcome.BILLING
    return Verdict(outcome, detail, scope=_SCOPES.get(outcome, Scope.REQUEST), error_type=told.type or None)


def _other(status: int, headers: Mapping[str, str], told: Told) -> Verdict:
    """Judge every status but 429: an error of the request goes back to the client, byte for byte."""
    if status == 529 or (status >= 500 and told.type == "overloaded_error"):
        outcome = Outcome.OVERLOADED
    elif status >= 500 or status < 400 or status == 408:
        # A redirect is no answer, and is never followed with a credential. 408: the SDKs retry it (claude.md 3.6).
        outcome = Outcome.SERVER_ERROR
    elif status == 402 or told.type == "billing_error" or told.code in BILLING_CODES or _asks_for_money(status, told):
        outcome = Outcome.BILLING
    else:
        outcome = Outcome.CLIENT_ERROR
    detail = described(status, headers, told)
    return Verdict(outcome, detail, scope=_SCOPES.get(outcome, Scope.REQUEST))


def _asks_for_money(status: int, told: Told) -> bool:
    return status == 400 and BILLING.search(told.message) is not None


def _limit(headers: Mapping[str, str], told: Told, now: Instant) -> Verdict:
    """Judge a 429: see the rule on top."""
    plan = limits.plan_limits(headers)
    if plan is not None and plan.rejected and (plan.rejected_windows or _by_words(told) is None):
        return _plan_limit(plan, headers, told, now)
    words = short(told.message)
    outcome = _by_words(told)
    until = _told_end(headers, now)
    if outcome is Outcome.ENTITLEMENT:
        return Verdict(outcome, words)
    if outcome is Outcome.BILLING:
        return Verdict(outcome, words or told.code, scope=Scope.BACKEND, until=until)
    buckets = limits.quotas(headers)
    empty = [bucket for bucket in buckets if bucket.exhausted]
    if empty and all(bucket.name.startswith("fast-") for bucket in empty):
        # Fast mode has buckets of its own; the client falls back to normal speed by itself (claude.md 3.2, 3.4).
        return Verdict(Outcome.ENTITLEMENT, "fast mode's own limit is used up")
    if buckets or until is not None or limits.retry_after(headers, now.wall) is not None:
        if until is None:
            until = limits.believable(max((b.resets for b in empty if b.resets is not None), default=None), now.wall)
        what = ", ".join(bucket.name for bucket in empty)
        detail = f"rate limit: {what} used up" if what else words or "rate limit"
        return Verdict(Outcome.THROTTLED, detail, scope=Scope.MODEL, until=until)
    return Verdict(Outcome.TRANSIENT_LIMIT, words or "429 without a limit's name or end")


def _plan_limit(plan: PlanLimits, headers: Mapping[str, str], told: Told, now: Instant) -> Verdict:
    """Judge a rejected plan: for every model if a plan-wide window refuses, else for the family that is named."""
    refusing = plan.rejected_windows
    wide = [window for window in refusing if window.family is None]
    if wide:
        return _verdict(Outcome.PLAN_LIMIT, wide, plan, headers, now)
    if refusing:
        # Two families at once: the claim is about this request's; else the one that lasts longest.
        named = [window for window in refusing if window.name == plan.claim]
        chosen = named or [max(refusing, key=lambda window: window.resets or 0.0)]
        return _verdict(Outcome.FAMILY_LIMIT, chosen, plan, headers, now)
    if limits.family(plan.claim):
        return _verdict(Outcome.FAMILY_LIMIT, [Window(plan.claim or "")], plan, headers, now)
    if _overage_speaks(plan):
        window = plan.overage or Window("overage")
        verdict = _verdict(Outcome.PLAN_LIMIT, [window], plan, headers, now)
        if verdict.until is None and plan.overage_disabled_reason in NO_CREDITS:
            return Verdict(Outcome.BILLING, short(told.message) or "out of usage credits", scope=Scope.BACKEND)
        return verdict
    return _verdict(Outcome.PLAN_LIMIT, [Window(plan.claim)] if plan.claim else [], plan, headers, now)


def _verdict(
    outcome: Outcome, windows: list[Window], plan: PlanLimits, headers: Mapping[str, str], now: Instant
) -> Verdict:
    """Say until when: the latest reset of what refuses, else the plan's own, else ``retry-after``."""
    family = windows[0].family if outcome is Outcome.FAMILY_LIMIT else None
    resets = max((window.resets for window in windows if window.resets is not None), default=None)
    until = limits.believable(resets, now.wall) or limits.believable(plan.resets, now.wall) or _told_end(headers, now)
    names = " and ".join(window.label for window in windows) or "plan limit"
    scope = Scope.BACKEND if outcome is Outcome.PLAN_LIMIT else Scope.FAMILY
    return Verdict(outcome, f"{names} used up", scope=scope, family=family, until=until)


def _overage_speaks(plan: PlanLimits) -> bool:
    """Whether the account lives on a usage-credit pool: the claim says so, or there is no other window at all."""
    if plan.claim is not None:
        return plan.claim == "overage"
    return plan.overage is not None and not plan.windows and plan.overage.resets is not None


def _told_end(headers: Mapping[str, str], now: Instant) -> Epoch | None:
    wait = limits.retry_after(headers, now.wall)
    return Epoch(now.wall + wait) if wait else None


def _by_words(told: Told) -> Outcome | None:
    """Read entitlement and money from an error's words and codes; ``None`` if it speaks of neither."""
    if ENTITLEMENT.search(told.message):
        return Outcome.ENTITLEMENT
    if told.type == "billing_error" or told.code in BILLING_CODES or BILLING.search(told.message):
        return Outcome.BILLING
    return None


def _boolean(text: str | None) -> bool | None:
    return {"true": True, "false": False}.get((text or "").strip().lower())
