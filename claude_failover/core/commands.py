"""The language between an exchange and the shell: events go in, commands come out.

An exchange is fed events with :meth:`Exchange.handle` and answers with a list of
commands; the shell does them in order. All are frozen structs with ``==``, so a
test is ``assert exchange.handle(event, now) == [command, ...]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import final

import msgspec

from claude_failover.core.members import at_hand
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    ExchangeRecord,
    Headers,
    Kind,
    Seconds,
    Surface,
    Transition,
)

# --- what the client asked -------------------------------------------------------------------


class ClientRequest(msgspec.Struct, frozen=True, gc=False):
    """A ``POST /v1/messages`` as it came: nothing re-serialised, nothing decoded."""

    id: str
    """Ours: ``cfr_…``; in the log, the ledger, ``explain`` and a response header."""
    target: str
    """Path and query exactly as received, such as ``/v1/messages?beta=true``."""
    headers: Headers
    """As received, our own key and ``x-claude-failover-*`` included: the header builders strip them."""
    body: bytes


# --- what an upstream is asked to send ---------------------------------------------------------


class UpstreamRequest(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request for one backend, complete but for its origin and its credential."""

    method: str
    target: str
    """Path and query, already percent-encoded: these exact bytes go out and are signed."""
    headers: Headers
    """To the primary: the client's, which its adapter filters. To Bedrock: built from nothing, and complete."""
    body: bytes
    service: str = "bedrock"
    """SigV4 service name; only for Bedrock (``bedrock`` or ``bedrock-mantle``)."""
    streaming: bool = True


# --- events ------------------------------------------------------------------------------------


@final
class Start(msgspec.Struct, frozen=True, gc=False):
    """The request is complete; begin."""


@final
class HeadReceived(msgspec.Struct, frozen=True, gc=False):
    """Status line and headers of an attempt's response."""

    attempt: int
    status: int
    headers: Headers


@final
class BodyReceived(msgspec.Struct, frozen=True, gc=False):
    """Bytes of an attempt's body, as they arrived."""

    attempt: int
    data: bytes


@at_hand
class Failure(StrEnum):
    """How I/O of an attempt failed: facts, not judgements. The adapters map library exceptions to these."""

    DNS = "dns"
    CONNECT = "connect"
    """Refused, unreachable host, connect timed out."""
    RESET_BEFORE_HEAD = "reset_before_head"
    """Reset or closed before a response header, on a fresh connection."""
    STALE_CONNECTION = "stale_connection"
    """The same on a reused connection: says nothing about the backend."""
    CUT = "cut"
    """Reset or short after the head."""
    PROTOCOL = "protocol"
    """Bytes that are not HTTP."""
    TLS = "tls"
    """Certificate or handshake refused."""
    PIN = "pin"
    """The certificate chain holds none of the pinned keys."""
    CREDENTIALS = "credentials"
    """No usable credential for this backend (missing, expired login, refresh failed)."""
    LOCAL = "local"
    """Our own machine: EMFILE, ENOMEM, ENETDOWN."""
    INTERNAL = "internal"
    """An exception of our own code; caught at the request boundary."""


@final
class AttemptEnded(msgspec.Struct, frozen=True, gc=False):
    """An attempt's I/O is over: ``failure is None`` means that the body ended as HTTP says it should."""

    attempt: int
    failure: Failure | None = None
    detail: str = ""
    """One line for people; no secret, no header value."""


@final
class Wakeup(msgspec.Struct, frozen=True, gc=False):
    """The moment in :attr:`Exchange.deadline` has come."""


@final
class ClientGone(msgspec.Struct, frozen=True, gc=False):
    """The client closed its connection, or cannot be written to any more."""


Event = Start | HeadReceived | BodyReceived | AttemptEnded | Wakeup | ClientGone

# --- commands ----------------------------------------------------------------------------------


class OpenAttempt(msgspec.Struct, frozen=True, gc=False):
    """Send *request* to *backend*. At most one attempt of an exchange is open at a time."""

    attempt: int
    backend: BackendName
    kind: Kind
    request: UpstreamRequest
    surface: Surface | None = None
    fresh: bool = False
    """Use a new connection: the last one died before it answered."""
    refresh_credentials: bool = False
    """The backend refused the credential as expired: refresh before signing."""
    clock_skew: Seconds | None = None
    """Sign with this offset added to our clock (learned from a 403's ``Date``)."""


class CloseAttempt(msgspec.Struct, frozen=True, gc=False):
    """Give the attempt up at once: close its connection, send no further events of it."""

    attempt: int


class SendHead(msgspec.Struct, frozen=True, gc=False):
    """Begin the response to the client."""

    status: int
    headers: Headers


class SendBody(msgspec.Struct, frozen=True, gc=False):
    """Bytes for the client."""

    data: bytes


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The response is complete."""


class Abort(msgspec.Struct, frozen=True, gc=False):
    """Close the client's connection without a proper end: the answer is not complete and must not look it."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """For the ledger, the log, the metrics."""

    record: AttemptRecord


class Announce(msgspec.Struct, frozen=True, gc=False):
    """For the log, the metrics, the alerts; and persisted where it must survive a restart."""

    transition: Transition


class Conclude(msgspec.Struct, frozen=True, gc=False):
    """The exchange is over; its canonical record. Always the last command, exactly once."""

    record: ExchangeRecord


Command = OpenAttempt | CloseAttempt | SendHead | SendBody | Finish | Abort | Record | Announce | Conclude

# --- answers of translate, shared by its callers -------------------------------------------------


class Rewrite(msgspec.Struct, frozen=True, gc=False):
    """One thing that translation changed, for the log and ``explain``: path and why, never content."""

    path: str
    """Such as ``messages.3.output_config``, ``anthropic-beta: fast-mode-2026-02-01``, ``max_tokens``."""
    action: str
    """``dropped``, ``renamed``, ``converted``, ``clamped``, ``added``, ``hashed``."""
    why: str = ""


class Translated(msgspec.Struct, frozen=True, gc=False):
    """A request that Bedrock will take."""

    request: UpstreamRequest
    upstream_model: str
    rewrites: tuple[Rewrite, ...] = ()
    extra: Mapping[str, str] = msgspec.field(default_factory=dict)


class Untranslatable(msgspec.Struct, frozen=True, gc=False):
    """Why this request cannot be served by Bedrock at all; the primary's answer stands."""

    why: str
