"""The words of the core: time, backends, outcomes, tokens, records.

Everything here is a value. What changes over time lives in the module that
owns the rule (cooldown, breaker, budgets, policy, exchange).

What is made for every request, or for every read, is a frozen ``msgspec.Struct``: like a frozen dataclass in all that
is used of it, and made in a sixth of the time (measured: three fields, 160 ns for 950; a request makes about fifty).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NewType

import msgspec

from claude_failover.core.members import at_hand

Seconds = NewType("Seconds", float)
"""A duration."""

Monotonic = NewType("Monotonic", float)
"""A moment on a clock that never jumps and stands still while the machine sleeps."""

Epoch = NewType("Epoch", float)
"""A moment on the wall clock: seconds since 1970-01-01 UTC."""

BackendName = NewType("BackendName", str)
"""A backend's name in the configuration, such as ``claude`` or ``bedrock``."""

Headers = tuple[tuple[str, str], ...]
"""Header lines in the order and the spelling in which they came; duplicates kept."""


class Instant(msgspec.Struct, frozen=True, gc=False):
    """Both clocks, read together."""

    wall: Epoch
    monotonic: Monotonic


@at_hand
class Kind(StrEnum):
    """What sort of place a backend is."""

    ANTHROPIC = "anthropic"
    BEDROCK = "bedrock"


@at_hand
class Surface(StrEnum):
    """Which API of Bedrock an attempt uses (wire facts: bedrock.md 1)."""

    MESSAGES = "messages"
    """``/anthropic/v1/messages`` on bedrock-runtime: Anthropic JSON and SSE."""
    INVOKE = "invoke"
    """``/model/{id}/invoke[-with-response-stream]``: JSON and AWS event stream."""
    MANTLE = "mantle"
    """``/anthropic/v1/messages`` on bedrock-mantle, signed as ``bedrock-mantle``."""


@at_hand
class Outcome(StrEnum):
    """How one attempt ended, as far as failover is concerned."""

    SUCCESS = "success"
    PLAN_LIMIT = "plan_limit"
    """A subscription's 5 h or 7 d window is used up: every model of that credential."""
    FAMILY_LIMIT = "family_limit"
    """Only a model family's window is used up."""
    THROTTLED = "throttled"
    """A rate limit of an API key or of Bedrock, with or without an end that it names."""
    TRANSIENT_LIMIT = "transient_limit"
    """A 429 that names neither a window nor an end: judged per request."""
    ENTITLEMENT = "entitlement"
    """A 429 that says the account may not use this feature (1M context, fast mode)."""
    BILLING = "billing"
    """Credits, spend cap, payment."""
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    """DNS, connect, or reset before any response header."""
    TLS_FAILED = "tls_failed"
    PIN_FAILED = "pin_failed"
    SILENT = "silent"
    """No headers by ``first_byte``, or no content by ``first_content``."""
    CUT = "cut"
    """The body ended or broke without its proper end."""
    STALLED = "stalled"
    """``stream_idle`` seconds of silence after the commit."""
    MALFORMED = "malformed"
    """Bytes that are not what the protocol says."""
    CLIENT_ERROR = "client_error"
    """The request's own fault; the same anywhere, or for the client to mend."""
    REPAIRABLE = "repairable"
    """A Bedrock 400 that names a beta, a field, a thinking block, or a model id form that can be changed."""
    TOO_LONG = "too_long"
    """The prompt does not fit the model."""
    CREDENTIALS = "credentials"
    """The backend's own credentials are expired or refused; refreshing may help."""
    DENIED = "denied"
    """The account may not use this model there, or the model is not there."""
    CLIENT_GONE = "client_gone"
    LOCAL = "local"
    """Our own machine: descriptors, memory, network down. Evidence against nobody."""

    @property
    def is_limit(self) -> bool:
        """Whether the backend *told* us that it will refuse for a while (moves the cooldown, never the breaker)."""
        return self in _LIMITS

    @property
    def blames_backend(self) -> bool:
        """Whether this outcome is evidence against the backend's health (moves the breaker, never the cooldown)."""
        return self in _BLAMES


