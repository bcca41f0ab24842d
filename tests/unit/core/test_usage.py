"""Tokens, as the two wires tell them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from claude_failover.core.types import Ended, Usage
from claude_failover.core.usage import UsageCounter


def start(**usage: Any) -> bytes:
    return json.dumps({"type": "message_start", "message": {"model": "claude-opus-5-5", "usage": usage}}).encode()


def delta(**usage: Any) -> bytes:
    return json.dumps({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}).encode()


def stop(**metrics: int) -> bytes:
    event: dict[str, Any] = {"type": "message_stop"}
    if metrics:
        event["amazon-bedrock-invocationMetrics"] = metrics
    return json.dumps(event).encode()


def counted(*events: tuple[str, bytes]) -> UsageCounter:
    counter = UsageCounter()
    for name, data in events:
        counter.event(name, data)
    return counter


def test_deltas_are_cumulative_and_never_added_up() -> None:
    counter = counted(
        ("message_start", start(input_tokens=100, output_tokens=1)),
        ("message_delta", delta(output_tokens=20)),
        ("message_delta", delta(output_tokens=50, input_tokens=100)),
        ("message_stop", stop()),
    )
    assert counter.usage == Usage(input=100, output=50)
    assert counter.state(complete=True) is Ended.COMPLETE
    assert counter.model == "claude-opus-5-5"


def test_a_delta_may_raise_the_input_side_but_not_lower_it() -> None:
    counter = counted(
        ("message_start", start(input_tokens=100, cache_read_input_tokens=7)),
        ("message_delta", delta(input_tokens=130, cache_read_input_tokens=0, output_tokens=5)),
        ("message_stop", stop()),
    )
    assert counter.usage == Usage(input=130, cache_read=7, output=5)


def test_the_split_of_cache_writes_may_stand_in_the_start_only() -> None:
    counter = counted(
        (
            "message_start",
            start(
                input_tokens=3,
                cache_creation_input_tokens=1000,
                cache_creation={"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
            ),
        ),
        ("message_delta", delta(output_tokens=9, cache_creation_input_tokens=1000)),
        ("message_stop", stop()),
    )
    assert counter.usage == Usage(input=3, output=9, cache_write_5m=400, cache_write_1h=600)


def test_cache_writes_without_a_split_are_five_minute_ones() -> None:
    counter = counted(("message_start", start(cache_creation_input_tokens=1000)))
    assert counter.usage == Usage(cache_write_5m=1000)


def test_what_the_split_leaves_out_is_five_minute_writing() -> None:
    counter = counted(
        ("message_start", start(cache_creation_input_tokens=1000, cache_creation={"ephemeral_1h_input_tokens": 300}))
    )
    assert counter.usage == Usage(cache_write_5m=700, cache_write_1h=300)


def test_server_tools_thinking_geography_and_speed_are_read() -> None:
    counter = counted(
        ("message_start", start(input_tokens=1, inference_geo="us", speed="fast")),
        (
            "message_delta",
            delta(
                output_tokens=90,
                server_tool_use={"web_search_requests": 3},
                output_tokens_details={"thinking_tokens": 60},
            ),
        ),
        ("message_stop", stop()),
    )
    assert counter.usage == Usage(input=1, output=90, web_searches=3, thinking=60, geo_us=True, fast=True)


def test_thinking_is_a_part_of_the_output() -> None:
    counter = counted(("message_delta", delta(output_tokens=10, output_tokens_details={"thinking_tokens": 60})))
    assert counter.usage.thinking == 10


def test_server_side_compaction_is_billed_on_top() -> None:
    """Each list is whole, so the last one counts, not their sum."""
    early = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_000}
    late = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500, "cache_read_input_tokens": 5}
    counter = counted(
        ("message_start", start(input_tokens=23_000, output_tokens=1, iterations=[early])),
        (
            "message_delta",
            delta(
                output_tokens=1_000,
                iterations=[late, {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000}, "odd"],
            ),
        ),
        ("message_stop", stop()),
    )
    assert counter.usage == Usage(input=203_000, output=4_500, cache_read=5)


def test_bedrocks_metrics_are_not_counted_twice() -> None:
    counter = counted(
        ("message_start", start(input_tokens=100, cache_read_input_tokens=50, cache_creation_input_tokens=20)),
        ("message_delta", delta(output_tokens=30)),
        (
            "message_stop",
            stop(
                inputTokenCount=100,
                outputTokenCount=30,
                cacheReadInputTokenCount=50,
                cacheWriteInputTokenCount=20,
                invocationLatency=900,
            ),
        ),
    )
    assert counter.usage == Usage(input=100, output=30, cache_read=50, cache_write_5m=20)
    assert counter.disagreement == ""


def test_bedrocks_metrics_that_disagree_are_told_and_the_larger_counts() -> None:
    counter = counted(
        ("message_start", start(input_tokens=100)),
        ("message_delta", delta(output_tokens=30)),
        ("message_stop", stop(inputTokenCount=100, outputTokenCount=45)),
    )
    assert counter.usage == Usage(input=100, output=45)
    assert counter.disagreement == "output 30 != 45"


def test_cache_counts_that_only_the_metrics_have_are_taken_from_there() -> None:
    counter = counted(
        ("message_start", start(input_tokens=5)),
        ("message_stop", stop(inputTokenCount=5, outputTokenCount=7, cacheReadInputTokenCount=900)),
    )
    assert counter.usage == Usage(input=5, output=7, cache_read=900)
    assert counter.disagreement == ""


def test_metrics_alone_are_an_answer_too() -> None:
    counter = counted(("message_stop", stop(inputTokenCount=5, outputTokenCount=7)))
    assert counter.usage == Usage(input=5, output=7)
    assert counter.state(complete=True) is Ended.COMPLETE


def test_a_plain_body_has_everything_at_once() -> None:
    counter = UsageCounter()
    counter.body(
        b'{"id":"msg_1","type":"message","model":"claude-haiku-5-5","content":[{"type":"text","text":"hi"}],'
        b'"usage":{"input_tokens":8,"output_tokens":2,"cache_read_input_tokens":4}}'
    )
    assert counter.usage == Usage(input=8, output=2, cache_read=4)
    assert (counter.model, counter.state(complete=True)) == ("claude-haiku-5-5", Ended.COMPLETE)


def test_an_error_body_has_no_usage() -> None:
    counter = UsageCounter()
    counter.body(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    assert counter.state(complete=True) is Ended.NOTHING
    assert counter.usage == Usage()


def test_a_cut_stream_is_partial_and_its_output_is_estimated_from_the_text() -> None:
    counter = counted(("message_start", start(input_tokens=100, output_tokens=1)))
    counter.seen(700)
    counter.seen(-5)
    assert counter.usage == Usage(input=100, output=200), "700 / 3.5"
    assert counter.estimated
    assert counter.state(complete=False) is Ended.PARTIAL


def test_the_estimate_is_only_a_floor() -> None:
    counter = counted(
        ("message_start", start(input_tokens=1, output_tokens=1)), ("message_delta", delta(output_tokens=500))
    )
    counter.seen(700)
    assert counter.usage.output == 500
    assert not counter.estimated


def test_a_stream_that_ended_properly_is_not_estimated() -> None:
    counter = counted(("message_start", start(input_tokens=1)))
    counter.seen(10_000)
    counter.event("message_delta", delta(output_tokens=12))
    counter.event("message_stop", stop())
    assert counter.usage.output == 12


def test_the_text_in_relayed_bytes_is_what_is_left_without_the_framing() -> None:
    """Ten events of 118 bytes around 35 bytes of text: 350 / 3.5."""
    event = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"' + b"x" * 35 + b'"}}\n\n'
    )
    counter = counted(("message_start", start(input_tokens=1)))
    for _ in range(10):
        counter.relayed(event)
    assert counter.usage.output == pytest.approx(100, abs=12)


def test_behind_a_stop_that_was_counted_for_relayed_bytes_change_nothing() -> None:
    counter = counted(("message_start", start(input_tokens=1, output_tokens=1)), ("message_stop", stop()))
    before = counter.usage
    counter.relayed(b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n' * 9)
    assert counter.usage == before
    assert not counter.estimated
    assert counter.state(complete=True) is Ended.COMPLETE


def test_relayed_bytes_without_content_are_no_output() -> None:
    counter = counted(("message_start", start(input_tokens=1, output_tokens=1)))
    counter.relayed(b'event: ping\ndata: {"type":"ping"}\n\n')
    assert counter.usage.output == 1


def test_an_end_without_message_stop_is_partial_even_if_the_body_ended_well() -> None:
    counter = counted(("message_start", start(input_tokens=1)), ("message_delta", delta(output_tokens=5)))
    assert counter.state(complete=True) is Ended.PARTIAL


def test_text_without_any_usage_is_partial() -> None:
    counter = UsageCounter()
    assert counter.state(complete=False) is Ended.NOTHING
    counter.seen(10)
    assert counter.state(complete=False) is Ended.PARTIAL
    assert counter.usage == Usage(output=3)


@pytest.mark.parametrize(
    "value",
    [None, "12", True, -1, 10**13, 1.5, [], {"a": 1}, 1e30],
    ids=str,
)
def test_what_is_not_a_count_is_ignored_and_the_rest_kept(value: Any) -> None:
    counter = counted(("message_start", start(input_tokens=value, output_tokens=4, cache_creation=value)))
    assert counter.usage == Usage(output=4)


def test_a_count_written_as_a_float_counts() -> None:
    assert counted(("message_start", start(input_tokens=12.0))).usage == Usage(input=12)


def test_other_events_are_not_even_parsed() -> None:
    counter = counted(("content_block_delta", start(input_tokens=5)), ("ping", b"\xff"))
    assert counter.state(complete=True) is Ended.NOTHING


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'{"message": 3}', b'{"usage": []}', b"\xff\xfe", b'{"message":' * 3000],
    ids=["empty", "open", "array", "null", "message is no object", "usage is no object", "not utf-8", "deep"],
)
def test_garbage_counts_as_nothing(data: bytes) -> None:
    counter = counted(("message_start", data), ("message_delta", data))
    counter.body(data)
    assert counter.state(complete=False) is Ended.NOTHING


def test_a_model_that_is_no_name_is_ignored() -> None:
    counter = UsageCounter()
    counter.body(b'{"model":7,"usage":{"input_tokens":1}}')
    counter.body(b'{"model":"","usage":{"input_tokens":1}}')
    assert counter.model == ""
