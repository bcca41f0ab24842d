"""What is asked of the policy, and what it answers: values only.

A :class:`Go` is leave to send one attempt; its :class:`Permit` must be given back to
:meth:`Policy.observe <claude_failover.core.policy.Policy.observe>` and ``settle`` exactly once, however the attempt
ends. A :class:`Hold` says when to ask again, with the same tries. A :class:`Stop` is final.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

import msgspec

from claude_failover.core.cooldown import Held
from claude_failover.core.spend import Refusal, Reservation
from claude_failover.core.types import BackendName, Instant, Monotonic, Reason, Seconds, Transition, Verdict

REFUSED_ONLY_THERE: Final = "bedrock_only"
"""``error_type`` of a Bedrock refusal that nothing mended: it never reaches the client, whom another kind of backend
may still serve."""


class RequestFacts(msgspec.Struct, frozen=True, gc=False):
    """What is known about a request before anything was sent."""

    exchange: str
    model: str
    """Canonical Claude id."""
    family: str | None = None
    session: str | None = None
    agent: str | None = None
    in_tool_loop: bool = False
    forced: BackendName | None = None
    """By the request's own header."""
    stays: str | None = None
    """Why it must never leave the primary; ``None`` = it may."""
    unservable: Mapping[BackendName, str] = msgspec.field(default_factory=dict)
    """Why a backend cannot serve this request."""
    estimates: Mapping[BackendName, int] = msgspec.field(default_factory=dict)
    """Worst case in nano-USD at paid backends; absent = free."""
    patience: Seconds = Seconds(570.0)
    """How long the client will still wait for us before anything is sent."""
    session_limit_nusd: int | None = None
    """The session's own budget for paid backends, if it has one."""

    @property
    def conversation(self) -> tuple[str, str] | None:
        """Whose prompt cache it is; ``None`` if the client does not say."""
        return None if self.session is None else (self.session, self.agent or "")


class Try(msgspec.Struct, frozen=True, gc=False):
    """One attempt of this request that is over."""

    backend: BackendName
    reason: Reason
    verdict: Verdict
    ended: Monotonic


class Permit(msgspec.Struct, frozen=True, gc=False):
    """Leave to send one attempt."""

    id: int
    backend: BackendName
    model: str
    family: str | None
    exchange: str
    conversation: tuple[str, str] | None
    probe: bool
    """The one real request let through to a recovering backend."""
    held: tuple[Held, ...]
    """Cooldowns in spite of which it is sent."""
    reservation: Reservation | None
    opened: Instant


@final
class Go(msgspec.Struct, frozen=True, gc=False):
    """Send one attempt there, now."""

    backend: BackendName
    reason: Reason
    permit: Permit
    fresh: bool = False
    """On a new connection: the last one died."""
    refresh_credentials: bool = False
    detail: str = ""
    """One sentence for people."""
    transitions: tuple[Transition, ...] = ()
    """What deciding changed; to be announced."""


@final
class Hold(msgspec.Struct, frozen=True, gc=False):
    """Ask again then, with the same tries."""

    until: Monotonic
    why: str
    transitions: tuple[Transition, ...] = ()


@final
class Stop(msgspec.Struct, frozen=True, gc=False):
    """No further attempt: answer with the best original error."""

    why: str
    spend: Refusal | None = None
    """Set if money is what stands in the way."""
    offline: bool = False
    """No backend could be reached at all."""
    retry_after: Seconds | None = None
    """When the soonest backend may serve again."""
    transitions: tuple[Transition, ...] = ()


Decision = Go | Hold | Stop
