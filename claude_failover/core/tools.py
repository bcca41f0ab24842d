"""The tools of a request for Bedrock: client tools only, in the one spelling that it takes.

Source: wire/bedrock.md 2.2 (``custom`` wrapper, ``strict``, ``defer_loading``, ``eager_input_streaming``, which
typed tools work).
"""

from __future__ import annotations

from typing import Any, Final

from claude_failover.core import betas
from claude_failover.core.content import clean_cache_control
from claude_failover.core.draft import Draft, dicts, kind_of
from claude_failover.core.types import Surface

CLIENT_TOOLS: Final = (
    "bash_",
    "text_editor_",
    "memory_",
    "computer_",
    "browser_toolset_",
    "tool_search_tool_",
)
"""Prefixes of the typed tools that work on Bedrock: the client runs them, or they only search other tools."""

TOOL_KEYS: Final = frozenset(
    {"name", "description", "input_schema", "cache_control", "type", "defer_loading", "eager_input_streaming"}
)
"""Keys of a client's own tool on Bedrock. ``strict`` and ``input_examples`` are not among them."""


def unsupported(draft: Draft) -> str | None:
    """Name a tool that Bedrock cannot serve; ``None`` if all can stay."""
    for tool in dicts(draft.body.get("tools")):
        kind = kind_of(tool)
        if "type" in tool and kind != "custom" and not kind.startswith(CLIENT_TOOLS):
            return f'Bedrock has no tool of the type "{kind[:60]}"'
        if kind in draft.caps.refused_tools:
            return f"the model has no tool of the type {kind}"
        if kind.startswith("tool_search_tool_") and betas.TOOL_SEARCH not in draft.betas:
            return "the model has no tool search on Bedrock"
    return None


def forced_choice(draft: Draft) -> bool:
    """Whether the model must call a tool."""
    return kind_of(draft.body.get("tool_choice")) in {"any", "tool"}


def translate_tools(draft: Draft) -> None:
    """Rewrite each tool in the spelling of the surface; note which betas the tools need."""
    for tool in dicts(draft.body.get("tools")):
        _unwrap(tool, draft)
        kind = kind_of(tool)
        if kind in {"", "custom"}:
            draft.keep_keys(tool, TOOL_KEYS, "tools.*", "not a field of a tool on Bedrock")
            _correct_schema(tool, draft)
        elif kind.startswith("tool_search_tool_"):
            draft.seen.add("tool_search")
        elif kind.startswith("memory_"):
            draft.seen.add("memory")
        else:
            draft.seen.add(kind)
        _defer(tool, draft)
        _stream_eagerly(tool, draft)
        clean_cache_control(tool, "tools.*", draft)


def _unwrap(tool: dict[str, Any], draft: Draft) -> None:
    """``{"type": "custom", "custom": {…}}`` is the flat form with another level around it."""
    inner = tool.pop("custom", None)
    if isinstance(inner, dict):
        for key in [key for key in inner if key != "type"]:
            tool.setdefault(key, inner[key])
        draft.rewrites.add("tools.*.custom", "converted", "its fields belong to the tool itself")


def _correct_schema(tool: dict[str, Any], draft: Draft) -> None:
    schema = tool.get("input_schema")
    if isinstance(schema, dict) and schema.get("type") != "object":
        schema["type"] = "object"
        draft.rewrites.add("tools.*.input_schema.type", "converted", "must be object")


def _defer(tool: dict[str, Any], draft: Draft) -> None:
    if "defer_loading" not in tool:
        return
    if betas.TOOL_SEARCH in draft.betas:
        draft.seen.add("tool_search")
    else:
        del tool["defer_loading"]
        draft.rewrites.add("tools.*.defer_loading", "dropped", "no tool search here: all tools are loaded")


def _stream_eagerly(tool: dict[str, Any], draft: Draft) -> None:
    """On invoke, and for older models, a beta does what the field does on the Messages surfaces."""
    if "eager_input_streaming" not in tool or (draft.caps.eager_streaming and draft.surface is not Surface.INVOKE):
        return
    if tool.pop("eager_input_streaming"):
        draft.seen.add("fine_grained")
    draft.rewrites.add("tools.*.eager_input_streaming", "converted", f"the beta {betas.FINE_GRAINED} does it there")
