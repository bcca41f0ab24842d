"""Limits: what a response's headers say about plan windows, token buckets, and when to come back.

Three families of headers, none of them to be trusted to be well formed:

* ``anthropic-ratelimit-unified-*``: a subscription's windows (5 h, 7 d, one per model family, paid overage);
* ``anthropic-ratelimit-{requests,tokens,…}-*`` and kin: an API key's token buckets;
* ``retry-after``: seconds or an HTTP date.

Reading never raises: a header that makes no sense is a header that is not there. What a limit *means* is
decided in :mod:`~claude_failover.core.failures`; ``status`` shows the same values.

Source: claude.md 3.2 (buckets; reset is RFC 3339), 3.3 (windows; reset is Unix seconds), RFC 9110 section 10.2.3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from claude_failover.core.types import Epoch, Seconds

MAX_TOLD = Seconds(32 * 86400.0)
"""Longer than the longest limit that was seen (a usage-credit pool, to the end of a month); more is a mistake."""

UNIFIED = "anthropic-ratelimit-unified-"
"""Prefix of a subscription's headers."""

_LABELS = {
    "5h": "session limit",
    "7d": "weekly limit",
    "7d_opus": "Opus limit",
    "7d_sonnet": "Sonnet limit",
    "7d_haiku": "Haiku limit",
    "7d_fable": "Fable limit",
    "7d_mythos": "Mythos limit",
    "7d_oi": "Fable limit",
    "overage": "usage credit limit",
}
"""Claude Code's own words for the windows, so that both say the same (claude.md 3.3)."""

FAMILIES = ("opus", "sonnet", "haiku", "fable", "mythos")
"""Model families; part of every Claude id (claude.md 5)."""

_FAMILIES = {f"7d_{family}": family for family in FAMILIES} | {"7d_oi": "fable"}
"""Windows that bind one model family only. ``7d_oi`` is ``seven_day_overage_included``, in which Fable is counted.

A window that is not here binds every model: to fail over too much costs money, to keep asking costs the user."""

_CLAIMS = {
    "five_hour": "5h",
    "seven_day": "7d",
    "seven_day_overage_included": "7d_oi",
    "overage": "overage",
} | {f"seven_day_{family}": f"7d_{family}" for family in ("opus", "sonnet", "haiku", "fable", "mythos")}
"""``representative-claim`` -> the window that it names."""

