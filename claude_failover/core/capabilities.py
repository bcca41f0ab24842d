"""What a model can do on Bedrock, as flags that translation asks; never the model's name.

A new model is a row in ``data/models.yaml``: no code names a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class Binding(StrEnum):
    """What a model does with a thinking block whose prefix changed (wire/bedrock.md 2.4)."""

    NONE = "none"
    """Knows no ``thinking.block_binding``; the beta is an ``invalid beta flag``."""
    ACCEPTED = "accepted"
    """Takes the field, enforces nothing."""
    ENFORCED = "enforced"
    """Answers 400 unless told ``drop_block``."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The defaults are the least that any Claude on Bedrock takes: for a model about which nothing is known."""

    adaptive: bool = False
    """``thinking.type: adaptive``."""
    budget: bool = True
    """``thinking.type: enabled`` with ``budget_tokens``."""
    display: bool = False
    """``thinking.display: summarized`` and ``omitted``."""
    display_updates: bool = False
    """``thinking.display: updates``, with its beta."""
    binding: Binding = Binding.NONE
    interleaved: bool = False
    """The beta ``interleaved-thinking-2025-05-14``."""
    token_count: bool = False
    """The beta ``thinking-token-count-2026-05-13``."""
    effort: tuple[str, ...] = ()
    """Levels of ``output_config.effort``, weakest first; empty: the field is refused."""
    system_role: bool = False
    """``role: system`` in the middle of the messages."""
    tool_search: bool = False
    """``defer_loading`` and ``tool_reference``, with their beta."""
    eager_streaming: bool = False
    """``eager_input_streaming`` on a tool (on the Messages surfaces)."""
    safeguards: bool = False
    """The field ``safeguards``, with its beta."""
    afk_mode: bool = False
    """The beta ``afk-mode-2026-01-31``."""
    structured_outputs: bool = False
    """``output_config.format`` (on ``invoke`` only)."""
    cache_ttl_1h: bool = False
    """``cache_control.ttl: 1h``."""
    top_level_cache_control: bool = False
    context_1m_beta: bool = False
    """Takes the beta ``context-1m-2025-08-07``; newer models have the context without it and refuse the beta."""
    sampling: bool = True
    """``temperature``, ``top_p``, ``top_k``."""
    forced_tool_choice: bool = True
    """``tool_choice`` of type ``any`` or ``tool``."""
    prefill: bool = True
    """A last message of the assistant's role."""
    refused_tools: tuple[str, ...] = ()
    """Typed tools that the model does not know (any more)."""
    max_output: int | None = None
    """The most that ``max_tokens`` may be; ``None``: unknown, sent as it came."""
    context: int | None = None
    """Tokens of context."""


_NAMES = frozenset(field.name for field in fields(Capabilities))


def capabilities(*layers: Mapping[str, Any]) -> Capabilities:
    """Build from the table's mappings, later ones over earlier ones.

    Raises:
        ValueError: A key that is no capability: the table and this module disagree.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    if unknown := sorted(set(merged) - _NAMES):
        raise ValueError(f"no such capability: {', '.join(unknown)}")
    for name in ("effort", "refused_tools"):
        if name in merged:
            merged[name] = tuple(merged[name])
    if "binding" in merged:
        merged["binding"] = Binding(merged["binding"])
    return Capabilities(**merged)