_LIMITS = frozenset({Outcome.PLAN_LIMIT, Outcome.FAMILY_LIMIT, Outcome.THROTTLED, Outcome.BILLING})
_BLAMES = frozenset(
    {
        Outcome.OVERLOADED,
        Outcome.SERVER_ERROR,
        Outcome.UNREACHABLE,
        Outcome.SILENT,
        Outcome.CUT,
        Outcome.STALLED,
        Outcome.MALFORMED,
    }
)


@at_hand
class Scope(StrEnum):
    """How far a limit reaches."""

    REQUEST = "request"
    MODEL = "model"
    FAMILY = "family"
    BACKEND = "backend"
    """Every model behind that backend's credential."""


@at_hand
class Reason(StrEnum):
    """Why a backend was chosen, or left. Shown to the user, in logs, metrics and response headers."""

    PRIMARY = "primary"
    """First in the configured order and available."""
    FORCED = "forced"
    PREFERRED = "preferred"
    """Cheaper, or the owner prefers it over paid extra usage."""
    STICKY = "sticky"
    """The conversation stays where its prompt cache is."""
    PROBE = "probe"
    """The one real request let through to a recovering backend."""
    RETRY = "retry"
    """Once more on the same backend."""
    REPAIR = "repair"
    """Once more on the same backend, with what it refused taken out."""
    COOLDOWN = "cooldown"
    """The backend before it said until when it will refuse."""
    BREAKER = "breaker"
    """The backend before it is failing and rests."""
    PLAN_LIMIT = "plan_limit"
    FAMILY_LIMIT = "family_limit"
    THROTTLED = "throttled"
    TRANSIENT_LIMIT = "transient_limit"
    BILLING = "billing"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    TLS_FAILED = "tls_failed"
    SILENT = "silent"
    CUT = "cut"
    MALFORMED = "malformed"
    DENIED = "denied"
    CREDENTIALS = "credentials"
    LAST_RESORT = "last_resort"
    """Everything is cooling: the one that recovers soonest is tried."""
    SPEND_LIMIT = "spend_limit"
    OFFLINE = "offline"
    BYPASS = "bypass"
    """Our own code failed; the request went to the primary untouched."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one attempt, disjoint kinds: their sum is everything that was read or written.

    ``input`` excludes cache reads and writes, as in Anthropic's ``usage.input_tokens``.
    """

    input: int = 0
    output: int = 0
    """Includes thinking tokens."""
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    web_searches: int = 0
    """Counted requests of the server tool, not tokens."""
    thinking: int = 0
    """The part of ``output`` that was thinking, where the wire says so."""
    geo_us: bool = False
    """``usage.inference_geo`` was ``us`` (1.1x on every kind at the Claude API)."""
    fast: bool = False
    """``usage.speed`` was ``fast``."""

    @property
    def prompt(self) -> int:
        """Everything that was read: decides price tiers."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What one attempt's end means for failover. Built by :mod:`~claude_failover.core.failures`."""

    outcome: Outcome
    detail: str = ""
    """One short sentence for people: the window, the error text's first line. Never a secret, never a prompt."""
    scope: Scope = Scope.REQUEST
    family: str | None = None
    """With ``Scope.FAMILY``: ``opus``, ``sonnet``, ``haiku``, ``fable``."""
    until: Epoch | None = None
    """When the backend said it will serve again."""
    retry_after: Seconds | None = None
    """What ``retry-after`` said, if anything."""
    should_retry: bool | None = None
    """What ``x-should-retry`` said, if anything; never decides alone (claude.md 3.4)."""
    per_day: bool = False
    """A Bedrock "per day" throttle: until the next UTC midnight."""
    error_type: str | None = None
    """Anthropic's ``error.type`` or AWS's exception name."""
    clock_skew: Seconds | None = None
    """From the ``Date`` of a refused signature: server minus us."""


