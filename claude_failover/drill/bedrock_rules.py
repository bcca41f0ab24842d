"""What Bedrock takes, as tables: betas, fields, blocks, tools, per surface and model.

Each row is one fact of wire/bedrock.md (sections 2.2 to 2.4, 4.4) or of wire/claude.md 1.10, read strictly: what
is only conjectured to pass is refused, and what measurements contradict each other about is refused too, so that
whoever gets through here gets through anywhere. :mod:`~claude_failover.drill.bedrock_check` applies them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from claude_failover.core.types import Surface
from claude_failover.drill.bedrock_models import Model

When = Callable[[Model], bool]


def anything(model: Model) -> bool:
    """Every model."""
    del model
    return True


def nothing(model: Model) -> bool:
    """No model."""
    del model
    return False


def since(major: int, minor: int = 0) -> When:
    """This generation and later."""
    return lambda model: model.version >= (major, minor)


def until(major: int, minor: int) -> When:
    """This generation and earlier."""
    return lambda model: model.version <= (major, minor)


def only(*names: str) -> When:
    """Just these, by the id's part behind ``claude-``."""
    return lambda model: model.claude_id.removeprefix("claude-").startswith(names)


def but(*names: str) -> When:
    """All but these."""
    named = only(*names)
    return lambda model: not named(model)


def both(first: When, second: When) -> When:
    """Models of which both are true."""
    return lambda model: first(model) and second(model)


@dataclass(frozen=True, slots=True)
class Taken:
    """By which models something is taken, surface by surface."""

    invoke: When = nothing
    messages: When = nothing
    mantle: When = nothing

    def by(self, surface: Surface, model: Model) -> bool:
        """Whether this surface takes it for this model."""
        match surface:
            case Surface.INVOKE:
                return self.invoke(model)
            case Surface.MESSAGES:
                return self.messages(model)
            case Surface.MANTLE:
                return self.mantle(model)


def everywhere(when: When) -> Taken:
    """The same on all three surfaces."""
    return Taken(when, when, when)


ANYWHERE = everywhere(anything)
LONG_CONTEXT = only("sonnet-4-2025", "sonnet-4-5", "sonnet-4-6", "opus-4-6")
SCHEMAS = both(since(4, 5), until(4, 6))
"""Structured outputs: refused by Claude 5 (wire/bedrock.md 2.2)."""
PER_TURN = since(5, 1)
"""Opus 5, Opus 4.8 and Sonnet 5 refuse per-message effort (wire/claude.md 1.10)."""

BETAS: Final[Mapping[str, Taken]] = {
    "claude-code-20250219": ANYWHERE,
    "interleaved-thinking-2025-05-14": Taken(but("haiku-4-5"), anything, anything),
    "context-management-2025-06-27": ANYWHERE,
    "compact-2026-01-12": ANYWHERE,
    "context-1m-2025-08-07": everywhere(LONG_CONTEXT),
    "tool-search-tool-2025-10-19": everywhere(since(4, 5)),
    "tool-examples-2025-10-29": everywhere(since(4, 5)),
    "effort-2025-11-24": ANYWHERE,
    "thinking-token-count-2026-05-13": everywhere(since(5)),
    "thinking-display-updates-2026-08-18": everywhere(since(5)),
    "thinking-binding-controls-2026-08-01": everywhere(since(5)),
    "afk-mode-2026-01-31": everywhere(since(5)),
    "dangerous-tool-use-2026-09-03": everywhere(since(4, 7)),
    # Measured 200 on InvokeModel only (wire/claude.md 1.10); nothing is known of the other two surfaces.
    "mid-conversation-system-2026-04-07": Taken(invoke=since(4, 8)),
    "per-turn-control-2026-07-01": Taken(invoke=PER_TURN),
    "mid-conversation-output-config-2026-07-01": Taken(invoke=PER_TURN),
    "mid-conversation-tool-changes-2026-07-01": Taken(invoke=since(5)),
    "structured-outputs-2025-11-13": Taken(
        invoke=only("opus-4-5", "sonnet-4-5", "haiku-4-5", "opus-4-6", "sonnet-4-6")
    ),
    "structured-outputs-2025-12-15": Taken(
        invoke=only("opus-4-5", "sonnet-4-5", "haiku-4-5", "opus-4-6", "sonnet-4-6")
    ),
    "fallback-credit-2026-06-01": ANYWHERE,
    "fine-grained-tool-streaming-2025-05-14": ANYWHERE,
    "computer-use-2025-01-24": ANYWHERE,
    "computer-use-2025-11-24": ANYWHERE,
    "output-128k-2025-02-19": everywhere(until(4, 6)),
    "token-efficient-tools-2025-02-19": everywhere(until(4, 6)),
    "pdfs-2024-09-25": everywhere(until(4, 6)),
}
"""Values that are taken; every other one fails the whole request. Among those that do, by name in the facts:
oauth, extended-cache-ttl, prompt-caching-scope, redact-thinking, advanced-tool-use (the name of the first party),
advisor-tool, fast-mode, cache-diagnosis, tool-provenance, claude-code-side-query, server-side-fallback, files-api,
code-execution, skills, mcp-client, web-fetch, compact-2026-09-04, fallback-credit-2026-07-01."""

