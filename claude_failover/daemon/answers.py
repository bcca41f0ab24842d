"""What the control channel asks of the daemon, answered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from claude_failover import __version__, events
from claude_failover.control import api
from claude_failover.control.server import Peer
from claude_failover.core.settings import Settings
from claude_failover.core.types import BackendName, Epoch, Instant, Kind
from claude_failover.daemon import reloading, view
from claude_failover.daemon.accounts import ledger_notes
from claude_failover.errors import UsageError
from claude_failover.ledger import LedgerStatus

if TYPE_CHECKING:
    from claude_failover.daemon.life import Daemon


class Answers:
    """See :class:`claude_failover.control.server.Daemon`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.feed = daemon.feed

    def ping(self) -> api.Ping:
        """Say who runs."""
        world = self._daemon.world
        return api.Ping(
            version=__version__,
            pid=os.getpid(),
            listen=self._daemon.address,
            started=self._daemon.ready,
            ready=bool(self._daemon.address),
            streams=world.in_flight,
            draining=world.draining,
        )

    def status(self) -> api.Status:
        """Take a snapshot."""
        now = self._daemon.clock.now()
        self._daemon.look_again_soon(now)
        policy = self._daemon.standing.policy.view(now)
        paid = self._daemon.world.current.paid(())
        backends = tuple(
            view.backend_status(
                backend,
                policy,
                self._daemon.history,
                self._daemon.credentials.get(backend.name),
                paid=paid[backend.name],
            )
            for backend in self._daemon.settings.backends
        )
        accounts = self._daemon.accounts
        ledger = accounts.status()
        spend = view.spend(None if ledger is None else self._daemon.standing.spend.view(now), accounts.notional_nusd)
        log = self._log()
        listen = self._daemon.settings.listen
        return api.Status(
            version=__version__,
            pid=os.getpid(),
            now=now.wall,
            started=self._daemon.ready,
            listen=self._daemon.address,
            health=api.assess(backends, spend_reached=spend.reached, offline=policy.offline),
            current=view.current(policy, self._daemon.settings),
            backends=backends,
            plan=self._daemon.history.plan(),
            spend=spend,
            override=view.override(policy),
            learned=len(self._daemon.standing.denials.entries(now)),
            needs_you=self._needs(backends, ledger, log, now),
            streams=self._daemon.world.in_flight,
            draining=self._daemon.world.draining,
            offline=policy.offline,
            totals=self._daemon.history.totals(),
            overhead=self._daemon.history.overhead(),
            config_file=str(self._daemon.paths.config_file),
            config_exists=self._daemon.loaded.path is not None,
            config_loaded=self._daemon.configured,
            config_error=self._daemon.config_error,
            client_key_required=listen.client_key == "required",
            ledger=_store(str(self._daemon.paths.ledger), ledger),
            log=log,
            metrics=f"{self._daemon.address}/metrics" if self._daemon.settings.metrics.enabled else "",
        )

    def _needs(
        self, backends: tuple[api.BackendStatus, ...], ledger: LedgerStatus | None, log: api.Store, now: Instant
    ) -> tuple[api.Notice, ...]:
        daemon = self._daemon
        found = view.notices(daemon.settings, backends, daemon.credentials, now)
        found += view.stores(ledger, daemon.state.error, log)
        alerts = daemon.observers.desk.active() if daemon.observers is not None else ()
        return (*found, *view.raised(alerts, found))

    def _log(self) -> api.Store:
        journal = self._daemon.journal
        health = journal.health() if journal is not None else None
        detail = health.error or "" if health is not None else ""
        return api.Store(str(self._daemon.paths.log), ok=not detail, detail=detail)

    async def stop(self, request: api.StopRequest, peer: Peer) -> api.StopResult:
        """Begin the drain."""
        events.emit("control.commanded", command="stop", uid=peer.uid, pid=peer.pid)
        self._daemon.stop(request.drain_s, now=request.now)
        return api.StopResult(streams=self._daemon.world.in_flight, pid=os.getpid())

    async def reload(self, peer: Peer) -> api.ReloadResult:
        """Read configuration and credentials again."""
        events.emit("control.commanded", command="reload", uid=peer.uid, pid=peer.pid)
        result = reloading.reload(self._daemon)
        for backend in self._daemon.settings.backends:
            # Who types `reload` has looked at a failed pin. The keys are compared again before anything is sent.
            if self._daemon.standing.policy.acknowledge(backend.name):
                events.emit("control.commanded", command="acknowledge", backend=backend.name, uid=peer.uid)
        await self._daemon.look_at_credentials()
        return result

    async def force(self, request: api.ForceRequest, peer: Peer) -> api.ForceResult:
        """Set or end the override."""
        names = [backend.name for backend in self._daemon.settings.backends]
        name = None if request.backend is None else _match(request.backend, self._daemon.settings)
        if request.backend is not None and name is None:
            raise UsageError(f"no backend is named {request.backend!r}; there are: {', '.join(names)}, auto")
        model = None
        if request.model is not None:
            model = self._daemon.world.current.counsel.catalog.normalise(request.model)
        now = self._daemon.clock.now()
        until = None if request.for_s is None else Epoch(now.wall + request.for_s)
        for transition in self._daemon.standing.policy.force(name, model, until, now):
            self._daemon.books.announce(transition)
        self._daemon.books.changed.set()
        events.emit("override.set", backend=name or "auto", model=model, until=until, uid=peer.uid, pid=peer.pid)
        return api.ForceResult(override=view.override(self._daemon.standing.policy.view(now)))

    async def explain(self, exchange: str | None) -> api.Explain | None:
        """Tell one request's story; what memory no longer has may be in the ledger."""
        record = self._daemon.history.find(exchange) or await self._daemon.accounts.story(exchange)
        return None if record is None else api.Explain(record)

    async def costs(self, query: Mapping[str, str]) -> object:
        """Answer from the ledger."""
        return await self._daemon.accounts.report(query, self._daemon.standing.prices)

    async def models(self, *, refresh: bool) -> api.Models:
        """Give the model table, and what was learned; *refresh* asks the accounts first."""
        if refresh:
            await self._daemon.discover()
        counsel, now = self._daemon.world.current.counsel, self._daemon.clock.now()
        entries: list[api.ModelEntry] = []
        learned: list[api.Learned] = []
        for backend in counsel.settings.backends:
            if backend.kind is Kind.BEDROCK:
                found = counsel.catalog.entries(backend)
                entries += [view.model_entry(entry, backend, counsel.prices, now.wall) for entry in found]
                learned += [view.learned(denial, backend.name) for denial in counsel.denials.entries(now)]
        return api.Models(entries=tuple(entries), learned=tuple(learned))


def _store(path: str, ledger: LedgerStatus | None) -> api.Store:
    """Whether the ledger can be written, and what else there is to say of it."""
    return api.Store(path) if ledger is None else api.Store(path, not ledger.failing, "; ".join(ledger_notes(ledger)))


def _match(name: str, settings: Settings) -> BackendName | None:
    """A backend by its name; ``claude`` and ``bedrock`` also mean the first of that kind."""
    for backend in settings.backends:
        if backend.name == name:
            return backend.name
    kind = {"claude": Kind.ANTHROPIC, "anthropic": Kind.ANTHROPIC, "bedrock": Kind.BEDROCK}.get(name)
    return next((backend.name for backend in settings.backends if backend.kind is kind), None)
