"""The fault laboratory: a real daemon process between simulators, dozens of clients, one seed.

``SEED=N`` (or ``CHAOS_SEED``) repeats a run; every failure message names the seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from claude_failover.core.types import Usage
from claude_failover.drill import process
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.claude_api import SimulatedClaude
from claude_failover.drill.client import Told, Turn, ask
from claude_failover.drill.fire import short_directory
from claude_failover.drill.process import DaemonProcess
from claude_failover.errors import DaemonNotRunning

SEED = int(os.environ.get("CHAOS_SEED") or os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))

SIGNED = {"claude": "Simulated Claude, answer ", "bedrock": "Simulated Bedrock, answer "}


EDGE = b"<h1>Error 5"
"""In the pages of the Claude API's edge."""


def dice(purpose: str) -> random.Random:
    """The run's own random numbers, another series for each purpose."""
    return random.Random(f"{SEED}/{purpose}")


@dataclass
class Laboratory:
    """Everything that one test plays with."""

    claude: SimulatedClaude
    bedrock: SimulatedBedrock
    daemon: DaemonProcess
    session: aiohttp.ClientSession
    heard: list[Told] = field(default_factory=list)
    baseline: list[str] = field(default_factory=list)
    """What the daemon had open when it was warm and idle."""

    async def ask(self, turn: Turn, patience: float = 45.0) -> Told:
        """Send one request; what came of it is kept for the invariants."""
        told = await ask(self.session, self.daemon.address, self.daemon.key, turn, patience)
        self.heard.append(told)
        return told

    async def crowd(self, turns: Iterable[Turn], clients: int) -> list[Told]:
        """Send all of *turns*, so many at a time."""
        waiting, found = iter(turns), list[Told]()

        async def client() -> None:
            for turn in waiting:
                found.append(await self.ask(turn))

        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
        return found

    # --- what must be true afterwards ---------------------------------------------------------------

    def check_answers(self, *, cut_allowed: bool) -> None:
        """One well-formed answer or one honest error each, of one backend, within the cap of attempts."""
        for told in self.heard:
            what = f"SEED={SEED}: {told.status} {dict(told.headers)} {told.cut} {told.said} {told.body[:800]!r}"
            said = told.said
            aborted = cut_allowed and told.status == 200 and bool(told.cut)
            if told.status >= 500 and not told.cut and EDGE in told.body:
                continue  # nobody could help, so the client has the edge's own page, byte for byte
            assert told.whole or told.honest or aborted, what
            problems = [p for p in said.problems if p != "half an event at the end"] if aborted else said.problems
            assert not problems, what
            if said.text:
                wanted = SIGNED[said.by]
                assert said.text.startswith(wanted) or wanted.startswith(said.text), what
            if told.whole:
                assert said.text[len(SIGNED[said.by]) :].removesuffix(".").isdigit(), what
                assert told.backend in ("", said.by), what
            assert int(told.headers.get("x-claude-failover-attempts", "1")) <= 4, what

    def check_simulators(self) -> None:
        """No rule was broken at either."""
        assert not self.claude.violations, f"SEED={SEED}: {self.claude.violations}"
        assert not self.bedrock.violations, f"SEED={SEED}: {self.bedrock.violations}"

    async def settle(self) -> list[str]:
        """Close what is idle everywhere; returns what the daemon then has open."""
        await self.session.close()
        self.session = aiohttp.ClientSession(trust_env=False, connector=aiohttp.TCPConnector(limit=0))
        for server in (self.claude, self.bedrock):
            server.reset_all()
        await asyncio.sleep(0.3)
        return descriptors(self.daemon.pid)

    async def check_nothing_left(self) -> None:
        """As many descriptors as before, nobody connected, nothing in flight."""
        now = await self.settle()
        for _ in range(20):
            if len(now) > len(self.baseline):
                now = await self.settle()
        assert len(now) <= len(self.baseline), f"SEED={SEED}: open at the end {now}, before {self.baseline}"
        assert (self.claude.open_connections, self.bedrock.open_connections) == (0, 0), f"SEED={SEED}"

    def rows(self) -> list[dict[str, Any]]:
        """The ledger's attempts."""
        return ledger_rows(self.daemon.paths.ledger)

    async def until_draining(self) -> None:
        """The daemon has heard a first signal, or has ended of it already."""
        with contextlib.suppress(DaemonNotRunning):
            await until(lambda: asyncio.to_thread(lambda: self.daemon.control.status().draining))

    async def until_booked(self) -> None:
        """Every request that a backend got is a row in the ledger's file, and no money is held for it any more."""

        async def all_of_them() -> bool:
            ledger, asked = self.daemon.paths.ledger, self.claude.count + self.bedrock.count
            return len(self.rows()) == asked and not ledger_rows(ledger, "SELECT * FROM holds")

        await until(all_of_them)


@contextlib.asynccontextmanager
async def laboratory(
    over: Mapping[str, Any] | None = None,
    *,
    claude: SimulatedClaude | None = None,
) -> AsyncIterator[Laboratory]:
    """Simulators, a daemon, a client; warmed up with one request to each backend."""
    home = Path(tempfile.mkdtemp(prefix="cf-chaos-", dir=short_directory()))
    more = {name: os.environ[name] for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START", "PYTHONPATH")
            if name in os.environ}  # fmt: skip
    try:
        async with claude or SimulatedClaude() as first, SimulatedBedrock() as second:
            config = process.settings(first.url, second.url, over)
            daemon = DaemonProcess(home, config, more=more, arguments=("--debuggable",))
            try:
                await daemon.start()
                async with aiohttp.ClientSession(trust_env=False, connector=aiohttp.TCPConnector(limit=0)) as session:
                    lab = Laboratory(first, second, daemon, session)
                    for name in ("claude", "bedrock"):
                        told = await lab.ask(Turn("Warm up.", headers={"x-claude-failover-force": name}))
                        assert told.said.by == name, told
                    lab.baseline = await lab.settle()
                    try:
                        yield lab
                    finally:
                        await lab.session.close()
            finally:
                await daemon.kill()
    finally:
        shutil.rmtree(home)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what another process does; the limit only ends what hangs."""
    async with asyncio.timeout(40):
        while not await holds():  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.05)


def descriptors(pid: int) -> list[str]:
    """What a process has open, by name; sockets without their numbers."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(entry.readlink()).partition(":[")[0])
    return sorted(found)


def ledger_rows(path: Path, query: str = "SELECT * FROM attempts ORDER BY id") -> list[dict[str, Any]]:
    """Every attempt in a ledger's file, or what else is asked for."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]
    finally:
        connection.close()


def summed(rows: Iterable[Mapping[str, Any]], backend: str) -> Usage:
    """The tokens of the complete attempts at a backend."""
    found = [row for row in rows if row["backend"] == backend and row["usage_state"] == "complete"]
    return Usage(
        sum(row["input"] for row in found),
        sum(row["output"] for row in found),
        sum(row["cache_read"] for row in found),
        sum(row["write_5m"] for row in found),
        sum(row["write_1h"] for row in found),
    )


def conversation(number: int, **more: Any) -> Turn:
    """A turn of a conversation of its own."""
    return replace(Turn(f"Question {number}.", session=f"00000000-0000-4000-8000-{number:012d}"), **more)
