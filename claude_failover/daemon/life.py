"""The daemon's life: build, listen, serve, drain, stop.

Order at the start: lock, log, ledger, state, control socket, data port, "ready". At the end the reverse, and the
lock last: while it is held, nobody else can believe that this state directory is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from claude_failover import __version__, events
from claude_failover.clock import Clock
from claude_failover.config import Loaded, Paths, load, write_private
from claude_failover.control import api
from claude_failover.control.feed import Feed
from claude_failover.control.server import ControlServer
from claude_failover.core import gate
from claude_failover.core.settings import Settings
from claude_failover.core.spend import nusd
from claude_failover.core.types import BackendName, Epoch, Kind, Transition
from claude_failover.credentials.client_key import ClientKey
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon import build, view
from claude_failover.daemon.answers import Answers
from claude_failover.daemon.books import Books
from claude_failover.daemon.history import History
from claude_failover.errors import ConfigError, DaemonFailed
from claude_failover.ledger import Ledger
from claude_failover.ledger_days import Zone
from claude_failover.proxy.port import MAX_BODY, DataPort, Generation, World

BACKLOG: Final = 2048
"""aiohttp's 128 makes a thousand clients that start at once wait a second for their SYN to be sent again (measured)."""

KEEPALIVE: Final = 90.0
"""Seconds that an idle connection of a client stays open; Claude Code thinks longer than aiohttp's own 75."""

UPKEEP: Final = 1.0
"""Seconds between two looks at what must be saved, closed, refreshed."""

SLEPT: Final = 5.0
"""Seconds that the wall clock may gain on the monotonic one before the machine counts as having slept."""


