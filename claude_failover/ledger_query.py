"""What the ledger can be asked: sums by day, hour, model, backend or session; one request's story.

Rule: whole days, models and backends come from the daily sums, which are kept for ever; hours and
sessions from the attempts themselves, which are kept for a time. Money is in nano-dollars throughout.

Four columns that must not be mixed up:

- *spent* is real money: Bedrock, and an API key at the Claude API.
- *notional* is what a subscription's tokens would have cost by the token. Nobody pays it.
- *primary* is what the attempts that failed over would have cost at the primary's list price, with the
  prompt cache that was warm there.
- *extra* is what failing over cost above that: premiums of a region, and the cache built anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from claude_failover.core.types import Ended, Kind, Outcome
from claude_failover.errors import LedgerError, UsageError
from claude_failover.ledger_rows import ATTEMPT_COLUMNS, EXCHANGE_COLUMNS, SUM_COLUMNS
from claude_failover.ledger_schema import open_for_reading

SCHEMA_VERSION: Final = 1
"""Of ``costs --json``."""

MAX_LINES: Final = 1_000
"""Sessions of a year are many; the dearest are shown."""


class By(StrEnum):
    """What a line stands for."""

    DAY = "day"
    HOUR = "hour"
    MODEL = "model"
    BACKEND = "backend"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line; the last one is the sum of all."""

    key: str
    requests: int = 0
    rescued: int = 0
    """Requests that another backend answered after the first could not."""
    attempts: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    write_5m: int = 0
    write_1h: int = 0
    spent_nusd: int = 0
    notional_nusd: int = 0
    failover_nusd: int = 0
    """The part of *spent* that failing over caused."""
    primary_nusd: int = 0
    rebuild_nusd: int = 0
    """At list price: prompt prefixes written to a cache again because the backend changed."""
    estimated: int = 0
    """Attempts priced without a price of their own."""
    partial: int = 0
    """Attempts that ended before their usage was complete."""

    @property
    def extra_nusd(self) -> int:
        """What failing over cost above the primary's own price for the same work."""
        return self.failover_nusd - self.primary_nusd


@dataclass(frozen=True, slots=True)
class CostReport:
    """The answer to ``costs``; one shape for the control channel, ``--json`` and the table."""

    schema_version: int
    since: str
    """First day, ISO."""
    until: str
    """Last day, ISO, included."""
    by: str
    zone: str
    lines: tuple[CostLine, ...]
    total: CostLine
    today: str = ""
    today_spent_nusd: int = 0
    limit_nusd: int | None = None
    alert_nusd: int | None = None
    resets: str = ""
    """When the daily limit begins anew, for people."""
    prices_as_of: str = ""
    prices_age_days: int | None = None
    omitted: int = 0
    """Lines left out because there are too many."""
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What is wrong with the ledger, if anything."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How one model at one Bedrock backend fared with its quota."""

    backend: str
    model: str
    """The Claude id."""
    requests: int
    throttled: int
    per_day: int
    """Those of *throttled* that ran into a quota of a day."""
    longest: int
    """Tokens of the longest answer; whoever lowers ``max_tokens`` to less cuts such answers."""


