"""Limits and overloads in waves, with dozens of clients: nobody sees them, and the limited API is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from claude_failover.drill import claude_faults
from claude_failover.drill.script import Answer, Seen, Step, silent
from tests.chaos.laboratory import conversation, dice, laboratory, summed
from tests.fakes import HeldClaude

CLIENTS = 30


async def test_a_limited_claude_gets_one_request_per_probe_interval() -> None:
    """A limit for an hour, of which two seconds are believed: one real request may go each two seconds."""
    limited = claude_faults.plan_limit(resets_in=3600)
    async with laboratory({"rate_limit_fallback": {"max_retry_after": 2}}) as lab:
        lab.claude.script.always(limited)
        loop = asyncio.get_running_loop()
        first = await lab.ask(conversation(0))
        assert first.said.by == "bedrock"
        began, before, number = loop.time(), lab.claude.count, 0
        while loop.time() - began < 7:
            turns = [conversation(number + n) for n in range(CLIENTS)]
            number += CLIENTS
            await lab.crowd(turns, CLIENTS)
        probes = lab.claude.count - before
        assert 1 <= probes <= (loop.time() - began) / 2 + 1, probes
        assert all(told.whole for told in lab.heard)
        lab.check_answers(cut_allowed=False)

        lab.claude.script.always(Answer())
        async with asyncio.timeout(40):
            while (await lab.ask(conversation(number))).said.by != "claude":
                number += 1
                await asyncio.sleep(0.1)
        back = await lab.crowd([conversation(10_000 + n) for n in range(CLIENTS)], CLIENTS)
        assert {told.said.by for told in back} == {"claude"}
        lab.check_simulators()
        await lab.check_nothing_left()
        await lab.daemon.stop()
        assert summed(lab.rows(), "claude") == lab.claude.served
        assert summed(lab.rows(), "bedrock") == lab.bedrock.served


async def test_while_one_request_tries_the_recovering_claude_everybody_else_stays_away() -> None:
    claude = HeldClaude()
    async with laboratory({"rate_limit_fallback": {"max_retry_after": 1}}, claude=claude) as lab:
        lab.claude.script.always(claude_faults.plan_limit(resets_in=3600))
        await lab.ask(conversation(0))
        # From now on the Claude API answers again, but takes its time to begin.
        lab.claude.script.always(silent())
        await asyncio.sleep(1.5)
        before, elsewhere = lab.claude.count, lab.bedrock.served_answers
        async with asyncio.TaskGroup() as group:
            probe = group.create_task(lab.crowd([conversation(n) for n in range(1, 41)], 40))
            await lab.claude.until(lambda: lab.claude.count > before, 40)
            await lab.bedrock.until(lambda: lab.bedrock.served_answers == elsewhere + 39, 40)
            assert lab.claude.count == before + 1
            claude.go_on.set()
        told = probe.result()
        assert [one.said.by for one in told].count("claude") == 1
        assert [one.said.by for one in told].count("bedrock") == 39
        lab.check_answers(cut_allowed=False)


async def test_waves_of_overloads_and_limits_are_invisible() -> None:
    rng = dice("waves")
    moods: dict[str, Callable[[], Step]] = {
        "good": Answer,
        "overloaded": claude_faults.overloaded,
        "throttled": lambda: claude_faults.throttle(1),
        "limited": lambda: claude_faults.plan_limit(resets_in=2),
        "bare": claude_faults.bare_limit,
        "failing": lambda: claude_faults.server_error(rng.choice((500, 502, 503, 504, 520))),
    }
    mood = ["good"]

    def deal(_: Seen) -> Step:
        return moods[mood[0]]()

    async with laboratory(
        {"rate_limit_fallback": {"max_retry_after": 3}, "retry_policy": {"OverloadedError": {"max_wait": 0.5}}},
    ) as lab:
        lab.claude.script.always(deal)

        async def weather() -> None:
            while True:
                mood[0] = rng.choice(sorted(moods))
                await asyncio.sleep(rng.uniform(0.2, 0.8))

        async with asyncio.TaskGroup() as group:
            changing = group.create_task(weather())
            turns = [conversation(n, stream=rng.random() < 0.7) for n in range(500)]
            told = await lab.crowd(turns, CLIENTS)
            changing.cancel()
        assert all(one.whole for one in told), [one for one in told if not one.whole][:3]
        lab.check_answers(cut_allowed=False)
        lab.check_simulators()
        await lab.check_nothing_left()
        await lab.daemon.stop()
        assert summed(lab.rows(), "claude") == lab.claude.served
        assert summed(lab.rows(), "bedrock") == lab.bedrock.served


async def test_outages_come_and_go() -> None:
    rng = dice("outages")
    over = {"circuit_breaker": {"open_for": 1, "max_open_for": 1}, "rate_limit_fallback": {"max_retry_after": 1}}
    async with laboratory(over) as lab:

        async def weather() -> None:
            while True:
                await asyncio.sleep(rng.uniform(0.2, 0.6))
                async with lab.claude.refusing():
                    await asyncio.sleep(rng.uniform(0.2, 0.6))

        async with asyncio.TaskGroup() as group:
            changing = group.create_task(weather())
            turns = [conversation(n, stream=rng.random() < 0.7) for n in range(400)]
            told = await lab.crowd(turns, CLIENTS)
            changing.cancel()
        cut = [one for one in told if not one.whole]
        lab.check_answers(cut_allowed=True)
        assert all(one.cut and one.said.by == "claude" for one in cut), "only an answer that had begun can break off"
        assert len(cut) < CLIENTS, len(cut)
        lab.check_simulators()
        await lab.check_nothing_left()
        assert await lab.daemon.stop() == 0
