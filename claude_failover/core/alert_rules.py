"""Alert rules: each a question about the daemon's state and its last requests, answered with figures or with ``None``.

The same conditions, as expressions, are in ``monitoring/rules.yml`` for those who run Prometheus. The plan's five
are the fallback rate, the cost, both backends, P95 and token refresh; the others are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from claude_failover.core.gauges import Gauges
from claude_failover.core.settings import Alerts
from claude_failover.core.types import Epoch, Seconds

LOOK_BACK: Final = Seconds(600.0)
"""How far shares and percentiles look back."""
ENOUGH: Final = 10
"""Requests below which a share or a percentile says nothing."""
LONG: Final = Seconds(1800.0)
"""A failover of this length is worth knowing of; also the time in which trips are counted."""
FLAPS: Final = 4
"""More trips than this within :data:`LONG` are flapping."""
IN_BAND: Final = 3
"""As many errors inside of 200s within :data:`LOOK_BACK` are worth knowing of."""
EXPIRY: Final = Seconds(3600.0)
"""How long before a credential ends its owner is told."""


class Severity(StrEnum):
    """How much it matters."""

    WARNING = "warning"
    CRITICAL = "critical"


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One request, as far as alerts care."""

    at: Epoch
    elsewhere: bool
    """Answered by another backend than the primary."""
    ttft: Seconds | None
    in_band: int
    """Attempts that failed inside a 200."""


@dataclass(frozen=True, slots=True)
class View:
    """What the rules look at."""

    gauges: Gauges
    settings: Alerts
    recent: tuple[Sample, ...] = ()
    """Requests of the last :data:`LOOK_BACK`."""
    trips: int = 0
    """Breakers that opened within :data:`LONG`."""
    refresh_failed: str = ""
    """Why the last refresh of a credential failed; empty = it did not."""
    bypassed: bool = False
    """Whether a request went past us within :data:`LOOK_BACK`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition: what must hold, and for how long."""

    code: str
    """Stable; the alert's name in Prometheus is the same in camel case."""
    severity: Severity
    title: str
    holds: Callable[[View], str | None]
    """The figures, one line, if it holds."""
    for_: Seconds = Seconds(0.0)


def _fallback_rate(view: View) -> str | None:
    count, elsewhere = len(view.recent), sum(sample.elsewhere for sample in view.recent)
    if count < ENOUGH or elsewhere / count <= view.settings.fallback_rate:
        return None
    return f"{elsewhere} of the last {count} requests ({elsewhere / count:.0%}) left the primary"


def _latency(view: View) -> str | None:
    times = sorted(sample.ttft for sample in view.recent if sample.ttft is not None)
    if len(times) < ENOUGH:
        return None
    p95 = times[math.ceil(0.95 * len(times)) - 1]
    if p95 <= view.settings.latency_p95:
        return None
    return f"P95 of the time to first content is {p95:.1f} s (limit {view.settings.latency_p95:g} s)"


def _in_band(view: View) -> str | None:
    count = sum(sample.in_band for sample in view.recent)
    return f"{count} answers failed after a good status" if count >= IN_BAND else None


def _flapping(view: View) -> str | None:
    return f"breakers opened {view.trips} times in 30 minutes" if view.trips > FLAPS else None


def _refreshing(view: View) -> str | None:
    return view.refresh_failed or None


def _bypassing(view: View) -> str | None:
    if not view.bypassed:
        return None
    return f"{view.gauges.bypasses} requests went past us since the start because our own code failed"


def _cost(view: View) -> str | None:
    gauges = view.gauges
    if gauges.alert_usd is None or gauges.spent_usd < gauges.alert_usd:
        return None
    return f"${gauges.spent_usd:.2f} spent today (alert at ${gauges.alert_usd:.2f})"


def _spend_limit(view: View) -> str | None:
    gauges = view.gauges
    if gauges.limit_usd is None or gauges.spent_usd + gauges.reserved_usd < gauges.limit_usd:
        return None
    return f"${gauges.spent_usd:.2f} of ${gauges.limit_usd:.2f} spent today: no failover until tomorrow"


def _nobody(view: View) -> str | None:
    gauges = view.gauges
    if gauges.offline:
        return "no backend can be reached: is the network up?"
    if gauges.backends and not any(backend.available for backend in gauges.backends):
        return "none of " + ", ".join(backend.name for backend in gauges.backends) + " can answer"
    return None


def _long(view: View) -> str | None:
    gauges = view.gauges
    if gauges.failover_since is None or gauges.at - gauges.failover_since <= LONG:
        return None
    minutes = (gauges.at - gauges.failover_since) / 60
    return f"{gauges.active or 'nobody'} has answered for {minutes:.0f} minutes"


def _expiring(view: View) -> str | None:
    gauges = view.gauges
    soon = [
        (backend.credential_expires - gauges.at, backend.name)
        for backend in gauges.backends
        if backend.credential_expires is not None and backend.credential_expires - gauges.at < EXPIRY
    ]
    if not soon:
        return None
    left, name = min(soon)
    return f"the credential of {name} " + (f"ends in {left / 60:.0f} minutes" if left > 0 else "has ended")


def _blocked(view: View) -> str | None:
    gauges = view.gauges
    found = [f"{backend.name}: {backend.blocked}" for backend in gauges.backends if backend.blocked]
    return "; ".join(found) or None


def _unwritten(view: View) -> str | None:
    gauges = view.gauges
    found = [
        f"the {what} cannot be written ({error})"
        for what, error in (("ledger", gauges.ledger_error), ("log", gauges.log_error))
        if error
    ]
    return "; ".join(found) or None


RULES: Final = (
    Rule("fallback_rate", Severity.WARNING, "Many requests leave the primary", _fallback_rate),
    Rule("cost", Severity.WARNING, "Today's spend passed the alert threshold", _cost),
    Rule("all_backends_down", Severity.CRITICAL, "No backend can answer", _nobody, Seconds(60.0)),
    Rule("latency", Severity.WARNING, "Answers begin late", _latency, Seconds(60.0)),
    Rule("token_refresh", Severity.CRITICAL, "A credential could not be refreshed", _refreshing),
    Rule("spend_limit", Severity.CRITICAL, "Today's spend limit is reached", _spend_limit),
    Rule("failover_long", Severity.WARNING, "The primary has been out for long", _long),
    Rule("credential_expiring", Severity.WARNING, "A credential is about to end", _expiring),
    Rule("backend_blocked", Severity.CRITICAL, "A backend is blocked", _blocked),
    Rule("breaker_flapping", Severity.WARNING, "A backend comes and goes", _flapping),
    Rule("in_band_errors", Severity.WARNING, "Answers break in mid-stream", _in_band),
    Rule("bypass", Severity.CRITICAL, "claude-failover itself failed", _bypassing),
    Rule("disk", Severity.WARNING, "Something cannot be written to disk", _unwritten, Seconds(60.0)),
)
"""Every rule, in the order in which they are looked at."""