_WINDOW_FIELD = re.compile(r"(\d+[hd](?:_[a-z0-9]+)*|overage)-(status|utilization|reset|surpassed-threshold)\Z")
_BUCKET_FIELD = re.compile(
    r"anthropic-(?:ratelimit-)?((?:priority-|fast-)?(?:requests|tokens|input-tokens|output-tokens))"
    r"-(limit|remaining|reset)\Z"
)
_HTTP_DATE = re.compile(
    r"(?:[A-Z][a-z]{2}), (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT\Z",
    re.ASCII,
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def family_of(model: str) -> str | None:
    """The model family that plan limits speak of (claude.md 3.3)."""
    for family in FAMILIES:
        if family in model:
            return family
    return None


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a subscription: how full it is, and when it empties."""

    name: str
    """As in the header: ``5h``, ``7d``, ``7d_opus``, ``overage``, or one that we do not know yet."""
    status: str | None = None
    """``allowed``, ``allowed_warning``, ``rejected``; ``None`` if the header does not say."""
    utilization: float | None = None
    """0 is empty, 1 is full; may exceed 1."""
    resets: Epoch | None = None
    surpassed: float | None = None
    """The warning threshold that was passed."""

    @property
    def label(self) -> str:
        """What people call it."""
        return _LABELS.get(self.name, f"{self.name} limit")

    @property
    def family(self) -> str | None:
        """The model family that it binds; ``None`` for every model."""
        return _FAMILIES.get(self.name)

    @property
    def rejected(self) -> bool:
        """Whether this window refuses; one without a status does when it is full."""
        if self.status is None:
            return self.utilization is not None and self.utilization >= 1.0
        return self.status == "rejected"


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """A subscription's limits, as one response told them."""

    status: str | None
    """``allowed``, ``allowed_warning``, ``rejected``; absent means allowed (claude.md 3.3)."""
    resets: Epoch | None
    claim: str | None
    """The window that speaks for all, by its header name (``5h``), or as it came if it is new to us."""
    windows: tuple[Window, ...]
    """In the order of their names; the paid overage is not among them."""
    overage: Window | None = None
    """Paid usage beyond the plan; rejected simply means that there is none to be had."""
    overage_in_use: bool = False
    """This very answer was paid for beyond the plan, though *status* says ``rejected``."""
    overage_disabled_reason: str | None = None
    slow_offered: bool = False
    """The client may resend in low-priority mode."""

    @property
    def rejected(self) -> bool:
        """Whether the plan refused this request, or would have without paid overage."""
        return self.status == "rejected" or (self.status is None and bool(self.rejected_windows))

    @property
    def rejected_windows(self) -> tuple[Window, ...]:
        """The plan's windows that refuse, without the overage."""
        return tuple(window for window in self.windows if window.rejected)

    @property
    def paid_overage(self) -> bool:
        """The plan is used up and answers are charged: a 200 can carry this."""
        return self.rejected and self.overage_in_use


@dataclass(frozen=True, slots=True)
class Quota:
    """One token bucket of an API key (rounded to thousands by the server)."""

    name: str
    """``requests``, ``tokens``, ``input-tokens``, ``output-tokens``, with ``priority-`` or ``fast-`` before it."""
    limit: int | None = None
    remaining: int | None = None
    resets: Epoch | None = None

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        return self.remaining is not None and self.remaining <= 0


def plan_limits(headers: Mapping[str, str]) -> PlanLimits | None:
    """Read a subscription's windows from any response, errors and successes alike.

    Args:
        headers: Response headers, names in lower case.

    Returns:
        ``None`` if no ``anthropic-ratelimit-unified-*`` header came: Bedrock, an API key, an edge's error page.
    """
    told = {name[len(UNIFIED) :]: value.strip() for name, value in headers.items() if name.startswith(UNIFIED)}
    if not told:
        return None
    found: dict[str, dict[str, str]] = {}
    for suffix, value in told.items():
        if match := _WINDOW_FIELD.match(suffix):
            found.setdefault(match[1], {})[match[2]] = value
    windows = {name: _window(name, fields) for name, fields in sorted(found.items())}
    overage = windows.pop("overage", None)
    claim = told.get("representative-claim") or None
    return PlanLimits(
        status=told.get("status") or None,
        resets=_unix(told.get("reset")),
        claim=_CLAIMS.get(claim, claim) if claim else None,
        windows=tuple(windows.values()),
        overage=overage,
        overage_in_use=told.get("overage-in-use", "").lower() == "true",
        overage_disabled_reason=told.get("overage-disabled-reason") or None,
        slow_offered=told.get("slow-offer") == "treatment",
    )


def label(claim: str) -> str:
    """What people call the window *claim* (a header name such as ``7d_opus``)."""
    return _LABELS.get(claim, f"{claim} limit")


def family(claim: str | None) -> str | None:
    """The model family that the window *claim* binds; ``None`` for all of them."""
    return _FAMILIES.get(claim) if claim else None


def quotas(headers: Mapping[str, str]) -> tuple[Quota, ...]:
    """Read an API key's token buckets, in the order of their names; empty if none came."""
    found: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if match := _BUCKET_FIELD.match(name):
            found.setdefault(match[1], {})[match[2]] = value.strip()
    return tuple(
        Quota(name, _integer(fields.get("limit")), _integer(fields.get("remaining")), _rfc3339(fields.get("reset")))
        for name, fields in sorted(found.items())
    )


def retry_after(headers: Mapping[str, str], now: Epoch) -> Seconds | None:
    """Read how long the server asks us to stay away.

    ``retry-after-ms`` and ``x-amz-retry-after`` (both milliseconds) are finer, so they come before ``retry-after``
    (seconds, whole or not, or an HTTP date).

    Args:
        headers: Response headers, names in lower case.
        now: Wall-clock seconds, for the date form.

    Returns:
        From 0 to :data:`MAX_TOLD`; ``None`` if nothing sensible is said (garbage, a negative number).

    Source: RFC 9110 section 10.2.3; claude.md 3.2, 3.6 (what the SDKs read).
    """
    for name in ("retry-after-ms", "x-amz-retry-after"):
        milliseconds = _number(headers.get(name))
        if milliseconds is not None and milliseconds >= 0:
            return Seconds(min(milliseconds / 1000.0, MAX_TOLD))
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is None and (date := http_date(text)) is not None:
        seconds = max(0.0, date - now)
    if seconds is None or seconds < 0:
        return None
    return Seconds(min(seconds, MAX_TOLD))


def believable(moment: Epoch | None, now: Epoch) -> Epoch | None:
    """Return *moment* if a limit can end then: after *now*, and at most :data:`MAX_TOLD` later (cut to that)."""
    if moment is None or moment <= now:
        return None
    return Epoch(min(moment, now + MAX_TOLD))


def http_date(text: str | None) -> Epoch | None:
    """Read an IMF-fixdate, such as ``Sun, 06 Nov 1994 08:49:37 GMT``; ``None`` for anything else.

    The two obsolete forms of RFC 9110 section 5.6.7 are not read: no backend of ours sends them.
    """
    match = _HTTP_DATE.match(text.strip()) if text else None
    if match is None or match[2] not in _MONTHS:
        return None
    month = _MONTHS.index(match[2]) + 1
    # A leap second is written :60; datetime knows none, and one second does not matter here.
    parts = (int(match[3]), month, int(match[1]), int(match[4]), int(match[5]), min(int(match[6]), 59))
    try:
        return Epoch(datetime(*parts, tzinfo=UTC).timestamp())
    except ValueError:
        return None


def next_utc_midnight(now: Epoch) -> Epoch:
    """When Bedrock's per-day quotas start anew (bedrock.md 4.2)."""
    return Epoch((math.floor(now / 86400.0) + 1) * 86400.0)


def _window(name: str, fields: Mapping[str, str]) -> Window:
    return Window(
        name,
        status=fields.get("status") or None,
        utilization=_number(fields.get("utilization")),
        resets=_unix(fields.get("reset")),
        surpassed=_number(fields.get("surpassed-threshold")),
    )


def _number(text: str | None) -> float | None:
    """Read a finite number in ASCII digits; ``None`` for anything else."""
    if text is None or len(text) > 32 or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _integer(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else int(number)


def _unix(text: str | None) -> Epoch | None:
    """Read Unix seconds; also takes an RFC 3339 moment, should the two families ever meet."""
    number = _number(text)
    if number is None:
        return _rfc3339(text)
    return Epoch(number) if number > 0 else None


def _rfc3339(text: str | None) -> Epoch | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return Epoch((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
