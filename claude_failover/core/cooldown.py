"""Cooldown: a backend *said* until when it will refuse us, and we believe it.

A cooldown is told (by a header, an error's words); a breaker's rest is inferred (from failures). They are kept
apart because they end differently: a cooldown ends at a wall-clock moment, also after a reboot or a night's sleep.
A limit never moves a breaker, and nothing but a limit starts a cooldown.

Three scopes: everything behind a backend's credential, one model family of it, one model. A request is gated by all
that apply. While a cooldown stands, and when its told end has come, at most **one real request at a time** may try
(:meth:`Cooldowns.take`): its limit renews the cooldown, its success ends it for all. Before the told end such a
probe is due once every ``max_retry_after`` seconds, never more often.

How long a limit lasts is decided in :mod:`~claude_failover.core.told`; how a moment survives a wall clock that jumps,
in :mod:`~claude_failover.core.deadline`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from claude_failover.core import told
from claude_failover.core.bounded import Bounded
from claude_failover.core.deadline import Deadline
from claude_failover.core.settings import RateLimitFallback
from claude_failover.core.told import MAX_COOLDOWN, Where
from claude_failover.core.types import (
    BackendName,
    Epoch,
    Instant,
    Monotonic,
    Outcome,
    Scope,
    Seconds,
    Transition,
    TransitionKind,
    Verdict,
)

if TYPE_CHECKING:
    import random

PROBE_PAUSE: Final = Seconds(5.0)
"""After a probe that failed for another reason than a limit."""

EARLY_EVERY: Final = Seconds(60.0)
"""While nothing else can serve, a cooling backend is asked this often, by one request."""

HELD_POLL: Final = Seconds(0.5)
"""How soon to ask again while another request's probe is under way."""

MAX_KEPT: Final = 1_024


class Key(msgspec.Struct, frozen=True, gc=False):
    """What a cooldown reaches."""

    backend: BackendName
    scope: Scope
    """``BACKEND``, ``FAMILY`` or ``MODEL``."""
    name: str = ""
    """The family or the model."""


@dataclass(slots=True)
class Cooldown:
    """One limit that stands."""

    key: Key
    outcome: Outcome
    why: str
    until: Deadline
    probe: Deadline
    """When the next real request may try."""
    generation: int
    holder: int | None = None
    """The permit whose request is trying."""
    leased: Monotonic = Monotonic(0.0)
    early: Monotonic | None = None
    """When a request was last let through early."""
    streak: int = 0
    """Probes in a row that were limited; throttles without an end grow by it."""

    def held(self, now: Instant) -> bool:
        """Whether a request is trying right now."""
        return self.holder is not None and now.monotonic < self.leased

    def ready(self, now: Instant) -> bool:
        """Whether one request may try."""
        return not self.held(now) and self.probe.over(now)

    def wait(self, now: Instant) -> Seconds:
        """How soon it is worth asking again; 0 if it is ready."""
        return HELD_POLL if self.held(now) else self.probe.remaining(now)

    def may_be_early(self, now: Instant) -> bool:
        """Whether a request that nothing else can serve may try before its time."""
        return not self.held(now) and (self.early is None or now.monotonic - self.early >= EARLY_EVERY)


class Held(msgspec.Struct, frozen=True, gc=False):
    """A cooldown that stood when an attempt was sent: its outcome speaks about exactly this one."""

    key: Key
    generation: int


@dataclass(slots=True)
class _Seen:
    count: int
    last: Monotonic


