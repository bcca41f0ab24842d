"""Reload: a new configuration for the requests to come, while those under way keep theirs.

Rule: all or nothing. Everything that can be refused is read, checked and built before anything is taken over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Final

from claude_failover import events
from claude_failover.config import load
from claude_failover.control import api
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import Kind
from claude_failover.daemon import build
from claude_failover.errors import FailoverError
from claude_failover.ledger_days import Zone

if TYPE_CHECKING:
    from claude_failover.daemon.life import Daemon

FIXED: Final = ("listen.host", "listen.port")
"""What a running daemon cannot change."""


def reload(daemon: Daemon) -> api.ReloadResult:
    """Read the configuration again and take it over.

    Raises:
        FailoverError: It cannot be used; the old one stays in force.
    """
    standing = daemon.standing
    kept = (standing.prices, standing.aws, standing.asked, standing.regions)
    try:
        loaded = load(daemon.config, environ=daemon.environ)
        Zone.of(loaded.settings.cost_tracking.timezone)
        key = daemon.key_for(loaded.settings)
        generation = build.generate(loaded.settings, standing, daemon.clock, daemon.environ, anew=True)
        daemon.accounts.configure(loaded.settings, standing.prices)
    except FailoverError as error:
        standing.prices, standing.aws, standing.asked, standing.regions = kept
        daemon.config_error = str(error)
        events.emit("config.refused", error=str(error))
        raise
    before, settings, now = daemon.settings, loaded.settings, daemon.clock.now()
    daemon.loaded, daemon.config_error, daemon.configured = loaded, "", now.wall
    for transition in standing.policy.reload(settings, now):
        daemon.books.announce(transition)
    daemon.books.settings = settings
    daemon.swap(generation)
    daemon.lock_door(key)
    standing.tokens.reload(settings.credentials.sources)
    if daemon.observers is not None:
        daemon.observers.configure(settings)
    daemon.books.changed.set()
    changed = tuple(changed_keys(before, settings))
    events.emit("config.reloaded", changed=changed)
    bedrock = [backend.name for backend in settings.backends if backend.kind is Kind.BEDROCK]
    stored = [b.name for b in settings.backends if b.kind is Kind.ANTHROPIC and b.credential != "client"]
    return api.ReloadResult(
        changed=changed,
        restart_needed=tuple(key for key in changed if key in FIXED),
        credentials=(*stored, *bedrock),
    )


def changed_keys(before: Settings, after: Settings) -> Iterator[str]:
    """Dotted keys whose values differ, in the file's order; backends by name."""
    for section in fields(Settings):
        old, new = getattr(before, section.name), getattr(after, section.name)
        if section.name == "backends":
            yield from _backends(old, new)
        elif is_dataclass(old):
            yield from (f"{section.name}.{name}" for name in _differing(old, new))
        elif old != new:
            yield section.name


def _backends(before: tuple[Backend, ...], after: tuple[Backend, ...]) -> Iterator[str]:
    if [backend.name for backend in before] != [backend.name for backend in after]:
        yield "backends"
    old = {backend.name: backend for backend in before}
    for backend in after:
        if backend.name in old:
            yield from (f"backends.{backend.name}.{name}" for name in _differing(old[backend.name], backend))


def _differing(before: object, after: object) -> Iterator[str]:
    """Names of the fields of two values of one dataclass that differ."""
    assert is_dataclass(before), "a section of the settings is a dataclass"
    return (field.name for field in fields(before) if getattr(before, field.name) != getattr(after, field.name))
