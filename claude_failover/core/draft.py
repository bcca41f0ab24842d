"""A request for Bedrock while it is being made: the body, what may be used, and what was changed so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from claude_failover.core.capabilities import Capabilities
from claude_failover.core.commands import Rewrite
from claude_failover.core.rules import Rules
from claude_failover.core.types import Surface

REWRITES_MAX: Final = 40
"""Rewrites listed of one request; list positions are written ``*``, so a normal one has a handful."""

PATH_MAX: Final = 120
"""Characters of a path that are kept: its last step may be a name that the client made up."""

MessagesBody = dict[str, Any]
"""The decoded body of a Messages request: the one place where the core handles an open structure."""


def dicts(items: object) -> list[dict[str, Any]]:
    """The objects in a list; nothing of anything else. What comes over the wire may be of any type."""
    # JSON makes no subclasses, and asking for the type is no call: a conversation has hundreds of objects.
    return [item for item in items if type(item) is dict] if isinstance(items, list) else []


def kind_of(node: object) -> str:
    """The ``type`` of an object; ``""`` if it has none that is a string."""
    kind = node.get("type") if type(node) is dict else None
    return kind if type(kind) is str else ""


def role_of(message: object) -> str:
    """The ``role`` of a message; ``""`` if it has none that is a string."""
    role = message.get("role") if isinstance(message, dict) else None
    return role if isinstance(role, str) else ""


class Rewrites:
    """What was changed, each kind once, bounded; paths and reasons, never content."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], int] = {}
        self._more = 0

    def add(self, path: str, action: str, why: str = "", count: int = 1) -> None:
        """Note that *path* was *action*, *count* times."""
        key = (path[:PATH_MAX], action, why)
        if key not in self._counts and len(self._counts) >= REWRITES_MAX:
            self._more += count
        else:
            self._counts[key] = self._counts.get(key, 0) + count

    def listed(self) -> tuple[Rewrite, ...]:
        """Everything noted, in the order of its first occurrence."""
        rewrites = [
            Rewrite(path, action, why if count == 1 else f"{why} ({count} times)".strip())
            for (path, action, why), count in self._counts.items()
        ]
        if self._more:
            rewrites.append(Rewrite("…", "changed", f"{self._more} more"))
        return tuple(rewrites)


@dataclass(slots=True)
class Draft:
    """The state that the steps of translation share."""

    body: MessagesBody
    surface: Surface
    caps: Capabilities
    rules: Rules = field(default_factory=Rules)
    betas: frozenset[str] = frozenset()
    """Beta names (Bedrock's) whose fields may stay: asked for, known to the surface and the model, not refused."""
    seen: set[str] = field(default_factory=set)
    """Features that the content uses, for the betas that they need."""
    rewrites: Rewrites = field(default_factory=Rewrites)

    def drop(self, key: str, why: str) -> None:
        """Take a top-level field out."""
        if self.body.pop(key, self) is not self:
            self.rewrites.add(key, "dropped", why)

    def keep_keys(self, node: dict[str, Any], known: frozenset[str], path: str, why: str) -> None:
        """Take every key out of *node* that is not *known*."""
        if node.keys() <= known:
            return
        for key in [key for key in node if key not in known]:
            del node[key]
            self.rewrites.add(f"{path}.{key}", "dropped", why)
