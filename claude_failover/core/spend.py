"""The spend budget: a cap on real money per day that no concurrency can pass.

Rule: *check and hold are one step*. Before a paid attempt is sent, the most that it can cost is
reserved; afterwards the reservation is settled with what it did cost. A reservation is granted only if

    spent today + everything held + this amount <= the limit

so the sum of all that is under way can come true at once and still be within the limit. Amounts are
upper bounds (:meth:`PriceTable.worst_case <claude_failover.core.prices.PriceTable.worst_case>`), never
likely values: holding the likely output instead would admit more requests only where all of them
together may pass the limit, which is exactly what was promised not to happen. Nobody is starved for it
far from the limit: a request is refused only if the limit would be passed should everything under way
cost its most. Near the limit a refusal says whether it is only others' holds that stand in the way
(:attr:`Refusal.may_clear`): then waiting for one of them to settle is better than an error.

A reservation belongs to the day on which it was made, and so does its cost, whenever it ends. The day
never moves backwards while the daemon runs, whatever the wall clock does. What a crash left open is
settled as an estimate at the next start: the ledger keeps the rows (``held``), see
:mod:`claude_failover.ledger`.

A session may have a budget of its own (``run --budget 5``) besides; it does not reset.

Everything is an integer number of nano-dollars. There is no ``await`` and no lock in here: one event
loop calls it, and each method is one step to everybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from claude_failover.core.types import Epoch, Instant, Transition, TransitionKind

NUSD_PER_USD: Final = 1_000_000_000

MAX_SESSIONS: Final = 4_096
"""Sessions with a budget that are remembered; beyond it the longest unused one without a hold is forgotten."""


@dataclass(frozen=True, slots=True)
class DayWindow:
    """A day in the owner's time zone."""

    key: str
    """ISO date; sorts as time does."""
    ends: Epoch
    """When the next day begins (23 or 25 hours later, twice a year)."""
    label: str = ""
    """How to name that moment to people, such as ``00:00 Europe/Berlin``."""


class Reservation(msgspec.Struct, frozen=True, gc=False):
    """Money held for one attempt. Settle or release it once; a second time has no effect."""

    id: int
    day: str
    """The cost will be booked here, even if it comes after midnight."""
    amount_nusd: int
    session: str | None = None


class Journal(Protocol):
    """Where reservations are written down so that a crash does not forget them: the ledger. Must not block."""

    def held(self, reservation: Reservation, now: Epoch) -> None:
        """A reservation began."""
        ...

    def settled(self, reservation: Reservation) -> None:
        """It was settled or released."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a paid attempt must not be sent."""

    spent: int
    """Nano-dollars, today (or in that session)."""
    limit: int
    resets: Epoch
    """When the day ends. A session's budget never resets."""
    held: int = 0
    """Nano-dollars reserved by attempts under way."""
    amount: int = 0
    """What was asked for."""
    session: str | None = None
    """Set if it was the session's own budget that refused."""
    label: str = ""
    """The name of *resets* for people."""
    announce: tuple[Transition, ...] = ()
    """To be announced: filled once a day."""

    @property
    def may_clear(self) -> bool:
        """Whether only holds stand in the way: it would fit if those under way turned out cheap."""
        return self.held > 0 and self.spent + self.amount <= self.limit

    @property
    def message(self) -> str:
        """What, how much, until when, what to type."""
        held = f", up to {dollars(self.held)} reserved by requests under way" if self.held else ""
        most = f"; this request may cost up to {dollars(self.amount)}" if self.spent < self.limit else ""
        if self.session is not None:
            return (
                f"claude-failover: this session's budget of {dollars(self.limit)} for paid backends is reached "
                f"({dollars(self.spent)} spent{held}{most}). Start another with `claude-failover run --budget USD`."
            )
        return (
            f"claude-failover: the daily limit of {dollars(self.limit)} for paid backends is reached "
            f"({dollars(self.spent)} spent{held}{most}). Resets {self.label or 'at the end of the day'}. To raise it: "
            f"cost_tracking.daily_limit in config.yaml, then `claude-failover reload`."
        )


@dataclass(frozen=True, slots=True)
class SpendView:
    """The budget as ``status`` shows it; nano-dollars."""

    day: str
    resets: Epoch
    label: str
    spent: int
    held: int
    open: int
    """Reservations under way, of any day."""
    limit: int | None
    alert: int | None
    overrun: int
    """By how much settled costs passed their reservations today: 0 unless a bound was wrong."""
    refused: int
    """Reservations refused today."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing more can be spent today."""
        return self.limit is not None and self.spent >= self.limit


