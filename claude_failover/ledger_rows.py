"""Records of the core as rows of the ledger, and what each row adds to its day's sum.

Rule: a day's sum is added to in the same transaction that inserts the row, and only if the row was new:
writing a record a second time changes nothing. Sums outlive the rows they came from.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from claude_failover.core.prices import PriceTable, scope_of
from claude_failover.core.types import AttemptRecord, BackendName, Ended, Epoch, ExchangeRecord, Kind, Reason, Seconds
from claude_failover.ledger_days import Zone

Value = str | int | None

ATTEMPT_COLUMNS: Final = (
    "exchange", "attempt", "started_ms", "day", "hour", "backend", "kind", "model", "upstream_model", "scope",
    "region", "surface", "reason", "outcome", "detail", "status", "ttfb_ms", "ttft_ms", "duration_ms", "input",
    "output", "cache_read", "write_5m", "write_1h", "web_searches", "thinking", "geo_us", "fast", "usage_state",
    "upstream_request_id", "session", "agent", "request_class", "paid", "cost_nusd", "list_nusd", "rebuild_nusd",
    "estimated", "committed", "streaming", "failover", "prices_as_of",
)  # fmt: skip

EXCHANGE_COLUMNS: Final = (
    "exchange", "started_ms", "day", "hour", "model", "outcome", "status", "backend", "reason", "duration_ms",
    "overhead_ms", "ttft_ms", "session", "agent", "request_class", "failed_over", "streaming", "steps",
)  # fmt: skip

SUM_COLUMNS: Final = (
    "requests", "rescued", "attempts", "input", "output", "cache_read", "write_5m", "write_1h", "spent_nusd",
    "notional_nusd", "failover_nusd", "primary_nusd", "rebuild_nusd", "estimated", "partial",
)  # fmt: skip
"""What is added up per day, backend and model."""

INSERT_ATTEMPT: Final = (
    f"INSERT OR IGNORE INTO attempts ({', '.join(ATTEMPT_COLUMNS)}) "  # noqa: S608 - constant names
    f"VALUES ({', '.join('?' * len(ATTEMPT_COLUMNS))})"
)
INSERT_EXCHANGE: Final = (
    f"INSERT OR IGNORE INTO exchanges ({', '.join(EXCHANGE_COLUMNS)}) "  # noqa: S608 - constant names
    f"VALUES ({', '.join('?' * len(EXCHANGE_COLUMNS))})"
)
ADD_TO_DAY: Final = (
    f"INSERT INTO days (day, backend, model, {', '.join(SUM_COLUMNS)}) "  # noqa: S608 - constant names
    f"VALUES (?, ?, ?, {', '.join('?' * len(SUM_COLUMNS))}) "
    f"ON CONFLICT (day, backend, model) DO UPDATE SET "
    f"{', '.join(f'{column} = {column} + excluded.{column}' for column in SUM_COLUMNS)}"
)

NOT_FAILOVER: Final = frozenset({Reason.PRIMARY, Reason.FORCED, Reason.PREFERRED, Reason.BYPASS})
"""Reasons that are the owner's own choice of a backend: its cost is no cost of failing over."""

MAX_STEPS_BYTES: Final = 20_000
"""A timeline longer than this is stored shortened: ``explain`` of yesterday need not have every ping."""

_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

RECOVERED: Final = "left open by a crash: counted with everything that was reserved for it"

CACHE_LIFE: Final = Seconds(3_600.0)
"""The longest that a provider keeps a prompt prefix warm (prompt-caching documentation: ``ttl`` 5m or 1h)."""

_MAX_CONVERSATIONS: Final = 2_000

DayKey = tuple[str, str, str]
"""Day, backend, model."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Money reserved for an attempt under way, as it survives a crash."""

    id: str
    day: str
    amount_nusd: int
    session: str | None
    held_ms: int


