"""The accounts: the ledger and the spend budget, as the configuration wants them at the moment.

Rule: the budget decides, the ledger remembers. What the ledger knows of today and of sessions is given to the budget
at the start; from then on the budget's reservations are written down as they are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from claude_failover import events
from claude_failover.clock import Clock
from claude_failover.core.prices import PriceTable
from claude_failover.core.settings import Settings
from claude_failover.core.spend import SpendBudget, nusd
from claude_failover.core.types import AttemptRecord, ExchangeRecord, Kind
from claude_failover.credentials.threads import Finishing
from claude_failover.daemon.recall import record_of
from claude_failover.errors import ControlError, LedgerError, UsageError
from claude_failover.ledger import Ledger, LedgerStatus
from claude_failover.ledger_days import Zone
from claude_failover.ledger_query import By, CostReport, Reader
from claude_failover.ledger_report import Money, report, span

SESSIONS: Final = "30d"
"""How far back a session with a budget of its own is looked for: nobody resumes an older one."""

DAYS: Final = 2
"""Days whose notional sum is kept in memory: a request may begin before midnight and end after it."""

PATIENCE: Final = 20.0
"""Seconds that an answer of the ledger may take."""

Answer = TypeVar("Answer")


class Accounts:
    """See the module.

    Args:
        path: Of the ledger.
        spend: The budget.
        clock: The daemon's.
    """

    def __init__(self, path: Path, spend: SpendBudget, clock: Clock) -> None:
        self._path = path
        self._spend = spend
        self._clock = clock
        self._zone = Zone.of("UTC")
        self._notional: dict[str, int] = {}
        self.ledger: Ledger | None = None
        """``None``: cost tracking is off."""
        self._closed = False

    def configure(self, settings: Settings, prices: PriceTable) -> None:
        """Take a configuration: limits, zone, prices, whether there is a ledger at all.

        Raises:
            ConfigError: There is no such time zone; nothing has changed.
            LedgerError: A newer version wrote the ledger.
        """
        costs = settings.cost_tracking
        zone = Zone.of(costs.timezone)
        primary = settings.primary.name
        if costs.enabled and self.ledger is None and not self._closed:
            now = self._clock.now().wall
            self.ledger = Ledger.open(
                self._path, zone=zone, primary=primary, now=now, prices=prices, announce=ledger_says
            )
            self._spend.attach(self.ledger)
            today = zone.day(now).key
            # The limit is about money that we decide to spend; a client's own API key is the client's business.
            theirs = {
                one.name for one in settings.backends if one.kind is Kind.ANTHROPIC and one.credential != "stored"
            }
            self._spend.restore(today, self.ledger.spent(today, besides=theirs))
        elif self.ledger is not None and costs.enabled:
            self.ledger.configure(zone=zone, primary=primary, prices=prices)
        elif self.ledger is not None:
            gone, self.ledger = self.ledger, None
            self._spend.detach()
            # It writes what it still has; nobody waits for that.
            Finishing(target=gone.close, name="ledger-close").start()
        self._zone = zone
        limits = (costs.daily_limit, costs.alert_threshold) if costs.enabled else (None, None)
        self._spend.configure(nusd(limits[0]), nusd(limits[1]), zone.day)

    async def remember(self) -> None:
        """Give the budget what sessions have spent before this start, and count on what was notional today."""
        if self.ledger is None:
            return
        now = self._clock.now().wall
        since, today = span(SESSIONS, None, self._zone, now)
        before = self._notional.get(today, 0)

        def look(reader: Reader) -> tuple[dict[str, int], int]:
            lines, _, _ = reader.costs(since, today, By.SESSION)
            _, total, _ = reader.costs(today, today, By.BACKEND)
            return {line.key: line.spent_nusd for line in lines if line.key}, total.notional_nusd

        try:
            sessions, notional = await self._ask(look)
        except (ControlError, LedgerError) as error:
            # A disk that is full, a file that somebody holds: rows wait in memory, and requests are served.
            events.emit("ledger.failed", what="start", error=f"what sessions have spent before is not known: {error}")
            return
        # The dearest come first and would be the first to be forgotten.
        for session, spent in reversed(sessions.items()):
            if spent:
                self._spend.restore_session(session, spent)
        self._notional[today] = self._notional.get(today, 0) - before + notional

    def record(self, record: AttemptRecord) -> None:
        """Write one attempt down."""
        if self.ledger is None:
            return
        self.ledger.record(record)
        if not record.paid and record.cost_nusd:
            day = self._zone.day(record.started).key
            self._notional[day] = self._notional.get(day, 0) + record.cost_nusd
            if len(self._notional) > DAYS:
                del self._notional[min(self._notional)]

    def conclude(self, record: ExchangeRecord) -> None:
        """Write one exchange down."""
        if self.ledger is not None:
            self.ledger.record_exchange(record)

    @property
    def notional_nusd(self) -> int:
        """What today's subscription traffic would have cost by the token."""
        return self._notional.get(self._zone.day(self._clock.now().wall).key, 0)

    def status(self) -> LedgerStatus | None:
        """How the ledger is doing; ``None`` if there is none."""
        return None if self.ledger is None else self.ledger.status()

    async def report(self, query: Mapping[str, str], prices: PriceTable) -> CostReport:
        """Answer ``costs``.

        Raises:
            UsageError: The query cannot be understood, or cost tracking is off.
            ControlError: The ledger does not answer.
        """
        now, zone = self._clock.now(), self._zone
        view, status = self._spend.view(now), self.status()
        notes = ledger_notes(status) if status is not None else ()
        money = Money(view.limit, view.alert, view.spent, prices.as_of, notes)
        return await self._ask(lambda reader: report(reader, query, zone, now.wall, money))

    async def story(self, exchange: str | None) -> ExchangeRecord | None:
        """One request's story as the ledger has it; ``None`` as argument = the last one's, as result = unknown."""
        if self.ledger is None:
            return None
        found = await self._ask(lambda reader: reader.exchange(exchange))
        return None if found is None else record_of(found)

    async def _ask(self, question: Callable[[Reader], Answer]) -> Answer:
        if self.ledger is None:
            raise UsageError("cost tracking is off", hint="cost_tracking.enabled in config.yaml")
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.wrap_future(self.ledger.ask(question))
        except TimeoutError as error:
            raise ControlError(f"{self._path}: the ledger did not answer within {PATIENCE:.0f} s") from error

    async def close(self) -> None:
        """Write what is left, and close for good: a reload at the very end must not open it again."""
        self._closed = True
        if self.ledger is not None:
            ledger, self.ledger = self.ledger, None
            self._spend.attach(None)
            await asyncio.to_thread(ledger.close)


def ledger_notes(status: LedgerStatus) -> tuple[str, ...]:
    """What is wrong with the ledger, one sentence each; empty if nothing is."""
    notes = []
    if status.failing:
        notes.append(f"the ledger cannot be written ({status.error}); {status.queued} rows wait in memory")
    if status.dropped:
        notes.append(f"{status.dropped} rows were given up; their cost is in the sums")
    if status.set_aside:
        notes.append(f"a damaged ledger was set aside: {status.set_aside}")
    return tuple(notes)


def ledger_says(name: str, facts: Mapping[str, str | int]) -> None:
    """Say as an event what the ledger announces."""
    if name == "ledger.recovered":
        events.say("ledger.recovered", dict(facts))
    else:
        events.say("ledger.failed", {"what": name, **facts})
