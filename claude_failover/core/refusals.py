"""What a refusal of Bedrock names, and what change of the request would answer it.

Only what was sent and can be changed counts: every :class:`Remedy` returned here makes the next request differ,
so a repair never repeats the same request. The wordings are Bedrock's and Anthropic's own.

Source: wire/bedrock.md 2.2-2.4, 4.4 (texts), 1.1 (an unknown route answers 200 with ``UnknownOperationException``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from claude_failover.core import betas
from claude_failover.core.capabilities import Capabilities
from claude_failover.core.draft import dicts, kind_of, role_of
from claude_failover.core.request import UNREADABLE
from claude_failover.core.rules import Rules, Switch, drop_path, parse_path
from claude_failover.core.thinking import DROP_BLOCK, holds_thinking, open_turn

TEXT_MAX: Final = 20_000
"""Characters of an error that are read; one sentence is what matters."""

PATHS_MAX: Final = 8
"""Paths taken from one refusal."""

PROTECTED: Final = frozenset(
    {
        *("model", "messages", "system", "tools", "max_tokens", "stream", "anthropic_version", "anthropic_beta"),
        *("role", "content", "type", "text", "source", "data", "media_type", "thinking", "signature"),
        *("id", "name", "input", "input_schema", "tool_use_id", "tool_name"),
    }
)
"""Last steps of a path that are never taken out: the request would mean something else, or nothing."""


class Remedy(StrEnum):
    """What sort of change answers a refusal."""

    BETA = "beta"
    """Do not send that beta (nor its field)."""
    PATH = "path"
    """Leave out what that path names."""
    SWITCH = "switch"
    """One of :class:`~claude_failover.core.rules.Switch`."""
    MAX_OUTPUT = "max_output"
    """Ask for at most so many tokens."""
    ID = "id"
    """Do not call the model by that id; another form of it may do."""
    SURFACE = "surface"
    """The route does not exist there; use another surface."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One change that a refusal asks for."""

    remedy: Remedy
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What was refused."""

    body: dict[str, Any]
    betas: tuple[str, ...]
    model: str
    forms: tuple[str, ...]
    caps: Capabilities
    rules: Rules
    """Those that were applied already."""
    other_surface: bool
    """There is another surface to go to."""


def findings(text: str, sent: Sent) -> tuple[Finding, ...]:
    """Everything that the refusal *text* names and that can be changed about *sent*; empty: nothing to mend."""
    for read in _READERS:
        if found := read(text, sent):
            return tuple(dict.fromkeys(found))
    return ()


def message_of(body: bytes) -> str:
    """The sentence in an error body of any of the shapes (wire/bedrock.md 4.1); the bytes as text if it has none."""
    try:
        parsed = msgspec.json.decode(body)
    except UNREADABLE:
        parsed = None
    if isinstance(parsed, dict):
        error = parsed.get("error")
        output = parsed.get("Output")
        for node, key in ((error, "message"), (parsed, "message"), (parsed, "Message"), (output, "__type")):
            if isinstance(node, dict) and isinstance(node.get(key), str):
                return str(node[key])[:TEXT_MAX]
    return body[:TEXT_MAX].decode("utf-8", "replace")


def _route(text: str, sent: Sent) -> list[Finding]:
    if "UnknownOperation" in text and sent.other_surface:
        return [Finding(Remedy.SURFACE, "", "the route does not exist there")]
    return []


_ID = re.compile(
    r"on-demand throughput isn.t supported|model identifier is invalid|invalid model identifier", re.IGNORECASE
)


def _model_id(text: str, sent: Sent) -> list[Finding]:
    others = [form for form in sent.forms if form != sent.model and form not in sent.rules.refused_ids]
    if _ID.search(text) and others:
        return [Finding(Remedy.ID, sent.model, f"refused as a model id; {others[0]} is next")]
    return []


_BETA = re.compile(r"invalid beta flag|anthropic-beta|beta_header:", re.IGNORECASE)


def _beta(text: str, sent: Sent) -> list[Finding]:
    if not _BETA.search(text) or not sent.betas:
        return []
    named = [name for name in sent.betas if name in text]
    optional = [name for name in sent.betas if name not in betas.STRUCTURAL]
    why = "refused by name" if named else "one of the betas was refused, unnamed"
    return [Finding(Remedy.BETA, name, why) for name in named or optional or sent.betas]


_EXTRA = re.compile(r"([A-Za-z_][A-Za-z0-9_.*-]*): Extra inputs are not permitted|extraneous key \[([A-Za-z0-9_]+)\]")


def _extra(text: str, sent: Sent) -> list[Finding]:
    found = []
    for match in list(_EXTRA.finditer(text))[:PATHS_MAX]:
        path = parse_path(match[1] or match[2])
        if path[-1] == "defer_loading" and betas.TOOL_SEARCH in sent.betas:
            # The tool references in the messages go with it.
            found.append(Finding(Remedy.BETA, betas.TOOL_SEARCH, "defer_loading was refused"))
        elif path[-1] not in PROTECTED and _effective(sent.body, path):
            found.append(Finding(Remedy.PATH, ".".join(path), "refused by name"))
    return found


_MESSAGE = re.compile(r"messages\.(\d+)")
_SIGNATURE = re.compile(r"invalid.{0,3}signature.{0,9}thinking|signature: Field required", re.IGNORECASE)


def _signature(text: str, sent: Sent) -> list[Finding]:
    if not _SIGNATURE.search(text):
        return []
    thinking = sent.body.get("thinking")
    on = kind_of(thinking) in {"adaptive", "enabled"}
    prefix_only = "Field required" not in text
    may_bind = sent.caps.binding != "none" and betas.BINDING not in sent.rules.betas
    bound = isinstance(thinking, dict) and thinking.get("block_binding") == DROP_BLOCK
    if prefix_only and on and may_bind and not bound and Switch.DROP_BLOCK not in sent.rules.switches:
        return [_switch(Switch.DROP_BLOCK, "a thinking block of another prefix was refused")]
    messages = sent.body.get("messages")
    if not isinstance(messages, list) or not holds_thinking(messages):
        return []
    start = open_turn(messages)
    named = _MESSAGE.search(text)
    in_open_turn = named is not None and start <= int(named[1][:9]) < len(messages)
    switch = Switch.STRIP_ALL_THINKING
    if holds_thinking(messages[:start]) and not in_open_turn and Switch.STRIP_THINKING not in sent.rules.switches:
        switch = Switch.STRIP_THINKING
    return [_switch(switch, "the signature of a thinking block was refused")]


_ENABLED = re.compile(r"thinking\.type\.enabled.{0,3} is not supported", re.IGNORECASE)
_ADAPTIVE = re.compile(
    r"adaptive.{0,60}not supported|'adaptive'.{0,80}expected|does not support adaptive", re.IGNORECASE
)


def _thinking_shape(text: str, sent: Sent) -> list[Finding]:
    thinking = sent.body.get("thinking")
    if not isinstance(thinking, dict):
        return []
    if _ENABLED.search(text):
        asked = thinking.get("type") == "enabled"
        return [_switch(Switch.ADAPTIVE, "the model takes adaptive thinking only")] if asked else []
    if _ADAPTIVE.search(text) and thinking.get("type") == "adaptive":
        return [_switch(Switch.NO_ADAPTIVE, "the model has no adaptive thinking")]
    if "display" in text and thinking.get("display") == "updates":
        return [_switch(Switch.NO_DISPLAY_UPDATES, "thinking.display updates was refused")]
    return []


_EFFORT = re.compile(r"not support the effort parameter|output_config\.effort", re.IGNORECASE)
_SYSTEM_ROLE = re.compile(r"role.{0,3}system.{0,3} is not supported|messages\.\d+\.role", re.IGNORECASE)
_EDITS = re.compile(r"clear_thinking|clear_tool_uses|compact_2026|context_management", re.IGNORECASE)
_METADATA = re.compile(r"Request metadata contains a value", re.IGNORECASE)


def _features(text: str, sent: Sent) -> list[Finding]:
    if _EFFORT.search(text) and _effective(sent.body, ("output_config", "effort")):
        return [Finding(Remedy.PATH, "output_config.effort", "the model does not take it")]
    if _EDITS.search(text) and "context_management" in sent.body:
        return [Finding(Remedy.PATH, "context_management", "one of its edits was refused")]
    if "block_binding" in text and betas.BINDING in sent.betas:
        return [Finding(Remedy.BETA, betas.BINDING, "thinking.block_binding was refused")]
    if _METADATA.search(text) and "metadata" in sent.body:
        return [Finding(Remedy.PATH, "metadata", "its value was refused")]
    has_system = any(role_of(message) == "system" for message in dicts(sent.body.get("messages")))
    if _SYSTEM_ROLE.search(text) and has_system and Switch.CONVERT_SYSTEM not in sent.rules.switches:
        return [_switch(Switch.CONVERT_SYSTEM, "the model knows no system message among the messages")]
    return []


_MAX_TOKENS = re.compile(
    r"maximum tokens you requested exceeds the model limit of (\d+)|max_tokens: \d+ > (\d+)", re.IGNORECASE
)


def _max_tokens(text: str, sent: Sent) -> list[Finding]:
    match = _MAX_TOKENS.search(text)
    asked = sent.body.get("max_tokens")
    limit = int((match[1] or match[2])[:9]) if match else 0
    if isinstance(asked, int) and 0 < limit < asked:
        return [Finding(Remedy.MAX_OUTPUT, str(limit), "more than the model's limit")]
    return []


_READERS: Final[tuple[Callable[[str, Sent], list[Finding]], ...]] = (
    _route,
    _model_id,
    _extra,
    _beta,
    _signature,
    _max_tokens,
    _thinking_shape,
    _features,
)


def _switch(switch: Switch, why: str) -> Finding:
    return Finding(Remedy.SWITCH, switch.value, why)


def _effective(body: dict[str, Any], path: tuple[str, ...]) -> bool:
    """Whether taking *path* out would change *body*."""
    return drop_path(msgspec.json.decode(msgspec.json.encode(body)), path) > 0
