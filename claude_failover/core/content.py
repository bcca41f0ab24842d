"""Messages, system and their content blocks for Bedrock: only what it knows, in the same order, never hoisted.

Everything here looks at one message and those before it, never at those after it: the translation of a
conversation's beginning stays the same while the conversation grows. That is what prompt caches and the
signatures of thinking blocks stand on (wire/bedrock.md 2.4).

Source of the rules: wire/bedrock.md 2.2.
"""

from __future__ import annotations

from typing import Any, Final

from claude_failover.core import betas
from claude_failover.core.draft import Draft, dicts, kind_of, role_of
from claude_failover.core.rules import Switch

_COMMON = frozenset({"type", "cache_control"})

BLOCK_KEYS: Final[dict[str, frozenset[str]]] = {
    "text": _COMMON | {"text", "citations"},
    "image": _COMMON | {"source"},
    "document": _COMMON | {"source", "title", "context", "citations"},
    "search_result": _COMMON | {"source", "title", "content", "citations"},
    "tool_use": _COMMON | {"id", "name", "input"},
    "tool_result": _COMMON | {"tool_use_id", "content", "is_error"},
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_reference": _COMMON | {"tool_name"},
    "server_tool_use": _COMMON | {"id", "name", "input"},
    "tool_search_tool_result": _COMMON | {"tool_use_id", "content"},
    "compaction": _COMMON | {"content", "encrypted_content"},
}
"""Block types that Bedrock takes, and their keys. A key outside is ``Extra inputs are not permitted``."""

MARKERS: Final = frozenset({"fallback", "tool_addition", "tool_removal"})
"""Blocks that go with a beta which Bedrock is not sent; taking them out loses no text."""

MESSAGE_KEYS: Final = frozenset({"role", "content"})

THINKING_BLOCKS: Final = frozenset({"thinking", "redacted_thinking"})

SEARCH_BLOCKS: Final = frozenset({"server_tool_use", "tool_search_tool_result"})
"""Blocks of the one server tool that Bedrock has: the search among deferred tools."""

Block = dict[str, Any]
Message = dict[str, Any]


def unsupported(draft: Draft) -> str | None:
    """Name a block that Bedrock cannot serve and that cannot be left out; ``None`` if all can stay."""
    for message in dicts(draft.body.get("messages")):
        content = message.get("content")
        # Most turns of a long conversation are plain text: not even a call for those.
        if type(content) is list and (found := _unsupported_in(content, draft)):
            return found
    return _unsupported_in(draft.body.get("system"), draft)


def _unsupported_in(content: object, draft: Draft) -> str | None:
    for block in dicts(content):
        kind = kind_of(block)
        if kind in SEARCH_BLOCKS and not (betas.TOOL_SEARCH in draft.betas and _searches_tools(block, kind)):
            return "the conversation holds calls of a server tool"
        if kind == "compaction" and betas.COMPACT not in draft.betas:
            return "the conversation was compacted by the Claude API, whose block Bedrock is not sent"
        if kind not in BLOCK_KEYS and kind not in MARKERS:
            return f'the conversation holds a block of the type "{kind[:60]}"'
        if kind == "tool_result" and (found := _unsupported_in(block.get("content"), draft)):
            return found
    return None


def _searches_tools(block: Block, kind: str) -> bool:
    return kind == "tool_search_tool_result" or str(block.get("name")).startswith("tool_search_tool")


def translate_system(draft: Draft) -> None:
    """Clean the system prompt's blocks. Its text, the attribution line included, stays byte for byte."""
    system = draft.body.get("system")
    if isinstance(system, list):
        draft.body["system"] = _clean(system, "system.*", draft)


def translate_messages(draft: Draft) -> None:
    """Clean every message, and convert the system's where the model lacks that role."""
    messages = draft.body.get("messages")
    if not isinstance(messages, list):
        return
    convert = not draft.caps.system_role or Switch.CONVERT_SYSTEM in draft.rules.switches
    turns = _Turns()
    for message in messages:
        if type(message) is not dict:
            turns.append(message)
            continue
        if not message.keys() <= MESSAGE_KEYS:
            draft.keep_keys(message, MESSAGE_KEYS, "messages.*", "not a field of a message on Bedrock")
        before = message.get("content")
        if type(before) is list:
            message["content"] = _clean(before, "messages.*.content.*", draft)
        if before and message["content"] == []:
            draft.rewrites.add("messages.*", "dropped", "nothing was left in it")
            turns.join_next = True
        elif convert and role_of(message) == "system":
            draft.rewrites.add("messages.*.role", "converted", "the model knows no system message here: user text")
            turns.insert_as_user(message)
        else:
            turns.append(message)
    draft.body["messages"] = turns.finish()


