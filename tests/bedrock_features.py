"""What a request can carry that Bedrock may not take: one feature each, for the matrix of ``docs/bedrock.md``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from claude_failover.core.types import Headers

MARK = {"type": "ephemeral"}
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOL = {"name": "Read", "description": "Reads.", "input_schema": SCHEMA}
HELLO = {"role": "user", "content": "hello"}
ATTRIBUTION = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330;"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "x"}}
THOUGHT = {"type": "thinking", "thinking": "", "signature": "c2lnbmF0dXJl"}
ADAPTIVE = {"type": "adaptive"}


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def asked(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def result(content: Any = "text") -> dict[str, Any]:
    return asked({"type": "tool_result", "tool_use_id": "toolu_1", "content": content})


@dataclass(frozen=True)
class Feature:
    """One thing that a request can carry."""

    name: str
    body: dict[str, Any] = field(default_factory=dict)
    betas: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    """Beginnings of the paths whose rewriting is about this feature."""
    headers: Headers = ()


def edit(kind: str, beta: str, **more: Any) -> dict[str, Any]:
    fields = {"context_management": {"edits": [{"type": kind}]}, "thinking": ADAPTIVE} | more
    return {"body": fields, "betas": (beta,), "watch": ("context_management",)}


def block(content: dict[str, Any]) -> dict[str, Any]:
    return {"body": {"messages": [asked({"type": "text", "text": "see"}, content)]}}


CONTEXT = "context-management-2025-06-27"
SEARCH = "advanced-tool-use-2025-11-20"
BINDING = "thinking-binding-controls-2026-08-01"
SAFE = "dangerous-tool-use-2026-09-03"
NOTE = {"role": "system", "content": "note"}
DEFERRED = TOOL | {"defer_loading": True}
REFERENCE = {"type": "tool_reference", "tool_name": "Read"}

CHANGES = "mid-conversation-tool-changes-2026-07-01"
CHANGED = {"role": "system", "content": [{"type": "text", "text": "note"}, {"type": "tool_addition", "tool": TOOL}]}
MARKED = {"type": "text", "text": "x", "cache_control": MARK | {"scope": "global"}}

FEATURES = (
    Feature("text, streamed", {"stream": True}),
    Feature("text, whole"),
    Feature(
        "system prompt with the attribution line",
        {"system": [ATTRIBUTION, {"type": "text", "text": "You"}]},
        watch=("system",),
    ),
    Feature("system message among the messages", {"messages": [HELLO, NOTE]}, watch=("messages.*.role",)),
    Feature(
        "system message after tool results",
        {"messages": [HELLO, said(CALL), result(), NOTE], "tools": [TOOL]},
        watch=("messages.*.role",),
    ),
    Feature(
        "system message with its end",
        {"messages": [HELLO, NOTE | {"clear_at": "turn_end"}]},
        ("mid-conversation-system-clear-at-2026-08-21",),
        ("messages.*.clear_at",),
    ),
    Feature(
        "effort of one message",
        {"messages": [HELLO, NOTE | {"output_config": {"effort": "high"}}]},
        ("per-turn-control-2026-07-01",),
        ("output_config",),
    ),
    Feature("effort high", {"output_config": {"effort": "high"}}, ("effort-2025-11-24",), ("output_config",)),
    Feature("effort xhigh", {"output_config": {"effort": "xhigh"}}, ("effort-2025-11-24",), ("output_config",)),
    Feature("effort max", {"output_config": {"effort": "max"}}, ("effort-2025-11-24",), ("output_config",)),
    Feature("adaptive thinking", {"thinking": ADAPTIVE}, watch=("thinking",)),
    Feature(
        "thinking with a budget", {"thinking": {"type": "enabled", "budget_tokens": 2048}}, watch=("thinking.type",)
    ),
    Feature("thinking shown omitted", {"thinking": ADAPTIVE | {"display": "omitted"}}, watch=("thinking",)),
    Feature(
        "thinking shown as updates",
        {"thinking": ADAPTIVE | {"display": "updates"}},
        ("thinking-display-updates-2026-08-18",),
        ("thinking", "anthropic-beta"),
    ),
    Feature(
        "thinking bound to its prefix",
        {"thinking": ADAPTIVE | {"block_binding": {"prefix_mismatch_behavior": "error"}}},
        (BINDING,),
        ("thinking", "anthropic-beta"),
    ),
    Feature("interleaved thinking", betas=("interleaved-thinking-2025-05-14",), watch=("anthropic-beta",)),
    Feature(
        "thinking in the history",
        {"messages": [HELLO, said(THOUGHT, CALL), result()], "tools": [TOOL]},
        watch=("messages",),
    ),
    Feature(
        "thinking without a signature",
        {"messages": [HELLO, said({"type": "thinking", "thinking": "x"}, CALL), result()], "tools": [TOOL]},
        watch=("messages",),
    ),
    Feature("clearing old thinking", **edit("clear_thinking_20251015", CONTEXT)),
    Feature("clearing old tool results", **edit("clear_tool_uses_20250919", CONTEXT)),
    Feature("compaction", **edit("compact_20260112", "compact-2026-01-12")),
    Feature("compaction of September 2026", **edit("compact_20260904", "compact-2026-09-04")),
    Feature(
        "deferred tools and their references",
        {"tools": [TOOL, DEFERRED | {"name": "Later"}], "messages": [HELLO, said(CALL), result([REFERENCE])]},
        (SEARCH,),
        ("tools", "messages", f"anthropic-beta: {SEARCH}"),
    ),
    Feature(
        "tool search tool",
        {"tools": [DEFERRED, {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}]},
        (SEARCH,),
        ("tools", f"anthropic-beta: {SEARCH}"),
    ),
    Feature("eager tool streaming", {"tools": [TOOL | {"eager_input_streaming": True}]}, watch=("tools",)),
    Feature("strict tool", {"tools": [TOOL | {"strict": True}]}, ("structured-outputs-2025-12-15",), ("tools",)),
    Feature("tool in the custom wrapper", {"tools": [{"type": "custom", "custom": TOOL}]}, watch=("tools",)),
    Feature(
        "tools changed on the way",
        {"messages": [HELLO, said({"type": "text", "text": "Well"}), HELLO, CHANGED], "tools": [TOOL]},
        (CHANGES,),
        ("messages.*.content",),
    ),
    Feature("tool examples", {"tools": [TOOL | {"input_examples": [{"path": "x"}]}]}, (SEARCH,), ("tools",)),
    Feature("no tools", {"tools": []}),
    Feature("bash tool", {"tools": [{"type": "bash_20250124", "name": "bash"}]}),
    Feature("text editor tool", {"tools": [{"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}]}),
    Feature("memory tool", {"tools": [{"type": "memory_20250818", "name": "memory"}]}, (CONTEXT,)),
    Feature(
        "computer tool of November 2025",
        {"tools": [{"type": "computer_20251124", "name": "computer", "display_width_px": 8, "display_height_px": 6}]},
        ("computer-use-2025-11-24",),
    ),
    Feature("computer toolset", {"tools": [{"type": "computer_toolset_20260801", "name": "computer"}]}),
    Feature("forced tool", {"tools": [TOOL], "tool_choice": {"type": "any"}}),
    Feature(
        "structured output",
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ("structured-outputs-2025-12-15",),
        ("output_config",),
    ),
    Feature(
        "cache mark, 5 minutes", {"system": [{"type": "text", "text": "You", "cache_control": MARK}]}, watch=("system",)
    ),
    Feature(
        "cache mark, 1 hour",
        {"system": [{"type": "text", "text": "You", "cache_control": MARK | {"ttl": "1h"}}]},
        watch=("system",),
    ),
    Feature(
        "cache mark with a scope",
        {"system": [{"type": "text", "text": "You", "cache_control": MARK | {"scope": "global"}}]},
        ("prompt-caching-scope-2026-01-05",),
        ("system",),
    ),
    Feature(
        "cache mark with a scope in a tool result",
        {"messages": [HELLO, said(CALL), result([MARKED])], "tools": [TOOL]},
        ("prompt-caching-scope-2026-01-05",),
        ("messages",),
    ),
    Feature(
        "cache mark on thinking",
        {"messages": [HELLO, said(THOUGHT | {"cache_control": MARK}, CALL), result()], "tools": [TOOL]},
        watch=("messages",),
    ),
    Feature("automatic cache mark", {"cache_control": MARK}, watch=("cache_control",)),
    Feature("cache diagnosis", {"diagnostics": {}}, ("cache-diagnosis-2026-04-07",), ("diagnostics",)),
    Feature("Claude Code's user id", {"metadata": {"user_id": '{"device_id":"d"}'}}, watch=("metadata",)),
    Feature("safeguards", {"safeguards": [{"type": "tool_use"}]}, (SAFE,), ("safeguards", f"anthropic-beta: {SAFE}")),
    Feature("max_tokens 128000", {"max_tokens": 128_000}, watch=("max_tokens",)),
    Feature("1M context by its beta", betas=("context-1m-2025-08-07",), watch=("anthropic-beta",)),
    Feature("temperature", {"temperature": 1.0}),
    Feature("last message of the assistant's", {"messages": [HELLO, said({"type": "text", "text": "Well"})]}),
    Feature("stop sequences", {"stop_sequences": ["stop"]}),
    Feature(
        "image, base64",
        **block({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}),
    ),
    Feature(
        "PDF, base64",
        **block({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}),
    ),
    Feature(
        "search result",
        **block({"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}),
    ),
    Feature("fast mode", {"speed": "fast"}, ("fast-mode-2026-02-01",), ("speed",)),
    Feature("service tier", {"service_tier": "auto"}, watch=("service_tier",)),
    Feature("inference geography", {"inference_geo": "us"}, watch=("inference_geo",)),
    Feature("server-side fallback", {"fallbacks": []}, ("server-side-fallback-2026-06-01",), ("fallbacks",)),
    Feature("fallback credit", betas=("fallback-credit-2026-07-01",), watch=("anthropic-beta",)),
    Feature(
        "task budget",
        {"output_config": {"task_budget": {"total": 1}}},
        ("task-budgets-2026-03-13",),
        ("output_config",),
    ),
    Feature("container", {"container": "c"}, watch=("container",)),
    Feature("MCP servers", {"mcp_servers": []}, ("mcp-client-2025-11-20",), ("mcp_servers",)),
    Feature("thread, created", {"thread": {"type": "create"}}, ("message-threads-2026-08-12",), ("thread",)),
    Feature("thread, continued", {"thread": {"type": "continue", "previous_message_id": "msg_1"}}),
    Feature("image by URL", **block({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}})),
    Feature("file by id", **block({"type": "document", "source": {"type": "file", "file_id": "file_1"}})),
    Feature("web search", {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]}),
    Feature("web fetch", {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
    Feature("code execution", {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}),
    Feature("advisor", {"tools": [{"type": "advisor_20260301", "name": "advisor"}]}, ("advisor-tool-2026-03-01",)),
    Feature("quota probe", {"max_tokens": 1, "messages": [{"role": "user", "content": "quota"}]}),
    Feature("low-priority mode", headers=(("anthropic-usage-limit", "slow"),)),
    Feature("a beta that nobody knows", betas=("brand-new-2027-01-01",), watch=("anthropic-beta",)),
    Feature("a field that nobody knows", {"brand_new": {"a": 1}}, watch=("brand_new",)),
)

EVERYTHING = Feature(
    "everything",
    {
        "stream": True,
        "max_tokens": 32_000,
        "system": [{"type": "text", "text": "You", "cache_control": MARK}],
        "messages": [HELLO, NOTE, said(THOUGHT, CALL), result([REFERENCE]), NOTE],
        "tools": [TOOL, DEFERRED | {"name": "Later", "eager_input_streaming": True}],
        "thinking": {"type": "adaptive", "display": "updates"},
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "output_config": {"effort": "high"},
        "metadata": {"user_id": "u"},
        "safeguards": [{"type": "tool_use"}],
    },
    (
        *("claude-code-20250219", "interleaved-thinking-2025-05-14", CONTEXT, SEARCH, "effort-2025-11-24", SAFE),
        *("thinking-token-count-2026-05-13", "thinking-display-updates-2026-08-18", "afk-mode-2026-01-31", BINDING),
    ),
)
"""What one turn of a newer client may carry at once."""
