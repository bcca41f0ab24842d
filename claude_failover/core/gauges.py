"""Gauges: the daemon's state at one moment, as figures, for the metrics and the alerts.

The daemon takes them; metrics and alerts only look. Values, no behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from claude_failover.core.limits import Window
from claude_failover.core.types import BackendName, Epoch, Seconds


@dataclass(frozen=True, slots=True)
class ModelGauges:
    """One model at one backend, where there is something to say about it."""

    model: str
    breaker: str = "closed"
    """``closed``, ``half_open``, ``open``."""
    cooldown_until: Epoch | None = None
    """When its cooldown ends; ``None`` or past: it has none."""


@dataclass(frozen=True, slots=True)
class BackendGauges:
    """One backend."""

    name: BackendName
    available: bool = True
    """Whether a request for some model could go there now."""
    blocked: str = ""
    """Why it is blocked (TLS, pin, login); empty = it is not."""
    in_flight: int = 0
    credential_expires: Epoch | None = None
    models: tuple[ModelGauges, ...] = ()
    plan: tuple[Window, ...] = ()
    """The subscription's windows, as last told."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """Everything that is not counted but read."""

    at: Epoch
    backends: tuple[BackendGauges, ...] = ()
    """In the configured order; the first is the primary."""
    active: BackendName | None = None
    """Who gets the next request; ``None`` = nobody can."""
    failover_since: Epoch | None = None
    """Since when somebody else than the primary answers."""
    offline: bool = False
    override: bool = False
    streams: int = 0
    """Client requests in flight."""
    spent_usd: float = 0.0
    """Today, settled, at paid backends."""
    reserved_usd: float = 0.0
    limit_usd: float | None = None
    alert_usd: float | None = None
    ledger_queued: int = 0
    ledger_failures: int = 0
    ledger_error: str = ""
    log_dropped: int = 0
    log_error: str = ""
    loop_lag: Seconds = Seconds(0.0)
    bypasses: int = 0
    """Since the start: requests that went straight to the primary because our own code failed."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Since the start: requests that the gate refused, by why."""
    reload_ok: bool = True
    reloaded: Epoch | None = None
    """When the configuration in force was loaded."""
