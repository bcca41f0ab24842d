"""The simulated Bedrock's rules: one row a fact, what is refused in which words, and what passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from claude_failover.core.types import Surface
from claude_failover.drill.bedrock_check import Permits, check, parse, too_large
from claude_failover.drill.bedrock_models import MODELS, Model
from claude_failover.drill.script import Refusal, Seen

INVOKE, MESSAGES, MANTLE = Surface.INVOKE, Surface.MESSAGES, Surface.MANTLE
OPUS = MODELS["anthropic.claude-opus-5-5"]
OPUS_5 = MODELS["anthropic.claude-opus-5"]
OPUS_48 = MODELS["anthropic.claude-opus-4-8"]
OPUS_47 = MODELS["anthropic.claude-opus-4-7"]
OPUS_46 = MODELS["anthropic.claude-opus-4-6-v1"]
OPUS_41 = MODELS["anthropic.claude-opus-4-1-20250805-v1:0"]
SONNET = MODELS["anthropic.claude-sonnet-5-5"]
SONNET_5 = MODELS["anthropic.claude-sonnet-5"]
SONNET_46 = MODELS["anthropic.claude-sonnet-4-6"]
SONNET_45 = MODELS["anthropic.claude-sonnet-4-5-20250929-v1:0"]
HAIKU = MODELS["anthropic.claude-haiku-5-5"]
HAIKU_45 = MODELS["anthropic.claude-haiku-4-5-20251001-v1:0"]
FABLE_51 = MODELS["anthropic.claude-fable-5-1"]

USER = {"role": "user", "content": "Hello"}
TOOL = {"name": "Read", "description": "Reads.", "input_schema": {"type": "object", "properties": {}}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "text"}


def refusal(
    surface: Surface,
    model: Model,
    changes: Mapping[str, Any] | None = None,
    *betas: str,
    version: str | None = "2023-06-01",
    permits: Permits | None = None,
    without: str = "",
) -> Refusal | None:
    """Judge a plain request with these top-level changes and betas."""
    body: dict[str, Any] = {"messages": [USER], "max_tokens": 1024}
    headers: list[tuple[str, str]] = [("content-type", "application/json")]
    if surface is INVOKE:
        body |= {"anthropic_version": "bedrock-2023-05-31"}
        if betas:
            body["anthropic_beta"] = list(betas)
    else:
        body |= {"model": "global." + model.id, "stream": True}
        if version is not None:
            headers.append(("anthropic-version", version))
        if betas:
            headers.append(("anthropic-beta", ", ".join(betas)))
    body |= changes or {}
    body.pop(without, None)
    request = Seen(1, "POST", "/", tuple(headers), b"", 1, 0.0)
    return check(surface, model, request, body, permits or Permits())


def said(*turns: Mapping[str, Any]) -> dict[str, Any]:
    """A body's messages."""
    return {"messages": list(turns)}


