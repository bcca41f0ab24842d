"""Routes: which backends may serve a request at all, in which order of preference, before their health is looked at."""

from __future__ import annotations

import msgspec

from claude_failover.core.decision import RequestFacts, Stop
from claude_failover.core.desk import Desk
from claude_failover.core.types import BackendName, Instant


class Route(msgspec.Struct, frozen=True, gc=False):
    """The candidates of one request."""

    order: tuple[BackendName, ...]
    """As this request should try them."""
    base: tuple[BackendName, ...]
    """As any request for that model would: without what is particular to its conversation."""
    forced: bool = False
    home: BackendName | None = None
    """Where the conversation stays, if it does."""
    avoids: BackendName | None = None
    """Which backend cut the conversation's last answer."""
    why: str = ""
    """Who forced it, or why it may not leave the primary."""


def find(desk: Desk, facts: RequestFacts, now: Instant) -> Route | Stop:
    """Work out the candidates of a request, the most preferred first.

    Returns:
        ``Stop`` if no backend can serve it, whatever its health.
    """
    settings = desk.settings
    primary = desk.order[0]
    if facts.stays is not None:
        if primary in facts.unservable:
            return Stop(f"no backend can serve this request ({primary}: {facts.unservable[primary]})")
        return Route((primary,), (primary,), why=facts.stays)
    forced = _forced(desk, facts, now)
    if forced is not None:
        return forced
    names = desk.order
    if facts.model in settings.fallbacks:
        names = tuple(dict.fromkeys((primary, *settings.fallbacks[facts.model])))
    base = tuple(name for name in names if name not in facts.unservable) if facts.unservable else names
    if not base:
        reasons = "; ".join(f"{name}: {why}" for name, why in facts.unservable.items())
        return Stop(f"no backend can serve this request ({reasons})")
    if not settings.cost_tracking.prefer_primary:
        base = tuple(sorted(base, key=lambda name: facts.estimates.get(name, 0)))
    if settings.cost_tracking.avoid_extra_usage:
        base = tuple(sorted(base, key=lambda name: _pays_extra(desk, name, now)))
    return _for_conversation(desk, facts, base, now)


def _forced(desk: Desk, facts: RequestFacts, now: Instant) -> Route | Stop | None:
    if facts.forced is not None:
        if facts.forced not in desk.names:
            return Stop(f"no backend is named {facts.forced}")
        if facts.forced in facts.unservable:
            return Stop(f"forced to {facts.forced}, which cannot serve this: {facts.unservable[facts.forced]}")
        return Route((facts.forced,), (facts.forced,), forced=True, why="forced by the request's header")
    order = desk.overrides.find(facts.model, now)
    if order is None or order.backend in facts.unservable:
        # An order is about the daemon; a request that cannot be served there is still to be served.
        return None
    return Route((order.backend,), (order.backend,), forced=True, why="forced by hand")


def _pays_extra(desk: Desk, name: BackendName, now: Instant) -> bool:
    until = desk.extra_usage.get(name)
    return until is not None and not until.over(now)


def _for_conversation(desk: Desk, facts: RequestFacts, base: tuple[BackendName, ...], now: Instant) -> Route:
    conversation = facts.conversation
    if conversation is None:
        return Route(base, base)
    avoids = desk.conversations.avoids(conversation, now.monotonic)
    home = desk.conversations.home(conversation, now.monotonic)
    stays = facts.in_tool_loop or not desk.settings.cost_tracking.prefer_primary
    if home not in base or home == avoids or not stays:
        home = None
    if avoids not in base:
        avoids = None
    if home is None and avoids is None:
        return Route(base, base)
    if avoids is None and home == base[0]:
        return Route(base, base, home=home)  # at home where everybody goes first: nothing to sort
    order = tuple(sorted(base, key=lambda name: (name == avoids, name != home)))
    return Route(order, base, home=home, avoids=avoids)