class _Turns:
    """The list of messages while it is built again; joins what our own changes made neighbours."""

    def __init__(self) -> None:
        self._turns: list[Any] = []
        self._waiting: list[Block] = []
        """Converted text that must come after the tool results that the turn before it asks for."""
        self.join_next = False
        """The next message may have become the neighbour of one of its own role."""

    def append(self, message: Any) -> None:
        """Add a message; into the one before it if only our change put them side by side."""
        last = self._turns[-1] if self.join_next and self._turns else None
        self.join_next = False
        if type(last) is dict and role_of(message) in ("user", "assistant") and role_of(last) == role_of(message):
            last["content"] = [*as_blocks(last.get("content")), *as_blocks(message.get("content"))]
        else:
            self._turns.append(message)
        if self._waiting and role_of(message) == "user":
            self._flush()

    def insert_as_user(self, message: Message) -> None:
        """Add a system message as user text: into the user turn before it, or as one of its own."""
        self._waiting.extend(as_blocks(message.get("content")))
        last = self._turns[-1] if self._turns else None
        if not (isinstance(last, dict) and role_of(last) == "assistant" and _asks_for_tools(last)):
            self._flush()

    def finish(self) -> list[Any]:
        """The messages; text that still waits comes last."""
        if self._waiting:
            self._flush()
        return self._turns

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        last = self._turns[-1] if self._turns else None
        if isinstance(last, dict) and role_of(last) == "user":
            last["content"] = [*as_blocks(last.get("content")), *waiting]
        else:
            self._turns.append({"role": "user", "content": waiting})
        self.join_next = True


def as_blocks(content: object) -> list[Any]:
    """Content as blocks: a string is one text block."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


def clean_cache_control(node: dict[str, Any], path: str, draft: Draft) -> None:
    """Leave of a ``cache_control`` only what Bedrock takes: ``type``, and ``ttl`` where the model has it."""
    control = node.get("cache_control")
    if control is None:
        return
    where = f"{path}.cache_control" if path else "cache_control"
    empty = kind_of(node) == "text" and not node.get("text")
    if kind_of(control) != "ephemeral" or empty:
        del node["cache_control"]
        draft.rewrites.add(where, "dropped", "refused on an empty text" if empty else "of an unknown type")
        return
    known = {"type", "ttl"} if draft.caps.cache_ttl_1h else {"type"}
    draft.keep_keys(control, frozenset(known), where, "refused on Bedrock")


def _clean(blocks: list[Any], path: str, draft: Draft) -> list[Any]:
    cleaned = []
    for block in blocks:
        kind = kind_of(block)
        if type(block) is not dict:
            cleaned.append(block)
        elif kind in MARKERS:
            draft.rewrites.add(f"{path} ({kind})", "dropped", "its beta is not for Bedrock")
        elif kind == "thinking" and not block.get("signature"):
            draft.rewrites.add(f"{path} (thinking)", "dropped", "without a signature it is refused")
        else:
            cleaned.append(_clean_block(block, kind, path, draft))
    return cleaned


def _clean_block(block: Block, kind: str, path: str, draft: Draft) -> Block:
    if kind == "tool_reference":
        if betas.TOOL_SEARCH not in draft.betas:
            draft.rewrites.add(f"{path} (tool_reference)", "converted", "no tool search here: all tools are loaded")
            return {"type": "text", "text": str(block.get("tool_name"))}
        draft.seen.add("tool_search")
    elif kind == "compaction":
        draft.seen.add("compaction")
    elif kind in SEARCH_BLOCKS:
        draft.seen.add("tool_search")
    known = BLOCK_KEYS.get(kind)
    if known is not None and not block.keys() <= known:
        draft.keep_keys(block, known, f"{path} ({kind})", "not a field of it on Bedrock")
    if "cache_control" in block:
        clean_cache_control(block, f"{path} ({kind})", draft)
    if kind in {"tool_result", "search_result"} and isinstance(content := block.get("content"), list):
        block["content"] = _clean(content, f"{path}.content.*", draft)
    source = block.get("source") if kind == "document" else None
    if source and isinstance(source, dict) and isinstance(source.get("content"), list):
        source["content"] = _clean(source["content"], f"{path}.source.content.*", draft)
    return block


def _asks_for_tools(message: Message) -> bool:
    return any(kind_of(block) == "tool_use" for block in dicts(message.get("content")))
