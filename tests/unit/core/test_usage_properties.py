"""Counting survives any bytes and any order."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.types import Ended
from claude_failover.core.usage import UsageCounter

names = st.sampled_from(["message_start", "message_delta", "message_stop", "ping", "error", ""])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
usage_keys = st.sampled_from(
    [
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "cache_creation",
        "server_tool_use",
        "output_tokens_details",
        "iterations",
        "speed",
        "inference_geo",
    ]
)
counts = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]),
    st.integers(0, 10**6),
)


@given(st.lists(st.tuples(names, st.binary(max_size=60)), max_size=20), st.binary(max_size=60))
@settings(max_examples=200)
def test_no_bytes_make_it_raise(events: list[tuple[str, bytes]], body: bytes) -> None:
    counter = UsageCounter()
    for name, data in events:
        counter.event(name, data)
        counter.relayed(data)
    counter.body(body)
    assert counter.usage.prompt >= 0
    assert counter.state(complete=True) in Ended


@given(st.lists(st.dictionaries(usage_keys, json_values, max_size=5), max_size=8))
@settings(max_examples=200)
def test_no_json_makes_it_raise_or_go_negative(usages: list[dict[str, Any]]) -> None:
    counter = UsageCounter()
    for number, usage in enumerate(usages):
        message = {"message": {"usage": usage}, "usage": usage, "amazon-bedrock-invocationMetrics": usage}
        counter.event(("message_start", "message_delta", "message_stop")[number % 3], json.dumps(message).encode())
    usage_seen = counter.usage
    assert min(usage_seen.input, usage_seen.output, usage_seen.cache_write_5m, usage_seen.cache_write_1h) >= 0
    assert usage_seen.thinking <= max(usage_seen.output, 0)
    assert isinstance(counter.disagreement, str)


@given(st.lists(counts, min_size=1, max_size=10), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_the_order_and_the_repetition_of_deltas_do_not_matter(deltas: list[dict[str, int]], rng: Any) -> None:
    shuffled = deltas * 2
    rng.shuffle(shuffled)
    one, other = UsageCounter(), UsageCounter()
    for counter, sequence in ((one, deltas), (other, shuffled)):
        for usage in sequence:
            counter.event("message_delta", json.dumps({"usage": usage}).encode())
    assert one.usage == other.usage
    assert one.usage.input == max(d.get("input_tokens", 0) for d in deltas)