class Conversations:
    """Which backend held a conversation's prompt cache last: makes the cost of a cold cache visible."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str, str], tuple[BackendName, int, Epoch]] = OrderedDict()

    def warm_elsewhere(self, record: AttemptRecord) -> int:
        """Tokens of this conversation that another backend held; remembers this attempt as the new holder."""
        if record.session is None or not record.committed:
            return 0
        key = (record.session, record.agent or "", record.model)
        backend, cached, when = self._last.pop(key, (record.backend, 0, record.started))
        usage = record.usage
        self._last[key] = (
            record.backend,
            usage.cache_read + usage.cache_write_5m + usage.cache_write_1h,
            record.started,
        )
        if len(self._last) > _MAX_CONVERSATIONS:
            self._last.popitem(last=False)
        moved = backend != record.backend and record.started - when <= CACHE_LIFE
        return cached if moved else 0


@dataclass(frozen=True, slots=True)
class Rows:
    """How records become rows: in which zone a day begins, which backend is the primary, what a cold cache costs."""

    zone: Zone
    primary: BackendName
    prices: PriceTable | None
    conversations: Conversations

    def attempt(self, record: AttemptRecord) -> dict[str, Value]:
        """One attempt's row. Of enumerations the values: SQLite asks around how to store what is no plain text."""
        return _storable(self._attempt(record))

    def exchange(self, record: ExchangeRecord) -> dict[str, Value]:
        """One exchange's row."""
        return _storable(self._exchange(record))

    def _attempt(self, record: AttemptRecord) -> dict[str, Value]:
        usage = record.usage
        warm = self.conversations.warm_elsewhere(record)
        rebuild = self.prices.rebuild(record.model, usage, warm) if self.prices is not None and warm else 0
        bedrock = record.kind is Kind.BEDROCK
        return {
            "exchange": record.exchange,
            "attempt": record.attempt,
            "started_ms": int(record.started * 1_000),
            "day": self.zone.day(record.started).key,
            "hour": self.zone.hour(record.started),
            "backend": record.backend,
            "kind": record.kind.value,
            "model": record.model,
            "upstream_model": record.upstream_model,
            "scope": scope_of(record.upstream_model, record.extra.get("scope", "")) if bedrock else "",
            "region": record.extra.get("region", ""),
            "surface": record.surface.value if record.surface else None,
            "reason": record.reason.value,
            "outcome": record.outcome.value,
            "detail": record.detail,
            "status": record.status,
            "ttfb_ms": _ms(record.ttfb),
            "ttft_ms": _ms(record.ttft),
            "duration_ms": _ms(record.duration),
            "input": usage.input,
            "output": usage.output,
            "cache_read": usage.cache_read,
            "write_5m": usage.cache_write_5m,
            "write_1h": usage.cache_write_1h,
            "web_searches": usage.web_searches,
            "thinking": usage.thinking,
            "geo_us": int(usage.geo_us),
            "fast": int(usage.fast),
            "usage_state": record.usage_state.value,
            "upstream_request_id": record.upstream_request_id,
            "session": record.session,
            "agent": record.agent,
            "request_class": record.request_class,
            "paid": int(record.paid),
            "cost_nusd": record.cost_nusd,
            "list_nusd": record.list_cost_nusd,
            "rebuild_nusd": rebuild,
            "estimated": int(record.price_estimated),
            "committed": int(record.committed),
            "streaming": int(record.streaming),
            "failover": int(record.backend != self.primary and record.reason not in NOT_FAILOVER),
            "prices_as_of": self.prices.as_of if self.prices is not None else "",
        }

    def _exchange(self, record: ExchangeRecord) -> dict[str, Value]:
        return {
            "exchange": record.exchange,
            "started_ms": int(record.started * 1_000),
            "day": self.zone.day(record.started).key,
            "hour": self.zone.hour(record.started),
            "model": record.model,
            "outcome": record.outcome,
            "status": record.status,
            "backend": record.backend,
            "reason": record.reason.value if record.reason else None,
            "duration_ms": _ms(record.duration),
            "overhead_ms": _ms(record.overhead),
            "ttft_ms": _ms(record.ttft),
            "session": record.session,
            "agent": record.agent,
            "request_class": record.request_class,
            "failed_over": int(record.failed_over),
            "streaming": int(record.streaming),
            "steps": _steps(record),
        }

    def left_open(self, hold: Hold) -> dict[str, Value]:
        """The row of an attempt that a crash cut off: it may have cost everything that was held for it."""
        started = Epoch(hold.held_ms / 1_000)
        blank: dict[str, Value] = dict.fromkeys(ATTEMPT_COLUMNS, 0)
        nothing = ("surface", "status", "ttfb_ms", "ttft_ms", "upstream_request_id", "agent", "request_class")
        return blank | dict.fromkeys(nothing) | {
            "exchange": f"crash:{hold.id}",
            "started_ms": hold.held_ms,
            "day": hold.day,
            "hour": self.zone.hour(started),
            "backend": "(crash)",
            "kind": Kind.BEDROCK,
            "model": "",
            "upstream_model": "",
            "scope": "",
            "region": "",
            "reason": Reason.LAST_RESORT,
            "outcome": "cut",
            "detail": RECOVERED,
            "usage_state": Ended.PARTIAL,
            "session": hold.session,
            "paid": 1,
            "cost_nusd": hold.amount_nusd,
            "list_nusd": hold.amount_nusd,
            "estimated": 1,
            "failover": 1,
            "prices_as_of": self.prices.as_of if self.prices is not None else "",
        }  # fmt: skip


