from __future__ import annotations

from typing import Any

import pytest

from claude_failover.core import betas
from claude_failover.core.capabilities import Capabilities
from claude_failover.core.draft import Draft
from claude_failover.core.tools import forced_choice, translate_tools, unsupported
from claude_failover.core.types import Surface

SCHEMA = {"type": "object", "properties": {}}


def draft(
    *tools: Any, surface: Surface = Surface.MESSAGES, search: bool = True, eager: bool = True, **fields: Any
) -> Draft:
    allowed = frozenset({betas.TOOL_SEARCH}) if search else frozenset()
    return Draft(
        {"tools": list(tools), **fields}, surface, Capabilities(cache_ttl_1h=True, eager_streaming=eager), betas=allowed
    )


def translated(*tools: dict[str, Any], **options: Any) -> tuple[list[Any], set[str]]:
    made = draft(*tools, **options)
    translate_tools(made)
    return made.body["tools"], made.seen


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "Bash", "input_schema": SCHEMA},
        {"type": "custom", "name": "Bash"},
        {"type": "bash_20250124"},
        {"type": "text_editor_20250728"},
        {"type": "memory_20250818"},
        {"type": "computer_toolset_20260801"},
        {"type": "browser_toolset_20260801"},
        {"type": "tool_search_tool_regex_20251119"},
        "odd",
    ],
)
def test_client_tools_are_supported(tool: Any) -> None:
    assert unsupported(draft(tool)) is None


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ({"type": "web_search_20250305"}, 'Bedrock has no tool of the type "web_search_20250305"'),
        ({"type": "customised"}, 'Bedrock has no tool of the type "customised"'),
        ({"type": 5}, 'Bedrock has no tool of the type ""'),
        ({"type": None}, 'Bedrock has no tool of the type ""'),
    ],
)
def test_other_tools_keep_the_request_here(tool: dict[str, Any], why: str) -> None:
    assert unsupported(draft({"name": "a"}, tool)) == why


def test_a_typed_tool_that_the_model_does_not_know_keeps_the_request_here() -> None:
    made = draft({"type": "computer_20250124"})
    made.caps = Capabilities(refused_tools=("computer_20250124",))
    assert unsupported(made) == "the model has no tool of the type computer_20250124"


def test_a_search_tool_needs_a_model_that_has_it() -> None:
    tool = {"type": "tool_search_tool_bm25_20251119", "name": "s"}
    assert unsupported(draft(tool, search=False)) == "the model has no tool search on Bedrock"


@pytest.mark.parametrize(
    ("choice", "forced"), [({"type": "any"}, True), ({"type": "tool"}, True), ({"type": "auto"}, False), (5, False)]
)
def test_a_forced_choice_is_seen(choice: Any, forced: bool) -> None:
    assert forced_choice(draft(tool_choice=choice)) is forced


def test_no_tools_are_no_work() -> None:
    nothing: tuple[Any, ...] = ([], None, 5)
    for tools in nothing:
        made = Draft({"tools": tools}, Surface.MESSAGES, Capabilities())
        translate_tools(made)
        assert (made.body, made.rewrites.listed()) == ({"tools": tools}, ())


def test_a_tool_loses_what_is_refused_and_keeps_the_order_of_the_rest() -> None:
    tool = {
        "name": "Bash",
        "strict": True,
        "description": "d",
        "input_schema": SCHEMA,
        "input_examples": [{}],
        "allowed_callers": ["direct"],
        "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"},
    }
    tools, seen = translated(tool)
    assert [list(tool) for tool in tools] == [["name", "description", "input_schema", "cache_control"]]
    assert tools[0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert seen == set()


def test_the_custom_wrapper_is_taken_off() -> None:
    inner = {"name": "Bash", "input_schema": {"type": "custom"}, "defer_loading": True, "type": "x"}
    assert translated({"type": "custom", "custom": inner, "name": "Outer"}) == (
        [{"type": "custom", "name": "Outer", "input_schema": {"type": "object"}, "defer_loading": True}],
        {"tool_search"},
    )
    assert translated({"name": "a", "custom": 5}) == ([{"name": "a"}], set())


def test_deferred_tools_stay_so_where_there_is_a_search_and_are_loaded_where_not() -> None:
    tool = {"name": "a", "input_schema": SCHEMA, "defer_loading": True}
    assert translated(dict(tool)) == ([tool], {"tool_search"})
    assert translated(dict(tool), search=False) == ([{"name": "a", "input_schema": SCHEMA}], set())


@pytest.mark.parametrize(
    ("surface", "eager", "kept"),
    [
        (Surface.MESSAGES, True, True),
        (Surface.MANTLE, True, True),
        (Surface.INVOKE, True, False),
        (Surface.MESSAGES, False, False),
    ],
)
def test_eager_streaming_is_a_field_or_a_beta(surface: Surface, eager: bool, kept: bool) -> None:
    tools, seen = translated({"name": "a", "eager_input_streaming": True}, surface=surface, eager=eager)
    assert ("eager_input_streaming" in tools[0]) is kept
    assert (seen == {"fine_grained"}) is not kept


def test_a_tool_that_does_not_stream_eagerly_needs_no_beta() -> None:
    assert translated({"name": "a", "eager_input_streaming": False}, surface=Surface.INVOKE) == ([{"name": "a"}], set())


def test_typed_tools_keep_their_own_fields_and_are_remembered_for_their_betas() -> None:
    tools: list[dict[str, Any]] = [
        {"type": "computer_20251124", "name": "computer", "display_width_px": 1},
        {"type": "memory_20250818", "name": "memory"},
        {"type": "tool_search_tool_regex_20251119", "name": "s"},
    ]
    assert translated(*[dict(tool) for tool in tools]) == (tools, {"computer_20251124", "memory", "tool_search"})
