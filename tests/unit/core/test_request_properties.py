from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.commands import ClientRequest
from claude_failover.core.request import peek

NAMES = st.sampled_from(
    [
        "model",
        "stream",
        "max_tokens",
        "metadata",
        "thread",
        "messages",
        "tools",
        "role",
        "content",
        "type",
        "source",
        "file_id",
        "text",
        "user_id",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.sampled_from(["user", "system", "quota", "tool_result", "url", "file", "continue", "web_search_1", "text"])
    | st.text(max_size=5)
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)


def request(body: bytes) -> ClientRequest:
    return ClientRequest("cfr_1", "/v1/messages", (("x-claude-code-session-id", "s"),), body)


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert peek(request(body)).prompt_bytes == len(body)


@given(st.dictionaries(NAMES, JSON, max_size=8))
@settings(max_examples=100)
def test_every_json_object_is_valid_and_nothing_about_it_raises(body: dict[str, Any]) -> None:
    seen = peek(request(msgspec.json.encode(body)))
    assert seen.valid
    assert not seen.quota_probe or seen.stays


@given(st.dictionaries(NAMES, JSON, max_size=8), st.data())
@settings(max_examples=100)
def test_a_cut_body_is_never_taken_for_a_whole_one(body: dict[str, Any], data: st.DataObject) -> None:
    whole = msgspec.json.encode(body)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert not peek(request(whole[:cut])).valid
