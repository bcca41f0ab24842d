"""The conversation as the simulated Bedrock judges it: roles, content blocks, tool results, cache marks.

Like the rest of the rules, generators of texts; the tables are in :mod:`~claude_failover.drill.bedrock_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from claude_failover.core.types import Surface
from claude_failover.drill import bedrock_rules as rules
from claude_failover.drill.bedrock_models import Model

Texts = Iterator[str]

UNEXPECTED_RESULT = (
    "unexpected `tool_use_id` found in `tool_result` blocks: {}. Each `tool_result` block must have a corresponding "
    "`tool_use` block in the previous message."
)
MISSING_RESULT = (
    "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a "
    "corresponding `tool_result` block in the next message."
)

_ID = re.compile(r"[a-zA-Z0-9_-]+\Z")


def conversation(surface: Surface, model: Model, body: Mapping[str, Any], betas: Collection[str]) -> Texts:
    """Everything that is wrong with the system prompt and the messages."""
    del surface
    yield from _system(body.get("system"))
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        yield "messages: at least one message is required"
        return
    for number, entry in enumerate(messages):
        yield from _message(number, entry, model, betas)
    yield from _results(messages)
    spoken = [entry["role"] for entry in messages if entry["role"] != "system"]
    if spoken and spoken[-1] == "assistant" and rules.NO_PREFILL(model):
        yield rules.PREFILL


def _system(system: object) -> Texts:
    if not isinstance(system, list):
        return
    for number, block in enumerate(system):
        if not isinstance(block, dict) or block.get("type") != "text":
            yield f"system.{number}.type: Input should be 'text'"
            return
        for name in block:
            if name != "type" and name not in rules.BLOCK_KEYS["text"]:
                yield rules.EXTRA.format(f"system.{number}.{name}")
        yield from _empty_text(f"system.{number}", block)


def _empty_text(path: str, block: Mapping[str, Any]) -> Texts:
    if not block.get("text"):
        if "cache_control" in block:
            yield f"{path}: cache_control cannot be set for empty text blocks"
        else:
            yield f"{path}: text content blocks must be non-empty"


def _message(number: int, entry: object, model: Model, betas: Collection[str]) -> Texts:
    path = f"messages.{number}"
    role = entry.get("role") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or role not in ("user", "assistant", "system"):
        yield f"{path}.role: Input should be 'user' or 'assistant'"
        return
    if role == "system" and number == 0:
        yield rules.LEADING_SYSTEM
    if role == "system" and not rules.SYSTEM_ROLE(model):
        yield rules.NO_SYSTEM_ROLE.format(number)
    for name in entry:
        needed = rules.MESSAGE_BETAS.get(name, ())
        if name not in ("role", "content") and not set(needed) & set(betas):
            yield rules.EXTRA.format(f"{path}.{name}")
    content = entry.get("content")
    if isinstance(content, list):
        for index, block in enumerate(content):
            yield from _block(f"{path}.content.{index}", block, str(role), betas)
    elif not isinstance(content, str):
        yield rules.REQUIRED.format(f"{path}.content")
    if not content:
        yield f"{path}: all messages must have non-empty content except for the optional final assistant message"


_ROLES: Mapping[str, Collection[str]] = {
    "user": ("text", "image", "document", "search_result", "tool_result", "compaction"),
    "assistant": ("text", "tool_use", "thinking", "redacted_thinking", "compaction"),
    "system": ("text", "tool_addition", "tool_removal"),
}
"""Who may say what."""


def _block(path: str, block: object, role: str, betas: Collection[str]) -> Texts:
    kind = str(block.get("type")) if isinstance(block, dict) else ""
    if not isinstance(block, dict) or kind not in _ROLES[role] or not _under_beta(kind, betas):
        yield f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
        return
    yield from _known_block(f"{path}.{kind}", kind, block, betas)


def _under_beta(kind: str, betas: Collection[str]) -> bool:
    needed = rules.BLOCK_BETAS.get(kind)
    return needed is None or bool(set(needed) & set(betas))


def _known_block(path: str, kind: str, block: Mapping[str, Any], betas: Collection[str]) -> Texts:
    for name in block:
        if name != "type" and name not in rules.BLOCK_KEYS[kind]:
            yield rules.EXTRA.format(f"{path}.{name}")
    match kind:
        case "text":
            yield from _empty_text(path.removesuffix(".text"), block)
        case "thinking":
            # Missing and empty are the same to Bedrock (wire/bedrock.md 2.4).
            if not block.get("signature"):
                yield rules.REQUIRED.format(f"{path}.signature")
        case "image" | "document":
            yield from _source(path, kind, block.get("source"))
        case "tool_use":
            if not _ID.match(str(block.get("id", ""))):
                yield f"{path}.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            if not isinstance(block.get("input"), dict):
                yield f"{path}.input: Input should be a valid dictionary"
        case "tool_result":
            yield from _nested(path, block.get("content"), betas)


def _source(path: str, kind: str, source: object) -> Texts:
    given = str(source.get("type")) if isinstance(source, dict) else ""
    if given not in rules.SOURCES[kind]:
        yield f"{path}.source: Input tag '{given}' found using 'type' does not match any of the expected tags"


def _nested(path: str, content: object, betas: Collection[str]) -> Texts:
    if not isinstance(content, list):
        return
    for index, block in enumerate(content):
        here = f"{path}.content.{index}"
        kind = str(block.get("type")) if isinstance(block, dict) else ""
        if not isinstance(block, dict) or kind not in rules.RESULT_BLOCKS or not _under_beta(kind, betas):
            yield f"{here}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
            return
        yield from _known_block(f"{here}.{kind}", kind, block, betas)


def _results(messages: list[dict[str, Any]]) -> Texts:
    """Every call of a tool is answered at the head of the very next turn, and nothing else is."""
    open_calls: list[str] = []
    for number, entry in enumerate(messages):
        blocks = [block for block in entry["content"] if isinstance(block, dict)]
        results = [str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"]
        first = [block.get("type") for block in blocks[: len(results)]]
        for result in results:
            if result not in open_calls:
                yield f"messages.{number}.content: {UNEXPECTED_RESULT.format(result)}"
        missing = [call for call in open_calls if call not in results]
        if missing or (open_calls and set(first) != {"tool_result"}):
            yield f"messages.{number}: {MISSING_RESULT.format(', '.join(missing or open_calls))}"
        open_calls = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"]
    if open_calls and len(messages) > 1:
        yield f"messages.{len(messages) - 1}: {MISSING_RESULT.format(', '.join(open_calls))}"


def everything_cached(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every cache mark of a body with its path."""
    if "cache_control" in body:
        yield "cache_control", body["cache_control"]
    for number, tool in enumerate(_dicts(body.get("tools"))):
        if "cache_control" in tool:
            yield f"tools.{number}.{tool.get('type', 'custom')}.cache_control", tool["cache_control"]
    for number, block in enumerate(_dicts(body.get("system"))):
        if "cache_control" in block:
            yield f"system.{number}.cache_control", block["cache_control"]
    for number, entry in enumerate(_dicts(body.get("messages"))):
        yield from _cached(f"messages.{number}.content", entry.get("content"))


def _cached(path: str, content: object) -> Iterator[tuple[str, Any]]:
    for index, block in enumerate(_dicts(content)):
        here = f"{path}.{index}.{block.get('type')}"
        if "cache_control" in block:
            yield f"{here}.cache_control", block["cache_control"]
        yield from _cached(f"{here}.content", block.get("content"))


def _dicts(value: object) -> list[dict[str, Any]]:
    """The objects of a list; positions are kept by putting an empty one for anything else."""
    return [item if isinstance(item, dict) else {} for item in value] if isinstance(value, list) else []
