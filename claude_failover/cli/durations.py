"""Times as people type and read them: ``30m``, ``2h``, ``1h30m``, ``14:20 (in 1 h 12 min)``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from claude_failover.core.types import Epoch, Seconds
from claude_failover.errors import UsageError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d|w)", re.IGNORECASE)
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern}\s*)+", re.IGNORECASE)


def parse_duration(text: str, where: str = "duration") -> Seconds:
    """Read ``90``, ``90s``, ``30m``, ``1h30m``, ``2d``; a bare number is seconds.

    Raises:
        UsageError: It is something else, or not positive.
    """
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        total = float(text)
    elif _WHOLE.fullmatch(text):
        total = sum(float(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(text))
    else:
        raise UsageError(f"{where}: {text!r} is not a duration", hint="such as 90s, 30m, 2h, 1h30m, 1d")
    if total <= 0:
        raise UsageError(f"{where}: {text!r} is no time at all", hint="such as 90s, 30m, 2h, 1h30m, 1d")
    return Seconds(total)


def parse_moment(text: str, now: Epoch, zone: tzinfo | None = None, where: str = "--since") -> Epoch:
    """Read a moment in the past: a duration ago (``2h``), ``today``, ``yesterday``, ``14:20``, or an ISO date or time.

    Args:
        text: What was typed.
        now: The wall clock.
        zone: The person's time zone; ``None`` = the machine's.
        where: For the message.

    Raises:
        UsageError: It is none of these.
    """
    local = datetime.fromtimestamp(now, tz=UTC).astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    word = text.strip().lower()
    if word == "today":
        return Epoch(midnight.timestamp())
    if word == "yesterday":
        return Epoch((midnight - timedelta(days=1)).timestamp())
    if match := re.fullmatch(r"(\d{1,2}):(\d{2})", word):
        hour, minute = int(match[1]), int(match[2])
        if hour < 24 and minute < 60:
            moment = midnight.replace(hour=hour, minute=minute)
            return Epoch((moment if moment <= local else moment - timedelta(days=1)).timestamp())
    try:
        parsed = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return Epoch(now - parse_duration(text, where))
        except UsageError:
            raise UsageError(
                f"{where}: {text!r} is not a time",
                hint="such as 30m, 2h, 1d, today, 14:20, 2026-11-22, 2026-11-22T14:20",
            ) from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=zone) if zone is not None else parsed.astimezone()
    return Epoch(parsed.timestamp())


def spell(seconds: float) -> str:
    """Write a duration in at most two units: ``42 s``, ``1 min 5 s``, ``1 h 12 min``, ``2 d 3 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    for size, name, below, under in ((60, "min", 1, "s"), (3600, "h", 60, "min"), (86400, "d", 3600, "h")):
        limit = size * (60 if size == 60 else 24)
        if whole < limit or size == 86400:
            rest = whole % size // below
            return f"{whole // size} {name} {rest} {under}" if rest else f"{whole // size} {name}"
    raise AssertionError


def clock_time(moment: float, now: float, zone: tzinfo | None = None) -> str:
    """Write a moment as short as it is clear: ``14:20``, ``Mon 09:00``, ``2026-12-24 09:00``."""
    then = datetime.fromtimestamp(moment, tz=UTC).astimezone(zone)
    today = datetime.fromtimestamp(now, tz=UTC).astimezone(zone)
    days = (then.date() - today.date()).days
    if days == 0:
        return then.strftime("%H:%M")
    return then.strftime("%a %H:%M") if 0 < days < 7 else then.strftime("%Y-%m-%d %H:%M")


def until(moment: float, now: float, zone: tzinfo | None = None) -> str:
    """Write an end with its countdown: ``14:20 (in 1 h 12 min)``; a moment that has passed is ``any moment``."""
    if moment <= now:
        return "any moment"
    return f"{clock_time(moment, now, zone)} (in {spell(moment - now)})"
