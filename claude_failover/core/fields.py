"""The top-level fields of a Messages request for Bedrock: denied unless known there.

A field that Bedrock does not know fails the whole request (``Extra inputs are not permitted``), so what is not
listed here is left out, and the log says so. Source: wire/bedrock.md 2.1, 2.2.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from claude_failover.core import betas
from claude_failover.core.content import clean_cache_control
from claude_failover.core.draft import Draft, kind_of
from claude_failover.core.thinking import MIN_BUDGET
from claude_failover.core.types import Surface

FIELDS: Final = frozenset(
    {
        "model",
        "stream",
        "max_tokens",
        "system",
        "messages",
        "tools",
        "tool_choice",
        "metadata",
        "thinking",
        "context_management",
        "output_config",
        "safeguards",
        "cache_control",
        "stop_sequences",
        "temperature",
        "top_p",
        "top_k",
    }
)

SAMPLING: Final = ("temperature", "top_p", "top_k")

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
"""Every level, weakest first."""

METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{0,256}")
"""What the Messages surface takes as a metadata value (wire/bedrock.md 2.2)."""

ANSWER_ROOM: Final = 1024
"""Tokens left for the answer above a thinking budget when ``max_tokens`` is lowered, if the client left as many."""

EDITS: Final = {
    "clear_thinking_20251015": betas.CONTEXT_MANAGEMENT,
    "clear_tool_uses_20250919": betas.CONTEXT_MANAGEMENT,
    "compact_20260112": betas.COMPACT,
}
"""Context edits that Bedrock knows, and the beta that each needs."""


def drop_unknown(draft: Draft) -> None:
    """Take out every top-level field that Bedrock does not take."""
    for key in [key for key in draft.body if key not in FIELDS]:
        draft.drop(key, "not a field on Bedrock")


def lift_effort(draft: Draft) -> None:
    """Put the last effort that a message asked for where Bedrock looks for it: at the top.

    To be called before the messages are cleaned of it.
    """
    messages = draft.body.get("messages")
    for message in reversed(messages) if isinstance(messages, list) else ():
        if type(message) is not dict or "output_config" not in message:
            continue  # as nearly all
        config = message["output_config"]
        effort = config.get("effort") if isinstance(config, dict) else None
        if isinstance(effort, str):
            top = draft.body.get("output_config")
            top = top if isinstance(top, dict) else {}
            if top.get("effort") != effort:
                draft.body["output_config"] = {**top, "effort": effort}
                draft.rewrites.add("output_config.effort", "converted", "the last message's own is not taken there")
            return


def translate_output_config(draft: Draft) -> None:
    """Keep ``effort`` as far as the model goes, and ``format`` where it is taken at all."""
    config = draft.body.get("output_config")
    if not isinstance(config, dict):
        return
    known = {"effort"}
    if draft.surface is Surface.INVOKE and draft.caps.structured_outputs:
        known.add("format")
    draft.keep_keys(config, frozenset(known), "output_config", "refused on Bedrock")
    effort = config.get("effort")
    if effort is not None:
        level = nearest_effort(effort, draft.caps.effort)
        if level is None:
            del config["effort"]
            draft.rewrites.add("output_config.effort", "dropped", "the model does not take it")
        elif level != effort:
            config["effort"] = level
            draft.rewrites.add("output_config.effort", "clamped", f"the model goes to {draft.caps.effort[-1]}")
    if not config:
        del draft.body["output_config"]


def nearest_effort(effort: object, levels: tuple[str, ...]) -> str | None:
    """The weakest of *levels* that is at least *effort*, else the strongest; ``None`` if it is no known level."""
    if effort not in EFFORTS or not levels:
        return None
    rank = EFFORTS.index(str(effort))
    return next((level for level in EFFORTS[rank:] if level in levels), levels[-1])


def translate_context_management(draft: Draft) -> None:
    """Keep the edits that the surface takes; to be called after thinking, which one edit needs."""
    management = draft.body.get("context_management")
    if not isinstance(management, dict):
        draft.drop("context_management", "not an object")
        return
    edits = management.get("edits")
    draft.keep_keys(management, frozenset({"edits"}), "context_management", "not a field on Bedrock")
    kept = []
    for edit in edits if isinstance(edits, list) else ():
        why = _why_not(edit, draft)
        if why is None:
            kept.append(edit)
        else:
            draft.rewrites.add(f"context_management.edits.* ({kind_of(edit)[:60]})", "dropped", why)
    if kept:
        management["edits"] = kept
    else:
        draft.drop("context_management", "no edit is left")


def _why_not(edit: object, draft: Draft) -> str | None:
    kind = kind_of(edit)
    needs = EDITS.get(kind)
    if needs is None:
        return "Bedrock does not know it"
    if needs not in draft.betas:
        return "goes only with its beta"
    if kind == "clear_thinking_20251015":
        if draft.surface is Surface.INVOKE:
            # It only trims old thinking; Claude Code itself does not send it there.
            return "refused on invoke by many models"
        if kind_of(draft.body.get("thinking")) not in {"adaptive", "enabled"}:
            return "needs thinking"
    return None


def translate_safeguards(draft: Draft) -> None:
    """Keep ``safeguards`` only with its beta: one without the other is a 400 or an empty verdict."""
    if betas.SAFEGUARDS not in draft.betas:
        draft.drop("safeguards", "goes only with its beta")


def translate_cache_control(draft: Draft) -> None:
    """The automatic cache mark at the top level; older models refuse it."""
    if not draft.caps.top_level_cache_control:
        draft.drop("cache_control", "the model takes it on blocks only")
    clean_cache_control(draft.body, "", draft)


def translate_metadata(draft: Draft) -> None:
    """Leave ``user_id`` only; on the Messages surface as a hash if its characters are not taken there."""
    metadata = draft.body.get("metadata")
    if not isinstance(metadata, dict):
        return
    draft.keep_keys(metadata, frozenset({"user_id"}), "metadata", "not a field on Bedrock")
    user_id = metadata.get("user_id")
    if draft.surface is Surface.MESSAGES and isinstance(user_id, str) and not METADATA.fullmatch(user_id):
        metadata["user_id"] = hashlib.sha256(user_id.encode()).hexdigest()
        draft.rewrites.add("metadata.user_id", "hashed", "its characters are not taken there")
    if not metadata:
        del draft.body["metadata"]


def clamp_max_tokens(draft: Draft, cap: int | None) -> None:
    """Lower ``max_tokens`` to what the model can and what the owner wants, but above the thinking budget.

    Bedrock reserves quota by ``max_tokens`` (wire/bedrock.md 4.3), hence the owner's *cap*.
    """
    asked = draft.body.get("max_tokens")
    if type(asked) is not int:
        return
    limits = [limit for limit in (draft.caps.max_output, draft.rules.max_output) if limit is not None]
    most = min(limits, default=asked)
    budget = _budget(draft, most)
    least = 1 if budget is None else min(budget + ANSWER_ROOM, most, asked)
    allowed = max(min([asked, most] if cap is None else [asked, most, cap]), least)
    if allowed != asked:
        draft.body["max_tokens"] = allowed
        draft.rewrites.add("max_tokens", "clamped", f"{asked} to {allowed}")


def _budget(draft: Draft, most: int) -> int | None:
    """The thinking budget, lowered below *most* where it has to be; ``None`` if there is none."""
    thinking = draft.body.get("thinking")
    if not isinstance(thinking, dict) or type(thinking.get("budget_tokens")) is not int:
        return None
    budget: int = thinking["budget_tokens"]
    if budget >= most > MIN_BUDGET:
        thinking["budget_tokens"] = budget = max(MIN_BUDGET, most - ANSWER_ROOM)
        draft.rewrites.add("thinking.budget_tokens", "clamped", "must be below max_tokens")
    return budget


def tidy(draft: Draft) -> None:
    """Take out objects that learned denials emptied."""
    for key in ("output_config", "metadata", "context_management"):
        if draft.body.get(key) in ({}, {"edits": []}):
            del draft.body[key]
    thinking = draft.body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("block_binding") == {}:
        del thinking["block_binding"]
