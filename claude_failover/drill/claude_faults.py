"""The Claude API's refusals, with the headers and the words that it uses (wire/claude.md 3).

Resets are given in seconds from now and become epoch seconds on the simulator's own clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import formatdate
from functools import partial

from claude_failover.core.types import Headers
from claude_failover.drill.script import Refusal, Wire

UNIFIED = "anthropic-ratelimit-unified-"

CLAIMS: Mapping[str, str] = {
    "5h": "five_hour",
    "7d": "seven_day",
    "7d_opus": "seven_day_opus",
    "7d_sonnet": "seven_day_sonnet",
    "7d_oi": "seven_day_overage_included",
    "overage": "overage",
}
"""Window -> what ``representative-claim`` calls it (wire/claude.md 3.3)."""

MESSAGES: Mapping[str, str] = {
    "five_hour": "You've hit your session limit.",
    "seven_day": "You've hit your weekly limit.",
    "seven_day_opus": "You've hit your Opus limit.",
    "seven_day_sonnet": "You've hit your Sonnet limit.",
    "seven_day_overage_included": "You've hit your Fable limit.",
    "overage": "You've hit your usage credit limit.",
}


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a plan."""

    status: str = "allowed"
    """``allowed``, ``allowed_warning``, ``rejected``."""
    utilization: float = 0.0
    resets_in: float = 3600.0
    """Seconds."""
    surpassed: float | None = None
    """The threshold that was passed, for ``allowed_warning``."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A subscription's state, as its headers tell it on every answer."""

    windows: Mapping[str, Window] = field(
        default_factory=lambda: {"5h": Window(utilization=0.12), "7d": Window(utilization=0.34, resets_in=3 * 86_400)}
    )
    status: str = "allowed"
    claim: str = "five_hour"
    overage_status: str | None = "rejected"
    overage_disabled_reason: str | None = "org_level_disabled"
    overage_in_use: bool = False
    fallback_percentage: str | None = "0.5"

    def headers(self, now: float) -> Headers:
        """The ``anthropic-ratelimit-unified-*`` family at the epoch second *now*."""
        lines = [("status", self.status), ("representative-claim", self.claim)]
        relevant = self.windows.get(next((key for key, claim in CLAIMS.items() if claim == self.claim), ""))
        if relevant is not None:
            lines.append(("reset", f"{now + relevant.resets_in:.0f}"))
        if self.fallback_percentage is not None:
            lines.append(("fallback-percentage", self.fallback_percentage))
        for name, window in self.windows.items():
            lines.append((f"{name}-status", window.status))
            lines.append((f"{name}-utilization", f"{window.utilization:g}"))
            lines.append((f"{name}-reset", f"{now + window.resets_in:.0f}"))
            if window.surpassed is not None:
                lines.append((f"{name}-surpassed-threshold", f"{window.surpassed:g}"))
        if self.overage_status is not None:
            lines.append(("overage-status", self.overage_status))
        if self.overage_disabled_reason is not None:
            lines.append(("overage-disabled-reason", self.overage_disabled_reason))
        if self.overage_in_use:
            lines.append(("overage-in-use", "true"))
        return tuple((UNIFIED + name, value) for name, value in lines)

    def rejecting(self, *names: str, resets_in: float) -> Plan:
        """The same plan with these windows used up; the first of them is the representative one."""
        windows = dict(self.windows)
        for name in names:
            windows[name] = Window("rejected", 1.01, resets_in)
        return replace(self, windows=windows, status="rejected", claim=CLAIMS[names[0]])


