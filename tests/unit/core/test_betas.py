from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from claude_failover.core import betas
from claude_failover.core.capabilities import Binding, Capabilities
from claude_failover.core.commands import Rewrite
from claude_failover.core.draft import Draft
from claude_failover.core.rules import Rules
from claude_failover.core.types import Surface
from claude_failover.drill.claude_rules import BETAS

SHAPES = Path(__file__).parents[2] / "real" / "shapes.json"
"""What the real Claude Code was seen to send."""

NEWEST = Capabilities(
    adaptive=True,
    display_updates=True,
    binding=Binding.ACCEPTED,
    interleaved=True,
    token_count=True,
    effort=("low", "high"),
    tool_search=True,
    safeguards=True,
    afk_mode=True,
)
NEVER = (
    "oauth-2025-04-20",
    "extended-cache-ttl-2025-04-11",
    "prompt-caching-scope-2026-01-05",
    "redact-thinking-2026-02-12",
    "fast-mode-2026-02-01",
    "advisor-tool-2026-03-01",
    "cache-diagnosis-2026-04-07",
    "tool-provenance-2026-10-26",
    "claude-code-side-query-2026-09-29",
    "server-side-fallback-2026-06-01",
    "fallback-credit-2026-06-01",
    "files-api-2025-04-14",
    "code-execution-2025-08-25",
    "skills-2025-10-02",
    "mcp-client-2025-11-20",
    "web-fetch-2025-09-10",
    "compact-2026-09-04",
    "structured-outputs-2025-12-15",
    "per-turn-control-2026-07-01",
    "mid-conversation-tool-changes-2026-07-01",
    "mid-conversation-system-2026-04-07",
    "message-threads-2026-08-12",
    "task-budgets-2026-03-13",
    "never-heard-of-2030-01-01",
)
ALL = (*NEVER, *betas.RENAMED, *(rule.name for rule in betas.BETAS))


def sent(
    *asked: str,
    surface: Surface = Surface.MESSAGES,
    caps: Capabilities = NEWEST,
    body: dict[str, Any] | None = None,
    seen: set[str] | None = None,
    denied: tuple[str, ...] = (),
) -> tuple[str, ...]:
    rules = Rules(betas=frozenset(denied))
    draft = Draft(body or {}, surface, caps, rules, betas.usable(asked, surface, caps, rules), seen or set())
    return betas.outgoing(draft, asked)


def test_values_are_split_trimmed_and_each_kept_once_over_all_lines() -> None:
    headers = (("anthropic-beta", "b-1, a-1,,b-1"), ("x", "y"), ("Anthropic-Beta", " c-1 ,a-1"))
    assert betas.asked_for(headers) == ("b-1", "a-1", "c-1")


def test_a_beta_that_is_in_no_table_is_unknown_and_one_with_a_new_date_too() -> None:
    asked = ("effort-2025-11-24", "advanced-tool-use-2025-11-20", "oauth-2025-04-20", "code-execution-2031-01-01",
             "effort-2031-01-01", "telepathy-2031-01-01")  # fmt: skip
    assert betas.unknown(asked) == ("effort-2031-01-01", "telepathy-2031-01-01")


def test_what_is_not_spelt_like_a_beta_is_never_repeated() -> None:
    assert betas.unknown(("sk-ant_SECRET", "a b", "x" * 65, "ünï", "-a")) == ()


def test_every_beta_that_any_client_was_seen_to_send_is_known() -> None:
    situations = json.loads(SHAPES.read_text("utf-8"))["situations"]
    seen = {beta for requests in situations.values() for request in requests for beta in request["betas"]}
    assert len(seen) > 15
    assert betas.unknown(tuple(seen | BETAS)) == ()


@pytest.mark.parametrize("surface", list(Surface))
@pytest.mark.parametrize("name", NEVER)
def test_what_is_not_listed_is_never_sent(name: str, surface: Surface) -> None:
    everything = {
        "thinking": {"display": "updates", "block_binding": {}},
        "safeguards": [],
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}, {"type": "compact_20260112"}]},
    }
    seen = {"tool_search", "fine_grained", "memory", "compaction", "computer_20250124", "computer_20251124"}
    caps = replace(NEWEST, context_1m_beta=True)
    assert name not in sent(*ALL, surface=surface, caps=caps, body=everything, seen=seen)


@pytest.mark.parametrize(
    ("name", "invoke", "messages", "mantle"),
    [
        ("claude-code-20250219", False, False, True),
        ("interleaved-thinking-2025-05-14", True, True, True),
        ("effort-2025-11-24", False, True, True),
        ("thinking-token-count-2026-05-13", True, True, True),
        ("afk-mode-2026-01-31", True, True, True),
    ],
)
def test_betas_without_a_field_go_where_the_table_says(name: str, invoke: bool, messages: bool, mantle: bool) -> None:
    assert (sent(name, surface=Surface.INVOKE) == (name,)) is invoke
    assert (sent(name, surface=Surface.MESSAGES) == (name,)) is messages
    assert (sent(name, surface=Surface.MANTLE) == (name,)) is mantle
    assert sent() == ()


@pytest.mark.parametrize("name", [name for name in ALL if name != "claude-code-20250219"])
def test_a_model_of_which_nothing_is_known_gets_none_of_them(name: str) -> None:
    assert sent(name, caps=Capabilities(), surface=Surface.INVOKE) == ()