def user(*blocks: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


TEXT = {"type": "text", "text": "Hi."}
EPHEMERAL = {"type": "ephemeral"}
SYSTEM_TURN = {"role": "system", "content": "Be brief."}

REFUSED: list[tuple[str, Surface, Model, dict[str, Any], tuple[str, ...], str]] = [
    # what InvokeModel does not want in its body, and what it needs
    ("model on invoke", INVOKE, OPUS, {"model": "x"}, (), "model: Extra inputs are not permitted"),
    ("stream on invoke", INVOKE, OPUS, {"stream": True}, (), "stream: Extra inputs are not permitted"),
    (
        "the sdk's new version",
        INVOKE,
        OPUS,
        {"anthropic_version": "2026-10-21"},
        (),
        "anthropic_version: Input should be",
    ),
    ("betas as a string", INVOKE, OPUS, {"anthropic_beta": "a,b"}, (), "anthropic_beta: Input should be a valid list"),
    (
        "betas joined in one element",
        INVOKE,
        OPUS,
        {"anthropic_beta": ["claude-code-20250219,effort-2025-11-24"]},
        (),
        "invalid beta flag",
    ),
    (
        "body version elsewhere",
        MESSAGES,
        OPUS,
        {"anthropic_version": "bedrock-2023-05-31"},
        (),
        "anthropic_version: Extra",
    ),
    ("body betas elsewhere", MANTLE, OPUS, {"anthropic_beta": []}, (), "anthropic_beta: Extra inputs"),
    # fields that no surface knows
    *[
        (f"{name} on {surface}", surface, OPUS, {name: value}, (), f"{name}: Extra inputs are not permitted")
        for surface in Surface
        for name, value in {
            "diagnostics": {"previous_message_id": "msg_1"},
            "speed": "fast",
            "inference_geo": "us",
            "fallbacks": [],
            "container": {},
            "mcp_servers": [],
            "thread": {"type": "create"},
            "user_profile_id": "x",
        }.items()
    ],
    ("service tier on invoke", INVOKE, OPUS, {"service_tier": "auto"}, (), "service_tier: Extra inputs"),
    ("service tier on messages", MESSAGES, OPUS, {"service_tier": "auto"}, (), "service_tier: Extra inputs"),
    ("top-level cache mark on 4.6", INVOKE, OPUS_46, {"cache_control": EPHEMERAL}, (), "cache_control: Extra inputs"),
    # betas
    *[
        (f"{beta} on {surface}", surface, OPUS, {}, (beta,), "invalid beta flag" if surface is INVOKE else f"`{beta}`")
        for surface in Surface
        for beta in (
            "oauth-2025-04-20",
            "extended-cache-ttl-2025-04-11",
            "prompt-caching-scope-2026-01-05",
            "redact-thinking-2026-02-12",
            "advanced-tool-use-2025-11-20",
            "advisor-tool-2026-03-01",
            "fast-mode-2026-02-01",
            "cache-diagnosis-2026-04-07",
            "tool-provenance-2026-10-26",
            "claude-code-side-query-2026-09-29",
            "server-side-fallback-2026-06-01",
            "files-api-2025-04-14",
            "structured-outputs-2025-12-15",
            "context-1m-2025-08-07",
            "compact-2026-09-04",
            "fallback-credit-2026-07-01",
            "message-threads-2026-08-12",
            "never-heard-of-2027-01-01",
        )
    ],
    ("interleaved on haiku 4.5", INVOKE, HAIKU_45, {}, ("interleaved-thinking-2025-05-14",), "invalid beta flag"),
    ("1M on 4.7", INVOKE, OPUS_47, {}, ("context-1m-2025-08-07",), "invalid beta flag"),
    ("binding on 4.5", INVOKE, SONNET_45, {}, ("thinking-binding-controls-2026-08-01",), "invalid beta flag"),
    ("safeguards on 4.6", INVOKE, OPUS_46, {}, ("dangerous-tool-use-2026-09-03",), "invalid beta flag"),
    ("per-turn on opus 5", INVOKE, OPUS_5, {}, ("per-turn-control-2026-07-01",), "invalid beta flag"),
    ("per-turn on messages", MESSAGES, OPUS, {}, ("per-turn-control-2026-07-01",), "`per-turn-control-2026-07-01`"),
    # a field needs its beta
    ("safeguards alone", INVOKE, OPUS, {"safeguards": []}, (), "safeguards: Extra inputs"),
    (
        "context management alone",
        MESSAGES,
        OPUS,
        {"context_management": {"edits": []}},
        (),
        "context_management: Extra",
    ),
    (
        "clear thinking on invoke",
        INVOKE,
        OPUS,
        {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}, "thinking": {"type": "adaptive"}},
        ("context-management-2025-06-27",),
        "context_management: Extra inputs are not permitted",
    ),
    (
        "clear thinking without thinking",
        MESSAGES,
        OPUS,
        {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}},
        ("context-management-2025-06-27",),
        "`clear_thinking_20251015` strategy requires",
    ),
    (
        "compaction without its beta",
        MESSAGES,
        OPUS,
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        ("context-management-2025-06-27",),
        "requires the `compact-2026-01-12` beta",
    ),
    (
        "context management without edits",
        MESSAGES,
        OPUS,
        {"context_management": {}},
        ("compact-2026-01-12",),
        "context_management.edits: Field required",
    ),
    # limits
    ("max tokens of 4.5", INVOKE, SONNET_45, {"max_tokens": 64_001}, (), "exceeds the model limit of 64000"),
    ("max tokens of opus 4.1", INVOKE, OPUS_41, {"max_tokens": 32_001}, (), "exceeds the model limit of 32000"),
    ("max tokens of 5.5", MESSAGES, OPUS, {"max_tokens": 128_001}, (), "exceeds the model limit of 128000"),
    ("no tokens", MESSAGES, OPUS, {"max_tokens": 0}, (), "max_tokens: Input should be greater"),
    ("too long", INVOKE, HAIKU_45, {"system": "x" * 800_100}, (), "Input is too long for requested model."),
    # metadata
    (
        "claude code's user id on messages",
        MESSAGES,
        OPUS,
        {"metadata": {"user_id": '{"device_id":"a"}'}},
        (),
        "Request metadata contains a value that violates the regular expression",
    ),
    ("long user id on messages", MESSAGES, OPUS, {"metadata": {"user_id": "a" * 257}}, (), "Request metadata contains"),
    ("other metadata", INVOKE, OPUS, {"metadata": {"team": "x"}}, (), "metadata.team: Extra inputs"),
    # sampling, prefill, forced tools
    ("temperature", INVOKE, OPUS, {"temperature": 1}, (), "`temperature` is deprecated for this model."),
    ("top_k", MESSAGES, SONNET_5, {"top_k": 5}, (), "`top_k` is deprecated"),
    ("prefill", INVOKE, OPUS_46, said(USER, assistant(TEXT)), (), "does not support assistant message prefill"),
    ("prefill behind a system turn", INVOKE, OPUS, said(USER, assistant(TEXT), SYSTEM_TURN), (), "prefill"),
    (
        "forced tool",
        INVOKE,
        SONNET,
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        (),
        "tool_choice: type tool and any",
    ),
    # thinking
    (
        "budget on 4.7",
        INVOKE,
        OPUS_47,
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        (),
        "thinking.type.enabled is not supported",
    ),
    (
        "adaptive on 4.5",
        INVOKE,
        SONNET_45,
        {"thinking": {"type": "adaptive"}},
        (),
        "adaptive thinking is not supported",
    ),
    ("unknown thinking", INVOKE, OPUS, {"thinking": {"type": "deep"}}, (), "thinking.type: Input should be"),
    (
        "display on 4.5",
        INVOKE,
        SONNET_45,
        {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}, "max_tokens": 3000},
        (),
        "thinking.enabled.display: Extra inputs",
    ),
    (
        "updates without beta",
        MESSAGES,
        OPUS,
        {"thinking": {"type": "adaptive", "display": "updates"}},
        (),
        "thinking.adaptive.display: Input should be",
    ),
    (
        "binding without beta",
        MESSAGES,
        OPUS,
        {"thinking": {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}},
        (),
        "thinking.adaptive.block_binding: Extra inputs are not permitted",
    ),
    (
        "binding of another kind",
        MESSAGES,
        OPUS,
        {"thinking": {"type": "adaptive", "block_binding": {"x": 1}}},
        ("thinking-binding-controls-2026-08-01",),
        "thinking.adaptive.block_binding.x: Extra inputs",
    ),
    ("small budget", INVOKE, SONNET_45, {"thinking": {"type": "enabled", "budget_tokens": 1000}}, (), "equal to 1024"),
    ("no budget", INVOKE, SONNET_45, {"thinking": {"type": "enabled"}}, (), "budget_tokens: Field required"),
    (
        "budget over max tokens",
        INVOKE,
        SONNET_45,
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        (),
        "`max_tokens` must be greater than `thinking.budget_tokens`",
    ),
    # output_config
    ("effort on 4.5", INVOKE, SONNET_45, {"output_config": {"effort": "low"}}, (), "does not support the effort"),
    (
        "unknown effort",
        MESSAGES,
        OPUS,
        {"output_config": {"effort": "huge"}},
        (),
        "output_config.effort: Input should be",
    ),
    ("xhigh on 4.6", INVOKE, OPUS_46, {"output_config": {"effort": "xhigh"}}, (), "'xhigh' is not supported"),
    ("max on fable 5.1", MESSAGES, FABLE_51, {"output_config": {"effort": "max"}}, (), "'max' is not supported"),
    ("format on messages", MESSAGES, OPUS, {"output_config": {"format": {}}}, (), "output_config.format: Extra inputs"),
    ("format on invoke", INVOKE, OPUS, {"output_config": {"format": {}}}, (), "output_config.format: Extra inputs"),
    ("format on mantle", MANTLE, OPUS, {"output_config": {"format": {}}}, (), "output_config.format: Extra inputs"),
    (
        "task budget",
        MESSAGES,
        OPUS,
        {"output_config": {"task_budget": {}}},
        (),
        "output_config.task_budget: Extra inputs",
    ),
    # roles
    (
        "system on haiku 4.5",
        INVOKE,
        HAIKU_45,
        said(USER, SYSTEM_TURN),
        (),
        "role 'system' is not supported on this model",
    ),
    ("system on sonnet 4.6", INVOKE, SONNET_46, said(USER, SYSTEM_TURN), (), "role 'system' is not supported"),
    ("system on opus 4.7", INVOKE, OPUS_47, said(USER, SYSTEM_TURN), (), "role 'system' is not supported"),
    ("system on sonnet 5", MESSAGES, SONNET_5, said(USER, SYSTEM_TURN), (), "role 'system' is not supported"),
    ("leading system", MESSAGES, OPUS, said(SYSTEM_TURN, USER), (), "messages.0: use the top-level 'system' parameter"),
    (
        "per-message effort",
        MESSAGES,
        OPUS,
        said(USER, SYSTEM_TURN | {"output_config": {"effort": "low"}}),
        (),
        "messages.1.output_config: Extra inputs are not permitted",
    ),
    ("clear_at", INVOKE, OPUS, said(USER, SYSTEM_TURN | {"clear_at": "x"}), (), "messages.1.clear_at: Extra inputs"),
    ("unknown role", INVOKE, OPUS, said({"role": "tool", "content": "x"}), (), "messages.0.role: Input should be"),
    ("no messages", INVOKE, OPUS, {"messages": []}, (), "at least one message"),
    ("empty message", INVOKE, OPUS, said({"role": "user", "content": []}), (), "must have non-empty content"),
    # blocks
    (
        "empty signature",
        INVOKE,
        OPUS,
        said(USER, assistant({"type": "thinking", "thinking": "", "signature": ""}), USER),
        (),
        "messages.1.content.0.thinking.signature: Field required",
    ),
    (
        "cached thinking",
        INVOKE,
        OPUS,
        said(USER, assistant({"type": "thinking", "thinking": "", "signature": "s", "cache_control": EPHEMERAL}), USER),
        (),
        "messages.1.content.0.thinking.cache_control: Extra inputs",
    ),
    (
        "cached empty text",
        INVOKE,
        OPUS,
        said(user({"type": "text", "text": "", "cache_control": EPHEMERAL})),
        (),
        "cache_control cannot be set for empty text blocks",
    ),
    (
        "image by url",
        MESSAGES,
        OPUS,
        said(user({"type": "image", "source": {"type": "url", "url": "https://x"}})),
        (),
        "messages.0.content.0.image.source: Input tag 'url'",
    ),
    (
        "document by file",
        MESSAGES,
        OPUS,
        said(user({"type": "document", "source": {"type": "file", "file_id": "f"}})),
        (),
        "messages.0.content.0.document.source: Input tag 'file'",
    ),
    (
        "server tool in the history",
        INVOKE,
        OPUS,
        said(USER, assistant({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}), USER),
        (),
        "Input tag 'server_tool_use'",
    ),
    (
        "tool reference without tool search",
        INVOKE,
        OPUS,
        said(USER, assistant(CALL), user(RESULT | {"content": [{"type": "tool_reference", "tool_name": "x"}]})),
        (),
        "Input tag 'tool_reference'",
    ),
    (
        "tool addition without its beta",
        INVOKE,
        OPUS,
        said(USER, {"role": "system", "content": [{"type": "tool_addition", "tool": {}}]}),
        (),
        "Input tag 'tool_addition'",
    ),
    (
        "a call unanswered",
        INVOKE,
        OPUS,
        said(USER, assistant(CALL), USER),
        (),
        "without `tool_result` blocks immediately",
    ),
    (
        "a call answered behind text",
        INVOKE,
        OPUS,
        said(USER, assistant(CALL), user(TEXT, RESULT)),
        (),
        "without `tool_result` blocks immediately",
    ),
    (
        "a system turn before the answer",
        INVOKE,
        OPUS,
        said(USER, assistant(CALL), SYSTEM_TURN, user(RESULT)),
        (),
        "without `tool_result` blocks immediately",
    ),
    ("an answer to nothing", INVOKE, OPUS, said(user(RESULT)), (), "unexpected `tool_use_id`"),
    (
        "a strange tool id",
        INVOKE,
        OPUS,
        said(USER, assistant(CALL | {"id": "a b"}), user(RESULT)),
        (),
        "tool_use.id: String",
    ),
    # cache marks
    (
        "scope in system",
        MESSAGES,
        OPUS,
        {"system": [TEXT, TEXT, TEXT | {"cache_control": EPHEMERAL | {"scope": "global"}}]},
        (),
        "system.2.cache_control.ephemeral.scope: Extra inputs are not permitted",
    ),
    (
        "scope in a tool",
        INVOKE,
        OPUS,
        {"tools": [TOOL | {"cache_control": EPHEMERAL | {"scope": "global"}}]},
        (),
        "tools.0.custom.cache_control.ephemeral.scope: Extra inputs",
    ),
    (
        "scope inside a tool's result",
        INVOKE,
        OPUS,
        said(
            USER,
            assistant(CALL),
            user(RESULT | {"content": [TEXT | {"cache_control": EPHEMERAL | {"scope": "global"}}]}),
        ),
        (),
        "messages.2.content.0.tool_result.content.0.text.cache_control.ephemeral.scope",
    ),
    (
        "ttl on 4.1",
        INVOKE,
        OPUS_41,
        {"system": [TEXT | {"cache_control": EPHEMERAL | {"ttl": "1h"}}]},
        (),
        "system.0.cache_control.ephemeral.ttl: Extra inputs",
    ),
    (
        "odd ttl",
        INVOKE,
        OPUS,
        {"system": [TEXT | {"cache_control": EPHEMERAL | {"ttl": "2h"}}]},
        (),
        "ttl: Input should be",
    ),
    ("five marks", INVOKE, OPUS, {"system": [TEXT | {"cache_control": EPHEMERAL}] * 5}, (), "A maximum of 4 blocks"),
    # tools
    ("strict", INVOKE, OPUS, {"tools": [TOOL | {"strict": True}]}, (), "tools.0.custom.strict: Extra inputs"),
    ("strict on messages", MESSAGES, OPUS, {"tools": [TOOL | {"strict": True}]}, (), "tools.0.custom.strict: Extra"),
    (
        "deferred without its beta",
        MESSAGES,
        OPUS,
        {"tools": [TOOL | {"defer_loading": True}]},
        (),
        "tools.0.custom.defer_loading: Extra inputs are not permitted",
    ),
    (
        "wrapped",
        INVOKE,
        OPUS,
        {"tools": [{"type": "custom", "custom": TOOL}]},
        (),
        "tools.0.custom.name: Field required",
    ),
    (
        "schema of no object",
        INVOKE,
        OPUS,
        {"tools": [TOOL | {"input_schema": {"type": "custom"}}]},
        (),
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    (
        "eager input on 4.5",
        INVOKE,
        SONNET_45,
        {"tools": [TOOL | {"eager_input_streaming": True}]},
        (),
        "tools.0.custom.eager_input_streaming: Extra inputs",
    ),
    (
        "web search on messages",
        MESSAGES,
        OPUS,
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        (),
        "tool type 'web_search_20250305' is not supported",
    ),
    (
        "web search on invoke",
        INVOKE,
        OPUS,
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        (),
        "The provided request is not valid",
    ),
    (
        "advisor on mantle",
        MANTLE,
        OPUS,
        {"tools": [{"type": "advisor_20260301", "name": "advisor"}]},
        (),
        "tool type 'advisor_20260301' is not supported",
    ),
    (
        "old computer on opus 5.5",
        INVOKE,
        OPUS,
        {"tools": [{"type": "computer_20251124", "name": "computer"}]},
        ("computer-use-2025-11-24",),
        "does not support tool types: computer_20251124",
    ),
]


