"""Thinking for Bedrock: which shape the model takes, and what becomes of thinking from before.

A thinking block's signature is bound to the account and, on the newest models, to everything before it. What
was thought at the Claude API is silently left out on Bedrock and the request succeeds; so history goes as it is,
and blocks are only taken out after Bedrock refused them.

Source: wire/bedrock.md 2.4 and 2.2, wire/claude.md 1.9.
"""

from __future__ import annotations

from typing import Any, Final

from claude_failover.core import betas
from claude_failover.core.capabilities import Binding
from claude_failover.core.content import THINKING_BLOCKS, as_blocks
from claude_failover.core.draft import Draft, dicts, kind_of, role_of
from claude_failover.core.rules import Switch

MIN_BUDGET: Final = 1024
"""Bedrock's smallest ``budget_tokens``."""

DROP_BLOCK: Final = {"prefix_mismatch_behavior": "drop_block"}


def translate_thinking(draft: Draft) -> None:
    """Bring ``thinking`` into the shape that the model takes; no budget is ever invented."""
    thinking = draft.body.get("thinking")
    if not isinstance(thinking, dict):
        return
    switches = draft.rules.switches
    kind = kind_of(thinking)
    # A refusal of budgets names adaptive thinking as the way: it tells of models that we know nothing about.
    can_adapt = (draft.caps.adaptive or Switch.ADAPTIVE in switches) and Switch.NO_ADAPTIVE not in switches
    can_budget = draft.caps.budget and Switch.ADAPTIVE not in switches
    if kind == "enabled" and not can_budget and can_adapt:
        thinking["type"] = kind = "adaptive"
        thinking.pop("budget_tokens", None)
        draft.rewrites.add("thinking.type", "converted", "the model takes adaptive thinking only")
    if (kind == "adaptive" and not can_adapt) or (kind == "enabled" and not can_budget):
        draft.drop("thinking", "the model has no adaptive thinking, and a budget is not given or not taken")
        return
    if kind in {"adaptive", "enabled"}:
        _display(thinking, draft)
        _bind(thinking, draft)


def _display(thinking: dict[str, Any], draft: Draft) -> None:
    display = thinking.get("display")
    if display is None:
        return
    if not draft.caps.display:
        del thinking["display"]
        draft.rewrites.add("thinking.display", "dropped", "the model does not know it")
    elif display == "updates" and (
        betas.DISPLAY_UPDATES not in draft.betas or Switch.NO_DISPLAY_UPDATES in draft.rules.switches
    ):
        thinking["display"] = "omitted"
        draft.rewrites.add("thinking.display", "converted", "updates goes only with its beta: omitted")


def _bind(thinking: dict[str, Any], draft: Draft) -> None:
    if betas.BINDING not in draft.betas:
        if thinking.pop("block_binding", None) is not None:
            draft.rewrites.add("thinking.block_binding", "dropped", "goes only with its beta")
        return
    wanted = draft.caps.binding is Binding.ENFORCED or Switch.DROP_BLOCK in draft.rules.switches
    if wanted and thinking.get("block_binding") != DROP_BLOCK:
        action = "converted" if "block_binding" in thinking else "added"
        thinking["block_binding"] = dict(DROP_BLOCK)
        draft.rewrites.add("thinking.block_binding", action, "blocks of another prefix are dropped, not refused")


def holds_thinking(messages: list[Any]) -> bool:
    """Whether any of *messages* holds a thinking block."""
    return any(
        kind_of(block) in THINKING_BLOCKS for message in dicts(messages) for block in dicts(message.get("content"))
    )


def strip_history(draft: Draft) -> None:
    """Take thinking out of the messages as far as was learned to be necessary.

    An open turn (the model waits for tool results) keeps its thinking, unless that too was refused; then a
    model that must begin such a turn with thinking can only go on without it.
    """
    switches = draft.rules.switches
    everything = Switch.STRIP_ALL_THINKING in switches
    messages = draft.body.get("messages")
    if not isinstance(messages, list) or not (everything or Switch.STRIP_THINKING in switches):
        return
    boundary = len(messages) if everything else open_turn(messages)
    kept: list[Any] = []
    for index, message in enumerate(messages):
        if index < boundary and isinstance(message, dict) and isinstance(message.get("content"), list):
            before = message["content"]
            message["content"] = [block for block in before if kind_of(block) not in THINKING_BLOCKS]
            removed = len(before) - len(message["content"])
            if removed:
                draft.rewrites.add("messages.*.content.* (thinking)", "dropped", "its signature was refused", removed)
            if removed and not message["content"]:
                continue
        kept.append(message)
    draft.body["messages"] = _joined(kept) if len(kept) < len(messages) else kept
    must_begin_with_thinking = kind_of(draft.body.get("thinking")) == "enabled"
    if everything and must_begin_with_thinking and open_turn(messages) < len(messages):
        draft.drop("thinking", "an open turn without its thinking cannot go on thinking")


def open_turn(messages: list[Any]) -> int:
    """Index of the first message of the turn that waits for tool results; ``len(messages)`` if none does."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if role_of(message) == "user" and not _has_results(message):
            return index + 1
    return 0


def _has_results(message: dict[str, Any]) -> bool:
    return any(kind_of(block) == "tool_result" for block in dicts(message.get("content")))


def _joined(messages: list[Any]) -> list[Any]:
    """Join user turns between which an emptied turn of the assistant was taken out."""
    joined: list[Any] = []
    for message in messages:
        last: Any = joined[-1] if joined else None
        if role_of(last) == role_of(message) == "user":
            last["content"] = [*as_blocks(last.get("content")), *as_blocks(message.get("content"))]
        else:
            joined.append(message)
    return joined
