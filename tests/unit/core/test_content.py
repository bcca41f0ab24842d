from __future__ import annotations

from typing import Any

import msgspec
import pytest

from claude_failover.core import betas
from claude_failover.core.capabilities import Capabilities
from claude_failover.core.commands import Rewrite
from claude_failover.core.content import clean_cache_control, translate_messages, translate_system, unsupported
from claude_failover.core.draft import Draft
from claude_failover.core.rules import Rules, Switch
from claude_failover.core.types import Surface

NEWER = Capabilities(system_role=True, tool_search=True, cache_ttl_1h=True)
OLDER = Capabilities(tool_search=True)


def draft(
    *messages: Any,
    caps: Capabilities = NEWER,
    allowed: frozenset[str] = frozenset({betas.TOOL_SEARCH}),
    rules: Rules | None = None,
    **fields: Any,
) -> Draft:
    # A copy: translation works in place.
    body = msgspec.json.decode(msgspec.json.encode({"messages": list(messages), **fields}))
    return Draft(body, Surface.MESSAGES, caps, rules or Rules(), allowed)


def translated(*messages: Any, **options: Any) -> list[Any]:
    made = draft(*messages, **options)
    translate_messages(made)
    result: list[Any] = made.body["messages"]
    return result


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


CALL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"cache_control": {"scope": "x"}}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}
NOTE = {"role": "system", "content": "note"}


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ({"type": "server_tool_use", "name": "web_search"}, "the conversation holds calls of a server tool"),
        ({"type": "web_search_tool_result"}, 'the conversation holds a block of the type "web_search_tool_result"'),
        ({"type": "mcp_tool_use"}, 'the conversation holds a block of the type "mcp_tool_use"'),
        ({}, 'the conversation holds a block of the type ""'),
        ({"type": "x" * 90}, f'the conversation holds a block of the type "{"x" * 60}"'),
        (
            {"type": "compaction"},
            "the conversation was compacted by the Claude API, whose block Bedrock is not sent",
        ),
        (
            {"type": "tool_result", "content": [text("a"), {"type": "odd"}]},
            'the conversation holds a block of the type "odd"',
        ),
    ],
)
def test_a_block_that_can_neither_stay_nor_go_keeps_the_request_here(block: dict[str, Any], why: str) -> None:
    assert unsupported(draft(user(text("hi")), assistant(block))) == why


def test_odd_blocks_in_the_system_prompt_count_too() -> None:
    assert unsupported(draft(system=[text("a"), {"type": "odd"}])) == 'the conversation holds a block of the type "odd"'
    assert unsupported(draft(system="You are", messages=5)) is None


def test_everything_that_bedrock_takes_or_that_may_go_is_supported() -> None:
    blocks = [
        text("a"),
        CALL,
        RESULT,
        {"type": "fallback"},
        {"type": "tool_addition"},
        {"type": "server_tool_use", "name": "tool_search_tool_regex"},
        {"type": "tool_search_tool_result"},
        {"type": "compaction"},
    ]
    assert unsupported(draft(user(*blocks), "odd", allowed=frozenset({betas.TOOL_SEARCH, betas.COMPACT}))) is None


@pytest.mark.parametrize(
    "block", [{"type": "server_tool_use", "name": "tool_search_tool_bm25"}, {"type": "tool_search_tool_result"}]
)
def test_a_search_among_tools_needs_its_beta(block: dict[str, Any]) -> None:
    assert unsupported(draft(assistant(block), allowed=frozenset())) == "the conversation holds calls of a server tool"


def test_the_system_prompt_keeps_its_text_and_loses_what_is_refused() -> None:
    attribution = text("x-anthropic-billing-header: cc_version=2.1.330; cc_entrypoint=cli;")
    marked = text("You are") | {"cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}, "new": 1}
    made = draft(system=[attribution, marked])
    translate_system(made)
    assert made.body["system"] == [
        attribution,
        text("You are") | {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]


@pytest.mark.parametrize("system", ["You are", None, 5])
def test_a_system_prompt_that_is_no_list_stays(system: Any) -> None:
    made = draft(system=system)
    translate_system(made)
    assert made.body["system"] == system


@pytest.mark.parametrize("messages", [None, "x", 5])
def test_messages_that_are_no_list_stay(messages: Any) -> None:
    made = Draft({"messages": messages}, Surface.MESSAGES, NEWER)
    translate_messages(made)
    assert made.body == {"messages": messages}


def test_keys_that_bedrock_does_not_know_go_from_messages_and_blocks() -> None:
    message = {"role": "user", "content": "hi", "output_config": {"effort": "low"}, "clear_at": 1}
    call = CALL | {"caller": {"type": "direct"}}
    thought = {"type": "thinking", "thinking": "", "signature": "s", "cache_control": {"type": "ephemeral"}}
    assert translated(message, assistant(thought, call)) == [
        {"role": "user", "content": "hi"},
        assistant({"type": "thinking", "thinking": "", "signature": "s"}, CALL),
    ]


def test_what_a_tool_was_given_is_never_touched() -> None:
    assert translated(assistant(CALL)) == [assistant(CALL)]


def test_cache_marks_are_cleaned_wherever_they_may_be() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "5m", "scope": "global"}}
    clean = {"cache_control": {"type": "ephemeral", "ttl": "5m"}}
    source = {"type": "content", "content": [text("c") | mark]}
    content = [
        RESULT | {"content": [text("a") | mark]} | mark,
        {"type": "document", "source": source} | mark,
        {"type": "search_result", "content": [text("d") | mark], "source": "s", "title": "t"} | mark,
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}} | mark,
    ]
    assert translated(user(*content)) == [
        user(
            RESULT | {"content": [text("a") | clean]} | clean,
            {"type": "document", "source": {"type": "content", "content": [text("c") | clean]}} | clean,
            {"type": "search_result", "content": [text("d") | clean], "source": "s", "title": "t"} | clean,
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}} | clean,
        )
    ]