def day_of_attempt(row: Mapping[str, Value]) -> tuple[DayKey, dict[str, int]]:
    """What an attempt's row adds to which sum."""
    cost, listed, rebuild = _int(row["cost_nusd"]), _int(row["list_nusd"]), _int(row["rebuild_nusd"])
    failover = bool(row["failover"]) and bool(row["paid"])
    added = {column: _int(row[column]) for column in ("input", "output", "cache_read", "write_5m", "write_1h")}
    return (str(row["day"]), str(row["backend"]), str(row["model"])), added | {
        "attempts": 1,
        "spent_nusd": cost if row["paid"] else 0,
        "notional_nusd": 0 if row["paid"] else cost,
        "failover_nusd": cost if failover else 0,
        "primary_nusd": max(0, listed - rebuild) if failover else 0,
        "rebuild_nusd": rebuild,
        "estimated": _int(row["estimated"]),
        "partial": int(row["usage_state"] == Ended.PARTIAL),
    }


def day_of_exchange(row: Mapping[str, Value]) -> tuple[DayKey, dict[str, int]]:
    """What an exchange's row adds to which sum: it counts where it was answered."""
    rescued = bool(row["failed_over"]) and row["outcome"] == "served"
    return (str(row["day"]), str(row["backend"] or ""), str(row["model"])), {"requests": 1, "rescued": int(rescued)}


def add(sums: dict[DayKey, dict[str, int]], key: DayKey, added: Mapping[str, int]) -> None:
    """Add to a table of sums in memory."""
    into = sums.setdefault(key, dict.fromkeys(SUM_COLUMNS, 0))
    for column, value in added.items():
        into[column] += value


def _storable(row: dict[str, Value]) -> dict[str, Value]:
    """Headers are bytes: what was decoded from them may hold halves of characters, which SQLite refuses."""
    # One look at all texts together, for nearly all are ASCII.
    if "".join([value for value in row.values() if type(value) is str]).isascii():
        return row
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


def _ms(seconds: Seconds | None) -> int | None:
    return None if seconds is None else max(0, round(seconds * 1_000))


def _int(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _steps(record: ExchangeRecord) -> str:
    steps = [[round(step.at, 4), step.what, step.backend, step.detail] for step in record.steps]
    text = _COMPACT(steps)
    while len(text) > MAX_STEPS_BYTES and len(steps) > 1:
        # Its beginning and its end say most.
        middle = len(steps) // 4
        del steps[middle : len(steps) - middle]
        text = _COMPACT(steps)
        if len(steps) < 4:
            break
    return text if len(text) <= MAX_STEPS_BYTES else "[]"
