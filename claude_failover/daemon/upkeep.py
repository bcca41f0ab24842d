"""Upkeep: what is done every second and every few, besides serving.

Rule: nothing here is waited for by a request, and nothing that fails here ends the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from claude_failover import events
from claude_failover.core.types import Instant, Seconds
from claude_failover.daemon import reloading
from claude_failover.daemon.hardening import give_back, settle_down
from claude_failover.errors import FailoverError

if TYPE_CHECKING:
    from claude_failover.daemon.life import Daemon

ROUND: Final = 1.0
"""Seconds between two looks."""

ALERTS_EVERY: Final = 5
"""Rounds."""

CREDENTIALS_EVERY: Final = 30
"""Rounds. Keys that can be used are only looked at; this is for ``status`` and what is about to end."""

MISSING_EVERY: Final = 300
"""Rounds. Looking for what is missing costs a tenth of a second; what a person repairs is found by the next request."""

TRIM_EVERY: Final = 1
"""Rounds between giving memory back, if there was anything to do: 1,000 streams with bodies of 80 KB left 177 MB
behind without it, and 99 MB with it (measured)."""

SAVE_EVERY: Final = 60
"""Rounds. Every announced change is saved at once; this is for what changes quietly."""

SETTLE: Final = 0.25
"""Seconds between two saves, however much changes."""

SLEPT: Final = 5.0
"""Seconds that the wall clock may gain on the monotonic one before the machine counts as having slept."""

STOPPED: Final = 20.0
"""Seconds without a turn of the event loop after which its stack is wanted."""

LAGGED: Final = 0.25
"""Seconds of lateness of the event loop that are worth a word."""


class Upkeep:
    """Keeps *daemon* up."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._drift = 0.0
        self._served = 0

    async def run(self) -> None:
        """Look, for ever."""
        try:
            await self._run()
        finally:
            faulthandler.cancel_dump_traceback_later()

    async def _run(self) -> None:
        clock = self._daemon.clock
        before = clock.now()
        self._drift = before.wall - before.monotonic
        rounds = 0
        while True:
            watch_for_a_stop()
            await asyncio.sleep(ROUND)
            now = clock.now()
            rounds += 1
            self._measure(Seconds(now.monotonic - before.monotonic - ROUND))
            await attempt(lambda seen=now: self._look(seen))  # type: ignore[misc]  # bound now
            if rounds % ALERTS_EVERY == 0:
                await attempt(self._daemon.watch)
            if rounds % (CREDENTIALS_EVERY if self._all_usable() else MISSING_EVERY) == 0:
                self._daemon.fresh.set()
            if rounds % TRIM_EVERY == 0 and self._has_served():
                await attempt(lambda: asyncio.to_thread(give_back))
            if rounds % SAVE_EVERY == 0:
                self._daemon.books.changed.set()
            before = clock.now()

    async def save(self) -> None:
        """Save what must survive a restart whenever it has changed, for ever."""
        changed = self._daemon.books.changed
        while True:
            await changed.wait()
            changed.clear()
            await attempt(self._daemon.save)
            await asyncio.sleep(SETTLE)

    async def reload(self, asked: asyncio.Event) -> None:
        """Reload whenever a signal asks for it, for ever; a refusal is told in the log and in ``status``."""
        while True:
            await asked.wait()
            asked.clear()
            try:
                reloading.reload(self._daemon)
            except FailoverError:
                continue
            except Exception as error:  # noqa: BLE001 - as in attempt
                events.crash("reload", error)

    async def warm(self) -> None:
        """After the start, a reload, a sleep: have at hand what the first failover would have to load, for ever."""
        daemon = self._daemon
        settled = False
        while True:
            if daemon.observers is not None:
                # Again if it failed: until they are loaded, every request is kept in memory for them.
                await attempt(daemon.observers.metrics.load)
            await daemon.fresh.wait()
            daemon.fresh.clear()
            for work in (daemon.look_at_credentials, daemon.warm, daemon.look_at_credentials):
                await attempt(work)
            if not settled:
                settled = True
                settle_down()

    def _has_served(self) -> bool:
        """Whether requests have come or gone since the last time it was asked, or are under way.

        A body is freed when its answer begins, and that may be long after the last request came. (Looking for what
        can be given back takes 0.07 ms where there is nothing.)
        """
        before, self._served = self._served, self._daemon.served
        return self._served != before or self._daemon.world.in_flight > 0

    def _all_usable(self) -> bool:
        return all(one.usable for one in self._daemon.credentials.values())

    def _measure(self, late: Seconds) -> None:
        self._daemon.readings.loop_lag = Seconds(max(0.0, late))
        if late > LAGGED:
            events.emit("loop.lagged", seconds=round(late, 3))

    async def _look(self, now: Instant) -> None:
        """Notice a night's sleep; close what no request uses any more."""
        drift = now.wall - now.monotonic
        if drift - self._drift > SLEPT:
            events.emit("machine.slept", seconds=round(drift - self._drift))
            await self._daemon.wake()
        self._drift = drift
        await self._daemon.close_retired()


def watch_for_a_stop() -> None:
    """Have every thread's stack written to stderr (``boot.log``) unless this is called again in time.

    A loop that never turns again can neither answer nor log; this is how one learns where it hangs. Names of
    functions and lines only, no values.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):  # no stderr, or none of the system's
        faulthandler.dump_traceback_later(STOPPED, file=sys.__stderr__ or sys.stderr)


async def attempt(work: Callable[[], Awaitable[None]]) -> None:
    """Do *work*; what it raises is told and goes no further."""
    try:
        await work()
    except FailoverError as error:
        events.emit("ledger.failed", what="upkeep", error=str(error))
    except Exception as error:  # noqa: BLE001 - a bug in here must not end the daemon; it is told
        events.crash("upkeep", error)
