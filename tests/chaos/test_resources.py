"""A full disk, no descriptors left: what is not essential fails, requests are served, and it recovers."""

from __future__ import annotations

import asyncio
import resource

from claude_failover.drill.script import Answer, long_stream
from tests.chaos.laboratory import SEED, conversation, descriptors, laboratory


async def test_a_full_disk_stops_no_request() -> None:
    """No file may grow beyond what it is: every write of ledger and log fails as on a full disk."""
    async with laboratory() as lab:
        pid = lab.daemon.pid
        usual = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, usual[1]))
        told = await lab.crowd([conversation(n) for n in range(60)], 10)
        assert all(one.whole for one in told), f"SEED={SEED}"
        # It says so as soon as the ledger has tried: it writes a moment after what it writes down.
        async with asyncio.timeout(20):
            while (await asyncio.to_thread(lab.daemon.control.status)).ledger.ok:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)

        resource.prlimit(pid, resource.RLIMIT_FSIZE, usual)
        await asyncio.sleep(1.5)
        assert all(one.whole for one in await lab.crowd([conversation(n) for n in range(100, 120)], 10))
        assert await lab.daemon.stop() == 0
        late = {row["session"] for row in lab.rows()}
        assert conversation(119).session in late, "it writes again by itself"


async def test_without_descriptors_requests_fail_clearly_and_it_recovers() -> None:
    async with laboratory() as lab:
        pid = lab.daemon.pid
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(descriptors(pid)) + 12, usual[1]))
        lab.claude.script.always(long_stream(5, gap=0.02))
        lab.bedrock.script.always(long_stream(5, gap=0.02))
        crowd = await lab.crowd([conversation(n) for n in range(40)], 40)
        for one in crowd:
            # Turned away at the door, answered, or told; nobody hangs, and nothing is made to look complete.
            assert one.whole or one.honest or one.cut, f"SEED={SEED}: {one}"

        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        lab.claude.script.always(Answer())
        await lab.settle()
        after = await lab.crowd([conversation(n) for n in range(100, 130)], 30)
        assert all(one.whole for one in after), f"SEED={SEED}: {[one for one in after if not one.whole][:3]}"
        await lab.check_nothing_left()
        assert await lab.daemon.stop() == 0
