"""What is known to be refused by one surface for one model, as translation consults it.

:mod:`~claude_failover.core.repair` learns these from Bedrock's own answers; here is only the value, so that
translation and learning meet without knowing each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

WILD: Final = "*"
"""In a path: every element of a list."""


class Switch(StrEnum):
    """A learned change of the request that is more than leaving something out."""

    DROP_BLOCK = "drop_block"
    """Ask the model to drop thinking blocks whose prefix changed, instead of refusing them."""
    STRIP_THINKING = "strip_thinking"
    """Leave thinking blocks of finished turns out."""
    STRIP_ALL_THINKING = "strip_all_thinking"
    """Leave out those of the open turn too."""
    ADAPTIVE = "adaptive"
    """``thinking.type: enabled`` is refused."""
    NO_ADAPTIVE = "no_adaptive"
    """``thinking.type: adaptive`` is refused."""
    NO_DISPLAY_UPDATES = "no_display_updates"
    """``thinking.display: updates`` is refused."""
    CONVERT_SYSTEM = "convert_system"
    """``role: system`` in the middle of the messages is refused."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything learned for one (surface, model), and for the conversation at hand."""

    betas: frozenset[str] = frozenset()
    paths: tuple[tuple[str, ...], ...] = ()
    """Paths as Bedrock names them, list positions as :data:`WILD`; in a fixed order."""
    switches: frozenset[Switch] = frozenset()
    max_output: int | None = None
    refused_ids: frozenset[str] = frozenset()


def parse_path(text: str) -> tuple[str, ...]:
    """``messages.3.output_config`` -> ``("messages", "*", "output_config")``: what is refused once, is everywhere."""
    return tuple(WILD if part.isdigit() else part for part in text.split("."))


def drop_path(node: Any, path: tuple[str, ...]) -> int:
    """Delete from *node* what *path* names, in every list element; returns how many were deleted.

    Bedrock's paths contain the type of a block or tool as a step of its own (``tools.0.custom.strict``,
    ``content.1.thinking.cache_control``, ``cache_control.ephemeral.scope``): such a step stays where it is,
    and only descends where the type is that.
    """
    step, rest = path[0], path[1:]
    if isinstance(node, list):
        return sum(drop_path(child, rest) for child in node) if step == WILD and rest else 0
    if not isinstance(node, dict):
        return 0
    if not rest:
        return 1 if node.pop(step, node) is not node else 0
    child = node.get(step)
    if isinstance(child, dict | list):
        return drop_path(child, rest)
    return drop_path(node, rest) if step == node.get("type", "custom") else 0