@pytest.mark.parametrize(
    ("node", "left"),
    [
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"cache_control": {"type": "ephemeral"}}),
        ({"cache_control": {"type": "persistent"}}, {}),
        ({"cache_control": "ephemeral"}, {}),
        ({"type": "text", "text": "", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": ""}),
        ({"cache_control": None}, {"cache_control": None}),
    ],
)
def test_of_a_cache_mark_only_what_the_model_takes_is_left(node: dict[str, Any], left: dict[str, Any]) -> None:
    made = Draft({}, Surface.MESSAGES, OLDER)
    clean_cache_control(node, "", made)
    assert node == left
    assert all(change.path.startswith("cache_control") for change in made.rewrites.listed())


def test_thinking_without_a_signature_is_left_out_as_bedrock_always_refuses_it() -> None:
    thoughts = [{"type": "thinking", "thinking": "a"}, {"type": "thinking", "thinking": "b", "signature": ""}]
    assert translated(user(text("q")), assistant(*thoughts, text("a"))) == [user(text("q")), assistant(text("a"))]


def test_markers_of_betas_that_are_not_sent_go() -> None:
    made = draft(
        user(text("q")), {"role": "system", "content": [{"type": "tool_addition", "tool": {}}]}, user(text("r"))
    )
    translate_messages(made)
    assert made.body["messages"] == [user(text("q"), text("r"))]
    assert made.rewrites.listed() == (
        Rewrite("messages.*.content.* (tool_addition)", "dropped", "its beta is not for Bedrock"),
        Rewrite("messages.*", "dropped", "nothing was left in it"),
    )


def test_an_emptied_turn_between_others_leaves_them_apart_if_their_roles_differ() -> None:
    gone = {"role": "assistant", "content": [{"type": "fallback"}]}
    assert translated(user(text("q")), gone, assistant(text("a"))) == [user(text("q")), assistant(text("a"))]
    assert translated(gone, "odd", gone, user(text("q"))) == ["odd", user(text("q"))]


def test_empty_content_of_the_clients_stays_its_own_mistake() -> None:
    assert translated({"role": "user", "content": []}, {"role": "user"}) == [
        {"role": "user", "content": []},
        {"role": "user"},
    ]


def test_tool_references_stay_with_their_beta_and_become_text_without() -> None:
    found = RESULT | {"content": [{"type": "tool_reference", "tool_name": "mcp__x"}]}
    made = draft(user(found))
    translate_messages(made)
    assert (made.body["messages"], made.seen) == ([user(found)], {"tool_search"})
    assert translated(user(found), allowed=frozenset()) == [user(RESULT | {"content": [text("mcp__x")]})]


def test_blocks_that_need_a_beta_are_remembered() -> None:
    made = draft(assistant({"type": "server_tool_use", "name": "tool_search_tool_bm25"}, {"type": "compaction"}))
    translate_messages(made)
    assert made.seen == {"tool_search", "compaction"}


def test_a_newer_model_keeps_system_messages_in_place() -> None:
    messages = [user(text("q")), NOTE, assistant(text("a"))]
    assert translated(*messages) == messages


def test_an_older_model_gets_them_as_text_of_the_user_turn_before() -> None:
    assert translated({"role": "user", "content": "q"}, NOTE, assistant(text("a")), caps=OLDER) == [
        user(text("q"), text("note")),
        assistant(text("a")),
    ]
    learned = Rules(switches=frozenset({Switch.CONVERT_SYSTEM}))
    assert translated(user(text("q")), NOTE, rules=learned) == [user(text("q"), text("note"))]


def test_converted_text_comes_after_tool_results_never_between_call_and_result() -> None:
    assert translated(assistant(CALL), user(RESULT), NOTE, caps=OLDER) == [
        assistant(CALL),
        user(RESULT, text("note")),
    ]
    assert translated(assistant(CALL), NOTE, user(RESULT), assistant(text("a")), caps=OLDER) == [
        assistant(CALL),
        user(RESULT, text("note")),
        assistant(text("a")),
    ]
    assert translated(assistant(CALL), NOTE, caps=OLDER) == [assistant(CALL), user(text("note"))]


def test_a_user_turn_after_converted_text_is_joined_with_it() -> None:
    assert translated(user(text("q")), NOTE, NOTE, user(text("r")), caps=OLDER) == [
        user(text("q"), text("note"), text("note"), text("r"))
    ]
    assert translated(assistant(text("a")), NOTE, user(text("r")), caps=OLDER) == [
        assistant(text("a")),
        user(text("note"), text("r")),
    ]


def test_a_leading_system_message_becomes_the_first_user_turn_and_is_never_hoisted() -> None:
    assert translated(NOTE, assistant(text("a")), caps=OLDER) == [user(text("note")), assistant(text("a"))]
    assert translated({"role": "system", "content": 5}, caps=OLDER) == [user()]


def test_turns_that_the_client_put_side_by_side_stay_so() -> None:
    messages = [user(text("a")), user(text("b")), assistant(text("c")), assistant(text("d"))]
    assert translated(*messages, caps=OLDER) == messages


def test_what_is_no_block_stays_the_clients_own_mistake() -> None:
    assert translated(user("plain", 5, None)) == [user("plain", 5, None)]