class Cooldowns:
    """All cooldowns that stand.

    Args:
        rules: ``rate_limit_fallback`` of the configuration.
        lease: How long a probe may take.
        rng: For the jitter.
    """

    def __init__(self, rules: RateLimitFallback, lease: Seconds, rng: random.Random) -> None:
        self._rng = rng
        self._standing: Bounded[Key, Cooldown] = Bounded(MAX_KEPT)
        self._seen: Bounded[tuple[BackendName, str], _Seen] = Bounded(MAX_KEPT)
        self._generation = 0
        self.configure(rules, lease)

    def configure(self, rules: RateLimitFallback, lease: Seconds) -> None:
        """Take new numbers, for what is told from now on. What stands, stands."""
        self._rules = rules
        self._lease = lease

    # --- asking and sending ----------------------------------------------------------------------

    def gating(self, backend: BackendName, model: str, family: str | None) -> list[Cooldown]:
        """The cooldowns that a request for *model* meets at *backend*."""
        if not self._standing.held:
            return []  # nearly always, and asked several times for every request
        keys = [Key(backend, Scope.BACKEND), Key(backend, Scope.MODEL, model)]
        if family is not None:
            keys.append(Key(backend, Scope.FAMILY, family))
        return [found for key in keys if (found := self._standing.peek(key)) is not None]

    def standing(self) -> list[Cooldown]:
        """All, for ``status``."""
        return [cooldown for _, cooldown in self._standing.items()]

    @staticmethod
    def hold(gates: Iterable[Cooldown]) -> tuple[Held, ...]:
        """Note what an attempt is sent in spite of."""
        return tuple(Held(gate.key, gate.generation) for gate in gates)

    def take(self, gates: Iterable[Cooldown], owner: int, now: Instant) -> None:
        """Let *owner* try. Before the told end, the next try is due ``max_retry_after`` later."""
        for gate in gates:
            gate.holder = owner
            gate.leased = Monotonic(now.monotonic + self._lease)
            if not gate.probe.over(now):
                gate.early = now.monotonic
            if not gate.until.over(now):
                gate.probe = self._probe_at(gate.until, now, self._rules.max_retry_after)

    # --- what came back --------------------------------------------------------------------------

    def limit(self, where: Where, verdict: Verdict, held: tuple[Held, ...], now: Instant) -> list[Transition]:
        """A limit was told: start, renew or extend a cooldown.

        Args:
            where: Whose.
            verdict: One for which ``outcome.is_limit`` holds.
            held: What the attempt was sent in spite of: those are renewed, the rest only extended.
            now: Both clocks.
        """
        key = _key(where, verdict)
        out: list[Transition] = []
        if verdict.outcome is Outcome.FAMILY_LIMIT:
            # A family's window is only reported when the plan's own windows allow (claude.md 3.4).
            out += self._end(tuple(h for h in held if h.key.scope is Scope.BACKEND), {Outcome.PLAN_LIMIT})
        standing = self._standing.peek(key)
        if standing is None and not self._detected(where, now):
            return out
        renewed = standing is not None and Held(key, standing.generation) in held
        streak = 0 if standing is None else standing.streak + renewed
        end = told.end(where, verdict, streak, self._rules, self._rng, now)
        if standing is not None and not renewed:
            # Sent before it began: the same limit told twice. The later end wins.
            if end - now.wall <= standing.until.remaining(now):
                return out
            standing.until = Deadline(end, now)
            standing.probe = self._probe_at(standing.until, now, self._rules.max_retry_after)
            return out
        self._generation += 1
        until = Deadline(end, now)
        begun = Cooldown(
            key,
            verdict.outcome,
            verdict.detail,
            until,
            self._probe_at(until, now, self._rules.max_retry_after),
            self._generation,
            early=standing.early if standing is not None else None,
            streak=streak,
        )
        self._standing.put(key, begun)
        return [*out, _started(begun)]

    def served(self, held: tuple[Held, ...]) -> list[Transition]:
        """An attempt sent in spite of these brought content: they are over."""
        return self._end(held)

    def released(self, held: tuple[Held, ...], owner: int, now: Instant, *, pause: bool) -> None:
        """An attempt ended that says nothing about the limit.

        Args:
            held: What it was sent in spite of.
            owner: Its permit.
            now: Both clocks.
            pause: Keep the next one away for :data:`PROBE_PAUSE`: this one failed.
        """
        for gate in self._current(held):
            if gate.holder == owner:
                gate.holder = None
                if pause and gate.probe.remaining(now) < PROBE_PAUSE:
                    gate.probe = Deadline(Epoch(now.wall + PROBE_PAUSE), now)

    def worked(self, backend: BackendName, model: str) -> None:
        """A success: limits seen before it do not count towards ``detection_threshold``."""
        if self._seen.held:
            self._seen.pop((backend, model))

    def forget(self, backend: BackendName) -> None:
        """The backend is not configured any more."""
        for key in self._standing:
            if key.backend == backend:
                self._standing.pop(key)

    # --- across a restart ------------------------------------------------------------------------

    def snapshot(self) -> list[dict[str, Any]]:
        """What must survive a restart, as plain JSON values."""
        return [
            {
                "backend": c.key.backend,
                "scope": c.key.scope.value,
                "name": c.key.name,
                "outcome": c.outcome.value,
                "why": c.why,
                "until": c.until.at,
                "set": c.until.set.wall,
                "probe": c.probe.at,
                "streak": c.streak,
            }
            for c in self.standing()
        ]

    def restore(self, entries: object, backends: frozenset[BackendName], now: Instant) -> None:
        """Take back what :meth:`snapshot` said; what makes no sense is left out.

        The wall clock decides, unless it was set back since: nothing lasts longer than it was told.
        """
        for entry in entries if isinstance(entries, list) else []:
            try:
                restored = self._restored(entry, now)
            except (KeyError, TypeError, ValueError):
                continue
            if restored.key.backend in backends:
                self._standing.put(restored.key, restored)

    def _restored(self, entry: Mapping[str, Any], now: Instant) -> Cooldown:
        at, since, probe = float(entry["until"]), float(entry["set"]), float(entry["probe"])
        if not math.isfinite(at + since + probe):
            raise ValueError(entry)
        length = max(0.0, min(at - now.wall, at - since, MAX_COOLDOWN))
        until = Deadline(Epoch(now.wall + length), now)
        self._generation += 1
        pause = max(0.0, min(probe - now.wall, self._rules.max_retry_after, length))
        return Cooldown(
            Key(BackendName(str(entry["backend"])), Scope(entry["scope"]), str(entry["name"])),
            Outcome(entry["outcome"]),
            str(entry["why"]),
            until,
            self._probe_at(until, now, pause),
            self._generation,
            streak=int(entry["streak"]),
        )

    # --- inside ----------------------------------------------------------------------------------

    def _current(self, held: tuple[Held, ...]) -> list[Cooldown]:
        if not held:
            return []
        found = ((self._standing.peek(h.key), h.generation) for h in held)
        return [gate for gate, generation in found if gate is not None and gate.generation == generation]

    def _end(self, held: tuple[Held, ...], only: set[Outcome] | None = None) -> list[Transition]:
        out = []
        for gate in self._current(held):
            if only is None or gate.outcome in only:
                self._standing.pop(gate.key)
                out.append(Transition(TransitionKind.COOLDOWN_ENDED, gate.key.backend, detail=gate.why, **_named(gate)))
        return out

    def _detected(self, where: Where, now: Instant) -> bool:
        """Whether this limit is the ``detection_threshold``-th in a row."""
        seen = self._seen.get((where.backend, where.model))
        if seen is None or now.monotonic - seen.last > self._rules.cooldown_time:
            seen = _Seen(0, now.monotonic)
        seen.count += 1
        seen.last = now.monotonic
        if seen.count >= self._rules.detection_threshold:
            self._seen.pop((where.backend, where.model))
            return True
        self._seen.put((where.backend, where.model), seen)
        return False

    @staticmethod
    def _probe_at(until: Deadline, now: Instant, pause: float) -> Deadline:
        return Deadline(Epoch(now.wall + min(until.remaining(now), pause)), now)


