"""The data port as the daemon serves it, in-process, with real upstreams before simulated backends."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from aiohttp import web

from claude_failover.clock import SystemClock
from claude_failover.core import gate
from claude_failover.core.counsel import Counsel
from claude_failover.core.policy import Policy
from claude_failover.core.repair import Denials
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.spend import SpendBudget
from claude_failover.core.types import AttemptRecord, BackendName, ExchangeRecord, Headers, Kind, Transition
from claude_failover.credentials.secret import Secret
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.proxy.port import DataPort, Generation, World
from claude_failover.proxy.server import Server
from claude_failover.upstream import Upstream
from claude_failover.upstream.anthropic import AnthropicUpstream, TokenStore
from claude_failover.upstream.bedrock import BedrockUpstream
from tests.exchanges import BEDROCK, CATALOG, CLAUDE, PRICES, day

KEY = "k" * 43
KEYED = {"x-claude-failover-key": KEY}


@dataclass
class Keys:
    access_key: str = ACCESS_KEY
    secret_key: Secret | None = field(default_factory=lambda: Secret(SECRET_KEY))
    session_token: Secret | None = None
    api_key: Secret | None = None


class Provider:
    """The simulated account's keys."""

    async def get(self, refresh: bool = False) -> Keys:
        del refresh
        return Keys()

    async def region(self) -> str:
        return "us-east-1"


class Notes:
    """Books that keep everything."""

    def __init__(self) -> None:
        self.records: list[AttemptRecord] = []
        self.conclusions: list[ExchangeRecord] = []
        self.transitions: list[Transition] = []
        self.changed = asyncio.Event()

    def record(self, record: AttemptRecord) -> None:
        self.records.append(record)

    def conclude(self, record: ExchangeRecord) -> None:
        self.conclusions.append(record)
        self.changed.set()
        self.changed = asyncio.Event()

    def announce(self, transition: Transition) -> None:
        self.transitions.append(transition)

    def heard(self, backend: BackendName, headers: Headers) -> None:
        del backend, headers

    async def until(self, count: int, seconds: float = 30.0) -> None:
        """Wait for so many conclusions; the limit only ends what hangs, unless a test says how long it may take."""
        async with asyncio.timeout(seconds):
            while len(self.conclusions) < count:
                await self.changed.wait()


@dataclass
class Served:
    """The port, and what it serves with."""

    port: int
    world: World
    notes: Notes
    runner: web.ServerRunner

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def policy(self) -> Policy:
        return self.world.current.counsel.policy


def settings_for(claude: str, bedrock: str | None = None, *, credential: str = "client", **more: Any) -> Settings:
    """Settings with backends on loopback; nothing is asked of a credential but what the simulator asks."""
    backends = [Backend(CLAUDE, Kind.ANTHROPIC, base_url=claude, credential=credential)]
    if bedrock is not None:
        backends.append(Backend(BEDROCK, Kind.BEDROCK, region="us-east-1", endpoint_url=bedrock))
    return replace(Settings(backends=tuple(backends)), **more)


@contextlib.asynccontextmanager
async def serving(
    settings: Settings,
    *,
    client_key: bool = True,
    environ: Mapping[str, str] | None = None,
    tokens: TokenStore | None = None,
) -> AsyncIterator[Served]:
    """Serve until the block ends; then nothing of it is left running. *tokens*: for requests without a credential."""
    clock = SystemClock()
    environ = environ or {}
    upstreams: dict[BackendName, Upstream] = {}
    relay: AnthropicUpstream | None = None
    for backend in settings.backends:
        if backend.kind is Kind.ANTHROPIC:
            adapter = AnthropicUpstream(backend, settings.timeouts, tokens, environ)
            relay = relay or adapter
            upstreams[backend.name] = adapter
        else:
            upstreams[backend.name] = BedrockUpstream(backend, settings.timeouts, Provider(), environ, clock)
    assert relay is not None
    policy = Policy(settings, random.Random(7), SpendBudget(None, None, day))
    counsel = Counsel(settings, policy, CATALOG, Denials(), PRICES)
    paid = {backend.name: backend.kind is Kind.BEDROCK for backend in settings.backends}
    notes = Notes()
    door = gate.Door(0, gate.digest(KEY) if client_key else None)
    world = World(Generation(counsel, upstreams, relay, lambda _: paid), door, notes, clock)
    runner = web.ServerRunner(Server(DataPort(world).handle), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
        port = runner.addresses[0][1]
        world.door = replace(door, port=port)
        yield Served(port, world, notes, runner)
        async with asyncio.timeout(30):
            while world.in_flight:  # noqa: ASYNC110 - clients have left: their handlers end at once
                await asyncio.sleep(0.002)
        assert not policy._desk.flights, "a permit was lost"
    finally:
        await runner.cleanup()
        for upstream in upstreams.values():
            await upstream.close()


@contextlib.asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that hides nothing."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=30), auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        yield session
