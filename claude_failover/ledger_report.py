"""The answer to ``costs``: which days are meant, what was spent, how far from the limit.

Rule: one function makes the report, for the daemon (which asks its own ledger) and for a command line
whose daemon is stopped (which reads the file); so both say the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from claude_failover.core.types import Epoch
from claude_failover.errors import UsageError
from claude_failover.ledger_days import Zone
from claude_failover.ledger_query import SCHEMA_VERSION, By, CostReport, Reader, by_of

KEYS: Final = frozenset({"since", "until", "by"})
"""What a query may say; all are optional."""

_AGO: Final = re.compile(r"(\d{1,6})\s*([dw])")
_MONTH: Final = re.compile(r"\d{4}-\d{2}")


@dataclass(frozen=True, slots=True)
class Money:
    """What the one who asks knows besides the ledger."""

    limit_nusd: int | None = None
    """Per day."""
    alert_nusd: int | None = None
    spent_today_nusd: int | None = None
    """The running daemon's own sum; ``None``: what the ledger says."""
    prices_as_of: str = ""
    """The table in force; empty: the one that the last attempt was priced with."""
    notes: tuple[str, ...] = ()


def report(reader: Reader, query: Mapping[str, str], zone: Zone, now: Epoch, money: Money | None = None) -> CostReport:
    """Answer one query.

    Args:
        reader: Of the ledger.
        query: ``since`` and ``until`` as :func:`span` reads them, ``by`` as in :class:`By`; today by default.
        zone: In which days are counted.
        now: Which day is today.
        money: Limits, and what else is known.

    Raises:
        UsageError: The query cannot be understood.
    """
    unknown = sorted(set(query) - KEYS)
    if unknown:
        raise UsageError(f"costs: unknown question {unknown[0]!r}")
    money = money or Money()
    since, until = span(query.get("since", "today"), query.get("until"), zone, now)
    default = By.BACKEND if since == until else By.DAY
    by = by_of(query["by"]) if query.get("by") else default
    today = zone.day(now)
    lines, total, omitted = reader.costs(since, until, by)
    spent = reader.spent(today.key) if money.spent_today_nusd is None else money.spent_today_nusd
    as_of = money.prices_as_of or reader.prices_as_of()
    return CostReport(
        schema_version=SCHEMA_VERSION,
        since=since,
        until=until,
        by=by,
        zone=zone.name,
        lines=tuple(lines),
        total=total,
        today=today.key,
        today_spent_nusd=spent,
        limit_nusd=money.limit_nusd,
        alert_nusd=money.alert_nusd,
        resets=today.label,
        prices_as_of=as_of,
        prices_age_days=_age(as_of, today.key),
        omitted=omitted,
        notes=money.notes,
    )


def span(since: str, until: str | None, zone: Zone, now: Epoch) -> tuple[str, str]:
    """The first and the last day of a question.

    Args:
        since: ``today``, ``yesterday``, ``month`` (this one), ``2026-11``, ``2026-11-22``, ``7d`` or ``2w`` (that
            many days, today included).
        until: The last day in the same words; ``None`` = today, or the end of what *since* names by itself.
        zone: In which days are counted.
        now: Which day is today.

    Raises:
        UsageError: It is none of these, or ends before it begins.
    """
    today = zone.at(now).date()
    first, own_last = _days(since, today)
    if until is not None:
        last = _days(until, today)[1]
    else:
        last = own_last if _MONTH.fullmatch(since.strip()) else max(today, first)
    if last < first:
        raise UsageError(f"--since {since}: {first} is after {last}")
    return first.isoformat(), last.isoformat()


def _days(word: str, today: date) -> tuple[date, date]:
    """The first and last day that a word means by itself."""
    word = word.strip().lower()
    named = {
        "today": (today, today),
        "yesterday": (today - timedelta(days=1),) * 2,
        "month": (today.replace(day=1), today),
    }
    if word in named:
        return named[word]
    try:
        if match := _AGO.fullmatch(word):
            days = int(match[1]) * (7 if match[2] == "w" else 1)
            return today - timedelta(days=max(0, days - 1)), today
        if _MONTH.fullmatch(word):
            first = date.fromisoformat(f"{word}-01")
            following = (first + timedelta(days=31)).replace(day=1)
            return first, min(max(today, first), following - timedelta(days=1))
        return (date.fromisoformat(word),) * 2
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {word}: not a day", hint="such as today, yesterday, 7d, 2w, 2026-11 or 2026-11-22"
        ) from error


def _age(as_of: str, today: str) -> int | None:
    try:
        return (date.fromisoformat(today) - date.fromisoformat(as_of)).days
    except ValueError:
        return None