def test_the_million_tokens_go_as_a_beta_only_to_models_that_need_it() -> None:
    name = "context-1m-2025-08-07"
    assert sent(name) == ()
    assert sent(name, caps=replace(NEWEST, context_1m_beta=True)) == (name,)


@pytest.mark.parametrize(
    ("name", "body", "seen"),
    [
        (betas.CONTEXT_MANAGEMENT, {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, set()),
        (betas.CONTEXT_MANAGEMENT, {}, {"memory"}),
        (betas.COMPACT, {"context_management": {"edits": [{"type": "compact_20260112"}]}}, set()),
        (betas.COMPACT, {}, {"compaction"}),
        (betas.TOOL_SEARCH, {}, {"tool_search"}),
        (betas.DISPLAY_UPDATES, {"thinking": {"display": "updates"}}, set()),
        (betas.BINDING, {"thinking": {"block_binding": {}}}, set()),
        (betas.SAFEGUARDS, {"safeguards": []}, set()),
        (betas.FINE_GRAINED, {}, {"fine_grained"}),
        ("computer-use-2025-01-24", {}, {"computer_20250124"}),
        ("computer-use-2025-11-24", {}, {"computer_20251124"}),
    ],
)
@pytest.mark.parametrize("surface", list(Surface))
def test_a_beta_goes_out_exactly_with_what_it_is_for(
    name: str, body: dict[str, Any], seen: set[str], surface: Surface
) -> None:
    assert sent(name, body=body, seen=seen, surface=surface) == (name,)
    assert sent(name, surface=surface) == ()
    assert sent(name, body=body, seen=seen, surface=surface, denied=(name,)) == ()


@pytest.mark.parametrize("odd", [{"context_management": 5, "thinking": 5}, {"context_management": {"edits": [5, {}]}}])
def test_fields_of_another_type_need_no_beta_but_an_unknown_edit_counts(odd: dict[str, Any]) -> None:
    expected = (betas.CONTEXT_MANAGEMENT,) if isinstance(odd["context_management"], dict) else ()
    assert sent(betas.CONTEXT_MANAGEMENT, betas.COMPACT, betas.DISPLAY_UPDATES, body=odd) == expected


def test_our_own_betas_go_unasked_where_their_feature_is_used() -> None:
    body: dict[str, Any] = {"thinking": {"block_binding": {}}}
    assert sent(body=body, seen={"tool_search", "fine_grained"}) == (
        betas.TOOL_SEARCH,
        betas.BINDING,
        betas.FINE_GRAINED,
    )


def test_the_order_is_the_tables_whatever_the_clients() -> None:
    names = ("thinking-token-count-2026-05-13", "interleaved-thinking-2025-05-14", "effort-2025-11-24")
    assert sent(*names) == sent(*reversed(names)) == (names[1], names[2], names[0])


def test_every_change_is_noted_with_its_reason() -> None:
    asked = (
        "advanced-tool-use-2025-11-20",
        "oauth-2025-04-20",
        "afk-mode-2026-01-31",
        betas.SAFEGUARDS,
        "claude-code-20250219",
        "effort-2025-11-24",
    )
    rules = Rules(betas=frozenset({"afk-mode-2026-01-31"}))
    draft = Draft({}, Surface.MESSAGES, NEWEST, rules, seen={"tool_search", "fine_grained"})
    draft.betas = betas.usable(asked, draft.surface, draft.caps, rules)
    assert betas.outgoing(draft, asked) == (betas.TOOL_SEARCH, "effort-2025-11-24", betas.FINE_GRAINED)
    assert draft.rewrites.listed() == (
        Rewrite("anthropic-beta: advanced-tool-use-2025-11-20", "renamed", f"{betas.TOOL_SEARCH} on Bedrock"),
        Rewrite("anthropic-beta: oauth-2025-04-20", "dropped", "not on the list of what Bedrock takes"),
        Rewrite("anthropic-beta: afk-mode-2026-01-31", "dropped", "Bedrock refused it lately"),
        Rewrite(f"anthropic-beta: {betas.SAFEGUARDS}", "dropped", "nothing in the request needs it"),
        Rewrite("anthropic-beta: claude-code-20250219", "dropped", "not for this model and surface"),
        Rewrite(f"anthropic-beta: {betas.FINE_GRAINED}", "added", "a field of the request needs it there"),
    )


def test_a_renamed_beta_that_is_not_used_is_noted_as_dropped() -> None:
    draft = Draft({}, Surface.MESSAGES, NEWEST)
    draft.betas = betas.usable(("advanced-tool-use-2025-11-20",), draft.surface, draft.caps, draft.rules)
    assert betas.outgoing(draft, ("advanced-tool-use-2025-11-20",)) == ()
    assert draft.rewrites.listed() == (
        Rewrite("anthropic-beta: advanced-tool-use-2025-11-20", "dropped", "nothing in the request needs it"),
    )


def test_structural_betas_are_those_whose_absence_changes_the_body() -> None:
    assert betas.TOOL_SEARCH in betas.STRUCTURAL
    assert "interleaved-thinking-2025-05-14" not in betas.STRUCTURAL
