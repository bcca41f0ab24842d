"""Gates: everything that can stand between a request and a (backend, model), looked at together.

Narrowest reason first to change, widest first to check: a backend is *blocked* (its certificate is wrong), a model is
*denied* there, a *cooldown* was told, a *breaker* rests. :meth:`Gates.look` reads and changes nothing;
:meth:`Gates.enter` takes places; what an attempt brought goes to :meth:`Gates.served`, :meth:`Gates.failed` and
:meth:`Gates.released`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import structs

from claude_failover.core.bounded import Bounded
from claude_failover.core.breaker import Breaker, Change, Fault, Grant, Readiness, State
from claude_failover.core.cooldown import HELD_POLL, Cooldown, Cooldowns, Held
from claude_failover.core.deadline import Deadline
from claude_failover.core.members import at_hand
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import (
    BackendName,
    Epoch,
    Instant,
    Kind,
    Outcome,
    Reason,
    Seconds,
    Transition,
    TransitionKind,
    Verdict,
)

if TYPE_CHECKING:
    import random

TLS_BLOCK: Final = Seconds(300.0)
"""After a certificate that does not verify (failover-policy)."""

LEASE_MARGIN: Final = Seconds(30.0)
"""Beyond the time in which content must have come; then a probe's place is given free."""

MAX_BREAKERS: Final = 512
MAX_DENIED: Final = 512

ANY_MODEL: Final = "*"


@at_hand
class Gate(StrEnum):
    """What a request would meet."""

    AVAILABLE = "available"
    READY = "ready"
    """Recovering: one real request may go."""
    PROBING = "probing"
    """Recovering: that one request is under way."""
    COOLING = "cooling"
    OPEN = "open"
    DENIED = "denied"
    BLOCKED = "blocked"


class Look(msgspec.Struct, frozen=True, gc=False):
    """One gate, looked at."""

    gate: Gate
    wait: Seconds = Seconds(0.0)
    """Until a request may go; infinite if time does not help."""
    until: Epoch | None = None
    """When the backend is expected to serve all again, as far as it is known."""
    max_wait: Seconds = Seconds(0.0)
    """How long a request may be kept waiting for it when nothing else is left."""
    reason: Reason = Reason.PRIMARY
    """What a request that goes elsewhere is told."""
    why: str = ""
    may_be_early: bool = True
    """Whether it may be tried before its time when nothing else is left."""

    @property
    def passes(self) -> bool:
        """Whether a request may go."""
        return self.gate in _PASSABLE


_PASSABLE: Final = frozenset({Gate.AVAILABLE, Gate.READY})

_CLEAR: Final = Look(Gate.AVAILABLE)
"""What nearly every look finds."""


@dataclass(frozen=True, slots=True)
class Block:
    """A whole backend is out: its TLS identity is not what it must be."""

    outcome: Outcome
    why: str
    until: Deadline | None
    """``None``: until the pins change or somebody acknowledges it."""
    pins: tuple[str, ...] = ()


