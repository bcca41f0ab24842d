from __future__ import annotations

import hashlib
from typing import Any

import pytest

from claude_failover.core import betas, fields
from claude_failover.core.capabilities import Capabilities
from claude_failover.core.commands import Rewrite
from claude_failover.core.draft import Draft
from claude_failover.core.rules import Rules
from claude_failover.core.types import Surface

ALL = ("low", "medium", "high", "xhigh", "max")
INVOKE, MESSAGES, MANTLE = Surface.INVOKE, Surface.MESSAGES, Surface.MANTLE


def draft(
    body: dict[str, Any],
    surface: Surface = MESSAGES,
    caps: Capabilities | None = None,
    allowed: tuple[str, ...] = (betas.CONTEXT_MANAGEMENT, betas.COMPACT, betas.SAFEGUARDS),
    rules: Rules | None = None,
) -> Draft:
    return Draft(body, surface, caps or Capabilities(effort=ALL), rules or Rules(), frozenset(allowed))


def test_a_field_that_bedrock_does_not_know_goes() -> None:
    never = "diagnostics speed service_tier inference_geo fallbacks fallback_credit thread container mcp_servers new"
    body: dict[str, Any] = dict.fromkeys(never.split(), 1) | {"model": "m", "max_tokens": 5, "x" * 200: 1}
    made = draft(body)
    fields.drop_unknown(made)
    assert made.body == {"model": "m", "max_tokens": 5}
    assert [change.path for change in made.rewrites.listed()] == [*never.split(), "x" * 120]


@pytest.mark.parametrize(
    ("body", "config"),
    [
        (
            {"messages": [{"output_config": {"effort": "low"}}, {"output_config": {"effort": "max"}}, {}]},
            {"effort": "max"},
        ),
        (
            {"messages": [{"output_config": {"effort": "low"}}], "output_config": {"format": 1}},
            {"format": 1, "effort": "low"},
        ),
        ({"messages": [{"output_config": {"effort": "low"}}], "output_config": 5}, {"effort": "low"}),
        ({"messages": [{"output_config": {"effort": 5}}, 5, {"output_config": 5}]}, None),
        ({"messages": [{}], "output_config": {"effort": "high"}}, {"effort": "high"}),
        ({"messages": 5}, None),
        ({}, None),
    ],
)
def test_the_last_effort_that_a_message_asks_for_is_lifted(body: dict[str, Any], config: Any) -> None:
    made = draft(body)
    fields.lift_effort(made)
    assert made.body.get("output_config") == config


def test_an_effort_that_is_there_already_is_no_change() -> None:
    made = draft({"messages": [{"output_config": {"effort": "low"}}], "output_config": {"effort": "low"}})
    fields.lift_effort(made)
    assert made.rewrites.listed() == ()


@pytest.mark.parametrize(
    ("effort", "levels", "nearest"),
    [
        ("high", ALL, "high"),
        ("xhigh", ("low", "medium", "high", "max"), "max"),
        ("max", ("low", "medium", "high", "xhigh"), "xhigh"),
        ("low", ("high",), "high"),
        ("low", (), None),
        ("extreme", ALL, None),
        (["low"], ALL, None),
    ],
)
def test_the_nearest_effort_is_not_weaker_if_there_is_one(
    effort: object, levels: tuple[str, ...], nearest: str | None
) -> None:
    assert fields.nearest_effort(effort, levels) == nearest


FORMAT = {"type": "json_schema", "schema": {}}


@pytest.mark.parametrize(
    ("config", "surface", "caps", "left"),
    [
        ({"effort": "max", "task_budget": 1}, MESSAGES, Capabilities(effort=ALL), {"effort": "max"}),
        ({"effort": "max"}, MESSAGES, Capabilities(effort=("low", "xhigh")), {"effort": "xhigh"}),
        ({"effort": "max"}, MESSAGES, Capabilities(), None),
        ({"format": FORMAT}, INVOKE, Capabilities(structured_outputs=True), {"format": FORMAT}),
        ({"format": FORMAT}, MESSAGES, Capabilities(structured_outputs=True), None),
        ({"format": FORMAT}, MANTLE, Capabilities(structured_outputs=True), None),
        ({"format": FORMAT, "effort": "low"}, INVOKE, Capabilities(effort=ALL), {"effort": "low"}),
        (5, MESSAGES, Capabilities(), 5),
    ],
)
def test_output_config_keeps_what_surface_and_model_take(
    config: Any, surface: Surface, caps: Capabilities, left: Any
) -> None:
    made = draft({"output_config": config}, surface, caps)
    fields.translate_output_config(made)
    assert made.body.get("output_config") == left


CLEAR_THINKING = {"type": "clear_thinking_20251015", "keep": "all"}
CLEAR_TOOLS = {"type": "clear_tool_uses_20250919"}
COMPACT = {"type": "compact_20260112"}


@pytest.mark.parametrize(
    ("surface", "thinking", "edits", "left"),
    [
        (MESSAGES, "adaptive", [CLEAR_THINKING, CLEAR_TOOLS, COMPACT], [CLEAR_THINKING, CLEAR_TOOLS, COMPACT]),
        (MANTLE, "enabled", [CLEAR_THINKING], [CLEAR_THINKING]),
        (INVOKE, "adaptive", [CLEAR_THINKING, CLEAR_TOOLS, COMPACT], [CLEAR_TOOLS, COMPACT]),
        (INVOKE, "adaptive", [CLEAR_THINKING], None),
        (MESSAGES, "disabled", [CLEAR_THINKING], None),
        (MESSAGES, "adaptive", [{"type": "compact_20260904"}, 5, {}], None),
        (MESSAGES, "adaptive", [], None),
        (MESSAGES, "adaptive", 5, None),
    ],
)
def test_context_edits_go_where_they_are_known(surface: Surface, thinking: str, edits: Any, left: Any) -> None:
    made = draft({"context_management": {"edits": edits, "new": 1}, "thinking": {"type": thinking}}, surface)
    fields.translate_context_management(made)
    assert made.body.get("context_management") == (None if left is None else {"edits": left})


