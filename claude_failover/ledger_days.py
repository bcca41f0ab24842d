"""Days and hours as the owner counts them: in the configured time zone, summer time included.

Rule: a key is text that sorts as time does. A day ends at the next local midnight, 23 to 25 hours
after it began; where midnight does not exist (a few zones switch then) it ends at the first moment after.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from claude_failover.core.spend import DayWindow
from claude_failover.core.types import Epoch
from claude_failover.errors import ConfigError

LOCAL: Final = "local"
"""The machine's own zone, asked anew for each moment: a laptop travels."""


_LAST: Final[dict[str, tuple[Epoch, DayWindow]]] = {}
"""Per zone the last day that was worked out, and a moment from which it is known to hold: asked for every attempt."""


_LAST_HOUR: Final[dict[str, tuple[int, str]]] = {}
"""Per zone the last minute that was asked for, and its hour; clocks are set back and forth by whole minutes."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone by name: IANA, ``UTC``, or ``local``."""

    name: str
    _zone: tzinfo | None
    """``None``: the machine's own."""

    @classmethod
    def of(cls, name: str) -> Zone:
        """Find a zone.

        Raises:
            ConfigError: There is none of that name.
        """
        if name == LOCAL:
            return cls(name, None)
        if name.upper() == "UTC":
            return cls("UTC", UTC)
        try:
            return cls(name, ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                f"cost_tracking.timezone: no time zone {name!r}", hint="use a name such as Europe/Berlin, UTC or local"
            ) from error

    def at(self, moment: Epoch) -> datetime:
        """That moment on the wall in this zone."""
        there = datetime.fromtimestamp(moment, UTC)
        return there.astimezone(self._zone)

    def day(self, moment: Epoch) -> DayWindow:
        """The day that a moment falls on: what :class:`~claude_failover.core.spend.SpendBudget` asks for."""
        known = _LAST.get(self.name)
        if known is not None and known[0] <= moment < known[1].ends:
            return known[1]
        window = self._work_out(moment)
        _LAST[self.name] = (moment, window)
        return window

    def _work_out(self, moment: Epoch) -> DayWindow:
        here = self.at(moment)
        ends = self.begins(here.date() + timedelta(days=1))
        named = (here.tzname() or "local time") if self._zone is None else self.name
        return DayWindow(here.date().isoformat(), ends, f"{self.at(ends):%H:%M} {named}")

    def begins(self, day: date) -> Epoch:
        """The first moment of a day."""
        # For the machine's own zone a naive time is what mktime(3) wants; for the others the zone is attached.
        return Epoch(datetime.combine(day, time(), tzinfo=self._zone).timestamp())

    def hour(self, moment: Epoch) -> str:
        """The hour that a moment falls in, such as ``2026-11-22 14``. The hour that autumn repeats is one."""
        minute = int(moment // 60)
        known = _LAST_HOUR.get(self.name)
        if known is None or known[0] != minute:
            known = _LAST_HOUR[self.name] = (minute, f"{self.at(moment):%Y-%m-%d %H}")
        return known[1]