@pytest.mark.parametrize(
    ("surface", "model", "changes", "betas", "wording"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_it_is_refused_in_these_words(
    surface: Surface, model: Model, changes: dict[str, Any], betas: tuple[str, ...], wording: str
) -> None:
    problem = refusal(surface, model, changes, *betas)
    assert problem is not None
    assert problem.status == 400
    assert wording in problem.message


DEFERRED = {"tools": [TOOL | {"defer_loading": True}]}
SEARCH = "tool-search-tool-2025-10-19"

TAKEN: list[tuple[str, Surface, Model, dict[str, Any], tuple[str, ...]]] = [
    *[(f"plain on {surface}", surface, OPUS, {}, ()) for surface in Surface],
    (
        "what claude code sends to invoke",
        INVOKE,
        OPUS,
        {
            "thinking": {"type": "adaptive", "display": "updates"},
            "output_config": {"effort": "high"},
            "safeguards": [{"type": "x"}],
            "metadata": {"user_id": '{"device_id":"a"}'},
            **DEFERRED,
            "system": [TEXT | {"cache_control": EPHEMERAL | {"ttl": "1h"}}],
            **said(USER, SYSTEM_TURN),
        },
        (
            "interleaved-thinking-2025-05-14",
            SEARCH,
            "thinking-token-count-2026-05-13",
            "afk-mode-2026-01-31",
            "dangerous-tool-use-2026-09-03",
            "thinking-display-updates-2026-08-18",
        ),
    ),
    (
        "what claude code sends to mantle",
        MANTLE,
        OPUS,
        {
            "thinking": {"type": "adaptive"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        },
        (
            "claude-code-20250219",
            "interleaved-thinking-2025-05-14",
            "context-management-2025-06-27",
            SEARCH,
            "thinking-token-count-2026-05-13",
            "effort-2025-11-24",
        ),
    ),
    (
        "clear thinking on messages",
        MESSAGES,
        OPUS,
        {
            "thinking": {"type": "adaptive"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        },
        ("context-management-2025-06-27",),
    ),
    (
        "clear tool uses on invoke",
        INVOKE,
        OPUS,
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
        ("context-management-2025-06-27",),
    ),
    (
        "compaction",
        INVOKE,
        OPUS,
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        ("compact-2026-01-12",),
    ),
    (
        "per-message effort under its beta",
        INVOKE,
        OPUS,
        said(USER, SYSTEM_TURN | {"output_config": {"effort": "low"}}),
        ("per-turn-control-2026-07-01",),
    ),
    (
        "bound thinking",
        MESSAGES,
        OPUS,
        {"thinking": {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}},
        ("thinking-binding-controls-2026-08-01",),
    ),
    (
        "a budget of 4.5",
        INVOKE,
        HAIKU_45,
        {"thinking": {"type": "enabled", "budget_tokens": 31_999}, "max_tokens": 32_000},
        (),
    ),
    (
        "an interleaved budget over max tokens",
        INVOKE,
        SONNET_45,
        {"thinking": {"type": "enabled", "budget_tokens": 4000}},
        ("interleaved-thinking-2025-05-14",),
    ),
    ("1M of sonnet 4.5", INVOKE, SONNET_45, {"system": "x" * 900_000}, ("context-1m-2025-08-07",)),
    ("a format for 4.5", INVOKE, SONNET_45, {"output_config": {"format": {}}}, ("structured-outputs-2025-12-15",)),
    ("a user id of allowed characters", MESSAGES, OPUS, {"metadata": {"user_id": "user_0123-abc:def@x"}}, ()),
    (
        "base64 images in a tool's result",
        MESSAGES,
        OPUS,
        said(
            USER,
            assistant(CALL),
            user(
                RESULT
                | {
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "A" * 9_000_000},
                        }
                    ]
                },
                TEXT,
            ),
        ),
        (),
    ),
    (
        "client tools",
        MESSAGES,
        OPUS,
        {"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "memory_20250818", "name": "memory"}]},
        (),
    ),
    ("toolsets", MESSAGES, OPUS, {"tools": [{"type": "computer_toolset_20260801"}]}, ()),
    ("an empty list of tools", INVOKE, HAIKU, {"tools": []}, ()),
    (
        "tool references under their beta",
        INVOKE,
        OPUS,
        {
            **DEFERRED,
            **said(USER, assistant(CALL), user(RESULT | {"content": [{"type": "tool_reference", "tool_name": "x"}]})),
        },
        (SEARCH,),
    ),
    ("temperature on 4.6", INVOKE, OPUS_46, {"temperature": 0.5}, ()),
    ("prefill on 4.5", INVOKE, SONNET_45, said(USER, assistant(TEXT)), ()),
    ("forced tools on haiku 5.5", INVOKE, HAIKU, {"tools": [TOOL], "tool_choice": {"type": "any"}}, ()),
    ("a system turn on opus 4.8", INVOKE, OPUS_48, said(USER, SYSTEM_TURN), ()),
    ("a top-level mark on 5.x", INVOKE, OPUS, {"cache_control": EPHEMERAL}, ()),
]


@pytest.mark.parametrize(
    ("surface", "model", "changes", "betas"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN]
)
def test_it_is_taken(surface: Surface, model: Model, changes: dict[str, Any], betas: tuple[str, ...]) -> None:
    assert refusal(surface, model, changes, *betas) is None


def test_new_models_answer_in_anthropics_shape_and_old_ones_in_awss() -> None:
    new, old, oldest = (refusal(INVOKE, model, {"speed": "fast"}) for model in (OPUS, SONNET_45, OPUS_41))
    assert new is not None
    assert old is not None
    assert oldest is not None
    assert (new.shape, old.shape, oldest.shape) == ("anthropic", "aws", "aws")
    assert oldest.message == "The model returned the following errors: speed: Extra inputs are not permitted"


def test_the_regular_expression_is_the_front_doors() -> None:
    problem = refusal(MESSAGES, OPUS, {"metadata": {"user_id": "{}"}})
    assert problem is not None
    assert (problem.shape, problem.error_type) == ("aws", "ValidationException")


def test_every_bad_beta_is_named_where_it_is_named_at_all() -> None:
    problem = refusal(MESSAGES, OPUS, {}, "a-1", "effort-2025-11-24", "b-2")
    assert problem is not None
    assert problem.message.startswith("Unexpected value(s) `a-1`, `b-2` for the `anthropic-beta` header.")


@pytest.mark.parametrize("missing", ["max_tokens", "messages", "anthropic_version"])
def test_what_is_required_is_missed(missing: str) -> None:
    problem = refusal(INVOKE, OPUS, without=missing)
    assert problem is not None
    assert problem.message == f"{missing}: Field required"


def test_the_version_is_a_header_on_the_messages_surface() -> None:
    assert refusal(MESSAGES, OPUS, version=None) is not None
    assert refusal(MESSAGES, OPUS, version="2020-01-01") is not None
    assert refusal(MESSAGES, OPUS, version="2026-10-21") is None
    assert refusal(MANTLE, HAIKU_45, version="2026-10-21") is not None


def test_old_models_are_not_on_the_messages_surface_unless_permitted() -> None:
    problem = refusal(MESSAGES, SONNET_45)
    assert problem is not None
    assert problem.status == 404
    assert refusal(MESSAGES, SONNET_45, permits=Permits(old_models_on_messages=True)) is None


def test_a_deployment_may_be_more_or_less_strict_than_the_tables() -> None:
    assert refusal(MESSAGES, OPUS, {}, "x-1", permits=Permits(betas=frozenset({"x-1"}))) is None
    denied = Permits(denied_betas=frozenset({"effort-2025-11-24"}), denied_paths=("thinking",))
    assert refusal(INVOKE, OPUS, {}, "effort-2025-11-24", permits=denied) is not None
    assert refusal(INVOKE, OPUS, {"thinking": {"type": "adaptive"}}, permits=denied) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"thinking": []},
        {"output_config": "x"},
        {"metadata": "x"},
        {"tools": "x"},
        {"tools": ["x"]},
        {"messages": ["x"]},
        {"messages": [{"role": "user"}]},
        {"messages": [user({"type": ["x"]})]},
        {"system": ["x"]},
        {"system": [TEXT | {"cache_control": "x"}]},
        {"max_tokens": "many"},
        {"thinking": {"type": "adaptive", "display": ["x"]}},
        {"output_config": {"effort": ["x"]}},
        {"messages": [user({"type": "image", "source": {"type": ["x"]}})]},
        {"messages": [user({"type": "tool_use"})]},
        {"messages": [USER, assistant({"type": "tool_use"}), USER]},
        {"messages": [USER, assistant(CALL), user({"type": "tool_result", "content": ["x"]})]},
    ],
)
def test_any_nonsense_is_a_400_and_not_our_crash(changes: dict[str, Any]) -> None:
    problem = refusal(INVOKE, OPUS, changes)
    assert problem is not None
    assert problem.status == 400


def test_a_body_is_a_json_object_of_the_right_type_or_refused_in_the_surfaces_shape() -> None:
    def parsed(body: bytes, surface: Surface, kind: str = "application/json") -> dict[str, Any] | Refusal:
        return parse(Seen(1, "POST", "/", (("Content-Type", kind),), body, 1, 0.0), surface)

    assert parsed(b'{"a":1}', INVOKE) == {"a": 1}
    for body, kind in ((b"[]", "application/json"), (b"{", "application/json"), (b"{}", "text/plain")):
        bad, other = parsed(body, INVOKE, kind), parsed(body, MESSAGES, kind)
        assert isinstance(bad, Refusal)
        assert isinstance(other, Refusal)
        assert (bad.shape, other.shape) == ("aws", "anthropic")


def test_too_large_is_413_in_both_shapes() -> None:
    assert (too_large(INVOKE).shape, too_large(MESSAGES).shape) == ("aws", "anthropic")
    assert too_large(INVOKE).status == too_large(MESSAGES).status == 413