@dataclass(slots=True)
class _Account:
    """A sum of settled money and one of held money: a day's, or a session's."""

    spent: int = 0
    held: int = 0
    overrun: int = 0
    refused: int = 0
    alerted: bool = False
    announced_limit: bool = False


@dataclass(slots=True)
class _Open:
    reservation: Reservation
    accounts: tuple[_Account, ...] = field(default_factory=tuple)


class SpendBudget:
    """Reserve, then settle. See the module's rule."""

    def __init__(
        self,
        limit_nusd: int | None,
        alert_nusd: int | None,
        day_of: Callable[[Epoch], DayWindow],
        journal: Journal | None = None,
    ) -> None:
        self._limit = limit_nusd
        self._alert = alert_nusd
        self._day_of = day_of
        self._journal = journal
        self._today: DayWindow | None = None
        self._days: dict[str, _Account] = {}
        self._sessions: dict[str, _Account] = {}
        self._open: dict[int, _Open] = {}
        self._next_id = 1

    # --- the two steps ----------------------------------------------------------------------

    def reserve(
        self,
        amount_nusd: int,
        now: Instant,
        *,
        session: str | None = None,
        session_limit_nusd: int | None = None,
    ) -> Reservation | Refusal:
        """Hold money for one attempt, or say why not.

        Args:
            amount_nusd: The most that it can cost; negative counts as nothing.
            now: Decides the day.
            session: The conversation; only of interest with a budget of its own.
            session_limit_nusd: That session's own budget (header ``x-claude-failover-budget``).
        """
        amount = max(0, amount_nusd)
        window = self._roll(now.wall)
        day = self._days[window.key]
        if self._limit is not None and day.spent + day.held + amount > self._limit:
            return self._refuse(day, window, self._limit, amount, None)
        accounts = [day]
        if session is not None and session_limit_nusd is not None:
            own = self._session(session)
            if own.spent + own.held + amount > session_limit_nusd:
                return self._refuse(own, window, session_limit_nusd, amount, session)
            accounts.append(own)
        for account in accounts:
            account.held += amount
        reservation = Reservation(self._next_id, window.key, amount, session if len(accounts) > 1 else None)
        self._next_id += 1
        self._open[reservation.id] = _Open(reservation, tuple(accounts))
        if self._journal is not None:
            self._journal.held(reservation, now.wall)
        return reservation

    def settle(self, reservation: Reservation, actual_nusd: int, now: Instant) -> list[Transition]:
        """Replace a hold by what the attempt really cost, on the reservation's day."""
        held = self._open.pop(reservation.id, None)
        if held is None:
            return []
        actual = max(0, actual_nusd)
        for account in held.accounts:
            account.held -= held.reservation.amount_nusd
            account.spent += actual
            account.overrun += max(0, actual - held.reservation.amount_nusd)
        if self._journal is not None:
            self._journal.settled(held.reservation)
        self._roll(now.wall)
        return self._alerts(held.reservation.day)

    def release(self, reservation: Reservation, now: Instant) -> None:
        """Give a hold back: the attempt was never sent, or is known to have cost nothing."""
        self.settle(reservation, 0, now)

    def attach(self, journal: Journal | None) -> None:
        """Write reservations down from now on: the ledger is opened after the budget is built."""
        self._journal = journal

    def detach(self) -> None:
        """Write nothing down any more, and leave nothing open there: nobody will say there how it ended."""
        if self._journal is not None:
            for held in self._open.values():
                self._journal.settled(held.reservation)
        self._journal = None

    # --- limits, restart, views --------------------------------------------------------------

    def configure(
        self, limit_nusd: int | None, alert_nusd: int | None, day_of: Callable[[Epoch], DayWindow] | None = None
    ) -> None:
        """Take new limits at once (``reload``). Holds and sums stay; announcements may come again."""
        if day_of is not None:
            self._day_of = day_of
        if limit_nusd != self._limit:
            for account in self._days.values():
                account.announced_limit = False
        if alert_nusd != self._alert:
            for account in self._days.values():
                account.alerted = alert_nusd is not None and account.alerted and account.spent >= alert_nusd
        self._limit, self._alert = limit_nusd, alert_nusd

    def restore(self, day_key: str, spent_nusd: int) -> None:
        """After a restart: what the ledger says was spent that day. An alert that was due has been given."""
        account = self._days.setdefault(day_key, _Account())
        account.spent = max(account.spent, spent_nusd, 0)
        account.alerted = self._alert is not None and account.spent >= self._alert

    def restore_session(self, session: str, spent_nusd: int) -> None:
        """After a restart: what the ledger says a session with a budget has spent."""
        account = self._session(session)
        account.spent = max(account.spent, spent_nusd)

    def knows_session(self, session: str) -> bool:
        """Whether the session's sum is in memory; if not, ask the ledger before the first reservation."""
        return session in self._sessions

    def spent(self, day_key: str) -> int:
        """Settled money of a day, in nano-dollars."""
        account = self._days.get(day_key)
        return account.spent if account else 0

    def view(self, now: Instant) -> SpendView:
        """What ``status`` shows."""
        window = self._roll(now.wall)
        day = self._days[window.key]
        return SpendView(
            day=window.key,
            resets=window.ends,
            label=window.label,
            spent=day.spent,
            held=day.held,
            open=len(self._open),
            limit=self._limit,
            alert=self._alert,
            overrun=day.overrun,
            refused=day.refused,
        )

    def snapshot(self) -> Mapping[str, int]:
        """Settled money per remembered day."""
        return {key: account.spent for key, account in self._days.items()}

    # --- inside -----------------------------------------------------------------------------

    def _roll(self, wall: Epoch) -> DayWindow:
        """Today, never before the day that it was already. Old days go when nothing is held on them."""
        window = self._day_of(wall)
        if self._today is None or window.key > self._today.key:
            self._today = window
        elif window.key == self._today.key:
            self._today = window  # the zone's rules or its name may have been reloaded
        else:
            window = self._today
        self._days.setdefault(window.key, _Account())
        if len(self._days) > 1:
            for key in [k for k, account in self._days.items() if k < window.key and not account.held]:
                # A hold of nothing is still open on the day; its cost must find the account.
                if not any(o.reservation.day == key for o in self._open.values()):
                    del self._days[key]
        return window

    def _session(self, session: str) -> _Account:
        account = self._sessions.pop(session, None) or _Account()
        if len(self._sessions) >= MAX_SESSIONS:
            idle = next((key for key, a in self._sessions.items() if not a.held), None)
            if idle is not None:
                del self._sessions[idle]
        self._sessions[session] = account  # now the last one: the order is that of use
        return account

    def _refuse(self, account: _Account, window: DayWindow, limit: int, amount: int, session: str | None) -> Refusal:
        account.refused += 1
        refusal = Refusal(account.spent, limit, window.ends, account.held, amount, session=session, label=window.label)
        if account.announced_limit or refusal.may_clear:
            return refusal
        account.announced_limit = True
        told = Transition(
            TransitionKind.SPEND_LIMIT,
            detail=refusal.message,
            until=window.ends if session is None else None,
            fields={"spent_nusd": account.spent, "limit_nusd": limit, "day": window.key, "session": session},
        )
        return Refusal(account.spent, limit, window.ends, account.held, amount, session, window.label, announce=(told,))

    def _alerts(self, day: str) -> list[Transition]:
        account = self._days.get(day)
        if account is None or self._alert is None or account.alerted or account.spent < self._alert:
            return []
        account.alerted = True
        limit = f" of the daily limit {dollars(self._limit)}" if self._limit is not None else ""
        return [
            Transition(
                TransitionKind.SPEND_ALERT,
                detail=f"{dollars(account.spent)}{limit} spent at paid backends (alert at {dollars(self._alert)})",
                fields={
                    "spent_nusd": account.spent,
                    "alert_nusd": self._alert,
                    "limit_nusd": self._limit,
                    "day": day,
                },
            )
        ]


def dollars(nusd: int) -> str:
    """Nano-dollars for people: cents, and finer below ten cents; rounded up, so that spent is never shown as less.

    >>> dollars(19_110_000_000), dollars(1_234_000)
    ('$19.11', '$0.0013')
    """
    sign = "-" if nusd < 0 else ""
    nusd = abs(nusd)
    if nusd == 0 or nusd >= NUSD_PER_USD // 10:
        cents = -(-nusd // 10_000_000)
        return f"{sign}${cents // 100:,}.{cents % 100:02d}"
    return f"{sign}$0.{-(-nusd // 100_000):04d}"


def nusd(usd: float | None) -> int | None:
    """Dollars of a setting as nano-dollars; ``None`` stays ``None`` (no limit)."""
    return None if usd is None else round(usd * NUSD_PER_USD)