INVALID_BETA = "invalid beta flag"
UNEXPECTED_BETA = (
    "Unexpected value(s) {} for the `anthropic-beta` header. Please consult our documentation at docs.anthropic.com "
    "or try again without the header."
)


@dataclass(frozen=True, slots=True)
class Field:
    """A key of the body."""

    taken: Taken = ANYWHERE
    betas: tuple[str, ...] = ()
    """One of these must have been sent."""


INVOKE_ONLY = Taken(invoke=anything)
IN_THE_BODY = Taken(messages=anything, mantle=anything)

FIELDS: Final[Mapping[str, Field]] = {
    "messages": Field(),
    "max_tokens": Field(),
    "system": Field(),
    "tools": Field(),
    "tool_choice": Field(),
    "metadata": Field(),
    "thinking": Field(),
    "output_config": Field(),
    "stop_sequences": Field(),
    "temperature": Field(),
    "top_p": Field(),
    "top_k": Field(),
    "model": Field(IN_THE_BODY),
    "stream": Field(IN_THE_BODY),
    "anthropic_version": Field(INVOKE_ONLY),
    "anthropic_beta": Field(INVOKE_ONLY),
    "service_tier": Field(Taken(mantle=anything)),
    "cache_control": Field(everywhere(since(4, 7))),
    "context_management": Field(betas=("context-management-2025-06-27", "compact-2026-01-12")),
    "safeguards": Field(everywhere(since(4, 7)), ("dangerous-tool-use-2026-09-03",)),
}
"""Top-level keys; any other is an extra input: diagnostics, speed, inference_geo, fallbacks, container, mcp_servers,
thread, fallback_credit …"""

EXTRA = "{}: Extra inputs are not permitted"
REQUIRED = "{}: Field required"

EDITS: Final[Mapping[str, tuple[Taken, str]]] = {
    "clear_thinking_20251015": (IN_THE_BODY, "context-management-2025-06-27"),
    "clear_tool_uses_20250919": (ANYWHERE, "context-management-2025-06-27"),
    "compact_20260112": (ANYWHERE, "compact-2026-01-12"),
}
"""``context_management.edits[].type`` -> who takes it, and its beta."""

