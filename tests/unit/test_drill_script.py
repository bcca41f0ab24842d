"""The script deals one step a request, and marks find their place in a stream."""

from __future__ import annotations

import pytest

from claude_failover.drill.script import (
    Answer,
    Cut,
    Drop,
    How,
    InBand,
    Mark,
    Refusal,
    Script,
    Seen,
    Text,
    ToolUse,
    cut,
    in_band,
    long_stream,
    on_wire,
    reached,
    silent,
    stalled,
    text,
    tool_call,
    unfinished,
)

REQUEST = Seen(1, "POST", "/v1/messages?beta=true", (("Accept", "a"), ("accept", "b")), b"{}", 1, 0.0)


def test_the_queue_is_dealt_in_order_and_then_the_default_for_ever() -> None:
    script = Script(Drop(), Refusal(529)).then(text("third"))
    assert [script.deal(REQUEST) for _ in range(5)] == [Drop(), Refusal(529), text("third"), Answer(), Answer()]


def test_always_forgets_the_queue() -> None:
    script = Script(Drop()).always(Refusal(500))
    assert script.pending == 0
    assert script.deal(REQUEST) == Refusal(500)


def test_a_callable_chooses_by_the_request_in_the_queue_and_as_default() -> None:
    script = Script(lambda seen: text(seen.path), default=lambda seen: text(seen.query))
    assert script.deal(REQUEST) == text("/v1/messages")
    assert script.deal(REQUEST) == text("beta=true")


def test_a_request_gives_its_headers_by_lower_case_name() -> None:
    assert REQUEST.header("accept") == "a"
    assert REQUEST.all("accept") == ["a", "b"]
    assert REQUEST.header("missing") is None


@pytest.mark.parametrize(
    ("mark", "sent", "last", "there"),
    [
        ("first", 0, "", True),
        ("first", 1, "message_start", False),
        (0, 0, "", True),
        (3, 3, "ping", True),
        (3, 2, "ping", False),
        ("start", 1, "message_start", True),
        ("start", 2, "content_block_start", False),
        ("content", 3, "content_block_delta", True),
        ("block", 5, "content_block_stop", True),
        ("delta", 6, "message_delta", True),
    ],
)
def test_a_mark_lies_behind_what_was_sent(mark: Mark, sent: int, last: str, there: bool) -> None:
    assert reached(mark, sent, last) is there


def test_shortcuts_say_what_they_are_called() -> None:
    assert long_stream(2).blocks == (Text("w00000 w00001 ", 2),)
    assert tool_call("Read", {"path": "x"}).blocks == (ToolUse("Read", {"path": "x"}),)
    assert tool_call("Read", {}, said="Look.").blocks == (Text("Look."), ToolUse("Read", {}))
    assert in_band("start").error == InBand("start")
    assert cut("content").wire.cut == Cut("content", How.RESET, 0)
    assert unfinished().wire.cut == Cut("delta", How.END, 0)
    assert silent(2.0, 103).wire.interim == (103,)
    moved = on_wire(Refusal(529), stalled("first", 1.0).wire)
    assert moved.wire.stall is not None
    assert moved.wire.stall.seconds == 1.0
