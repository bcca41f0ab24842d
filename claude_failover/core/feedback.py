"""Feedback: what an attempt's end changes. The other half of the policy; nothing is decided here.

One rule per class of outcome (failover-policy): a limit moves the cooldown and nothing else; a failure moves the
breaker and nothing else; a caller's error, a client that left and our own machine move nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from claude_failover.core.commands import Failure
from claude_failover.core.desk import Desk, Flight
from claude_failover.core.told import Where
from claude_failover.core.types import (
    BackendName,
    Instant,
    Monotonic,
    Outcome,
    Scope,
    Seconds,
    Transition,
    TransitionKind,
    Verdict,
)

TRANSIENT_COUNT: Final = 5
TRANSIENT_WINDOW: Final = Seconds(60.0)
"""So many passing 429s in so short a time are an overload."""

WEIGH_FOR: Final = Seconds(10.0)
"""How long a half-open breaker waits to hear whether anybody else can be reached."""

_NO_ANSWER: Final = frozenset(
    {
        Outcome.UNREACHABLE,
        Outcome.TLS_FAILED,
        Outcome.PIN_FAILED,
        Outcome.SILENT,
        Outcome.CREDENTIALS,
        Outcome.CLIENT_GONE,
        Outcome.LOCAL,
    }
)
"""Outcomes that do not prove that the network works; a captive portal answers TLS, too."""

_NO_PAUSE: Final = frozenset({Outcome.CLIENT_GONE, Outcome.LOCAL, Outcome.CLIENT_ERROR, Outcome.REPAIRABLE})
"""A probe that ended so may be followed by the next at once: the backend had no say."""


def committed(desk: Desk, flight: Flight, now: Instant) -> list[Transition]:
    """First content came: a probe has succeeded, the prompt is cached there."""
    flight.committed = True
    spot = flight.spot
    out = answered(desk, spot.backend, now)
    flight.entry, changes = desk.gates.served(spot, flight.entry, now, complete=False)
    desk.conversations.answered(flight.permit.conversation, spot.backend, now.monotonic)
    if desk.plans.held:
        desk.plans.pop(flight.permit.exchange)
    if changes:
        # Everybody who waited, or went elsewhere, comes at once: the quota that just recovered would trip again.
        desk.begin_ramp(spot.backend, spot.model, now.monotonic)
    return [*out, *changes, *desk.returned(spot, now)]


def observe(desk: Desk, flight: Flight, verdict: Verdict, now: Instant) -> list[Transition]:
    """The attempt is over."""
    outcome, spot = verdict.outcome, flight.spot
    out: list[Transition] = []
    if outcome is Outcome.SUCCESS and not flight.committed:
        out += committed(desk, flight, now)
    elif outcome not in _NO_ANSWER:
        out += answered(desk, spot.backend, now)
    if outcome is Outcome.SUCCESS:
        flight.entry, changes = desk.gates.served(spot, flight.entry, now, complete=True)
        desk.budget(spot.backend).succeeded()
        if desk.transients.held:
            desk.transients.pop((spot.backend, spot.model))
        out += changes
    elif outcome.is_limit:
        out += _limit(desk, flight, verdict, now)
    elif outcome.blames_backend:
        out += _failure(desk, flight, verdict, now)
    else:
        out += _other(desk, flight, verdict, now)
    weighed = outcome is Outcome.UNREACHABLE
    desk.gates.released(spot, flight.entry, now, pause=outcome not in _NO_PAUSE, breaker=not weighed)
    return out


def answered(desk: Desk, backend: BackendName, now: Instant) -> list[Transition]:
    """*backend* can be reached: so can the network, and who could not be is to blame."""
    online, proven = desk.network.answered(backend, now.monotonic)
    out = [Transition(TransitionKind.ONLINE, backend, detail=f"{backend} answers again")] if online else []
    for suspicion in proven:
        out += desk.gates.failed(suspicion.spot, suspicion.entry, Outcome.UNREACHABLE, now)
    return out


def _limit(desk: Desk, flight: Flight, verdict: Verdict, now: Instant) -> list[Transition]:
    if not desk.settings.rate_limit_fallback.enabled:
        return []
    spot = flight.spot
    if verdict.outcome is Outcome.THROTTLED and not verdict.per_day:
        desk.throttled(spot.backend, spot.model, now.monotonic)
    where = Where(spot.backend, desk.gates.kind(spot.backend), spot.model, spot.family)
    return desk.gates.cooldowns.limit(where, verdict, flight.entry.held, now)


def _failure(desk: Desk, flight: Flight, verdict: Verdict, now: Instant) -> list[Transition]:
    spot = flight.spot
    if verdict.outcome is Outcome.UNREACHABLE:
        if verdict.error_type != Failure.STALE_CONNECTION.value:
            desk.network.unreachable(spot, flight.entry, now.monotonic)
        desk.gates.weigh(spot, flight.entry, WEIGH_FOR, now)
        return []
    if verdict.outcome is Outcome.SILENT:
        desk.budget(spot.backend).timed_out()
    if flight.committed:
        desk.conversations.cut(flight.permit.conversation, spot.backend, now.monotonic)
    return desk.gates.failed(spot, flight.entry, verdict.outcome, now)


def _other(desk: Desk, flight: Flight, verdict: Verdict, now: Instant) -> list[Transition]:
    spot = flight.spot
    if verdict.outcome is Outcome.TRANSIENT_LIMIT and _too_many(desk, flight, now.monotonic):
        return desk.gates.overloaded(spot, now)
    if verdict.outcome in {Outcome.TLS_FAILED, Outcome.PIN_FAILED}:
        return desk.gates.block(spot.backend, verdict, now)
    if verdict.outcome is Outcome.DENIED:
        desk.gates.deny(spot, verdict.detail, every_model=verdict.scope is Scope.BACKEND)
    return []


def _too_many(desk: Desk, flight: Flight, now: Monotonic) -> bool:
    key = (flight.spot.backend, flight.spot.model)
    times = desk.transients.get(key)
    if times is None:
        times = deque(maxlen=TRANSIENT_COUNT)
        desk.transients.put(key, times)
    times.append(now)
    if len(times) < TRANSIENT_COUNT or now - times[0] > TRANSIENT_WINDOW:
        return False
    times.clear()
    return True
