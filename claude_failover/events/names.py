"""The closed set of events: what can be said, how loud it is, and what is kept as an audit.

A name is ``noun.verbed``, past tense. A misspelt one is a type error; the reference lists them all. Names that are
a :class:`~claude_failover.core.types.TransitionKind` are spelt as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, Literal, get_args

EventName = Literal[
    "attempt.ended",
    "exchange.ended",
    "bypass.happened",
    "client.refused",
    # Of a decision: core.types.TransitionKind.
    "cooldown.started",
    "cooldown.ended",
    "breaker.changed",
    "failover.happened",
    "failback.happened",
    "override.ended",
    "offline.began",
    "offline.ended",
    "denial.learned",
    "beta.dropped",
    "backend.blocked",
    "spend.alerted",
    "spend.reached",
    "daemon.started",
    "daemon.drained",
    "daemon.stopped",
    "config.reloaded",
    "config.refused",
    "override.set",
    "limit.changed",
    "machine.slept",
    "loop.lagged",
    "control.commanded",
    "credential.loaded",
    "credential.refreshed",
    "credential.failed",
    "credential.moved",
    "token.changed",
    "ledger.failed",
    "ledger.recovered",
    "price.missed",
    "alert.raised",
    "alert.resolved",
    "alert.failed",
    "code.crashed",
    "library.logged",
    "log.dropped",
]


class Level(IntEnum):
    """How loud; the numbers are those of :mod:`logging`."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50

    @property
    def label(self) -> str:
        """As in ``config.yaml`` and in a log line."""
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Level:
        """Read ``debug``, ``info``, ``warning``, ``error`` or ``critical``.

        Raises:
            KeyError: It is none of these.
        """
        return cls[text.upper()]


NAMES: Final[tuple[EventName, ...]] = get_args(EventName)

LEVELS: Final[Mapping[EventName, Level]] = {
    "attempt.ended": Level.DEBUG,
    "credential.loaded": Level.DEBUG,
    "client.refused": Level.WARNING,
    "cooldown.started": Level.WARNING,
    "breaker.changed": Level.WARNING,
    "failover.happened": Level.WARNING,
    "offline.began": Level.WARNING,
    "spend.alerted": Level.WARNING,
    "config.refused": Level.WARNING,
    "credential.moved": Level.WARNING,
    "loop.lagged": Level.WARNING,
    "price.missed": Level.WARNING,
    "alert.raised": Level.WARNING,
    "alert.failed": Level.WARNING,
    "library.logged": Level.WARNING,
    "log.dropped": Level.WARNING,
    "bypass.happened": Level.ERROR,
    "spend.reached": Level.ERROR,
    "credential.failed": Level.ERROR,
    "ledger.failed": Level.ERROR,
    "code.crashed": Level.ERROR,
    "backend.blocked": Level.CRITICAL,
}
"""Where it is not ``INFO``."""

AUDITED: Final[frozenset[EventName]] = frozenset(
    {
        "daemon.started",
        "daemon.stopped",
        "config.reloaded",
        "config.refused",
        "override.set",
        "override.ended",
        "control.commanded",
        "failover.happened",
        "failback.happened",
        "backend.blocked",
        "spend.alerted",
        "spend.reached",
        "credential.refreshed",
        "credential.failed",
        "credential.moved",
        "token.changed",
        "client.refused",
        "bypass.happened",
    }
)
"""Who did what: also written to the audit log (reliability-security.md 2.6)."""

REPEATING: Final[Mapping[EventName, tuple[str, ...]]] = {
    "client.refused": ("why",),
    "library.logged": ("logger", "template"),
    "code.crashed": ("where", "error"),
    "ledger.failed": ("error",),
    "credential.failed": ("backend", "source"),
    "loop.lagged": (),
    "price.missed": ("model",),
    "alert.failed": ("channel",),
    "bypass.happened": ("error",),
}
"""Events that something broken can repeat without end: at most a few a minute per value of these fields."""


def level_of(name: EventName) -> Level:
    """How loud *name* is unless the one who emits says otherwise."""
    return LEVELS.get(name, Level.INFO)
