"""Watching costs no more the longer it lasts, whatever clients make up, and whoever is told does not hold us up."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from claude_failover.clock import SystemClock
from claude_failover.control.feed import Feed
from claude_failover.core.types import Epoch
from claude_failover.drill import claude_faults
from claude_failover.drill.client import Turn, ask
from claude_failover.drill.process import DaemonProcess, settings
from claude_failover.drill.script import Answer
from claude_failover.events import Event, EventsWindow, Hub, shown
from tests.control_fakes import short_directory
from tests.fakes import simulated_bedrock, simulated_claude

EVENTS = 100_000
MADE_UP = 1_000
"""Model names through a daemon, twice; ten thousand go through the metrics alone in their own test."""


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "cf"


@pytest.mark.timeout(300)  # traced for coverage it takes ten times as long
def test_a_hundred_thousand_events_keep_a_thousand_and_no_more_memory() -> None:
    """The window and the feed behind ``logs``, ``status --watch`` and ``/events``, filled as the daemon fills them."""
    hub, window, feed = Hub(lambda: Epoch(1_795_000_000.0)), EventsWindow(), Feed()

    def publish(event: Event) -> None:
        feed.publish(event.name, shown(event), event.at)

    hub.subscribe(window)
    hub.subscribe(publish)

    def happen(count: int) -> int:
        for number in range(count):
            hub.emit(
                "failover.happened", {"backend": "bedrock", "number": 1_000_000 + number, "why": f"limit {number}"}
            )
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        few = happen(EVENTS // 20)
        many = happen(EVENTS - EVENTS // 20)
    finally:
        tracemalloc.stop()
    assert (len(window), len(feed.recent())) == (1000, 1000)
    assert many - few < 64_000, "what is kept was kept after the first thousand already"
    assert window.summary() == {"failover.happened": EVENTS}


@asynccontextmanager
async def metrics_of(process: DaemonProcess, session: aiohttp.ClientSession) -> AsyncIterator[list[str]]:
    headers = {"authorization": f"Bearer {process.key}"}
    async with session.get(f"{process.address}/metrics", headers=headers) as answer:
        yield (await answer.text()).splitlines()


async def test_made_up_models_add_no_line_to_the_page(home: Path) -> None:
    """Any client can name any model: to the daemon all that it does not know is one."""
    async with (
        simulated_claude() as claude,
        simulated_bedrock() as bedrock,
        DaemonProcess(home, settings(claude.url, bedrock.url)) as process,
        aiohttp.ClientSession(trust_env=False) as session,
    ):

        async def name(first: int) -> list[str]:
            gate = asyncio.Semaphore(16)

            async def one(number: int) -> None:
                async with gate:
                    await ask(session, process.address, process.key, Turn(model=f"claude-made-up-{number}"))

            async with asyncio.TaskGroup() as group:
                for number in range(first, first + MADE_UP):
                    group.create_task(one(number))
            async with metrics_of(process, session) as lines:
                return lines

        before = await name(0)
        after = await name(MADE_UP)
    assert not [line for line in after if "made-up" in line]
    assert len(after) == len(before)
    assert any('model="other"' in line for line in after)


class Receiver:
    """An alert's webhook: says nothing for as long as it is told to, and then takes what comes."""

    def __init__(self) -> None:
        self.heard = 0
        self.taken: list[str] = []
        self.hanging = True
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.answer()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"

    def answer(self) -> None:
        """Hang up on whoever waits, and be well from now on."""
        self.hanging = False
        for writer in tuple(self._open):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard += 1
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        if self.hanging:
            self._open.add(writer)
            return
        self.taken.append(body["alert"])
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()


async def test_a_webhook_that_hangs_delays_no_request_and_is_told_later(home: Path) -> None:
    async with (
        Receiver() as receiver,
        simulated_claude(Answer(), claude_faults.plan_limit()) as claude,
        simulated_bedrock() as bedrock,
    ):
        over = {"alerts": {"webhook": receiver.url}, "cost_tracking": {"alert_threshold": 0.000001}}
        async with (
            DaemonProcess(home, settings(claude.url, bedrock.url, over)) as process,
            aiohttp.ClientSession(trust_env=False) as session,
        ):

            async def serves(number: int) -> float:
                turn = Turn(text=f"Question {number}", session=f"00000000-0000-4000-8000-{number:012d}")
                began = SystemClock().now().monotonic
                assert (await ask(session, process.address, process.key, turn)).whole
                return SystemClock().now().monotonic - began

            quiet = [await serves(number) for number in range(20)]
            async with asyncio.timeout(30):
                while not receiver.heard:  # noqa: ASYNC110 - another process's
                    await asyncio.sleep(0.1)
            hanging = [await serves(number) for number in range(20, 60)]
            assert receiver.taken == [], "nobody has been told yet"
            assert sorted(hanging)[len(hanging) // 2] < max(0.25, 3 * max(quiet))
            receiver.answer()
            async with asyncio.timeout(30):
                while "cost" not in receiver.taken:  # noqa: ASYNC110 - another process's
                    await asyncio.sleep(0.1)
        assert process.paths.log.read_text("utf-8").count('"event":"alert.failed"') == 0
