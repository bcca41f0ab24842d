"""The snapshot that ``status`` shows, assembled from what each part knows; it reads and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from claude_failover.control import status as api
from claude_failover.control.api import Learned, ModelEntry
from claude_failover.core.conditions import Notice as Alert
from claude_failover.core.gates import ANY_MODEL, Gate
from claude_failover.core.models import Entry, Unmapped
from claude_failover.core.policy import PolicyView
from claude_failover.core.prices import PriceTable, scope_of
from claude_failover.core.repair import Denial
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.spend import SpendView
from claude_failover.core.types import BackendName, Epoch, Instant, Kind, Usage
from claude_failover.core.views import GateView
from claude_failover.credentials.shapes import LOGIN
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon.accounts import ledger_notes
from claude_failover.daemon.history import History
from claude_failover.ledger import LedgerStatus

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


def spend(view: SpendView | None, notional_nusd: int) -> api.Spend:
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


def note(backend: Backend, credential: CredentialView | None) -> str:
    """One sentence for the person who typed ``start``: whether a backend can be used, with what, what to do if not."""
    if credential is not None and credential.kind == LOOKING:
        return f"{backend.name}: the AWS credentials are still being looked up (claude-failover status)"
    usable = is_usable(backend, credential)
    hint = f" ({credential.hint})" if credential is not None and credential.hint and not usable else ""
    return f"{backend.name}: {'ready' if usable else 'not usable'}, {credential_text(backend, credential)}{hint}"


def ends(backend: Backend, credential: CredentialView | None, now: Epoch) -> Epoch | None:
    """When a credential ends that nobody seems to renew; ``None``: it does not end, or is renewed in time.

    Temporary keys and logins end every hour and are renewed before; only one that should have been by now is news.
    The stored token of a backend whose clients bring their own matters to nobody.
    """
    if credential is None or credential.expires is None or credential.problem:
        return None
    if backend.kind is Kind.ANTHROPIC and backend.credential != "stored":
        return None
    renews = credential.kind in _RENEWED and not credential.warning
    return None if renews and credential.expires - now > LATE else credential.expires


LOOKING: Final = "being looked up"
"""In place of a credential's kind, while nobody knows yet."""

_RENEWED: Final = frozenset({"temporary keys", LOGIN})

LATE: Final = 240.0
"""Seconds before its end by which a credential has been renewed if it ever will be: logins are 300 s ahead."""


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
    """What of the backends needs the user: credentials that are missing or about to end, and those that are blocked."""
    found = []
    for backend, configured in zip(backends, settings.backends, strict=True):
        credential = credentials.get(configured.name)
        if not backend.usable:
            hint = credential.hint if credential is not None else ""
            found.append(api.Notice("credential-missing", f"{backend.name}: {backend.credential}", hint))
        elif (end := ends(configured, credential, now.wall)) is not None and end - now.wall < EXPIRY_NOTICE:
            minutes = round((end - now.wall) / 60)
            hint = credential.hint if credential is not None else ""
            title = f"{backend.name}: the credential expires in {minutes} min"
            found.append(api.Notice("credential-expiring", title, hint))
        elif credential is not None and credential.warning:
            found.append(api.Notice("credential-warning", f"{backend.name}: {credential.warning}", credential.hint))
        if backend.state is api.State.BLOCKED:
            title = f"{backend.name} is blocked: {backend.why}"
            hint = "claude-failover logs --audit; if it is mended: claude-failover reload"
            found.append(api.Notice("backend-blocked", title, hint, api.Severity.CRITICAL))
    return found


def stores(ledger: LedgerStatus | None, state_error: str, log: api.Store) -> list[api.Notice]:
    """What cannot be written, or was given up."""
    found = []
    if ledger is not None:
        found += [api.Notice("ledger-failing", note, "df -h") for note in ledger_notes(ledger)]
    if state_error:
        found.append(api.Notice("state-unwritable", f"state.json cannot be written: {state_error}", "df -h"))
    if not log.ok:
        found.append(api.Notice("log-unwritable", f"the log cannot be written: {log.detail}", "df -h"))
    return found


def raised(alerts: Iterable[Alert], said: Iterable[api.Notice]) -> list[api.Notice]:
    """The alerts that are raised now, but for those that *said* tells already."""
    codes = {_SAME.get(notice.code, "") for notice in said}
    return [
        api.Notice(
            alert.code.replace("_", "-"),
            f"{alert.title}: {alert.detail}",
            severity=api.Severity(alert.severity.value),
        )
        for alert in alerts
        if alert.code not in codes
    ]


_SAME: Final = {
    "credential-expiring": "credential_expiring",
    "credential-missing": "token_refresh",
    "backend-blocked": "backend_blocked",
    "ledger-failing": "disk",
    "state-unwritable": "disk",
    "log-unwritable": "disk",
}
"""Notice -> the alert that says the same thing."""

EXPIRY_NOTICE: Final = 900.0
"""Seconds before its end from which a credential that nobody renews is worth a word."""


def model_entry(entry: Entry, backend: Backend, prices: PriceTable, now: Epoch) -> ModelEntry:
    """One line of ``models``: prices are those of a short prompt at this backend."""
    target = entry.target
    if isinstance(target, Unmapped):
        return ModelEntry(entry.claude_model, backend.name, "", note=target.why)
    scope = scope_of(target.bedrock_id, backend.scope)
    read = prices.cost(entry.claude_model, backend.kind, scope, Usage(input=_THOUSAND), now)
    written = prices.cost(entry.claude_model, backend.kind, scope, Usage(output=_THOUSAND), now)
    return ModelEntry(
        entry.claude_model,
        backend.name,
        target.bedrock_id,
        tuple(surface.value for surface in target.surfaces),
        target.source,
        read.nusd / _THOUSAND / 1_000,
        written.nusd / _THOUSAND / 1_000,
        "the price is an estimate" if read.estimated else "",
    )


_THOUSAND: Final = 1_000
"""Tokens that a price is asked for: few enough for the lowest tier. Nano-USD per token are thousandths of USD/MTok."""


def learned(denial: Denial, backend: BackendName) -> Learned:
    """One lesson."""
    what = f"{denial.remedy.value} {denial.value}".strip()
    return Learned(backend, denial.model, denial.surface.value, what, denial.expires)
