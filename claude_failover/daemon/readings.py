"""The readings: the daemon's gauges, taken when the metrics are scraped and when the alerts are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from claude_failover.core.gates import ANY_MODEL, Gate
from claude_failover.core.gauges import BackendGauges, Gauges, ModelGauges
from claude_failover.core.policy import PolicyView
from claude_failover.core.settings import Backend
from claude_failover.core.spend import NUSD_PER_USD
from claude_failover.core.types import BackendName, Epoch, Reason, Seconds
from claude_failover.core.views import GateView
from claude_failover.daemon import view

if TYPE_CHECKING:
    from claude_failover.daemon.life import Daemon

_PASSING: Final = frozenset({Gate.AVAILABLE, Gate.READY, Gate.PROBING})
_RECOVERING: Final = frozenset({Gate.READY, Gate.PROBING})


class Readings:
    """Takes the gauges of *daemon*."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.loop_lag = Seconds(0.0)
        """How late the event loop was at the last look."""
        self._since: Epoch | None = None

    def take(self) -> Gauges:
        """Everything, as it is now."""
        daemon = self._daemon
        now = daemon.clock.now()
        policy = daemon.standing.policy.view(now)
        money = daemon.standing.spend.view(now)
        world, ledger = daemon.world, daemon.accounts.status()
        log = daemon.journal.health() if daemon.journal is not None else None
        elsewhere = stand_in(policy, daemon.settings.primary.name)
        self._since = None if elsewhere is None else self._since or now.wall
        return Gauges(
            at=now.wall,
            backends=tuple(self._backend(backend, policy, now.wall) for backend in daemon.settings.backends),
            active=elsewhere or policy.current,
            failover_since=self._since,
            offline=policy.offline,
            override=bool(policy.overrides),
            streams=world.in_flight,
            spent_usd=money.spent / NUSD_PER_USD,
            reserved_usd=money.held / NUSD_PER_USD,
            limit_usd=None if money.limit is None else money.limit / NUSD_PER_USD,
            alert_usd=None if money.alert is None else money.alert / NUSD_PER_USD,
            ledger_queued=ledger.queued if ledger is not None else 0,
            ledger_failures=ledger.write_failures if ledger is not None else 0,
            ledger_error=ledger.error if ledger is not None and ledger.failing else "",
            log_dropped=log.dropped if log is not None else 0,
            log_error=(log.error or "") if log is not None else "",
            loop_lag=self.loop_lag,
            bypasses=world.bypasses,
            refused=dict(world.refused),
            reload_ok=not daemon.config_error,
            reloaded=daemon.configured,
        )

    def _backend(self, backend: Backend, policy: PolicyView, now: Epoch) -> BackendGauges:
        gates = [gate for gate in policy.gates if gate.backend == backend.name]
        whole = next((gate for gate in gates if gate.model == ANY_MODEL), None)
        credential = self._daemon.credentials.get(backend.name)
        passes = whole is None or whole.state in _PASSING
        return BackendGauges(
            name=backend.name,
            available=passes and view.is_usable(backend, credential),
            blocked=whole.why or "blocked" if whole is not None and whole.state is Gate.BLOCKED else "",
            in_flight=sum(gate.in_flight for gate in gates),
            credential_expires=view.ends(backend, credential, now),
            models=tuple(_model(gate) for gate in gates if gate.state is not Gate.AVAILABLE or gate.model != ANY_MODEL),
            plan=self._daemon.history.windows(backend.name),
        )


def stand_in(policy: PolicyView, primary: BackendName) -> BackendName | None:
    """Who answers although the primary should, for some model at least; nobody while a person has said who."""
    if policy.overrides or policy.offline:
        return None
    candidates: Mapping[str, BackendName] = {ANY_MODEL: policy.current, **policy.per_model}
    return next((name for name in candidates.values() if name != primary), None)


def _model(gate: GateView) -> ModelGauges:
    """Cooldown and breaker of one gate: the gate tells the one that stands in the way most."""
    breaker = "closed"
    if gate.state is Gate.OPEN:
        breaker = "open"
    elif gate.state in _RECOVERING and gate.reason is Reason.BREAKER:
        breaker = "half_open"
    return ModelGauges(gate.model, breaker, gate.until if gate.state is Gate.COOLING else None)
