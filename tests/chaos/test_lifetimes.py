"""The daemon ends in every way in which a process can end, while it is at work."""

from __future__ import annotations

import asyncio
import json
import signal
from functools import partial

from claude_failover.control.api import ForceRequest
from claude_failover.drill import claude_faults
from claude_failover.drill.client import Told
from claude_failover.drill.script import long_stream
from tests.chaos.laboratory import SEED, Laboratory, conversation, laboratory, until


async def test_sigterm_in_mid_stream_lets_every_stream_finish() -> None:
    async with laboratory() as lab:
        lab.claude.script.always(long_stream(60, gap=0.05))
        before = lab.claude.count
        async with asyncio.TaskGroup() as group:
            crowd = group.create_task(lab.crowd([conversation(n) for n in range(30)], 30))
            await lab.claude.until(lambda: lab.claude.count >= before + 30, 40)
            lab.daemon.signal(signal.SIGTERM)
            await lab.until_draining()
            late = await lab.ask(conversation(99))
            code = await lab.daemon.wait()
        assert all(told.whole for told in crowd.result()), f"SEED={SEED}"
        assert code == 0
        assert late.status in (0, 529), "nothing new is taken"
        assert sum(row["usage_state"] == "complete" for row in lab.rows()) == 32
        assert not lab.daemon.paths.socket.exists()


async def test_a_second_signal_forces() -> None:
    async with laboratory() as lab:
        lab.claude.script.always(long_stream(1000, gap=0.05))
        async with asyncio.TaskGroup() as group:
            crowd = group.create_task(lab.crowd([conversation(n) for n in range(5)], 5))
            await lab.claude.until(lambda: lab.claude.count >= 6, 40)
            lab.daemon.signal(signal.SIGTERM)
            await lab.until_draining()  # two signals at once are one
            lab.daemon.signal(signal.SIGTERM)
            assert await lab.daemon.wait(25) == 0  # the drain would last for 30
        assert all(told.cut for told in crowd.result()), "cut, and not made to look complete"


async def test_kill_and_restart_keep_cooldowns_overrides_and_the_ledger() -> None:
    async with laboratory() as lab:
        lab.claude.script.always(claude_faults.plan_limit(resets_in=3600))
        told = await lab.ask(conversation(0))
        assert told.said.by == "bedrock"
        await asyncio.to_thread(
            lab.daemon.control.force, ForceRequest(backend="bedrock", model="claude-haiku-4-5-20251001", for_s=3600.0)
        )
        await lab.crowd([conversation(n) for n in range(1, 40)], 10)
        await lab.until_booked()
        await until(partial(saved, lab))
        before = lab.claude.count
        await lab.daemon.kill()
        rows = lab.rows()
        assert len(rows) == lab.claude.count + lab.bedrock.count

        await lab.daemon.start()
        status = await asyncio.to_thread(lab.daemon.control.status)
        assert status.override is not None
        assert (status.override.backend, status.override.model) == ("bedrock", "claude-haiku-4-5-20251001")
        again = await lab.crowd([conversation(n) for n in range(50, 70)], 10)
        assert all(told.whole and told.said.by == "bedrock" for told in again), f"SEED={SEED}"
        assert lab.claude.count == before, "the cooldown still holds"
        await lab.daemon.stop()
        assert len(lab.rows()) == len(rows) + 20


async def test_killed_in_mid_stream_the_ledger_loses_at_most_what_was_running() -> None:
    async with laboratory() as lab:
        await lab.crowd([conversation(n) for n in range(30)], 10)
        await lab.until_booked()
        lab.claude.script.always(long_stream(1000, gap=0.02))
        async with asyncio.TaskGroup() as group:
            crowd = group.create_task(lab.crowd([conversation(n) for n in range(100, 110)], 10))
            await lab.claude.until(lambda: lab.claude.count >= 41, 40)
            await asyncio.sleep(0.3)
            await lab.daemon.kill()
        assert all(broken(told) for told in crowd.result())
        await lab.daemon.start()
        lab.claude.script.always(long_stream(3))
        assert (await lab.ask(conversation(200))).whole
        await lab.daemon.stop()
        assert len([row for row in lab.rows() if row["usage_state"] == "complete"]) == 33


async def saved(lab: Laboratory) -> bool:
    """Whether the state file knows of the override, and so of all that came before it."""
    return bool(json.loads(lab.daemon.paths.state.read_bytes())["policy"]["overrides"])


def broken(told: Told) -> bool:
    """Whether the client can see that its answer is not all there is."""
    return bool(told.cut) and not told.said.complete


async def test_a_reload_under_load_drops_no_stream() -> None:
    async with laboratory() as lab:
        lab.claude.script.always(long_stream(30, gap=0.03))
        async with asyncio.TaskGroup() as group:
            crowd = group.create_task(lab.crowd([conversation(n) for n in range(80)], 40))
            for _ in range(5):
                await asyncio.sleep(0.3)
                await asyncio.to_thread(lab.daemon.control.reload)
        assert all(told.whole for told in crowd.result()), f"SEED={SEED}"
        await lab.check_nothing_left()
