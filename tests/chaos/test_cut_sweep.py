"""A stream of six events, cut behind every single byte: another backend's answer before the commit, the truth after."""

from __future__ import annotations

import asyncio
import re
from itertools import accumulate

import pytest

from claude_failover.core.types import Usage
from claude_failover.drill.client import Turn
from claude_failover.drill.messages import Identity, parts, sse
from claude_failover.drill.script import Answer, Cut, How, Seen, Step, Text, Wire
from tests.chaos.laboratory import SEED, SIGNED, conversation, laboratory

BLOCKS = (Text("Simulated Claude, answer 1.", 1),)
IDENTITY = Identity("msg_01Sim00000000000000001", "toolu_", "claude-opus-5-5", "", pings=True)
EVENTS = [part.data for part in parts(Answer(BLOCKS), IDENTITY, Usage(input=100), sse)]
COMMIT = 3
"""The first event that proves an answer."""

TOUGH = {"circuit_breaker": {"failure_threshold": 1_000, "window": 1}, "retry_policy": {
    "ConnectionError": {"retries": 0},
}}  # fmt: skip
"""No breaker and no retry: each cut is looked at alone."""


def cuts() -> list[Cut]:
    """One behind every byte: so many whole events, and so many bytes of the next."""
    return [Cut(number, How.RESET, size) for number, event in enumerate(EVENTS) for size in range(len(event))]


@pytest.mark.parametrize("how", [How.RESET, How.FIN, How.END])
async def test_a_cut_behind_any_byte(how: How) -> None:
    places = cuts()
    starts = [0, *accumulate(len(event) for event in EVENTS)]
    # Every byte once; a third of them for each way of cutting.
    mine = range(list(How).index(how), len(places), 3)

    def deal(request: Seen) -> Step:
        found = re.search(rb"Question (\d+)\.", request.body)
        assert found is not None
        place = places[int(found[1])]
        return Answer(BLOCKS, wire=Wire(cut=Cut(place.at, how, place.extra_bytes)))

    async with laboratory(TOUGH) as lab:
        lab.claude.script.always(deal)
        told = {}

        async def client(turns: list[tuple[int, Turn]]) -> None:
            for number, turn in turns:
                told[number] = await lab.ask(turn)

        async with asyncio.TaskGroup() as group:
            for share in range(8):
                group.create_task(client([(number, conversation(number)) for number in mine[share::8]]))

        for number, one in told.items():
            place = places[number]
            sent = starts[int(place.at)] + place.extra_bytes
            what = f"SEED={SEED}: cut at {place}, {sent} bytes: {one}"
            if sent < starts[COMMIT + 1] - 2:
                assert one.whole, what
                assert one.said.by == "bedrock", what
            elif not one.whole:
                # What the client has is the beginning of what was sent, and it can see that it is no more.
                assert one.cut, what
                assert one.said.by == "claude", what
                assert b"".join(EVENTS)[:sent].startswith(b"event: message_start"), what
                assert SIGNED["bedrock"].encode() not in one.body, what
                assert not one.said.complete, what
            else:
                # All of it had come but the last line's end, or nobody had got any of it.
                assert one.said.by == "bedrock" or sent >= starts[-1] - 2, what
        assert len(told) == len(mine)
        lab.check_simulators()
        await lab.check_nothing_left()