class Daemon:
    """Everything at run time. Use :meth:`serve`.

    Args:
        loaded: The configuration.
        paths: Where files live; prepared.
        clock: Time.
        environ: The environment, for credentials and proxies.
        config: What ``--config`` said, for ``reload``.
        journal: Follows the logging settings, and tells how it is doing.
    """

    def __init__(
        self,
        loaded: Loaded,
        paths: Paths,
        clock: Clock,
        environ: Mapping[str, str],
        *,
        config: Path | None = None,
        journal: events.Journal | None = None,
    ) -> None:
        self.feed = Feed()
        self.history = History()
        self.loaded = loaded
        self.paths = paths
        self.clock = clock
        self._environ = environ
        self._config = config
        self.journal = journal
        self.began = clock.now()
        self.ready = Epoch(0.0)
        self._rng = random.Random()  # noqa: S311 - jitter, not secrets
        self.standing = build.stand(loaded.settings, clock, self._rng, environ)
        self.ledger: Ledger | None = None
        self._world: World | None = None
        self._retired: list[Generation] = []
        self._server: web.ServerRunner | None = None
        self._site: web.BaseSite | None = None
        self._control = ControlServer(Answers(self), paths.socket)
        self.books: Books | None = None
        self._address = ""
        self.config_error = ""
        self._stop = asyncio.Event()
        self._drain_s = 30.0
        self._now = False
        self.credentials: dict[BackendName, CredentialView] = {}
        self._drift = self.began.wall - self.began.monotonic

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

    def heard(self, event: events.Event) -> None:
        """An event for whoever watches over the control channel."""
        self.feed.publish(event.name, dict(event.fields), event.at)

    def notes(self) -> tuple[str, ...]:
        """What works and what is missing, for the person who typed ``start``; one sentence each."""
        lines = []
        for backend in self.settings.backends:
            credential = self.credentials.get(backend.name)
            usable = view.is_usable(backend, credential)
            hint = f" ({credential.hint})" if credential is not None and credential.hint and not usable else ""
            text = view.credential_text(backend, credential)
            lines.append(f"{backend.name}: {'ready' if usable else 'not usable'}, {text}{hint}")
        return tuple(lines)

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Come up; returns when socket and port answer.

        Raises:
            ConfigError: The port or the socket cannot be had.
            LedgerError: The ledger is of a newer version.
        """
        settings, clock = self.settings, self.clock
        key = ClientKey.load_or_create(self.paths.client_key) if settings.listen.client_key == "required" else None
        self._open_ledger()
        self.books = Books(self.ledger, self.history, None, clock)
        self._restore()
        generation = build.generate(settings, self.standing, clock, self._environ)
        door = gate.Door(settings.listen.port, key.digest if key is not None else None)
        self._world = World(generation, door, self.books, clock)
        await self._control.start()
        try:
            await self._listen(key)
        except BaseException:
            await self._control.close()
            raise
        self.ready = clock.now().wall
        await self.look_at_credentials()
        events.emit("daemon.started", version=__version__, pid=os.getpid(), address=self._address)

    async def _listen(self, key: ClientKey | None) -> None:
        listen = self.settings.listen
        server = web.Server(
            DataPort(self.world).handle,
            handler_cancellation=True,
            request_factory=_big_request,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE,
            access_log=None,
        )
        self._server = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._server.setup()
        site = web.TCPSite(self._server, listen.host, listen.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            await self._server.cleanup()
            raise _cannot_listen(error, listen.host, listen.port) from error
        self._site = site
        port = self._server.addresses[0][1]
        hosts = gate.LOOPBACK_HOSTS | {listen.host}
        self.world.door = gate.Door(port, key.digest if key is not None else None, frozenset(hosts))
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        self._address = f"http://{host}:{port}"

    def _open_ledger(self) -> None:
        settings = self.settings
        if not settings.cost_tracking.enabled:
            return
        zone = Zone.of(settings.cost_tracking.timezone)
        now = self.clock.now()
        self.ledger = Ledger.open(
            self.paths.ledger,
            zone=zone,
            primary=settings.primary.name,
            now=now.wall,
            prices=self.standing.prices,
            announce=_ledger_says,
        )
        today = zone.day(now.wall).key
        self.standing.spend.restore(today, self.ledger.spent(today))

    async def run(self) -> None:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
        async with asyncio.TaskGroup() as tasks:
            upkeep = tasks.create_task(self._keep_up())
            await self._stop.wait()
            await self._drain()
            upkeep.cancel()
        await self.close()

    def stop(self, drain: float | None = None, *, now: bool = False) -> None:
        """Begin the end: drain for so many seconds, or not at all."""
        self._drain_s = self._drain_s if drain is None else drain
        self._now = self._now or now
        self._stop.set()

    def _told_to_stop(self) -> None:
        if self._stop.is_set():
            self._now = True
        self._stop.set()

    def _told_to_reload(self) -> None:
        try:
            self.reload()
        except ConfigError as error:
            self.config_error = str(error)

    async def _drain(self) -> None:
        """Take nothing new; let what runs finish."""
        self.world.draining = True
        if self._site is not None:
            await self._site.stop()
        deadline = self.clock.now().monotonic + self._drain_s
        # Looked at for a few seconds, once in a life.
        while self.world.in_flight and not self._now and self.clock.now().monotonic < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        events.emit("daemon.drained", left=self.world.in_flight)

    async def close(self) -> None:
        """Close everything, in the order of the module."""
        if self._server is not None:
            await self._server.cleanup()
        for generation in (*self._retired, self.world.current):
            await _close(generation)
        self._save()
        if self.ledger is not None:
            await asyncio.to_thread(self.ledger.close)
        events.emit("daemon.stopped", pid=os.getpid())
        await self._control.close()

    # --- upkeep ----------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        """Once a second: save what changed, close what is no longer used, notice a night's sleep."""
        rounds = 0
        while True:
            await asyncio.sleep(UPKEEP)
            rounds += 1
            now = self.clock.now()
            drift = now.wall - now.monotonic
            if drift - self._drift > SLEPT:
                events.emit("machine.slept", seconds=round(drift - self._drift))
                await self._after_sleep()
            self._drift = drift
            if self.books is not None and self.books.dirty:
                self.books.dirty = False
                await asyncio.to_thread(self._save)
            for generation in [one for one in self._retired if one.users == 0]:
                self._retired.remove(generation)
                await _close(generation)
            if rounds % 30 == 0:
                await self.look_at_credentials()

    async def _after_sleep(self) -> None:
        """Pooled connections are dead after a sleep: begin with new ones."""
        self._swap(build.generate(self.settings, self.standing, self.clock, self._environ))
        await self.look_at_credentials()

    def _swap(self, generation: Generation) -> None:
        self._retired.append(self.world.current)
        self.world.current = generation

    async def look_at_credentials(self) -> None:
        """Ask every source what it has; for ``status``, and so that the first failover need not."""
        settings = self.settings
        found: dict[BackendName, CredentialView] = {}
        for backend in settings.backends:
            if backend.kind is Kind.ANTHROPIC:
                found[backend.name] = self.standing.tokens.status()
            else:
                found[backend.name] = await self.standing.aws[backend.name].status()
        self.credentials = found

    # --- what survives a restart -------------------------------------------------------------------

    def _save(self) -> None:
        state = {
            "version": 1,
            "policy": self.standing.policy.snapshot(),
            "denials": self.standing.denials.snapshot(),
        }
        try:
            write_private(self.paths.state, msgspec.json.encode(state))
        except OSError as error:
            events.emit("ledger.failed", error=f"state: {error.strerror}")

    def _restore(self) -> None:
        try:
            state: Any = msgspec.json.decode(self.paths.state.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            with contextlib.suppress(OSError):
                self.paths.state.rename(self.paths.state.with_suffix(".unreadable.json"))
            events.emit("ledger.failed", error=f"state.json was unreadable and set aside: {type(error).__name__}")
            return
        if isinstance(state, dict) and state.get("version") == 1:
            now = self.clock.now()
            self.standing.policy.restore(state.get("policy") or {}, now)
            self.standing.denials.restore(state.get("denials") or {}, now)

    # --- changes in mid-life ------------------------------------------------------------------------

    def reload(self) -> api.ReloadResult:
        """Read the configuration again; requests under way keep the old one.

        Raises:
            ConfigError: It is wrong; the old one stays in force.
        """
        try:
            loaded = load(self._config, environ=self._environ)
        except ConfigError as error:
            self.config_error = str(error)
            events.emit("config.refused", error=str(error))
            raise
        before, settings, now = self.settings, loaded.settings, self.clock.now()
        changed = tuple(sorted(name for name in _FIELDS if getattr(before, name) != getattr(settings, name)))
        restart = ("listen",) if before.listen != settings.listen else ()
        self.loaded = loaded
        self.config_error = ""
        for transition in self.standing.policy.reload(settings, now):
            self.announce(transition)
        costs = settings.cost_tracking
        zone = Zone.of(costs.timezone)
        self.standing.spend.configure(
            nusd(costs.daily_limit) if costs.enabled else None,
            nusd(costs.alert_threshold) if costs.enabled else None,
            zone.day,
        )
        if self.ledger is not None:
            self.ledger.configure(zone=zone, primary=settings.primary.name, prices=self.standing.prices)
        self.standing.tokens.reload(settings.credentials.sources)
        self._swap(build.generate(settings, self.standing, self.clock, self._environ))
        if self.journal is not None:
            log = settings.logging
            self.journal.limits(level=events.Level.parse(log.level), max_bytes=log.max_bytes, backups=log.backups)
        events.emit("config.reloaded", changed=list(changed))
        return api.ReloadResult(changed=changed, restart_needed=restart, credentials=tuple(self.credentials))

    def announce(self, transition: Transition) -> None:
        """Tell the books of a change that no request made."""
        if self.books is not None:
            self.books.announce(transition)


_FIELDS: Final = tuple(Settings.__dataclass_fields__)


async def _close(generation: Generation) -> None:
    for upstream in generation.upstreams.values():
        await upstream.close()


def _ledger_says(name: str, facts: Mapping[str, str | int]) -> None:
    if name == "ledger.recovered":
        events.say("ledger.recovered", dict(facts))
    else:
        events.say("ledger.failed", {"what": name, **facts})


def _big_request(*parts: Any) -> web.BaseRequest:
    """A request whose body may be as large as the data port takes; aiohttp's own limit is 1 MiB."""
    message, payload, protocol, writer, task = parts
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)


def _cannot_listen(error: OSError, host: str, port: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return DaemonFailed(
            f"listen.port: {host}:{port} is taken by another program",
            hint=f"lsof -i :{port}, or set listen.port in config.yaml",
        )
    return ConfigError(f"listen: cannot listen on {host}:{port}: {error.strerror}")
