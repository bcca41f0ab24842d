"""The daemon's life: build, listen, serve, drain, stop.

Order at the start: lock, log, ledger, state, control socket, data port, "ready". At the end the reverse, and the
lock last: while it is held, nobody else can believe that this state directory is free.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from claude_failover import __version__, events
from claude_failover.clock import Clock
from claude_failover.config import Loaded, Paths
from claude_failover.control.feed import Feed
from claude_failover.control.server import ControlServer
from claude_failover.core import gate
from claude_failover.core.settings import Settings
from claude_failover.core.types import BackendName, Epoch, Instant, Monotonic
from claude_failover.credentials.client_key import ClientKey
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon import build, discovery, stock, view
from claude_failover.daemon.accounts import Accounts
from claude_failover.daemon.answers import Answers
from claude_failover.daemon.books import Books
from claude_failover.daemon.history import History
from claude_failover.daemon.observers import Observers
from claude_failover.daemon.readings import Readings
from claude_failover.daemon.state import StateFile
from claude_failover.daemon.upkeep import Upkeep, attempt
from claude_failover.errors import ConfigError, DaemonFailed, FailoverError
from claude_failover.proxy.neighbours import Neighbours
from claude_failover.proxy.port import DataPort, Generation, World
from claude_failover.proxy.server import Server
from claude_failover.upstream import Relay, Upstream

BACKLOG: Final = 2048
"""aiohttp's 128 makes a thousand clients that start at once wait a second for their SYN to be sent again (measured)."""

GLANCE: Final = 0.25
"""Seconds that the start waits for AWS credentials, so that it can say what is missing; they are looked for anyway."""

LOOK_AGAIN: Final = 10.0
"""Seconds after which somebody who reads that a credential is missing has it looked for again."""


