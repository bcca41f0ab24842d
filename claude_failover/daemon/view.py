"""The snapshot that ``status`` shows, assembled from what each part knows; it reads and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from claude_failover.control import status as api
from claude_failover.core.gates import ANY_MODEL, Gate
from claude_failover.core.policy import PolicyView
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.spend import SpendView
from claude_failover.core.types import BackendName, Instant, Kind
from claude_failover.core.views import GateView
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon.history import History

_STATES = {
    Gate.AVAILABLE: api.State.READY,
    Gate.READY: api.State.HALF_OPEN,
    Gate.PROBING: api.State.HALF_OPEN,
    Gate.COOLING: api.State.COOLDOWN,
    Gate.OPEN: api.State.OPEN,
    Gate.DENIED: api.State.BLOCKED,
    Gate.BLOCKED: api.State.BLOCKED,
}


def backend_status(
    backend: Backend, policy: PolicyView, history: History, credential: CredentialView | None, *, paid: bool
) -> api.BackendStatus:
    """One backend."""
    gates = [gate for gate in policy.gates if gate.backend == backend.name]
    whole = next((gate for gate in gates if gate.model == ANY_MODEL), None)
    attempts, failures, ttft, duration = history.backend(backend.name)
    return api.BackendStatus(
        name=backend.name,
        kind=backend.kind.value,
        state=_STATES[whole.state] if whole else api.State.READY,
        until=whole.until if whole else None,
        why=whole.why if whole else "",
        usable=is_usable(backend, credential),
        paid=paid,
        where=where(backend, credential),
        credential=credential_text(backend, credential),
        credential_expires=credential.expires if credential is not None else None,
        models=tuple(_model(gate) for gate in gates if gate.model != ANY_MODEL),
        attempts=attempts,
        failures=failures,
        ttft=ttft,
        duration=duration,
        in_flight=sum(gate.in_flight for gate in gates),
    )


def _model(gate: GateView) -> api.ModelState:
    return api.ModelState(model=gate.model, state=_STATES[gate.state], until=gate.until, why=gate.why)


def current(policy: PolicyView, settings: Settings) -> api.Current:
    """Who answers the next request, and why it is not the primary, if it is not."""
    primary = settings.primary.name
    if policy.overrides:
        override = policy.overrides[0]
        if override.model is None:
            return api.Current(override.backend, "forced", "by force-backend", override.until)
    if policy.current == primary:
        moved = {model: name for model, name in policy.per_model.items() if name != primary and model != ANY_MODEL}
        if not moved:
            return api.Current(primary, "primary", "")
        names = ", ".join(sorted(moved))
        return api.Current(primary, "primary", f"but {names}: {next(iter(moved.values()))}")
    gate = next((one for one in policy.gates if one.backend == primary and one.model == ANY_MODEL), None)
    if gate is None or gate.reason is None:
        return api.Current(policy.current, "preferred", "it comes first, or another was left a short while ago")
    return api.Current(policy.current, gate.reason.value, f"{primary}: {gate.why}", gate.until)


def override(policy: PolicyView) -> api.Override | None:
    """What ``force-backend`` said."""
    if not policy.overrides:
        return None
    first = policy.overrides[0]
    return api.Override(first.backend, first.model, first.until)


def spend(view: SpendView | None, notional_nusd: int = 0) -> api.Spend:
    """Today's money."""
    if view is None:
        return api.Spend()
    return api.Spend(
        today_usd=view.spent / 1e9,
        reserved_usd=view.held / 1e9,
        limit_usd=None if view.limit is None else view.limit / 1e9,
        alert_usd=None if view.alert is None else view.alert / 1e9,
        resets=view.resets,
        notional_usd=notional_nusd / 1e9,
        reached=view.exhausted,
    )


def is_usable(backend: Backend, credential: CredentialView | None) -> bool:
    """Whether a request could be tried there at all."""
    if backend.kind is Kind.ANTHROPIC and backend.credential != "stored":
        return True
    return credential is not None and credential.usable


def where(backend: Backend, credential: CredentialView | None) -> str:
    """Where a backend is: its base URL, or region and scope."""
    region = backend.region or (credential.region if credential is not None else "")
    if backend.kind is Kind.ANTHROPIC:
        return backend.base_url
    return ", ".join(part for part in (region, backend.scope, backend.endpoint_url) if part)


def credential_text(backend: Backend, credential: CredentialView | None) -> str:
    """Source and kind of what a backend is asked with; never the value."""
    stored = credential.text if credential is not None else "not looked at yet"
    if backend.kind is Kind.BEDROCK or backend.credential == "stored":
        return stored
    return "the client's own" if backend.credential == "client" else f"the client's own, else {stored}"


def notices(
    settings: Settings,
    backends: tuple[api.BackendStatus, ...],
    credentials: Mapping[BackendName, CredentialView],
    now: Instant,
) -> list[api.Notice]:
    """What needs the user: credentials that are missing or about to end, backends that are blocked."""
    found = []
    for backend, configured in zip(backends, settings.backends, strict=True):
        credential = credentials.get(configured.name)
        if not backend.usable:
            hint = credential.hint if credential is not None else ""
            found.append(api.Notice("credential-missing", f"{backend.name}: {backend.credential}", hint))
        elif backend.credential_expires is not None and 0 < backend.credential_expires - now.wall < EXPIRY_NOTICE:
            minutes = round((backend.credential_expires - now.wall) / 60)
            hint = credential.hint if credential is not None else ""
            title = f"{backend.name}: the credential expires in {minutes} min"
            found.append(api.Notice("credential-expiring", title, hint))
        if backend.state is api.State.BLOCKED:
            title = f"{backend.name} is blocked: {backend.why}"
            found.append(api.Notice("backend-blocked", title, "claude-failover doctor", api.Severity.CRITICAL))
    return found


EXPIRY_NOTICE: Final = 900.0
"""Seconds before its end from which a credential that was not refreshed is worth a word."""
