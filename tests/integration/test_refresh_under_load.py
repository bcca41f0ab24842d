"""Hundreds of requests over HTTP, through two daemons that share a keyring, while their login ends: one refresh."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.types import Epoch
from claude_failover.credentials import shapes
from claude_failover.credentials.anthropic import AnthropicTokens
from claude_failover.credentials.box import KEYRING, Box, FileVault
from claude_failover.credentials.entry import ANTHROPIC, Entry
from claude_failover.credentials.kept import KeptTokens
from claude_failover.credentials.redeem import redeem
from claude_failover.credentials.secret import Secret
from claude_failover.drill.claude_api import SimulatedClaude
from tests.fakes import messages_body, simulated_claude
from tests.served import KEYED, Served, client, serving, settings_for
from tests.token_endpoint import TokenEndpoint, reply

NOW = 1_795_000_000.0
FIRST, SECOND = "sk-ant-oat01-worth-nothing-0000", "sk-ant-oat01-worth-nothing-0001"
AHEAD = 300.0
"""Seconds before its end that a login is refreshed."""


@dataclass
class Scene:
    """Two daemons, what is behind them, and what they share."""

    claude: SimulatedClaude
    endpoint: TokenEndpoint
    clock: FakeClock
    daemons: tuple[Served, Served]
    kept: tuple[KeptTokens, KeptTokens]
    boxes: tuple[Box, Box]
    session: aiohttp.ClientSession

    async def ask(self, count: int) -> Counter[int]:
        """So many requests at each daemon, together, without a credential of their own; their statuses."""

        async def one(daemon: Served) -> int:
            lines = {**KEYED, "anthropic-version": "2023-06-01", "content-type": "application/json"}
            async with self.session.post(f"{daemon.url}/v1/messages", data=messages_body(), headers=lines) as response:
                body = await response.read()
                assert response.status != 200 or b"message_stop" in body
                return response.status

        return Counter(await asyncio.gather(*(one(daemon) for daemon in self.daemons for _ in range(count))))

    async def renewed(self) -> None:
        """Wait until a refresh that nobody waits for is over, at both."""
        async with asyncio.timeout(30):
            while not all((token := kept.last()) and token.secret.reveal() == SECOND for kept in self.kept):
                await asyncio.sleep(0.005)
                await self.ask(1)


@asynccontextmanager
async def scene(place: Path, lives: float, source: str = "keyring") -> AsyncIterator[Scene]:
    clock = FakeClock(wall=NOW)
    entry = Entry(shapes.LOGIN, Secret(FIRST), Secret("worth-nothing-refresh-0"), Epoch(NOW + lives))
    with TokenEndpoint() as endpoint:
        boxes = [Box(place / name, place / "lock", FileVault(place / "keyring.json")) for name in ("one", "two")]
        for box, name in zip(boxes, ("one", "two"), strict=True):
            (place / name).mkdir()
            box.keep(ANTHROPIC, entry, KEYRING)
        kept = tuple(KeptTokens(box, clock, partial(redeem, endpoint=endpoint.url, clock=clock)) for box in boxes)
        stores = [AnthropicTokens((source,), {"HOME": str(place)}, clock, one) for one in kept]
        async with simulated_claude() as claude, client() as session:
            claude.tokens = {FIRST, SECOND}
            settings = settings_for(claude.url, credential="auto")
            async with serving(settings, tokens=stores[0]) as one, serving(settings, tokens=stores[1]) as two:
                yield Scene(claude, endpoint, clock, (one, two), (kept[0], kept[1]), (boxes[0], boxes[1]), session)


async def test_a_login_that_ends_amid_hundreds_of_requests_is_refreshed_once_and_none_fails(tmp_path: Path) -> None:
    async with scene(tmp_path, AHEAD + 60) as stage:
        assert await stage.ask(5) == {200: 10}
        assert stage.endpoint.requests == []
        stage.endpoint.delay = 0.2
        stage.clock.advance(61)
        # All of them while the endpoint takes its time: the old token is good for as long as it lasts.
        assert await stage.ask(150) == {200: 300}
        await stage.renewed()
        stage.clock.advance(AHEAD)
        stage.claude.tokens = {SECOND}
        assert await stage.ask(150) == {200: 300}
        assert len(stage.endpoint.requests) == 1
        assert not stage.endpoint.revoked


async def test_a_login_that_has_ended_is_waited_for_by_hundreds_of_requests(tmp_path: Path) -> None:
    async with scene(tmp_path, -1) as stage:
        stage.claude.tokens = {SECOND}
        stage.endpoint.delay = 0.2
        statuses = await stage.ask(100)
        assert (statuses, len(stage.endpoint.requests)) == ({200: 200}, 1)
        assert not stage.endpoint.revoked


async def test_a_login_that_is_refused_before_its_end_is_refreshed_once_for_all_of_them(tmp_path: Path) -> None:
    async with scene(tmp_path, 3600) as stage:
        assert await stage.ask(5) == {200: 10}
        stage.claude.tokens = {SECOND}
        statuses = await stage.ask(100)
        assert (statuses, len(stage.endpoint.requests)) == ({200: 200}, 1)
        assert not stage.endpoint.revoked


@pytest.mark.parametrize("status", [503, 429])
async def test_while_the_endpoint_fails_requests_go_on_with_what_they_have(tmp_path: Path, status: int) -> None:
    async with scene(tmp_path, AHEAD + 60) as stage:
        stage.endpoint.answer = lambda handler: reply(handler, status, {})
        stage.clock.advance(61)
        assert await stage.ask(50) == {200: 100}
        async with asyncio.timeout(30):
            while not stage.endpoint.requests:  # noqa: ASYNC110 - another thread's
                await asyncio.sleep(0.005)
        # Each daemon tries once, and then again no sooner than its pause is over.
        assert len(stage.endpoint.requests) <= 2
        stage.endpoint.answer = None
        stage.clock.advance(30)
        assert await stage.ask(50) == {200: 100}
        await stage.renewed()
        assert not stage.endpoint.revoked


async def test_a_key_that_is_replaced_in_the_keyring_is_used_at_once_and_no_request_is_lost(tmp_path: Path) -> None:
    async with scene(tmp_path, 3600) as stage:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(stage.ask(100))
            for box in stage.boxes:
                await asyncio.to_thread(box.keep, ANTHROPIC, Entry(shapes.LOGIN, Secret(SECOND)), KEYRING)
        assert asking.result() == {200: 200}
        stage.claude.tokens = {SECOND}
        assert await stage.ask(100) == {200: 200}
        assert stage.endpoint.requests == []


async def test_claude_codes_login_is_read_again_when_it_changes_and_never_used_up(tmp_path: Path) -> None:
    """Its refresh token is single-use and Claude Code's own: we wait until it has renewed its login itself."""

    def logged_in(access: str) -> bytes:
        ends = (NOW + 3600) * 1000
        login = {"accessToken": access, "refreshToken": "worth-nothing-refresh-0", "expiresAt": ends}
        return json.dumps({"claudeAiOauth": login}).encode()

    file = tmp_path / ".claude/.credentials.json"
    file.parent.mkdir()
    file.write_bytes(logged_in(FIRST))
    file.chmod(0o600)
    async with scene(tmp_path, -1, source="claude") as stage:
        assert await stage.ask(50) == {200: 100}
        file.write_bytes(logged_in(SECOND))
        stage.claude.tokens = {SECOND}
        assert await stage.ask(100) == {200: 200}
        assert stage.endpoint.requests == []
        assert file.read_bytes() == logged_in(SECOND)