class Reader:
    """Questions to one connection; used by the writer's thread, or by the command line on its own file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def spent(self, day: str, besides: Collection[str] = ()) -> int:
        """Real money of one day, what a crash left open included; without the backends named in *besides*."""
        found = self._db.execute("SELECT backend, sum(spent_nusd) FROM days WHERE day = ? GROUP BY backend", (day,))
        return sum(int(total) for backend, total in found if backend not in besides)

    def spent_by_day(self, since: str) -> dict[str, int]:
        """Real money per day, from a day on."""
        found = self._db.execute("SELECT day, sum(spent_nusd) FROM days WHERE day >= ? GROUP BY day", (since,))
        return {str(day): int(total) for day, total in found}

    def spent_in_session(self, session: str) -> int:
        """Real money of one conversation, over all its days."""
        (total,) = self._db.execute(
            "SELECT coalesce(sum(cost_nusd), 0) FROM attempts WHERE session = ? AND paid", (session,)
        ).fetchone()
        return int(total)

    def pressures(self, since_ms: int) -> list[Pressure]:
        """How quotas were met since a moment, per Bedrock backend and model; the most throttled first."""
        found = self._db.execute(
            """SELECT backend, model, count(*), sum(outcome = ?), sum(outcome = ? AND detail LIKE '%per day%'),
               max(output) FROM attempts WHERE kind = ? AND started_ms >= ?
               GROUP BY backend, model ORDER BY 4 DESC, 3 DESC, backend, model""",
            (Outcome.THROTTLED, Outcome.THROTTLED, Kind.BEDROCK, since_ms),
        )
        return [Pressure(*row) for row in found]

    def prices_as_of(self) -> str:
        """The day of the price table that the last attempt was priced with; empty if there is none."""
        row = self._db.execute("SELECT prices_as_of FROM attempts ORDER BY started_ms DESC LIMIT 1").fetchone()
        return str(row[0]) if row else ""

    def costs(self, since: str, until: str, by: By) -> tuple[list[CostLine], CostLine, int]:
        """Lines, their total, and how many lines were left out.

        Args:
            since: First day, ISO.
            until: Last day, ISO, included.
            by: What a line stands for.
        """
        kept_for_ever = by in {By.DAY, By.MODEL, By.BACKEND}
        found = (self._from_days if kept_for_ever else self._from_attempts)(since, until, by)
        total = _line("total", {c: sum(getattr(line, c) for line in found) for c in SUM_COLUMNS})
        if by in {By.MODEL, By.BACKEND, By.SESSION}:
            found.sort(key=lambda line: (-line.spent_nusd, -line.notional_nusd, line.key))
        return found[:MAX_LINES], total, max(0, len(found) - MAX_LINES)

    def exchange(self, exchange: str | None = None) -> dict[str, Any] | None:
        """One request with its attempts and steps, by id; ``None`` = the last one."""
        columns = ", ".join(EXCHANGE_COLUMNS)
        where = "ORDER BY started_ms DESC LIMIT 1" if exchange is None else "WHERE exchange = ?"
        row = self._db.execute(
            f"SELECT {columns} FROM exchanges {where}",  # noqa: S608 - constant names
            () if exchange is None else (exchange,),
        ).fetchone()
        if row is None:
            return None
        story = dict(zip(EXCHANGE_COLUMNS, row, strict=True))
        story["steps"] = json.loads(story["steps"])
        attempts = self._db.execute(
            f"SELECT {', '.join(ATTEMPT_COLUMNS)} FROM attempts WHERE exchange = ? ORDER BY attempt",  # noqa: S608
            (story["exchange"],),
        )
        story["attempts"] = [dict(zip(ATTEMPT_COLUMNS, attempt, strict=True)) for attempt in attempts]
        return story

    # --- inside -----------------------------------------------------------------------------

    def _from_days(self, since: str, until: str, by: By) -> list[CostLine]:
        sums = ", ".join(f"sum({column})" for column in SUM_COLUMNS)
        rows = self._db.execute(
            f"SELECT {by.value}, {sums} FROM days WHERE day BETWEEN ? AND ? "  # noqa: S608 - constant names
            f"GROUP BY {by.value} ORDER BY {by.value}",
            (since, until),
        )
        return [_line(str(key), dict(zip(SUM_COLUMNS, values, strict=True))) for key, *values in rows]

    def _from_attempts(self, since: str, until: str, by: By) -> list[CostLine]:
        key = f"coalesce({by.value}, '')"
        failed = "failover AND paid"
        attempts = self._db.execute(
            f"""SELECT {key}, count(*), sum(input), sum(output), sum(cache_read), sum(write_5m), sum(write_1h),
                sum(CASE WHEN paid THEN cost_nusd ELSE 0 END), sum(CASE WHEN paid THEN 0 ELSE cost_nusd END),
                sum(CASE WHEN {failed} THEN cost_nusd ELSE 0 END),
                sum(CASE WHEN {failed} THEN max(0, list_nusd - rebuild_nusd) ELSE 0 END),
                sum(rebuild_nusd), sum(estimated), sum(usage_state = ?)
                FROM attempts WHERE day BETWEEN ? AND ? GROUP BY 1 ORDER BY 1""",  # noqa: S608 - constant names
            (Ended.PARTIAL, since, until),
        )
        names = SUM_COLUMNS[2:]
        lines = {str(k): dict(zip(names, values, strict=True)) for k, *values in attempts}
        exchanges = self._db.execute(
            f"SELECT {key}, count(*), sum(failed_over AND outcome = 'served') FROM exchanges "  # noqa: S608
            "WHERE day BETWEEN ? AND ? GROUP BY 1",
            (since, until),
        )
        for k, requests, rescued in exchanges:
            lines.setdefault(str(k), {}).update(requests=requests, rescued=rescued)
        return [_line(k, lines[k]) for k in sorted(lines)]


def read_pressures(path: Path, since_ms: int) -> list[Pressure]:
    """How quotas were met since a moment, from the file; nothing if none has been recorded yet.

    Raises:
        LedgerError: The file is damaged, or a newer version wrote it.
    """
    if not path.exists():
        return []
    connection = open_for_reading(path)
    try:
        return Reader(connection).pressures(since_ms)
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {error}") from error
    finally:
        connection.close()


def by_of(word: str) -> By:
    """Read what ``--by`` says.

    Raises:
        UsageError: It is none of them.
    """
    try:
        return By(word)
    except ValueError as error:
        raise UsageError(f"--by {word}: expected one of {', '.join(By)}") from error


def _line(key: str, values: Mapping[str, Any]) -> CostLine:
    return CostLine(key=key, **{column: int(values.get(column) or 0) for column in SUM_COLUMNS})
