"""Every feature x surface x model through translation into the simulated Bedrock: taken, or kept at the primary.

The outcome is also the table in ``docs/bedrock.md``. After a change of the rules write it again with
``CLAUDE_FAILOVER_WRITE_DOCS=1 pytest tests/integration/test_translate_matrix.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from claude_failover.core.commands import ClientRequest, Translated, Untranslatable
from claude_failover.core.failures import classify
from claude_failover.core.models import Catalog, Target
from claude_failover.core.repair import Denials
from claude_failover.core.request import peek
from claude_failover.core.settings import Backend
from claude_failover.core.translate import to_bedrock
from claude_failover.core.types import BackendName, Epoch, Headers, Instant, Kind, Monotonic, Outcome, Surface
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.bedrock_access import API_KEY
from claude_failover.drill.bedrock_check import Permits
from claude_failover.drill.playback import Reply
from claude_failover.drill.script import Seen

DOCUMENT = Path(__file__).parents[2] / "docs" / "bedrock.md"
TABLE = yaml.safe_load((files("claude_failover") / "data" / "models.yaml").read_text("utf-8"))
CATALOG = Catalog.build(TABLE, {})
NOW = Instant(Epoch(1_800_000_000.0), Monotonic(5.0))

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


def backend(surface: Surface) -> Backend:
    return Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1", surface=surface.value)


def target(model: str, surface: Surface) -> Target:
    found = CATALOG.resolve(model, backend(surface))
    assert isinstance(found, Target)
    return found


def translate(
    feature: Feature, model: str, surface: Surface, denials: Denials | None = None
) -> Translated | Untranslatable:
    body = {"model": model, "max_tokens": 4096, "messages": [HELLO]} | feature.body
    headers = (("anthropic-beta", ",".join(feature.betas)), *feature.headers)
    request = ClientRequest("cfr_1", "/v1/messages?beta=true", headers, json.dumps(body).encode())
    return to_bedrock(request, peek(request), target(model, surface), surface, backend(surface), denials or Denials())


async def judge(surface: Surface, made: Translated, permits: Permits | None = None) -> tuple[int, Headers, bytes]:
    """What the simulated Bedrock says."""
    bedrock = SimulatedBedrock(mantle=surface is Surface.MANTLE)
    bedrock.permits = permits or Permits(old_models_on_messages=True)
    headers = (*made.request.headers, ("authorization", f"Bearer {API_KEY}"))
    seen = Seen(1, made.request.method, made.request.target, headers, made.request.body, 1, 0.0)
    reply = await bedrock.answer(seen)
    assert isinstance(reply, Reply)
    assert not bedrock.violations
    return reply.status, reply.headers, b"".join(part.data for part in reply.parts)


def served() -> Iterator[tuple[str, Surface]]:
    """Every model on every surface that could have it; the simulator knows no preview."""
    for model, row in TABLE["models"].items():
        if model != "claude-mythos-preview":
            yield model, Surface.MESSAGES
            yield model, Surface.INVOKE
            if "mantle" in row or "surfaces" not in row:
                yield model, Surface.MANTLE


ROUTES = list(served())


@pytest.mark.parametrize(("model", "surface"), ROUTES, ids=[f"{model}-{surface}" for model, surface in ROUTES])
async def test_every_feature_is_taken_or_stays_at_the_primary(model: str, surface: Surface) -> None:
    refused = {}
    for feature in FEATURES:
        made = translate(feature, model, surface)
        if isinstance(made, Translated):
            status, _, data = await judge(surface, made)
            if status != 200:
                refused[feature.name] = data
    assert not refused


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
FIRST_DAY = [
    ("claude-opus-5-5", Surface.MESSAGES),
    ("claude-fable-5-1", Surface.INVOKE),
    ("claude-opus-5", Surface.MANTLE),
]


async def mended(feature: Feature, model: str, surface: Surface, permits: Permits) -> list[str]:
    """Translate, be refused, learn, translate again; what was learned on the way to being taken."""
    denials, data = Denials(), b""
    learned: list[str] = []
    for _ in range(3):
        made = translate(feature, model, surface, denials)
        assert isinstance(made, Translated)
        status, headers, data = await judge(surface, made, permits)
        if status == 200:
            return learned
        verdict = classify(Kind.BEDROCK, surface, status, headers, data, NOW)
        assert verdict.outcome is Outcome.REPAIRABLE, data
        repair = denials.propose(status, data, verdict, made, target(model, surface), surface, NOW)
        assert repair is not None, data
        learned += [transition.detail for transition in denials.learn(repair, NOW)]
    raise AssertionError(data)


@pytest.mark.parametrize(("model", "surface"), FIRST_DAY)
async def test_a_beta_that_is_refused_against_the_table_costs_at_most_two_repairs(model: str, surface: Surface) -> None:
    made = translate(EVERYTHING, model, surface)
    assert isinstance(made, Translated)
    for beta in made.extra["betas"].split(","):
        learned = await mended(EVERYTHING, model, surface, Permits(denied_betas=frozenset({beta})))
        assert any(beta in lesson for lesson in learned)


@pytest.mark.parametrize(("model", "surface"), FIRST_DAY)
@pytest.mark.parametrize("path", ["context_management", "output_config", "metadata", "safeguards"])
async def test_a_field_that_is_refused_against_the_table_costs_one_repair(
    path: str, model: str, surface: Surface
) -> None:
    (lesson,) = await mended(EVERYTHING, model, surface, Permits(denied_paths=(path,)))
    assert lesson == f"{surface.value}: path {path}: refused by name"


COLUMNS = {
    "Fable 5.x": "claude-fable-5-2",
    "Opus 5.5": "claude-opus-5-5",
    "Sonnet 5.5": "claude-sonnet-5-5",
    "Haiku 5.5": "claude-haiku-5-5",
    "Opus 5": "claude-opus-5",
    "Sonnet 5": "claude-sonnet-5",
    "Opus 4.8": "claude-opus-4-8",
    "Opus 4.7": "claude-opus-4-7",
    "4.6": "claude-sonnet-4-6",
    "4.5": "claude-sonnet-4-5-20250929",
    "Haiku 4.5": "claude-haiku-4-5-20251001",
    "Opus 4.1": "claude-opus-4-1-20250805",
}


def cell(feature: Feature, model: str, surface: Surface) -> str:
    if (model, surface) not in ROUTES:
        return ""
    made = translate(feature, model, surface)
    if isinstance(made, Untranslatable):
        return "stays"
    actions = [change.action for change in made.rewrites if feature.watch and change.path.startswith(feature.watch)]
    for action in ("dropped", "converted", "renamed", "clamped", "hashed"):
        if action in actions:
            return action
    return "sent"


def matrix() -> str:
    lines = []
    for surface in Surface:
        columns = {name: model for name, model in COLUMNS.items() if (model, surface) in ROUTES}
        if surface is Surface.MESSAGES:
            columns = {name: model for name, model in columns.items() if "surfaces" not in TABLE["models"][model]}
        lines += [
            f"### Surface `{surface.value}`",
            "",
            f"| feature | {' | '.join(columns)} |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for feature in FEATURES:
            cells = " | ".join(cell(feature, model, surface) for model in columns.values())
            lines.append(f"| {feature.name} | {cells} |")
        lines.append("")
    return "\n".join(lines)


def models() -> str:
    lines = [
        "| Claude id | foundation model at Bedrock | profiles | surfaces | max. output | context |",
        "|---" * 6 + "|",
    ]
    for name, row in TABLE["models"].items():
        found = CATALOG.resolve(name, Backend(BackendName("bedrock"), Kind.BEDROCK))
        assert isinstance(found, Target)
        profiles = ", ".join(row["prefixes"]) or "not published"
        caps = found.capabilities
        lines.append(
            f"| {name} | {row['bedrock']} | {profiles} | {', '.join(found.surfaces)} "
            f"| {caps.max_output:,} | {caps.context:,} |"
        )
    return "\n".join([*lines, ""])


def generated(document: str) -> str:
    """The document with its two tables written anew."""
    for name, text in (("models", models()), ("matrix", matrix())):
        begin, end = f"<!-- {name}: generated -->\n", f"<!-- {name}: end -->"
        before, _, rest = document.partition(begin)
        assert rest, f"docs/bedrock.md has no place for {name}"
        document = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return document


def test_the_document_shows_what_the_code_does() -> None:
    document = DOCUMENT.read_text("utf-8")
    if os.environ.get("CLAUDE_FAILOVER_WRITE_DOCS"):
        DOCUMENT.write_text(generated(document), "utf-8")
    assert DOCUMENT.read_text("utf-8") == generated(document), "CLAUDE_FAILOVER_WRITE_DOCS=1 writes the tables again"
