from __future__ import annotations

from typing import Any

import msgspec
import pytest

from claude_failover.core.commands import ClientRequest
from claude_failover.core.request import LABEL_MAX, Peek, decode, peek, server_tool

SESSION = "0b7e7a1c-3d4e-4f50-9d6a-1f2e3d4c5b6a"


def look(body: bytes | dict[str, Any], *headers: tuple[str, str]) -> Peek:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return peek(ClientRequest(id="cfr_1", target="/v1/messages?beta=true", headers=headers, body=data))


def asked(*content: Any, **fields: Any) -> dict[str, Any]:
    return {
        "model": "claude-opus-5-5",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": list(content)}],
    } | (fields)


def test_the_plain_fields_are_read() -> None:
    seen = look(b'{"model":"claude-opus-5-5[1m]","stream":true,"max_tokens":128000,"messages":[]}')
    assert seen == Peek(
        model="claude-opus-5-5[1m]",
        stream=True,
        max_tokens=128_000,
        valid=True,
        quota_probe=False,
        in_tool_loop=False,
        stays=None,
        prompt_bytes=79,
    )


def test_the_lines_that_are_asked_for_are_kept_and_no_credential() -> None:
    lines = (
        ("User-Agent", "claude-cli/2.1.330"),
        ("user-agent", "another"),
        ("Authorization", "Bearer made-up-and-worth-nothing"),
        ("x-api-key", "made-up-and-worth-nothing"),
        ("X-Claude-Failover-Force", "b" * 300),
        ("x-claude-code-session-id", "s" * 300),
        ("accept", "*/*"),
    )
    said = {
        "user-agent": "claude-cli/2.1.330",
        "x-claude-failover-force": "b" * 300,
        "x-claude-code-session-id": "s" * 200,
    }
    assert look(b"{}", *lines).said == said
    assert look(b"no JSON", *lines).said == said


@pytest.mark.parametrize(
    ("line", "brought"),
    [
        (("X-Api-Key", ""), True),
        (("AUTHORIZATION", "Basic x"), True),
        (("x-api-keys", "made-up"), False),
    ],
)
def test_a_credential_of_the_clients_is_seen_and_not_looked_at(line: tuple[str, str], *, brought: bool) -> None:
    assert look(b"{}", line).own_credential is brought
    assert look(b"no JSON", line).own_credential is brought


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"text"', b"{", b'{"a":1}x', b"\xff", b"[" * 100_000, b'{"messages":' + b"[" * 100_000],
    ids=["empty", "null", "list", "string", "cut", "trailing", "no utf-8", "deep", "deep field"],
)
def test_what_is_no_json_object_is_the_primarys_to_refuse(body: bytes) -> None:
    seen = look(body)
    assert (seen.valid, seen.stays, seen.model, seen.prompt_bytes) == (
        False,
        "the body is not a JSON object",
        "",
        len(body),
    )


@pytest.mark.parametrize("levels", range(20, 520, 20))
def test_any_depth_of_nesting_ends_at_the_primary(levels: int) -> None:
    body = b'{"tools":1,"messages":[{"content":' + b'[{"content":' * levels + b"1" + b"}]" * levels + b"}]}"
    assert look(body).stays in {
        "content nested deeper than any that is known can only be read by the Claude API",
        "the body is not a JSON object",
    }


def test_fields_of_another_type_are_read_as_far_as_they_are_well_formed() -> None:
    seen = look(
        {
            "model": 7,
            "stream": "yes",
            "max_tokens": True,
            "messages": [
                3,
                {"role": "user", "content": [{"type": "tool_result", "content": 5, "source": 4}, 9]},
            ],
            "tools": [None, {"type": 5}],
            "metadata": 3,
            "thread": 3,
        }
    )
    assert (seen.valid, seen.model, seen.stream, seen.max_tokens) == (True, "", False, None)
    assert (seen.in_tool_loop, seen.stays, seen.session) == (True, None, None)


@pytest.mark.parametrize("content", ["quota", [{"type": "text", "text": "quota"}]], ids=["string", "block"])
def test_the_quota_probe_never_leaves_the_primary(content: Any) -> None:
    seen = look({"model": "h", "max_tokens": 1, "messages": [{"role": "user", "content": content}]})
    assert seen.quota_probe
    assert seen.stays == "the quota probe asks about the plan of the primary"


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": 2, "messages": [{"role": "user", "content": "quota"}]},
        {"max_tokens": 1, "messages": [{"role": "user", "content": "quotas"}]},
        {"max_tokens": 1, "messages": [{"role": "assistant", "content": "quota"}]},
        {"max_tokens": 1, "messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "quota"}]},
        {"max_tokens": 1, "messages": []},
        {"max_tokens": 1, "messages": [{"role": "user", "content": [{"text": "quota"}, {"text": "x"}]}]},
    ],
)
def test_other_small_requests_are_no_quota_probe(body: dict[str, Any]) -> None:
    assert not look(body).quota_probe


def test_a_probe_whose_rest_cannot_be_read_is_none() -> None:
    # The parser skips what it does not need: that this number is too large shows only in a full read.
    assert not look(b'{"max_tokens":1,"messages":[{"role":"user","content":"quota"}],"x":1e999}').quota_probe