def _key(where: Where, verdict: Verdict) -> Key:
    """How far a limit reaches: as the verdict says, else as its kind does."""
    scope, family = verdict.scope, verdict.family or where.family
    if scope is Scope.REQUEST:
        scope = _SCOPES.get(verdict.outcome, Scope.MODEL)
    if scope is Scope.BACKEND:
        return Key(where.backend, scope)
    if scope is Scope.FAMILY and family is not None:
        return Key(where.backend, scope, family)
    return Key(where.backend, Scope.MODEL, where.model)


_SCOPES: Final = {
    Outcome.PLAN_LIMIT: Scope.BACKEND,
    Outcome.BILLING: Scope.BACKEND,
    Outcome.FAMILY_LIMIT: Scope.FAMILY,
}


def _named(gate: Cooldown) -> dict[str, Any]:
    family = gate.key.name if gate.key.scope is Scope.FAMILY else None
    return {
        "model": gate.key.name if gate.key.scope is Scope.MODEL else None,
        "fields": {"scope": gate.key.scope.value, "family": family, "outcome": gate.outcome.value},
    }


def _started(gate: Cooldown) -> Transition:
    return Transition(
        TransitionKind.COOLDOWN_STARTED, gate.key.backend, detail=gate.why, until=gate.until.at, **_named(gate)
    )