@at_hand
class Ended(StrEnum):
    """Whether an attempt's usage is complete."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    """Cut, aborted or left: what was seen is counted, more may be billed."""
    NOTHING = "nothing"
    """No usage was seen."""


class AttemptRecord(msgspec.Struct, frozen=True, gc=False):
    """One attempt, as the ledger, the log, the metrics and ``explain`` get it. Exactly one per opened attempt."""

    exchange: str
    attempt: int
    """From 0."""
    backend: BackendName
    kind: Kind
    model: str
    """The Claude id that the client asked for, normalised."""
    upstream_model: str
    """What was sent: the same, or Bedrock's id."""
    surface: Surface | None
    reason: Reason
    """Why this backend was tried."""
    outcome: Outcome
    detail: str
    status: int | None
    started: Epoch
    ttfb: Seconds | None
    """Opened -> response headers."""
    ttft: Seconds | None
    """Opened -> first content event."""
    duration: Seconds
    usage: Usage = Usage()
    usage_state: Ended = Ended.NOTHING
    upstream_request_id: str | None = None
    session: str | None = None
    agent: str | None = None
    request_class: str | None = None
    paid: bool = False
    """Bedrock or an API key: real money. A subscription's tokens are notional."""
    cost_nusd: int = 0
    """What it cost there, in nano-dollars (1e-9 USD). Notional where not *paid*."""
    list_cost_nusd: int = 0
    """What the same tokens cost at the Claude API's list price."""
    price_estimated: bool = False
    """The model was not in the price table."""
    committed: bool = False
    streaming: bool = True
    extra: Mapping[str, str] = msgspec.field(default_factory=dict)


class Step(msgspec.Struct, frozen=True, gc=False):
    """One line of a request's timeline, for ``explain``."""

    at: Seconds
    """Since the request came in."""
    what: str
    """A past-tense verb phrase: ``opened``, ``held``, ``failed over``, ``committed``, ``waited``."""
    backend: str = ""
    detail: str = ""


class ExchangeRecord(msgspec.Struct, frozen=True, gc=False):
    """One client request, first byte to last: the canonical line of the log, and a window's entry."""

    exchange: str
    started: Epoch
    model: str
    streaming: bool
    outcome: str
    """``served``, ``passed_error``, ``refused``, ``client_gone``, ``aborted``, ``bypassed``."""
    status: int | None
    backend: BackendName | None
    """Who answered; ``None`` if we did ourselves."""
    reason: Reason | None
    attempts: tuple[AttemptRecord, ...]
    steps: tuple[Step, ...]
    duration: Seconds
    overhead: Seconds
    """Of the duration, what no backend was being waited for."""
    ttft: Seconds | None
    session: str | None
    agent: str | None
    request_class: str | None
    failed_over: bool

    def busier(self, by: float) -> ExchangeRecord:
        """The same with *by* seconds more of overhead."""
        return msgspec.structs.replace(self, overhead=Seconds(self.overhead + by))


@at_hand
class TransitionKind(StrEnum):
    """What a decision changed in the world."""

    COOLDOWN_STARTED = "cooldown.started"
    COOLDOWN_ENDED = "cooldown.ended"
    BREAKER_CHANGED = "breaker.changed"
    FAILED_OVER = "failover.happened"
    RETURNED = "failback.happened"
    OVERRIDE_ENDED = "override.ended"
    OFFLINE = "offline.began"
    ONLINE = "offline.ended"
    LEARNED = "denial.learned"
    BETA_DROPPED = "beta.dropped"
    BLOCKED = "backend.blocked"
    SPEND_ALERT = "spend.alerted"
    SPEND_LIMIT = "spend.reached"


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A change that the shell announces (log, metrics, alerts) and, where it must survive a restart, persists."""

    kind: TransitionKind
    backend: BackendName | None = None
    model: str | None = None
    detail: str = ""
    until: Epoch | None = None
    fields: Mapping[str, str | int | float | bool | None] = msgspec.field(default_factory=dict)
