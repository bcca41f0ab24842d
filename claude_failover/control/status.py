"""What ``status`` shows, and the judgement that it starts with.

One type for the wire, the table and ``--json``. A field is added with a default and never
renamed. Times are Epoch seconds, durations end in ``_s``, money in ``_usd``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from claude_failover import errors

API_VERSION = 1
"""Of the channel: part of every path (``/v1/…``) and of every answer's headers."""

SCHEMA_VERSION = 1
"""Of what ``--json`` prints."""


class Health(StrEnum):
    """Am I protected? The one word that ``status`` starts with."""

    PROTECTED = "protected"
    """The primary answers, and somebody can take over."""
    FAILED_OVER = "failed_over"
    """The primary cannot answer (for some model at least); another backend does."""
    UNPROTECTED = "unprotected"
    """The primary answers, but nobody could take over."""
    SPEND_LIMIT = "spend_limit"
    """Whoever could take over costs money, and today's limit is reached."""
    DOWN = "down"
    """Nobody can answer."""


class State(StrEnum):
    """Of a backend, or of one model there."""

    READY = "ready"
    COOLDOWN = "cooldown"
    """It said until when it will refuse."""
    OPEN = "open"
    """The circuit breaker rests."""
    HALF_OPEN = "half_open"
    """One real request is being let through."""
    BLOCKED = "blocked"
    """TLS or pin failure, access denied, no usable credential."""


class Severity(StrEnum):
    """How much a notice matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the attempts in the daemon's window."""

    count: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model at one backend, where it is anything but ready, or was used lately."""

    model: str
    """The Claude id."""
    state: State = State.READY
    until: float | None = None
    """When the cooldown or the breaker's rest ends."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """One backend, in the configured order."""

    name: str
    kind: str
    """``anthropic`` or ``bedrock``."""
    state: State = State.READY
    """Of the backend as a whole; :attr:`models` has what is narrower."""
    until: float | None = None
    why: str = ""
    usable: bool = True
    """Has credentials, and whatever else it takes to try it at all."""
    paid: bool = False
    """Its requests cost real money."""
    where: str = ""
    """Base URL, or region and scope."""
    credential: str = ""
    """Which source wins and what is known about it; never the credential."""
    credential_expires: float | None = None
    models: tuple[ModelState, ...] = ()
    attempts: int = 0
    """In the daemon's window."""
    failures: int = 0
    ttft: Latency = field(default_factory=Latency)
    """Opened -> first content."""
    duration: Latency = field(default_factory=Latency)
    """Opened -> the attempt's end."""
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class PlanWindow:
    """One window of the subscription's limit, as the Claude API last told it."""

    name: str
    """``5h``, ``7d``, ``7d_opus`` …"""
    used: float | None = None
    """0 … 1, and more with extra usage."""
    status: str = "allowed"
    """``allowed``, ``allowed_warning`` or ``rejected``."""
    resets: float | None = None
    backend: str = ""
    seen: float | None = None
    """When the headers that say so came."""


@dataclass(frozen=True, slots=True)
class Spend:
    """Today's money at paid backends."""

    today_usd: float = 0.0
    """Settled."""
    reserved_usd: float = 0.0
    """Held for attempts that still run."""
    limit_usd: float | None = None
    """``None`` = no limit."""
    alert_usd: float | None = None
    resets: float | None = None
    """When the day ends in the configured time zone."""
    notional_usd: float = 0.0
    """What today's subscription traffic would have cost by the token."""
    reached: bool = False
    """Nothing paid is sent until :attr:`resets`."""


@dataclass(frozen=True, slots=True)
class Override:
    """``force-backend`` is in force."""

    backend: str
    model: str | None = None
    """``None`` = every model."""
    until: float | None = None
    """``None`` = until it is ended."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that needs the user, as data: a stable code, a sentence, what to type."""

    code: str
    title: str
    hint: str = ""
    severity: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True)
class Store:
    """Whether a file that must be written can be."""

    path: str = ""
    ok: bool = True
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Current:
    """Who answers the next request, why, and until when it is not the primary."""

    name: str = ""
    reason: str = ""
    """A :class:`~claude_failover.core.types.Reason`."""
    why: str = ""
    """One sentence for people."""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Since the daemon started."""

    requests: int = 0
    rescued: int = 0
    """Answered by another backend than the primary after the primary could not."""
    failed: int = 0
    """Answered with an error that a failover might have avoided."""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that ``status`` shows."""

    version: str
    """The running daemon's release."""
    pid: int
    now: float
    """The daemon's clock when it answered; countdowns are measured from it."""
    started: float
    """When it could first serve."""
    listen: str
    """The data port's URL."""
    health: Health
    current: Current = field(default_factory=Current)
    backends: tuple[BackendStatus, ...] = ()
    plan: tuple[PlanWindow, ...] = ()
    spend: Spend = field(default_factory=Spend)
    override: Override | None = None
    needs_you: tuple[Notice, ...] = ()
    """Empty means that everything is good."""
    learned: int = 0
    """Things that backends refused and are not sent for a while; ``models`` lists them."""
    streams: int = 0
    """Client requests in flight."""
    draining: bool = False
    offline: bool = False
    """No backend can be reached: the network is gone, and nobody is blamed for it."""
    totals: Totals = field(default_factory=Totals)
    overhead: Latency = field(default_factory=Latency)
    """What we added to requests, in the window."""
    config_file: str = ""
    config_exists: bool = True
    config_loaded: float | None = None
    config_error: str = ""
    """Why the last reload was refused; the old configuration stays in force."""
    client_key_required: bool = True
    ledger: Store = field(default_factory=Store)
    log: Store = field(default_factory=Store)
    metrics: str = ""
    """URL of the metrics, empty when off."""
    schema_version: int = SCHEMA_VERSION
    api_version: int = API_VERSION

    @property
    def uptime_s(self) -> float:
        """Seconds since it could first serve."""
        return max(0.0, self.now - self.started)

    @property
    def check_exit_code(self) -> int:
        """What ``status --check`` exits with: 0 good, 4 degraded or failed over, 5 stopped by the spend limit."""
        match self.health:
            case Health.PROTECTED:
                return errors.EXIT_OK
            case Health.SPEND_LIMIT:
                return errors.EXIT_SPEND_LIMIT
            case Health.FAILED_OVER | Health.UNPROTECTED | Health.DOWN:
                return errors.EXIT_DEGRADED


def assess(backends: tuple[BackendStatus, ...], *, spend_reached: bool, offline: bool = False) -> Health:
    """Judge from the backends' states whether requests are protected.

    A backend *could serve* if it is usable and neither cooling, resting nor blocked as a whole; a model's
    own cooldown at the primary counts as a failover, because that model's requests are answered elsewhere.

    Args:
        backends: In the configured order; the first is the primary.
        spend_reached: Today's limit is reached, so paid secondaries are not tried.
        offline: Nothing can be reached.
    """
    if offline or not backends:
        return Health.DOWN
    primary, others = backends[0], backends[1:]
    able = [one for one in others if could_serve(one)]
    affordable = [one for one in able if not (one.paid and spend_reached)]
    primary_whole = could_serve(primary) and all(one.state in {State.READY, State.HALF_OPEN} for one in primary.models)
    if affordable:
        return Health.PROTECTED if primary_whole else Health.FAILED_OVER
    if able:
        return Health.SPEND_LIMIT
    return Health.UNPROTECTED if could_serve(primary) else Health.DOWN


def could_serve(backend: BackendStatus) -> bool:
    """Whether a request could go to *backend* now."""
    return backend.usable and backend.state in {State.READY, State.HALF_OPEN}
