"""How many tokens a body can be at most."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.bounds import IMAGE_TOKENS, UNKNOWN, PromptBound, prompt_bound

PICTURE = base64.b64encode(bytes(range(256)) * 400).decode()


def body(*blocks: object, **more: object) -> bytes:
    return json.dumps({"model": "claude-opus-5-5", "messages": [{"role": "user", "content": blocks}], **more}).encode()


def image(data: str = PICTURE, media: str = "image/png", kind: str = "base64") -> dict[str, object]:
    return {"type": "image", "source": {"type": kind, "media_type": media, "data": data}}


def test_text_counts_its_bytes() -> None:
    sent = body({"type": "text", "text": "é" * 1_000})
    assert prompt_bound(sent) == PromptBound(len(sent), hour_cache=False)


def test_an_image_counts_what_an_image_can_cost() -> None:
    sent = body({"type": "text", "text": "look"}, image(), image())
    assert prompt_bound(sent).tokens == len(sent) - 2 * len(PICTURE) + 2 * IMAGE_TOKENS


def test_a_small_image_counts_no_less_than_it_is() -> None:
    sent = body(image("aGk="))
    assert prompt_bound(sent).tokens == len(sent)


def test_the_order_of_keys_and_escaped_slashes_do_not_matter() -> None:
    escaped = body({"type": "image", "source": {"data": PICTURE, "media_type": "image/png", "type": "base64"}})
    escaped = escaped.replace(b"/", b"\\/")
    assert prompt_bound(escaped).tokens < len(escaped) - 100_000


def test_a_pdf_may_be_anything() -> None:
    assert prompt_bound(body(image(media="application/pdf"))).tokens == UNKNOWN
    assert prompt_bound(body(image(media="application/pdf")).replace(b"/", b"\\/")).tokens == UNKNOWN


@pytest.mark.parametrize(
    "block",
    [
        image(media="text/plain"),
        image(kind="text"),
        image(data="it is base64, he said, " * 1_000),
        {"type": "tool_use", "input": {"data": PICTURE, "why": "a key of the tool's own"}},
        {"type": "text", "text": 'he wrote {"type": "base64", "media_type": "image/png", "data": "' + PICTURE + '"}'},
        {"type": "tool_use", "input": {"long": "y" * 300, "data": PICTURE, "type": "base64"}},
        {"type": "tool_use", "input": {"note": ["base64", "image/png", "data", "x" * 9_000]}},
    ],
    ids=[
        "text source",
        "not base64",
        "not base64 either",
        "tool input",
        "quoted in text",
        "no small object",
        "not a key",
    ],
)
def test_what_only_looks_like_an_image_counts_as_text(block: dict[str, object]) -> None:
    sent = body(block, image("aGk="))
    assert prompt_bound(sent).tokens == len(sent)


def test_one_hour_caching_is_noticed() -> None:
    sent = body({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}})
    assert prompt_bound(sent).hour_cache
    assert not prompt_bound(sent.replace(b"1h", b"5m")).hour_cache


@pytest.mark.parametrize("tail", [b'"data"', b'"data":', b'"data":"abc', b'"data" x "'])
def test_a_body_that_is_cut_is_bounded_too(tail: bytes) -> None:
    sent = b'{"type": "base64", "media_type": "image/png", ' + tail
    assert prompt_bound(sent).tokens == len(sent)


@given(st.lists(st.sampled_from([b'"base64"', b'"data"', b":", b'"', b'"image/png"', b"A" * 7_000, b"{", b" "])))
@settings(max_examples=200)
def test_no_bytes_make_it_raise_or_less_than_an_image_each(parts: list[bytes]) -> None:
    sent = b'{"type": "base64", "media_type": "image/png", ' + b"".join(parts) + b"}"
    bound = prompt_bound(sent).tokens
    assert len(sent) >= bound >= min(len(sent), len(sent.replace(b"A", b"")))
