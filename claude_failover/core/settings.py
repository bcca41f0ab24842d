"""The configuration as values: frozen dataclasses with every default of ``config.yaml``.

:mod:`claude_failover.config` builds these from a file; the core never learns that there is a
file. All durations are seconds, all money US dollars. A field's name is its key in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from claude_failover.core.types import BackendName, Kind


@dataclass(frozen=True, slots=True)
class Listen:
    """The data port."""

    host: str = "127.0.0.1"
    port: int = 8484
    client_key: str = "required"
    """``required`` or ``off``."""
    other_users: str = "refused"
    """``refused`` or ``allowed``: requests of other users of this machine (Linux; elsewhere nobody can tell)."""
    allow_remote: bool = False
    """Without it a *host* that is not loopback is refused by the loader; with it the key is required."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One place that can serve a request. Keys of the other kind are refused by the loader."""

    name: BackendName
    kind: Kind
    # What a backend of kind anthropic has:
    base_url: str = "https://api.anthropic.com"
    credential: str = "auto"
    """``auto``: the client's own if it sent one, else the stored token; ``client``; ``stored``."""
    tls_min_version: str = "1.3"
    pinned_spki: tuple[str, ...] = ()
    """``sha256/BASE64`` of accepted public keys; empty = no pinning."""
    # What a backend of kind bedrock has:
    region: str | None = None
    profile: str | None = None
    scope: str = "global"
    """``global us eu jp au apac us-gov none``: the prefix of inference profile ids."""
    surface: str = "auto"
    """``auto messages invoke mantle``."""
    endpoint_url: str | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RateLimitFallback:
    """What a limit does."""

    enabled: bool = True
    detection_threshold: int = 1
    """Limit answers for a model before its cooldown starts."""
    cooldown_time: float = 300.0
    """The cooldown when a limit names no end."""
    respect_retry_after: bool = True
    max_retry_after: float = 3600.0
    """The longest time without one real request let through."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Retries on the same backend for one class of failure, before failing over."""

    retries: int = 0
    backoff_factor: float = 2.0
    max_wait: float = 60.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Per class of failure. The field names are the file's keys, which keep the plan's spelling."""

    rate_limit: Retry = field(default_factory=lambda: Retry(0, 2.0, 60.0))
    """``RateLimitError`` in the file."""
    overloaded: Retry = field(default_factory=lambda: Retry(1, 2.0, 3.0))
    """``OverloadedError`` in the file."""
    connection: Retry = field(default_factory=lambda: Retry(1, 2.0, 1.0))
    """``ConnectionError`` in the file."""


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When a breaker trips, and for how long."""

    failure_threshold: int = 5
    """Consecutive failures that open the circuit."""
    failure_rate: float = 0.5
    """Share of failures within *window* that opens it (with at least *failure_threshold* attempts)."""
    window: float = 30.0
    open_for: float = 15.0
    max_open_for: float = 120.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of one attempt, and of the number of attempts."""

    connect: float = 10.0
    first_byte: float = 120.0
    first_content: float = 180.0
    stream_idle: float = 120.0
    total_attempts: int = 4


@dataclass(frozen=True, slots=True)
class Stream:
    """Holding and pinging."""

    hold_max: float = 15.0
    ping_interval: float = 10.0


@dataclass(frozen=True, slots=True)
class CostTracking:
    """Money."""

    enabled: bool = True
    daily_limit: float | None = 100.0
    """US dollars per day over all paid backends; ``None`` = no limit."""
    alert_threshold: float | None = 80.0
    prefer_primary: bool = True
    timezone: str = "local"
    avoid_extra_usage: bool = False
    """Prefer Bedrock over the subscription's paid extra usage (claude.md 3.3)."""
    price_file: str | None = None
    """A file of the shape of ``data/prices.yaml`` whose entries win over ours."""


@dataclass(frozen=True, slots=True)
class Alerts:
    """Where alerts go, and two of their thresholds."""

    command: str | None = None
    webhook: str | None = None
    desktop: bool = True
    fallback_rate: float = 0.10
    latency_p95: float = 5.0


@dataclass(frozen=True, slots=True)
class Logging:
    """The structured log."""

    level: str = "info"
    """``debug info warning error``."""
    format: str = "json"
    """``json`` or ``text``, for the foreground; on disk it is always JSON lines."""
    max_bytes: int = 10_000_000
    backups: int = 5


@dataclass(frozen=True, slots=True)
class Metrics:
    """The ``/metrics`` endpoint."""

    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where stored Anthropic tokens are looked for, in order."""

    sources: tuple[str, ...] = ("env", "keyring", "claude")


DEFAULT_BACKENDS = (
    Backend(BackendName("claude"), Kind.ANTHROPIC),
    Backend(BackendName("bedrock"), Kind.BEDROCK),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that ``config.yaml`` can say; the defaults are what an absent file means."""

    listen: Listen = field(default_factory=Listen)
    backends: tuple[Backend, ...] = DEFAULT_BACKENDS
    """In order of preference."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Claude id -> Bedrock id or ARN, over the built-in table."""
    fallbacks: Mapping[str, tuple[BackendName, ...]] = field(default_factory=dict)
    """Claude id -> backends after the primary, in order; an empty tuple = never leaves the primary."""
    rate_limit_fallback: RateLimitFallback = field(default_factory=RateLimitFallback)
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    circuit_breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    timeouts: Timeouts = field(default_factory=Timeouts)
    stream: Stream = field(default_factory=Stream)
    cost_tracking: CostTracking = field(default_factory=CostTracking)
    alerts: Alerts = field(default_factory=Alerts)
    logging: Logging = field(default_factory=Logging)
    metrics: Metrics = field(default_factory=Metrics)
    credentials: Credentials = field(default_factory=Credentials)

    @property
    def primary(self) -> Backend:
        """The first backend: errors that nobody could avoid are its errors."""
        return self.backends[0]
