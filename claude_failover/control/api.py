"""What is said on the control channel: one dataclass per message, both ways.

The same types are the wire (JSON by msgspec), what the table is drawn from, and what
``--json`` prints. Rules of change: a field is added with a default and never renamed; a
decoder ignores fields it does not know; :data:`API_VERSION` goes up only when an old
client would misread an answer. Times are Epoch seconds, durations end in ``_s``, money in ``_usd``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from claude_failover import errors
from claude_failover.control.status import (
    API_VERSION,
    SCHEMA_VERSION,
    BackendStatus,
    Current,
    Health,
    Latency,
    ModelState,
    Notice,
    Override,
    PlanWindow,
    Severity,
    Spend,
    State,
    Status,
    Store,
    Totals,
    assess,
    could_serve,
)
from claude_failover.core.request import UNREADABLE
from claude_failover.core.types import ExchangeRecord

__all__ = [
    "API_HEADER",
    "API_VERSION",
    "ERRORS",
    "HOST",
    "SCHEMA_VERSION",
    "VERSION_HEADER",
    "BackendStatus",
    "Current",
    "ErrorBody",
    "Event",
    "Explain",
    "ForceRequest",
    "ForceResult",
    "Health",
    "Latency",
    "Learned",
    "ModelEntry",
    "ModelState",
    "Models",
    "Notice",
    "Override",
    "Ping",
    "PlanWindow",
    "ReloadResult",
    "Severity",
    "Spend",
    "State",
    "Status",
    "StopRequest",
    "StopResult",
    "Store",
    "Totals",
    "assess",
    "could_serve",
    "decode",
    "encode",
    "error_body",
    "error_from",
]

VERSION_HEADER = "claude-failover-version"
"""On every answer: the daemon's release, so that any command notices a skew."""

API_HEADER = "claude-failover-api"

HOST = "claude-failover"
"""The only Host that the server accepts: no browser can be made to send it to a Unix socket."""


@dataclass(frozen=True, slots=True)
class Ping:
    """The smallest useful answer: it runs, who it is."""

    version: str
    pid: int
    listen: str
    started: float
    ready: bool = True
    streams: int = 0
    draining: bool = False
    api_version: int = API_VERSION


@dataclass(frozen=True, slots=True)
class StopRequest:
    """``stop``: refuse new requests, let streams finish until the deadline, then exit."""

    drain_s: float = 30.0
    now: bool = False
    """Do not wait for streams."""


@dataclass(frozen=True, slots=True)
class StopResult:
    """The drain has begun."""

    streams: int = 0
    """Still running when it began."""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What ``reload`` changed. A refused configuration is an error answer, and the old one stays."""

    changed: tuple[str, ...] = ()
    """Dotted keys whose value differs; never the values."""
    restart_needed: tuple[str, ...] = ()
    """Changed keys that take effect only with ``restart`` (the listen address)."""
    credentials: tuple[str, ...] = ()
    """Backends whose credentials were read again."""
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class ForceRequest:
    """``force-backend``."""

    backend: str | None
    """``None`` = ``auto``: end the override."""
    model: str | None = None
    for_s: float | None = None
    """``None`` = until it is ended."""


@dataclass(frozen=True, slots=True)
class ForceResult:
    """What is in force now."""

    override: Override | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Explain:
    """One request's story."""

    exchange: ExchangeRecord
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A Claude model at one backend."""

    claude_id: str
    backend: str
    upstream_id: str
    """What goes out; empty if the backend cannot serve the model."""
    surfaces: tuple[str, ...] = ()
    """In the order tried."""
    source: str = ""
    """``table``, ``rule``, ``config``, ``discovered`` or ``id``."""
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a backend refused once and is not sent again for a while."""

    backend: str
    model: str
    surface: str
    what: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Models:
    """``models``."""

    entries: tuple[ModelEntry, ...] = ()
    learned: tuple[Learned, ...] = ()
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the subscription."""

    seq: int
    """Goes up by one; ask for what came after it with ``?since=``."""
    at: float
    name: str
    """A name of :mod:`claude_failover.events`."""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """How an error crosses the channel and becomes the same type again on the other side."""

    error: str
    """What and where."""
    kind: str = "ControlError"
    """The name of its class in :mod:`claude_failover.errors`."""
    hint: str = ""


Message = TypeVar("Message")


def encode(message: object) -> bytes:
    """To JSON, in the order of the fields."""
    return msgspec.json.encode(message)


def decode(data: bytes, kind: type[Message]) -> Message:
    """From JSON; unknown fields are ignored.

    Raises:
        errors.ControlError: It is not a *kind*.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise errors.ControlError(f"not a valid {kind.__name__}: {error}") from error


ERRORS: Mapping[str, type[errors.FailoverError]] = {
    kind.__name__: kind
    for kind in (
        errors.ConfigError,
        errors.UsageError,
        errors.ControlError,
        errors.CredentialError,
        errors.LedgerError,
    )
}
"""The errors that cross the channel as themselves; every other one arrives as a ControlError."""


def error_body(error: errors.FailoverError) -> ErrorBody:
    """Describe *error* for the other side."""
    name = type(error).__name__
    return ErrorBody(str(error), name if name in ERRORS else "ControlError", error.hint or "")


def error_from(body: ErrorBody) -> errors.FailoverError:
    """Make the exception that *body* describes."""
    return ERRORS.get(body.kind, errors.ControlError)(body.error, hint=body.hint or None)