class Daemon:
    """Everything at run time: :meth:`start`, then :meth:`run`.

    Args:
        loaded: The configuration.
        paths: Where files live; prepared.
        clock: Time.
        environ: The environment, for credentials and proxies.
        config: What ``--config`` said, for ``reload``.
        hub: Where events come from.
        journal: Follows the logging settings, and tells how it is doing.

    Raises:
        ConfigError: The price file or the time zone cannot be used.
    """

    def __init__(
        self,
        loaded: Loaded,
        paths: Paths,
        clock: Clock,
        environ: Mapping[str, str],
        *,
        config: Path | None = None,
        hub: events.Hub | None = None,
        journal: events.Journal | None = None,
    ) -> None:
        self.loaded = loaded
        self.paths = paths
        self.clock = clock
        self.environ = environ
        self.config = config
        self.journal = journal
        self._hub = hub
        self.configured = clock.now().wall
        """When the configuration in force was loaded."""
        self.config_error = ""
        self.ready = Epoch(0.0)
        self.feed = Feed()
        self.history = History()
        self.state = StateFile(paths.state)
        rng = random.Random()  # noqa: S311 - jitter, not secrets
        self.standing = build.stand(loaded.settings, paths, clock, rng, environ)
        self.accounts = Accounts(paths.ledger, self.standing.spend, clock)
        self.books = Books(self.accounts, self.history, self.standing.policy, loaded.settings, clock)
        self.readings = Readings(self)
        self.credentials: dict[BackendName, CredentialView] = {}
        self.observers: Observers | None = None
        self._world: World | None = None
        self._retired: list[Generation] = []
        self._server: web.ServerRunner | None = None
        self._site: web.BaseSite | None = None
        self._control = ControlServer(Answers(self), paths.socket)
        self._address = ""
        self.fresh = asyncio.Event()
        """Requests are served with something new: what they would wait for should be loaded."""
        self._stop = asyncio.Event()
        self._hangup = asyncio.Event()
        self._drain_s = 30.0
        self._now = False
        self._looked = Monotonic(0.0)

    @property
    def settings(self) -> Settings:
        """In force now."""
        return self.loaded.settings

    @property
    def address(self) -> str:
        """The data port's URL."""
        return self._address

    @property
    def world(self) -> World:
        """What the data port serves with."""
        assert self._world is not None, "the daemon has started"
        return self._world

    def notes(self) -> tuple[str, ...]:
        """What works and what is missing, for the person who typed ``start``; one sentence each."""
        said = tuple(view.note(backend, self.credentials.get(backend.name)) for backend in self.settings.backends)
        return (*said, *self.loaded.warnings)

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Come up; returns when socket and port answer.

        Raises:
            ConfigError: The port or the socket cannot be had.
            CredentialError: The client key cannot be read.
            LedgerError: The ledger is of a newer version.
        """
        settings = self.settings
        key = self.key_for(settings)
        self.accounts.configure(settings, self.standing.prices)
        try:
            self.standing.discovered = discovery.by_backend(discovery.load(self.paths.state_dir / stock.LISTINGS))
            generation = build.generate(settings, self.standing, self.clock, self.environ)
            door = gate.Door(settings.listen.port, key.digest if key is not None else None)
            self._world = World(generation, door, self.books, self.clock)
            self.observers = Observers(self, self._hub)
            self._restore()
            self._hear_signals()
            # Before the first request: a session's budget must know what it spent before this start.
            await self.accounts.remember()
            await self._control.start()
            await self._listen()
        except BaseException:
            await self._control.close()
            await self.accounts.close()
            raise
        self.ready = self.clock.now().wall
        await self.look_at_credentials(GLANCE)
        self.fresh.set()
        events.emit("daemon.started", version=__version__, pid=os.getpid(), address=self._address)

    async def _listen(self) -> None:
        listen = self.settings.listen
        port = DataPort(self.world)
        server = Server(port.handle, watch=port.stranger)
        self._server = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._server.setup()
        site = web.TCPSite(self._server, listen.host, listen.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            await self._server.cleanup()
            raise _cannot_listen(error, listen.host, listen.port) from error
        self._site = site
        host, number = listen.host, self._server.addresses[0][1]
        self.world.door = gate.Door(number, None, frozenset(gate.LOOPBACK_HOSTS | {host}))
        # As it is wanted now: the control channel answers already, and may have reloaded.
        self.lock_door(self.key_for(self.settings))
        self._address = f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"

    def key_for(self, settings: Settings) -> ClientKey | None:
        """The client key, made if it is not there yet; ``None`` if none is asked for.

        Raises:
            CredentialError: It cannot be read, or is not ours alone.
        """
        return ClientKey.load_or_create(self.paths.client_key) if settings.listen.client_key == "required" else None

    def lock_door(self, key: ClientKey | None) -> None:
        """Ask requests for *key* from now on (``None``: for none), and connections for their user, or not."""
        neighbours, self.world.neighbours = self.world.neighbours, None
        if self.settings.listen.other_users == "refused":
            self.world.neighbours = neighbours or Neighbours()
        elif neighbours is not None:
            neighbours.close()
        door = self.world.door
        self.world.door = gate.Door(door.port, key.digest if key is not None else None, door.hosts)

    async def run(self) -> None:
        """Serve until told to stop, then drain."""
        upkeep = Upkeep(self)
        try:
            async with asyncio.TaskGroup() as tasks:
                works = (upkeep.run(), upkeep.save(), upkeep.warm(), upkeep.reload(self._hangup))
                running = [tasks.create_task(work) for work in works]
                await self._stop.wait()
                await self._drain()
                for task in running:
                    task.cancel()
        finally:
            await self.close()

    def _hear_signals(self) -> None:
        """SIGTERM and SIGINT stop, the second time at once; SIGHUP reloads. Before anybody knows that we run."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)

    def stop(self, drain: float | None = None, *, now: bool = False) -> None:
        """Begin the end: drain for so many seconds, or not at all."""
        self._drain_s = self._drain_s if drain is None else drain
        self._now = self._now or now
        self._stop.set()

    def _told_to_stop(self) -> None:
        """A signal: the first begins the drain, the second ends it."""
        self.stop(now=self._stop.is_set())

    async def _drain(self) -> None:
        """Take nothing new; let what runs finish."""
        self.world.draining = True
        if self._site is not None:
            await self._site.stop()
        deadline = self.clock.now().monotonic + self._drain_s
        # Looked at for a few seconds, once in a life.
        while self.world.in_flight and not self._now and self.clock.now().monotonic < deadline:
            await asyncio.sleep(0.05)
            deadline = min(deadline, self.clock.now().monotonic + self._drain_s)
        events.emit("daemon.drained", left=self.world.in_flight)

    async def close(self) -> None:
        """Close everything, in the order of the module. Streams that are still open are cut, not finished."""
        for step in (self._close_port, self.save, self.accounts.close, self._close_observers, self._control.close):
            await attempt(step)

    async def _close_port(self) -> None:
        if self._server is not None:
            await self._server.cleanup()
        if self.world.neighbours is not None:
            self.world.neighbours.close()
        for generation in (*self._retired, self.world.current):
            await _close(generation)

    async def _close_observers(self) -> None:
        events.emit("daemon.stopped", pid=os.getpid())
        if self.observers is not None:
            await self.observers.close()

    # --- what upkeep does --------------------------------------------------------------------------

    def look_again_soon(self, now: Instant) -> None:
        """Somebody reads what is missing: perhaps it no longer is."""
        missing = any(not one.usable for one in self.credentials.values())
        if missing and now.monotonic - self._looked > LOOK_AGAIN:
            self.fresh.set()

    async def look_at_credentials(self, patience: float = stock.PATIENCE) -> None:
        """Ask every source what it has; for ``status``, and so that the first failover need not."""
        self._looked = self.clock.now().monotonic
        settings = self.settings
        found = await stock.look(settings, self.standing, patience)
        if settings is not self.settings:
            return  # a reload has come meanwhile, and has it looked again: what was found is of other profiles
        self.credentials = found
        if stock.place(self.settings, self.standing, self.credentials):
            self.swap(build.generate(self.settings, self.standing, self.clock, self.environ))

    async def warm(self) -> None:
        """Load ahead of need what a first attempt at Bedrock would wait for."""
        await stock.warm(self.world.current.upstreams.values())

    async def wake(self) -> None:
        """After a sleep of the machine: pooled connections are dead, so begin with new ones."""
        self.swap(build.generate(self.settings, self.standing, self.clock, self.environ))

    async def discover(self) -> None:
        """Ask the accounts for their models, and use what they list.

        Raises:
            ControlError: One of them did not tell; what is known of the others is kept.
        """
        path = self.paths.state_dir / stock.LISTINGS
        try:
            await stock.discover(self.settings, self.standing, path, self.clock, self.environ)
        finally:
            self.swap(build.generate(self.settings, self.standing, self.clock, self.environ))

    @property
    def served(self) -> int:
        """Requests since the start, and those under way."""
        return self.history.totals().requests + self.world.in_flight

    async def watch(self) -> None:
        """Look whether something is worth an alert."""
        if self.observers is not None:
            self.observers.watch()

    def swap(self, generation: Generation) -> None:
        """Serve requests with *generation* from now on; those under way keep theirs."""
        self._retired.append(self.world.current)
        self.world.current = generation
        self.fresh.set()

    async def close_retired(self) -> None:
        """Close what no request uses any more."""
        for generation in [one for one in self._retired if one.users == 0]:
            self._retired.remove(generation)
            await _close(generation)

    # --- what survives a restart -------------------------------------------------------------------

    async def save(self) -> None:
        """Write down what must survive a restart."""
        await self.state.keep(
            lambda: {
                "policy": self.standing.policy.snapshot(),
                "denials": self.standing.denials.snapshot(),
                "plans": self.history.snapshot(),
                "events": self.observers.window.summary() if self.observers is not None else {},
            }
        )

    def _restore(self) -> None:
        state, now = self.state.load(), self.clock.now()
        policy = state.get("policy")
        self.standing.policy.restore(policy if isinstance(policy, dict) else {}, now)
        self.standing.denials.restore(state.get("denials"), now)
        self.history.restore(state.get("plans"), [backend.name for backend in self.settings.backends], now.wall)
        if self.observers is not None:
            self.observers.restore(state.get("events"))


async def _close(generation: Generation) -> None:
    # The relay is one of the backends, or else an adapter of its own.
    adapters: tuple[Upstream | Relay, ...] = (*generation.upstreams.values(), generation.relay)
    for upstream in dict.fromkeys(adapters):
        await upstream.close()


def _cannot_listen(error: OSError, host: str, port: int) -> FailoverError:
    if error.errno == errno.EADDRINUSE:
        return DaemonFailed(
            f"listen.port: {host}:{port} is taken by another program",
            hint=f"lsof -i :{port}, or set listen.port in config.yaml",
        )
    return ConfigError(f"listen: cannot listen on {host}:{port}: {error.strerror}")
