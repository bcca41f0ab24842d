"""What a drill says of what a client saw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from claude_failover.drill.client import Said, Told
from claude_failover.drill.fire import rescue, saw

GOOD = Told(200, said=Said("Hi", "msg_bdrk_01Sim1", complete=True, stop_reason="end_turn", by="bedrock"))
CUT = Told(200, cut="ClientPayloadError", said=Said("H", "msg_01Sim1", by="claude"))
CALL = Told(200, said=Said("", "msg_01Sim1", complete=True, stop_reason="tool_use", by="claude"))


def test_every_way_in_which_a_turn_can_look() -> None:
    assert saw([GOOD]) == "Bedrock's answer"
    assert saw([CALL]) == "a tool call of Claude's"
    assert saw([CUT, GOOD]) == "an answer that broke off, repeated: Bedrock's answer"
    assert saw([Told(0, cut="ServerDisconnectedError")]) == "no response (ServerDisconnectedError)"
    ended = Told(200, said=Said("Hal", "msg_01Sim1", error_type="api_error", error="Gone.", by="claude"))
    assert saw([ended, GOOD]) == "an answer that ended in an error (api_error), repeated: Bedrock's answer"
    limited = Told(429, said=Said(error_type="rate_limit_error", error="No more."))
    assert saw([limited]) == "429 rate_limit_error: No more."
    assert saw([Told(200, said=Said(problems=("half an event at the end",)))]) == (
        "200, malformed: half an event at the end"
    )


def test_the_time_to_rescue_holds_what_the_client_waited_before_it_repeated() -> None:
    good = replace(GOOD, content_s=0.1)
    assert rescue([[good]]) == 0.1
    assert rescue([[replace(CUT, ended_s=0.2), good]]) == pytest.approx(0.2 + 0.6 + 0.1)
    assert rescue([[good], [replace(good, content_s=0.4)]]) == 0.4
    assert rescue([[good], [CUT]]) is None
    assert rescue([]) is None