class Spot(msgspec.Struct, frozen=True, gc=False):
    """A (backend, model), and what else decides which gates apply."""

    backend: BackendName
    model: str
    family: str | None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What an attempt took on its way in."""

    owner: int
    grant: Grant
    held: tuple[Held, ...]
    probe: bool


def lease_of(settings: Settings) -> Seconds:
    """How long a probe may hold its place: until its content must have come, and a little more."""
    return Seconds(max(settings.timeouts.first_byte, settings.timeouts.first_content) + LEASE_MARGIN)


class Gates:
    """All gates of all backends."""

    def __init__(self, settings: Settings, rng: random.Random) -> None:
        self._rng = rng
        self._settings = settings
        self.cooldowns = Cooldowns(settings.rate_limit_fallback, lease_of(settings), rng)
        self._breakers: Bounded[tuple[BackendName, str], Breaker] = Bounded(MAX_BREAKERS)
        self._denied: Bounded[tuple[BackendName, str], str] = Bounded(MAX_DENIED)
        self._blocks: dict[BackendName, Block] = {}

    # --- asking ----------------------------------------------------------------------------------

    def look(self, spot: Spot, now: Instant) -> Look:
        """What a request would meet. Changes nothing."""
        block = self._blocks.get(spot.backend)
        if block is not None and not (block.until and block.until.over(now)):
            return _blocked(block, now)
        denied = self._denial(spot) if self._denied.held else None
        if denied is not None:
            return Look(Gate.DENIED, Seconds(math.inf), reason=Reason.DENIED, why=denied)
        cooling = self.cooldowns.gating(spot.backend, spot.model, spot.family)
        breaker = self._breakers.peek((spot.backend, spot.model))
        if breaker is not None and breaker.state is State.CLOSED:
            breaker = None
        if not cooling and breaker is None:
            return _CLEAR
        looks = [self._cooling(gate, now) for gate in cooling]
        if breaker is not None:
            looks.append(self._breaking(breaker, now))
        worst = max(looks, key=lambda look: (not look.passes, look.wait))
        until = max((look.until for look in looks if look.until is not None), default=None)
        return structs.replace(
            worst, until=until, may_be_early=all(look.may_be_early for look in looks if not look.passes)
        )

    def known(self) -> set[tuple[BackendName, str]]:
        """Every (backend, model) that something is known about."""
        # A family's limit is listed under the family's name.
        models = {(c.key.backend, c.key.name or ANY_MODEL) for c in self.cooldowns.standing()}
        return models | set(self._breakers) | set(self._denied) | {(name, ANY_MODEL) for name in self._blocks}

    # --- sending ---------------------------------------------------------------------------------

    def enter(self, spot: Spot, owner: int, now: Instant, *, anyway: bool = False) -> tuple[Entry, list[Transition]]:
        """Take the places that an attempt needs.

        Args:
            spot: Where to.
            owner: The permit.
            now: Both clocks.
            anyway: Whatever the gates say (forced, or nothing else is left): no breaker's probe place is taken, a
                cooldown's is if it is free, so that not everybody does the same.
        """
        cooling = self.cooldowns.gating(spot.backend, spot.model, spot.family)
        breaker = self._breaker(spot)
        held = self.cooldowns.hold(cooling) if cooling else ()
        if anyway:
            free = [gate for gate in cooling if not gate.held(now)]
            self.cooldowns.take(free, owner, now)
            return Entry(owner, breaker.grant(owner), held, probe=False), []
        was_closed = breaker.state is State.CLOSED
        grant, changes = breaker.acquire(owner, now.monotonic)
        assert grant is not None, "enter() is only called where look() passes"
        if cooling:
            self.cooldowns.take(cooling, owner, now)
        probe = bool(cooling) or not was_closed
        return Entry(owner, grant, held, probe), self._told(spot, changes, now) if changes else []

    # --- what came back --------------------------------------------------------------------------

    def served(self, spot: Spot, entry: Entry, now: Instant, *, complete: bool) -> tuple[Entry, list[Transition]]:
        """The attempt brought content (or ended well, if *complete*): what it was sent in spite of is over.

        Returns:
            The entry as it stands now: what comes later from this attempt speaks of the new state.
        """
        out = self.cooldowns.served(entry.held) if entry.held else []
        self.cooldowns.worked(spot.backend, spot.model)
        if self._denied.held:
            self._denied.pop((spot.backend, spot.model))
            self._denied.pop((spot.backend, ANY_MODEL))
        # A block stays: an old connection may go on serving while new ones meet a wrong certificate.
        breaker = self._breaker(spot)
        end = breaker.succeeded if complete else breaker.served
        changes = end(entry.grant, now.monotonic)
        if not changes and not entry.held:
            return entry, out
        grant = breaker.grant(entry.owner) if changes else entry.grant
        return Entry(entry.owner, grant, (), entry.probe), [*out, *self._told(spot, changes, now)]

    def failed(self, spot: Spot, entry: Entry, outcome: Outcome, now: Instant) -> list[Transition]:
        """The attempt failed, and the backend's health is to blame."""
        fault = Fault.OVERLOAD if outcome is Outcome.OVERLOADED else Fault.FAILURE
        weight = 2 if outcome is Outcome.SILENT else 1
        breaker = self._breaker(spot)
        return self._told(spot, breaker.failed(entry.grant, fault, now.monotonic, weight=weight), now)

    def overloaded(self, spot: Spot, now: Instant) -> list[Transition]:
        """So many passing 429s that it must be an overload."""
        return self._told(spot, self._breaker(spot).trip(Fault.OVERLOAD, now.monotonic), now)

    def weigh(self, spot: Spot, entry: Entry, lease: Seconds, now: Instant) -> None:
        """The attempt failed, but it is not known yet who is to blame: a breaker's probe keeps its place for now."""
        self._breaker(spot).shorten_lease(entry.grant, lease, now.monotonic)

    def released(self, spot: Spot, entry: Entry, now: Instant, *, pause: bool, breaker: bool = True) -> None:
        """The attempt is over: it holds no place any more.

        Args:
            spot: Where it went.
            entry: What it took.
            now: Both clocks.
            pause: It failed: keep the next probe of a cooldown away for a moment.
            breaker: False while :meth:`weigh` keeps the breaker's place.
        """
        if entry.held:
            self.cooldowns.released(entry.held, entry.owner, now, pause=pause)
        if breaker and entry.probe:  # nobody else holds its place
            self._breaker(spot).release(entry.grant)

    def deny(self, spot: Spot, why: str, *, every_model: bool) -> None:
        """The account may not use this model there: until reload, or until it works after all."""
        self._denied.put((spot.backend, ANY_MODEL if every_model else spot.model), why)

    def block(self, backend: BackendName, verdict: Verdict, now: Instant) -> list[Transition]:
        """The backend's TLS identity is wrong."""
        pins = next((b.pinned_spki for b in self._settings.backends if b.name == backend), ())
        until = None
        if verdict.outcome is Outcome.TLS_FAILED:
            until = Deadline(Epoch(now.wall + TLS_BLOCK), now)
        self._blocks[backend] = Block(verdict.outcome, verdict.detail, until, pins)
        fields = {"outcome": verdict.outcome.value}
        at = until.at if until else None
        return [Transition(TransitionKind.BLOCKED, backend, detail=verdict.detail, until=at, fields=fields)]

    # --- by hand, and across restarts --------------------------------------------------------------

    def acknowledge(self, backend: BackendName) -> bool:
        """Somebody looked at the pin failure and says that it is all right; whether there was one."""
        return self._blocks.pop(backend, None) is not None

    def configure(self, settings: Settings) -> None:
        """Take a new configuration: what it may have mended is tried anew, what is gone is forgotten."""
        before = {b.name: b for b in self._settings.backends}
        self._settings = settings
        after = {b.name: b for b in settings.backends}
        self.cooldowns.configure(settings.rate_limit_fallback, lease_of(settings))
        self._denied = Bounded(MAX_DENIED)
        for name, block in list(self._blocks.items()):
            if name not in after or block.until is not None or block.pins != after[name].pinned_spki:
                del self._blocks[name]
        for name, backend in before.items():
            if name not in after or _identity(backend) != _identity(after[name]):
                self.cooldowns.forget(name)
                for key in self._breakers:
                    if key[0] == name:
                        self._breakers.pop(key)
        for breaker in self._breakers.values():
            breaker.configure(settings.circuit_breaker, self._overloads(), lease_of(settings))

    def pinned(self) -> list[dict[str, object]]:
        """Pin failures nobody has acknowledged, as JSON values: a restart must not wave them through."""
        return [
            {"backend": name, "why": block.why, "pins": list(block.pins)}
            for name, block in self._blocks.items()
            if block.until is None
        ]

    def restore_pinned(self, entries: object) -> None:
        """Take back what :meth:`pinned` said, where the pins are still the same."""
        pins = {b.name: b.pinned_spki for b in self._settings.backends}
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict):
                name = BackendName(str(entry.get("backend")))
                if name in pins and entry.get("pins") == list(pins[name]):
                    self._blocks[name] = Block(Outcome.PIN_FAILED, str(entry.get("why", "")), None, pins[name])

    def kind(self, backend: BackendName) -> Kind:
        """What sort of backend; one that is gone since counts as the primary's kind."""
        return next((b.kind for b in self._settings.backends if b.name == backend), Kind.ANTHROPIC)

    # --- inside ----------------------------------------------------------------------------------

    def _denial(self, spot: Spot) -> str | None:
        """Why the model is denied there; ``None`` if it is not."""
        everything = self._denied.peek((spot.backend, ANY_MODEL))
        return everything if everything is not None else self._denied.peek((spot.backend, spot.model))

    def _breaker(self, spot: Spot) -> Breaker:
        key = (spot.backend, spot.model)
        found = self._breakers.get(key)
        if found is None:
            found = Breaker(self._settings.circuit_breaker, self._overloads(), lease_of(self._settings), self._rng)
            self._breakers.put(key, found)
        return found

    def _overloads(self) -> int:
        """An overload that outlives its retries on the same backend is no passing one."""
        return min(self._settings.retry_policy.overloaded.retries + 1, self._settings.circuit_breaker.failure_threshold)

    def _cooling(self, cooldown: Cooldown, now: Instant) -> Look:
        gate = Gate.COOLING
        if cooldown.held(now):
            gate = Gate.PROBING
        elif cooldown.ready(now):
            gate = Gate.READY
        return Look(
            gate,
            cooldown.wait(now),
            Epoch(now.wall + cooldown.until.remaining(now)),
            Seconds(self._settings.retry_policy.rate_limit.max_wait),
            Reason.COOLDOWN,
            cooldown.why,
            cooldown.may_be_early(now),
        )

    def _breaking(self, breaker: Breaker, now: Instant) -> Look:
        gates = {Readiness.READY: Gate.READY, Readiness.PROBING: Gate.PROBING, Readiness.RESTING: Gate.OPEN}
        gate = gates[breaker.readiness(now.monotonic)]
        rest = breaker.remaining(now.monotonic)
        retry = self._settings.retry_policy
        rules = retry.overloaded if breaker.fault is Fault.OVERLOAD else retry.connection
        why = "overloaded" if breaker.fault is Fault.OVERLOAD else "failing"
        wait = HELD_POLL if gate is Gate.PROBING else rest
        return Look(gate, wait, Epoch(now.wall + rest), Seconds(rules.max_wait), Reason.BREAKER, why)

    def _told(self, spot: Spot, changes: list[Change], now: Instant) -> list[Transition]:
        return [
            Transition(
                TransitionKind.BREAKER_CHANGED,
                spot.backend,
                spot.model,
                detail=f"{change.before.value} -> {change.after.value}",
                until=None if change.rest is None else Epoch(now.wall + change.rest),
                fields={
                    "from": change.before.value,
                    "to": change.after.value,
                    "fault": change.fault.value if change.fault else None,
                },
            )
            for change in changes
        ]


def _identity(backend: Backend) -> tuple[object, ...]:
    """What makes it this backend: under another credential or region, what was told and inferred does not hold."""
    place = (backend.kind, backend.base_url, backend.region, backend.scope, backend.surface, backend.endpoint_url)
    return (*place, backend.profile, backend.credential)


def _blocked(block: Block, now: Instant) -> Look:
    wait = Seconds(math.inf) if block.until is None else block.until.remaining(now)
    until = None if block.until is None else block.until.at
    return Look(Gate.BLOCKED, wait, until, reason=Reason.TLS_FAILED, why=block.why, may_be_early=False)