@pytest.mark.parametrize(("value", "stays"), [("slow", True), (" Slow ", True), ("extended", False)])
def test_who_chose_to_wait_in_low_priority_mode_waits(value: str, stays: bool) -> None:
    seen = look(asked("hi"), ("Anthropic-Usage-Limit", value))
    assert (seen.stays == "the user chose to wait in the plan's low-priority mode") is stays


def test_a_continued_thread_stays_and_a_created_one_does_not() -> None:
    thread = {"type": "continue", "previous_message_id": "msg_1"}
    assert look(asked("hi", thread=thread)).stays == "it continues a thread that only the primary holds"
    assert look(asked("hi", thread={"type": "create"})).stays is None


@pytest.mark.parametrize(
    "kind", ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "advisor_20260301", "mcp_toolset"]
)
def test_server_tools_stay(kind: str) -> None:
    assert look(asked("hi", tools=[{"name": "a"}, {"type": kind}])).stays == (
        f"the server tool {kind} runs only at the Claude API"
    )


def test_client_tools_may_leave() -> None:
    assert look(asked("hi", tools=[{"type": "bash_20250124", "name": "bash"}, {"type": "custom"}])).stays is None
    assert not server_tool(None)


@pytest.mark.parametrize(
    ("block", "what"),
    [
        ({"type": "image", "source": {"type": "url", "url": "https://a"}}, "a URL source"),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, "a file_id source"),
        ({"type": "image", "source": {"file_id": "f"}}, "a file_id source"),
        ({"type": "container_upload", "file_id": "f"}, "a container upload"),
        (
            {"type": "tool_result", "content": [{"type": "text"}, {"type": "image", "source": {"type": "url"}}]},
            "a URL source",
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [{"source": {"type": "file"}}]}},
            "a file_id source",
        ),
        ({"type": "odd", "source": [], "content": [{"source": {"type": "url"}}]}, "a URL source"),
    ],
    ids=["image url", "file", "file without type", "container", "inside a result", "inside a document", "odd block"],
)
def test_what_only_the_claude_api_can_fetch_stays(block: dict[str, Any], what: str) -> None:
    assert look(asked({"type": "text", "text": "see"}, block)).stays == f"{what} can only be read by the Claude API"


def test_a_url_in_what_a_tool_was_given_is_no_source() -> None:
    call = {"type": "tool_use", "id": "t", "name": "WebFetch", "input": {"source": {"type": "url"}, "file_id": 1}}
    assert look(asked(call, {"type": "image", "source": {"type": "base64", "data": "AA"}})).stays is None


def test_plain_content_in_content_does_not_stay_and_hides_nothing_behind_it() -> None:
    result = {"type": "tool_result", "content": [{"type": "text", "text": "ok"}]}
    assert look(asked(result, result)).stays is None
    behind = look(asked(result, {"type": "image", "source": {"type": "url"}}))
    assert behind.stays == "a URL source can only be read by the Claude API"


def test_content_nested_beyond_what_is_known_stays() -> None:
    block: dict[str, Any] = {"type": "tool_result", "content": "x"}
    for _ in range(20):
        block = {"type": "tool_result", "content": [block]}
    assert look(asked(block)).stays == (
        "content nested deeper than any that is known can only be read by the Claude API"
    )


RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]}
SYSTEM = {"role": "system", "content": "note"}


@pytest.mark.parametrize(
    ("messages", "inside"),
    [
        ([], False),
        ([{"role": "user", "content": "hi"}], False),
        ([RESULT], True),
        ([RESULT, SYSTEM], True),
        ([RESULT, {"role": "assistant", "content": "done"}, {"role": "user", "content": "next"}], False),
        ([{"role": "user", "content": "hi"}, SYSTEM], False),
        ([SYSTEM], False),
    ],
)
def test_a_tool_loop_is_seen_by_the_last_user_message(messages: list[Any], inside: bool) -> None:
    assert look({"messages": messages}).in_tool_loop is inside


def test_labels_come_from_the_headers_bounded_and_the_first_counts() -> None:
    seen = look(
        asked("hi"),
        ("X-Claude-Code-Session-Id", SESSION),
        ("x-claude-code-session-id", "other"),
        ("user-agent", "not looked at here"),
        ("x-claude-code-agent-id", "a" * 500),
        ("X-Claude-Code-Request-Class", "subagent"),
    )
    assert (seen.session, seen.agent, seen.request_class) == (SESSION, "a" * LABEL_MAX, "subagent")


@pytest.mark.parametrize(
    ("user_id", "session"),
    [
        (f'{{"device_id":"d","session_id":"{SESSION}"}}', SESSION),
        ('{"session_id":""}', None),
        ('{"session_id":5}', None),
        ("[1]", None),
        ("user_1", None),
        (5, None),
    ],
)
def test_without_a_header_the_session_is_read_from_the_metadata(user_id: Any, session: str | None) -> None:
    assert look(asked("hi", metadata={"user_id": user_id})).session == session


def test_invalid_bodies_keep_their_labels() -> None:
    assert look(b"{", ("x-claude-code-session-id", SESSION)).session == SESSION


def test_decode_answers_none_to_what_cannot_be_read() -> None:
    assert (decode(b"{}"), decode("\ud800"), decode(b"1e999")) == ({}, None, None)
