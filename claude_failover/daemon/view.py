"""The snapshot that ``status`` shows, assembled from what each part knows; it reads and changes nothing."""

from __future__ import annotations

from claude_failover.control import status as api
from claude_failover.core.gates import ANY_MODEL, Gate
from claude_failover.core.policy import PolicyView
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.spend import SpendView
from claude_failover.core.types import BackendName, Epoch, Instant, Kind
from claude_failover.core.views import GateView
from claude_failover.daemon.history import History
from claude_failover.daemon.wealth import Credential

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
    backend: Backend, policy: PolicyView, history: History, credential: Credential, paid: bool
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
        usable=credential.usable,
        paid=paid,
        where=credential.where,
        credential=credential.text,
        credential_expires=credential.expires,
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


def notices(
    backends: tuple[api.BackendStatus, ...], credentials: dict[BackendName, Credential], now: Instant
) -> list[api.Notice]:
    """What needs the user: credentials that are missing or about to end, backends that are blocked."""
    found = []
    for backend in backends:
        credential = credentials[BackendName(backend.name)]
        if not credential.usable:
            severity = api.Severity.WARNING if backend.kind == Kind.BEDROCK.value else api.Severity.INFO
            title = f"{backend.name}: {credential.text}"
            found.append(api.Notice("credential-missing", title, credential.hint, severity))
        elif credential.expires is not None and 0 < credential.expires - now.wall < EXPIRY_NOTICE:
            minutes = round((credential.expires - now.wall) / 60)
            found.append(
                api.Notice("credential-expiring", f"{backend.name}: expires in {minutes} min", credential.hint)
            )
        if backend.state is api.State.BLOCKED:
            title = f"{backend.name} is blocked: {backend.why}"
            found.append(api.Notice("backend-blocked", title, "claude-failover doctor", api.Severity.CRITICAL))
    return found


EXPIRY_NOTICE = Epoch(3600.0)
"""Seconds before its end from which a credential that nothing refreshes is worth a word."""
