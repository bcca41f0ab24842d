"""Views: what the policy knows, for ``status``; reading takes no place and changes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from claude_failover.core import route
from claude_failover.core.decision import RequestFacts, Stop
from claude_failover.core.desk import Desk
from claude_failover.core.gates import ANY_MODEL, Gate, Spot
from claude_failover.core.limits import family_of
from claude_failover.core.types import BackendName, Epoch, Instant, Reason, Seconds


@dataclass(frozen=True, slots=True)
class GateView:
    """One (backend, model)."""

    backend: BackendName
    model: str
    """``*``: what holds for every model."""
    state: Gate
    until: Epoch | None
    """When it is expected to serve all again; ``None`` if open, or if only a person can tell."""
    next_try: Seconds | None
    """How soon one real request may try; ``None`` if time does not help."""
    reason: Reason | None
    why: str
    in_flight: int
    away: Seconds
    """How long new requests still stay away although it may have recovered (dwell)."""


@dataclass(frozen=True, slots=True)
class OverrideView:
    """One order that stands."""

    backend: BackendName
    model: str | None
    until: Epoch | None


@dataclass(frozen=True, slots=True)
class PolicyView:
    """Everything."""

    current: BackendName
    """Where a new request for any model goes."""
    per_model: Mapping[str, BackendName]
    """Where a new request for a model goes that something is known about."""
    gates: tuple[GateView, ...]
    """Per backend in configured order: ``*`` first, then its models."""
    overrides: tuple[OverrideView, ...]
    offline: bool
    conversations: int
    """Remembered."""
    in_flight: int
    retry_tokens: Mapping[BackendName, int]

    @property
    def degraded(self) -> bool:
        """Whether anything is not as it should be."""
        return self.offline or any(gate.state is not Gate.AVAILABLE for gate in self.gates)


def view(desk: Desk, now: Instant) -> PolicyView:
    """Look at everything."""
    known = desk.gates.known() | set(desk.in_flight)
    orders = desk.overrides.standing(now)
    models = sorted({model for _, model in known} | {o.model for o in orders if o.model is not None})
    gates = []
    for backend in desk.settings.backends:
        own = sorted({model for name, model in known if name == backend.name} - {ANY_MODEL})
        gates += [_gate(desk, backend.name, model, now) for model in (ANY_MODEL, *own)]
    return PolicyView(
        current=current(desk, ANY_MODEL, now),
        per_model={model: current(desk, model, now) for model in models if model != ANY_MODEL},
        gates=tuple(gates),
        overrides=tuple(OverrideView(o.backend, o.model, o.until.at if o.until else None) for o in orders),
        offline=desk.network.offline,
        conversations=len(desk.conversations),
        in_flight=len(desk.flights),
        retry_tokens={backend.name: desk.budget(backend.name).tokens for backend in desk.settings.backends},
    )


def current(desk: Desk, model: str, now: Instant) -> BackendName:
    """Where a new request for *model* goes: the first that serves all, else the first that might."""
    found = route.find(desk, RequestFacts("", model, family=family_of(model)), now)
    assert not isinstance(found, Stop), "a request that asks for nothing in particular can always be routed"
    looks = {name: desk.gates.look(Spot(name, model, family_of(model)), now) for name in found.order}
    serving = [name for name in found.order if looks[name].gate is Gate.AVAILABLE]
    settled = [name for name in serving if not desk.dwelling(name, model, now)]
    passing = [name for name in found.order if looks[name].passes]
    return (settled or serving or passing or list(found.order))[0]


def _gate(desk: Desk, backend: BackendName, model: str, now: Instant) -> GateView:
    look = desk.gates.look(Spot(backend, model, family_of(model)), now)
    standing = look.gate is not Gate.AVAILABLE
    return GateView(
        backend,
        model,
        look.gate,
        look.until,
        None if math.isinf(look.wait) else look.wait,
        look.reason if standing else None,
        look.why,
        desk.in_flight[backend, model],
        desk.dwells.remaining(backend, model, now, desk.longest),
    )