def classic(now: float, *, remaining: int = 40_000, reset_in: float = 20.0) -> Headers:
    """The rate-limit headers of an API key (wire/claude.md 3.2)."""
    reset = datetime.fromtimestamp(now + reset_in, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines: list[tuple[str, str]] = []
    for kind, limit in (("requests", 4_000), ("tokens", 480_000), ("input-tokens", 400_000), ("output-tokens", 80_000)):
        lines += [
            (f"anthropic-ratelimit-{kind}-limit", str(limit)),
            (f"anthropic-ratelimit-{kind}-remaining", str(min(limit, remaining))),
            (f"anthropic-ratelimit-{kind}-reset", reset),
        ]
    return tuple(lines)


def _limited(message: str, headers_at: Callable[[float], Headers], headers: Headers = ()) -> Refusal:
    return Refusal(429, "rate_limit_error", message, headers=headers, headers_at=headers_at)


def plan_limit(
    *windows: str, resets_in: float = 1800.0, retry_after: bool = True, should_retry: str | None = "true"
) -> Refusal:
    """A subscription's window is used up: ``5h`` unless named; families are ``7d_opus``, ``7d_sonnet``, ``7d_oi``."""
    names = windows or ("5h",)
    plan = Plan().rejecting(*names, resets_in=resets_in)

    def headers(now: float) -> Headers:
        lines = plan.headers(now)
        if retry_after:
            lines = (*lines, ("retry-after", f"{resets_in:.0f}"))
        return lines

    extra: Headers = () if should_retry is None else (("x-should-retry", should_retry),)
    return _limited(MESSAGES[plan.claim], headers, extra)


def family_limit(family: str = "opus", resets_in: float = 3 * 86_400.0) -> Refusal:
    """Only a model family's week is used up: ``opus``, ``sonnet``, ``fable``."""
    return plan_limit({"fable": "7d_oi"}.get(family, f"7d_{family}"), resets_in=resets_in)


def pool_limit(resets_in: float = 1_995_495.0) -> Refusal:
    """Rejected without any window: an account on a usage-credit pool (sample of wire/claude.md 3.3)."""

    def headers(now: float) -> Headers:
        plan = Plan(windows={}, status="rejected", claim="overage", overage_disabled_reason="member_zero_credit_limit",
                    fallback_percentage=None)  # fmt: skip
        reset = f"{now + resets_in:.0f}"
        return (*plan.headers(now), (UNIFIED + "reset", reset), ("retry-after", f"{resets_in:.0f}"))

    return _limited(MESSAGES["overage"], headers)


def throttle(retry_after: str | float | None = 7, *, date: bool = False) -> Refusal:
    """An API key's rate limit. *retry_after* goes out as given (garbage too); *date* makes it an HTTP date."""

    def headers(now: float) -> Headers:
        lines = classic(now, remaining=0, reset_in=float(retry_after) if isinstance(retry_after, int | float) else 7.0)
        if retry_after is None:
            return lines
        value = str(retry_after)
        if date:
            value = formatdate(now + float(retry_after), usegmt=True)
        return (*lines, ("retry-after", value))

    return _limited(
        "This request would exceed your organization's rate limit of 400,000 input tokens per minute.", headers
    )


def bare_limit() -> Refusal:
    """A 429 that names neither a window nor an end."""
    return Refusal(429, "rate_limit_error", "Error", headers=(("x-should-retry", "true"),))


def entitlement(what: str = "1m") -> Refusal:
    """A 429 about a feature of the account: ``1m`` context, its newer wording ``1m-credits``, or ``fast`` mode."""
    wording = {
        "1m": "Extra usage is required for long context requests.",
        "1m-credits": "Usage credits required for 1M context",
        "fast": "Usage credits are required for fast mode",
    }[what]
    return Refusal(429, "rate_limit_error", wording, headers=(("x-should-retry", "false"),))


def billing(status: int = 400) -> Refusal:
    """Money is the matter: as 400, as 402, or as the 429 of a spend cap."""
    if status == 402:
        return Refusal(402, "billing_error", "Your credit balance is too low to access the Anthropic API.")
    if status == 429:
        return Refusal(
            429, "rate_limit_error", "You have reached your organization's spend limit.",
            details={"error_code": "enforced_spend_limit_reached"},
        )  # fmt: skip
    return Refusal(400, "invalid_request_error", "You have reached your specified API usage limits.")


def credits_required() -> Refusal:
    """A 429 that asks for usage credits."""
    details = {"error_code": "credits_required", "disabled_reason": "out_of_credits", "can_user_purchase_credits": True}
    return Refusal(429, "rate_limit_error", "Usage credits are required.", details=details)


def overloaded() -> Refusal:
    """529: shared capacity."""
    return Refusal(529, "overloaded_error", "Overloaded")


def server_error(status: int = 500) -> Refusal:
    """500 and 504 in the API's shape, 502, 503 and 52x as the HTML of an edge."""
    if status == 500:
        return Refusal(500, "api_error", "Internal server error")
    if status == 504:
        return Refusal(504, "timeout_error", "Gateway timeout")
    html = f"<!DOCTYPE html><html><head><title>{status}</title></head><body><h1>Error {status}</h1></body></html>"
    return Refusal(status, body=html.encode(), content_type="text/html; charset=UTF-8")


CLIENT_ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "messages: at least one message is required"),
    401: ("authentication_error", "OAuth token has expired. Please obtain a new token or refresh your existing token."),
    403: ("permission_error", "Your account does not have access to this model."),
    404: ("not_found_error", "model: claude-nonesuch-1"),
    409: ("conflict_error", "The resource was changed in the meantime."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    422: ("invalid_request_error", "The request cannot be processed."),
}


def client_error(status: int = 400, message: str | None = None) -> Refusal:
    """The request's own fault, for the client to mend."""
    kind, wording = CLIENT_ERRORS[status]
    return Refusal(status, kind, message or wording)


def too_long(tokens: int = 1_200_345, maximum: int = 1_000_000) -> Refusal:
    """The prompt does not fit; Claude Code reads both numbers."""
    return Refusal(400, "invalid_request_error", f"prompt is too long: {tokens} tokens > {maximum} maximum")


CATALOGUE: Mapping[str, Callable[[], Refusal]] = {
    "plan-limit-5h": plan_limit,
    "plan-limit-7d": lambda: plan_limit("7d"),
    "plan-limit-both": lambda: plan_limit("7d", "5h"),
    "plan-limit-pool": pool_limit,
    "family-limit-opus": family_limit,
    "family-limit-sonnet": lambda: family_limit("sonnet"),
    "family-limit-fable": lambda: family_limit("fable"),
    "throttle": throttle,
    "throttle-fraction": lambda: throttle(0.5),
    "throttle-date": lambda: throttle(30, date=True),
    "throttle-garbage": lambda: throttle("soon"),
    "throttle-unnamed": lambda: throttle(None),
    "bare-limit": bare_limit,
    "entitlement-1m": entitlement,
    "entitlement-fast": lambda: entitlement("fast"),
    "billing-400": billing,
    "billing-402": lambda: billing(402),
    "billing-429": lambda: billing(429),
    "credits-required": credits_required,
    "overloaded": overloaded,
    **{f"server-{status}": partial(server_error, status) for status in (500, 502, 503, 504)},
    **{f"edge-{status}": partial(server_error, status) for status in range(520, 525)},
    **{f"client-{status}": partial(client_error, status) for status in CLIENT_ERRORS},
    "too-long": too_long,
}
"""Every refusal by name, for drills and for tests that go through them all."""


def quietly(refusal: Refusal, after: float) -> Refusal:
    """The same refusal, *after* seconds late."""
    return replace(refusal, wire=Wire(before_head=after))