BLOCK_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"text", "citations", "cache_control"}),
    "image": frozenset({"source", "cache_control"}),
    "document": frozenset({"source", "title", "context", "citations", "cache_control"}),
    "search_result": frozenset({"source", "title", "content", "citations", "cache_control"}),
    "tool_use": frozenset({"id", "name", "input", "caller", "cache_control"}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error", "cache_control"}),
    "tool_reference": frozenset({"tool_name", "cache_control"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
    "compaction": frozenset({"content", "cache_control"}),
    "tool_addition": frozenset({"tool", "tools", "tool_name", "name"}),
    "tool_removal": frozenset({"tool", "tools", "tool_name", "name"}),
}
"""Keys of each content block beside ``type``."""

BLOCK_BETAS: Final[Mapping[str, tuple[str, ...]]] = {
    "tool_reference": ("tool-search-tool-2025-10-19",),
    "compaction": ("compact-2026-01-12",),
    "tool_addition": ("mid-conversation-tool-changes-2026-07-01",),
    "tool_removal": ("mid-conversation-tool-changes-2026-07-01",),
}
"""Blocks that exist only under a beta."""

RESULT_BLOCKS = frozenset({"text", "image", "document", "search_result", "tool_reference"})
"""What a ``tool_result`` may hold."""

SOURCES: Final[Mapping[str, frozenset[str]]] = {
    "image": frozenset({"base64"}),
    "document": frozenset({"base64", "text", "content"}),
}
"""No URL, no file id (wire/bedrock.md 2.2)."""

MESSAGE_BETAS: Final[Mapping[str, tuple[str, ...]]] = {
    "output_config": ("per-turn-control-2026-07-01", "mid-conversation-output-config-2026-07-01"),
    "clear_at": ("mid-conversation-system-clear-at-2026-08-21",),
}
"""Keys of a message beside role and content, and the betas of which they need one."""

SYSTEM_ROLE: Final[When] = both(since(4, 8), lambda model: model.claude_id != "claude-sonnet-5")
"""Mid-conversation system messages: 4.8 and 5.x, "not Sonnet 5" (wire/bedrock.md 2.2)."""
NO_SYSTEM_ROLE = "messages.{}: role 'system' is not supported on this model"
LEADING_SYSTEM = "messages.0: use the top-level 'system' parameter for the initial system prompt"

TOOL_KEYS: Final[Mapping[str, Field]] = {
    "name": Field(),
    "type": Field(),
    "description": Field(),
    "input_schema": Field(),
    "cache_control": Field(),
    "eager_input_streaming": Field(everywhere(since(4, 7))),
    "defer_loading": Field(betas=("tool-search-tool-2025-10-19",)),
    "input_examples": Field(betas=("tool-examples-2025-10-29",)),
    "strict": Field(Taken(invoke=until(4, 6)), ("structured-outputs-2025-11-13", "structured-outputs-2025-12-15")),
}
"""Keys of a custom tool."""

TYPED_TOOLS: Final[Mapping[str, Field]] = {
    "bash_20250124": Field(),
    "text_editor_20250124": Field(everywhere(until(4, 1))),
    "text_editor_20250429": Field(),
    "text_editor_20250728": Field(),
    "memory_20250818": Field(),
    "computer_20250124": Field(everywhere(until(4, 6)), ("computer-use-2025-01-24",)),
    "computer_20251124": Field(everywhere(but("opus-5-5", "sonnet-5-5")), ("computer-use-2025-11-24",)),
    "computer_toolset_20260801": Field(),
    "browser_toolset_20260801": Field(),
    "tool_search_tool_regex_20251119": Field(betas=("tool-search-tool-2025-10-19",)),
    "tool_search_tool_bm25_20251119": Field(betas=("tool-search-tool-2025-10-19",)),
}
"""Tools of Anthropic's that run at the client, or inside the model server (tool search)."""

UNSUPPORTED_TOOL: Final[Mapping[Surface, str]] = {
    Surface.INVOKE: "The provided request is not valid",
    Surface.MESSAGES: "tool type '{}' is not supported",
    Surface.MANTLE: "tool type '{}' is not supported",
}
WRONG_TOOL_TYPE = "'{}' does not support tool types: {}"

FORCED_TOOL_REFUSED: Final[When] = only("fable-5-1", "fable-5-2", "mythos-5-1", "mythos-5-2", "opus-5-5", "sonnet-5-5")
FORCED_TOOL = "tool_choice: type tool and any are not supported on this model"

SAMPLING = ("temperature", "top_p", "top_k")
NO_SAMPLING: Final[When] = since(5)
DEPRECATED = "`{}` is deprecated for this model."

NO_PREFILL: Final[When] = since(4, 6)
PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."

THINKING: Final[Mapping[str, tuple[When, str]]] = {
    "adaptive": (since(4, 6), "adaptive thinking is not supported on this model"),
    "enabled": (
        until(4, 6),
        (
            "thinking.type.enabled is not supported for this model. Use thinking.type.adaptive and "
            "output_config.effort to control thinking behavior."
        ),
    ),
    "disabled": (anything, ""),
}
"""``thinking.type`` -> which models take it, and the text of those that do not."""

THINKING_KEYS: Final[Mapping[str, Mapping[str, Field]]] = {
    "adaptive": {
        "display": Field(),
        "block_binding": Field(betas=("thinking-binding-controls-2026-08-01",)),
    },
    "enabled": {
        "budget_tokens": Field(),
        # Claude Code itself sends none to 4.5 (wire/bedrock.md 2.0).
        "display": Field(everywhere(since(4, 6))),
        "block_binding": Field(betas=("thinking-binding-controls-2026-08-01",)),
    },
    "disabled": {},
}
DISPLAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "summarized": (),
    "omitted": (),
    "updates": ("thinking-display-updates-2026-08-18",),
}
"""``thinking.display`` -> the betas of which it needs one."""
BINDING_KEYS = frozenset({"mismatch_behavior", "prefix_mismatch_behavior"})
"""AWS's page and the SDK name the field differently (wire/bedrock.md 2.2)."""
MIN_BUDGET = 1024

EFFORTS = ("low", "medium", "high", "xhigh", "max")
EFFORT: Final[When] = since(4, 6)
NO_EFFORT = "This model does not support the effort parameter."
EFFORT_REFUSED: Final[Mapping[str, When]] = {
    "xhigh": until(4, 6),
    "max": only("haiku-5-5", "fable-5-1"),
}
"""Levels above a model's ceiling (wire/bedrock.md 2.2)."""
FORMAT: Final = Taken(invoke=SCHEMAS)

CACHE_KEYS = frozenset({"type", "ttl"})
TTL: Final[When] = since(4, 5)
MAX_BREAKPOINTS = 4

USER_ID = r"[a-zA-Z0-9\s:_@$#=/+,-.]{0,256}\Z"
"""On the Messages surface (wire/claude.md 1.10)."""
BAD_METADATA = "Request metadata contains a value that violates the regular expression"

VERSIONS_IN_HEADER = frozenset({"2023-06-01", "2026-10-21"})
NEW_VERSION = "2026-10-21"
"""Refused by models with ``-v1`` ids (wire/bedrock.md 2.1)."""
VERSION_IN_BODY = "bedrock-2023-05-31"

TOO_MANY = (
    "The maximum tokens you requested exceeds the model limit of {0}. Try again with a maximum tokens value that is "
    "lower than {0}."
)
TOO_LONG = "Input is too long for requested model."