def test_without_its_beta_an_edit_goes_and_so_does_what_is_no_object() -> None:
    made = draft({"context_management": {"edits": [CLEAR_TOOLS, COMPACT]}}, allowed=(betas.COMPACT,))
    fields.translate_context_management(made)
    assert made.body == {"context_management": {"edits": [COMPACT]}}
    made = draft({"context_management": 5})
    fields.translate_context_management(made)
    assert made.body == {}


def test_safeguards_and_their_beta_go_together() -> None:
    kept, dropped = draft({"safeguards": []}), draft({"safeguards": []}, allowed=())
    fields.translate_safeguards(kept)
    fields.translate_safeguards(dropped)
    assert (kept.body, dropped.body) == ({"safeguards": []}, {})


def test_the_automatic_cache_mark_goes_to_newer_models_only() -> None:
    mark = {"type": "ephemeral", "scope": "global"}
    newer = draft({"cache_control": dict(mark)}, caps=Capabilities(top_level_cache_control=True))
    older = draft({"cache_control": dict(mark)})
    fields.translate_cache_control(newer)
    fields.translate_cache_control(older)
    assert (newer.body, older.body) == ({"cache_control": {"type": "ephemeral"}}, {})


USER = '{"device_id":"d","account_uuid":"a","session_id":"s"}'


@pytest.mark.parametrize(
    ("metadata", "surface", "left"),
    [
        ({"user_id": USER}, MESSAGES, {"user_id": hashlib.sha256(USER.encode()).hexdigest()}),
        ({"user_id": USER}, INVOKE, {"user_id": USER}),
        ({"user_id": USER}, MANTLE, {"user_id": USER}),
        ({"user_id": "user_1:a@b.c", "other": 1}, MESSAGES, {"user_id": "user_1:a@b.c"}),
        ({"user_id": "a" * 257}, MESSAGES, {"user_id": hashlib.sha256(b"a" * 257).hexdigest()}),
        ({"user_id": 5}, MESSAGES, {"user_id": 5}),
        ({"other": 1}, MESSAGES, None),
        (5, MESSAGES, 5),
    ],
)
def test_the_user_id_is_hashed_where_its_characters_are_refused(metadata: Any, surface: Surface, left: Any) -> None:
    made = draft({"metadata": metadata}, surface)
    fields.translate_metadata(made)
    assert made.body.get("metadata") == left


@pytest.mark.parametrize(
    ("asked", "budget", "most", "cap", "learned", "expected"),
    [
        (128_000, None, 128_000, None, None, (128_000, None)),
        (128_000, None, 64_000, None, None, (64_000, None)),
        (128_000, None, None, None, None, (128_000, None)),
        (128_000, None, 128_000, 32_000, None, (32_000, None)),
        (1, None, 64_000, 32_000, None, (1, None)),
        (128_000, None, 128_000, None, 8_192, (8_192, None)),
        (32_000, 31_999, 64_000, 16_000, None, (32_000, 31_999)),
        (64_000, 20_000, 64_000, 16_000, None, (21_024, 20_000)),
        (64_000, 10_000, 64_000, 16_000, None, (16_000, 10_000)),
        (128_000, 127_999, 64_000, None, None, (64_000, 62_976)),
        (128_000, 127_999, 2_000, None, None, (2_000, 1_024)),
        (128_000, 127_999, 1_000, None, None, (1_000, 127_999)),
        ("many", None, 64_000, None, None, ("many", None)),
        (True, None, 64_000, None, None, (True, None)),
    ],
)
def test_max_tokens_is_lowered_to_model_and_cap_but_stays_above_the_budget(
    asked: Any, budget: int | None, most: int | None, cap: int | None, learned: int | None, expected: Any
) -> None:
    body: dict[str, Any] = {"max_tokens": asked}
    if budget is not None:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    made = draft(body, caps=Capabilities(max_output=most), rules=Rules(max_output=learned))
    fields.clamp_max_tokens(made, cap)
    assert (made.body["max_tokens"], made.body.get("thinking", {}).get("budget_tokens")) == expected


def test_a_clamp_says_from_what_to_what() -> None:
    made = draft({"max_tokens": 128_000, "thinking": {"type": "adaptive"}})
    fields.clamp_max_tokens(made, 32_000)
    assert made.rewrites.listed() == (Rewrite("max_tokens", "clamped", "128000 to 32000"),)


def test_objects_that_a_lesson_emptied_go() -> None:
    made = draft(
        {
            "output_config": {},
            "metadata": {},
            "context_management": {"edits": []},
            "thinking": {"type": "adaptive", "block_binding": {}},
            "messages": [],
        }
    )
    fields.tidy(made)
    assert made.body == {"thinking": {"type": "adaptive"}, "messages": []}
    full = draft({"output_config": {"effort": "low"}, "thinking": {"block_binding": {"a": 1}}})
    fields.tidy(full)
    assert full.body == {"output_config": {"effort": "low"}, "thinking": {"block_binding": {"a": 1}}}
