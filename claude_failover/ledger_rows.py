"""Records of the core as rows of the ledger, and what each row adds to its day's sum.

Rule: a day's sum is added to in the same transaction that inserts the row, and only if the row was new:
writing a record a second time changes nothing. Sums outlive the rows they came from.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from claude_failover.core.prices import PriceTable, scope_of
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Ended,
    Epoch,
    ExchangeRecord,
    Kind,
    Outcome,
    Reason,
    Seconds,
)
from claude_failover.ledger_days import Zone

Value = str | int | float
"""Of a column. The one ``float`` is :data:`NULL`."""

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

NULL: Final = 0.5
"""What a row holds instead of ``None``, for no column has such a number: of each ``None`` Python's ``sqlite3`` asks
around how to store it, which costs more than to store a text (0.25 us, measured)."""

_MAY_BE_NULL: Final = frozenset(
    {"surface", "status", "backend", "reason", "ttfb_ms", "ttft_ms", "upstream_request_id", "session", "agent",
     "request_class"}
)  # fmt: skip

AT_ONCE: Final = 16
"""Rows that one statement inserts. SQLite before 3.32 took 999 values at once."""


class Insert(NamedTuple):
    """Statements that insert rows which are not there yet."""

    one: str
    many: str
    """So many as are inserted at once."""


def _insert(table: str, columns: tuple[str, ...]) -> Insert:
    head = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 - constant names
    row = ", ".join(f"NULLIF(?, {NULL})" if column in _MAY_BE_NULL else "?" for column in columns)
    return Insert(f"{head}({row})", head + ", ".join([f"({row})"] * AT_ONCE))


INSERT_ATTEMPT: Final = _insert("attempts", ATTEMPT_COLUMNS)
INSERT_EXCHANGE: Final = _insert("exchanges", EXCHANGE_COLUMNS)
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

RECOVERED: Final = "left open by a crash: counted with everything that was reserved for it"

CACHE_LIFE: Final = Seconds(3_600.0)
"""The longest that a provider keeps a prompt prefix warm (prompt-caching documentation: ``ttl`` 5m or 1h)."""

_MAX_CONVERSATIONS: Final = 2_000

DayKey = tuple[str, str, str]
"""Day, backend, model."""

Sums = tuple[int, ...]
"""In the order of :data:`SUM_COLUMNS`; it may end where only zeros follow."""

_Step = tuple[float, str, str, str]

_NOTHING: Final[Sums] = (0,) * len(SUM_COLUMNS)
_REQUEST: Final[Sums] = (1, 0)
_RESCUED: Final[Sums] = (1, 1)


class Row(msgspec.Struct, frozen=True, gc=False):
    """What waits to be written, as it is handed to SQLite, for each request has two."""

    values: tuple[Value, ...]
    """In the order of the table's columns. Of enumerations the values, of flags 0 or 1, and :data:`NULL`."""
    day: DayKey
    """Which sum it belongs to."""
    added: Sums
    """What it adds to that."""
    started: Epoch
    paid: bool
    """Whether it cost real money."""


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

    def attempt(self, record: AttemptRecord) -> Row:
        """One attempt's row."""
        return self._attempt(record, self.zone.day(record.started).key)

    def left_open(self, hold: Hold) -> Row:
        """The row of an attempt that a crash cut off: it may have cost everything that was held for it."""
        record = AttemptRecord(
            exchange=f"crash:{hold.id}",
            attempt=0,
            backend=BackendName("(crash)"),
            kind=Kind.BEDROCK,
            model="",
            upstream_model="",
            surface=None,
            reason=Reason.LAST_RESORT,
            outcome=Outcome.CUT,
            detail=RECOVERED,
            status=None,
            started=Epoch((hold.held_ms + 0.5) / 1_000),  # whatever the division makes of it: that millisecond
            ttfb=None,
            ttft=None,
            duration=Seconds(0.0),
            usage_state=Ended.PARTIAL,
            session=hold.session,
            paid=True,
            cost_nusd=hold.amount_nusd,
            list_cost_nusd=hold.amount_nusd,
            price_estimated=True,
            streaming=False,
        )
        return self._attempt(record, hold.day)

    def exchange(self, record: ExchangeRecord) -> Row:
        """One exchange's row. It counts where it was answered."""
        started, failed_over = record.started, record.failed_over
        key: DayKey = (self.zone.day(started).key, record.backend or "", record.model)
        steps = _steps(record)
        values: tuple[Value, ...] = (
            record.exchange, int(started * 1_000), key[0], self.zone.hour(started), record.model, record.outcome,
            _or_null(record.status), _or_null(record.backend), record.reason.value if record.reason else NULL,
            _ms(record.duration), _ms(record.overhead), _ms(record.ttft), _or_null(record.session),
            _or_null(record.agent), _or_null(record.request_class), 1 if failed_over else 0,
            1 if record.streaming else 0, steps,
        )  # fmt: skip
        told = (record.exchange, key[1], record.model, record.outcome, record.session or "", record.agent or "",
                record.request_class or "", steps)  # fmt: skip
        if not "".join(told).isascii():
            values, key = _storable(values, key)
        rescued = failed_over and record.outcome == "served"
        return Row(values, key, _RESCUED if rescued else _REQUEST, started, paid=False)

    def _attempt(self, record: AttemptRecord, day: str) -> Row:
        started, paid, usage, extra = record.started, record.paid, record.usage, record.extra
        cost, listed = record.cost_nusd, record.list_cost_nusd
        warm = self.conversations.warm_elsewhere(record)
        rebuild = self.prices.rebuild(record.model, usage, warm) if self.prices is not None and warm else 0
        scope = scope_of(record.upstream_model, extra.get("scope", "")) if record.kind is Kind.BEDROCK else ""
        region = extra.get("region", "")
        failover = record.backend != self.primary and record.reason not in NOT_FAILOVER
        estimated = 1 if record.price_estimated else 0
        key: DayKey = (day, record.backend, record.model)
        # In the order of ATTEMPT_COLUMNS.
        values: tuple[Value, ...] = (
            record.exchange, record.attempt, int(started * 1_000), day, self.zone.hour(started), record.backend,
            record.kind.value, record.model, record.upstream_model, scope, region,
            record.surface.value if record.surface else NULL, record.reason.value, record.outcome.value,
            record.detail, _or_null(record.status), _ms(record.ttfb), _ms(record.ttft), _ms(record.duration),
            usage.input, usage.output, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h,
            usage.web_searches, usage.thinking, 1 if usage.geo_us else 0, 1 if usage.fast else 0,
            record.usage_state.value, _or_null(record.upstream_request_id), _or_null(record.session),
            _or_null(record.agent), _or_null(record.request_class), 1 if paid else 0, cost, listed, rebuild,
            estimated, 1 if record.committed else 0, 1 if record.streaming else 0, 1 if failover else 0,
            self.prices.as_of if self.prices is not None else "",
        )  # fmt: skip
        # One look at all texts from outside together, for nearly all are ASCII.
        told = (record.exchange, record.backend, record.model, record.upstream_model, scope, region, record.detail,
                record.upstream_request_id or "", record.session or "", record.agent or "",
                record.request_class or "")  # fmt: skip
        if not "".join(told).isascii():
            values, key = _storable(values, key)
        of_failover = failover and paid
        added = (
            0, 0, 1, usage.input, usage.output, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h,
            cost if paid else 0, 0 if paid else cost, cost if of_failover else 0,
            max(0, listed - rebuild) if of_failover else 0, rebuild, estimated,
            1 if record.usage_state is Ended.PARTIAL else 0,
        )  # fmt: skip
        return Row(values, key, added, started, paid)


def keep(sums: dict[DayKey, Sums], day: DayKey, added: Sums) -> None:
    """Add to a table of sums in memory. It may come from a row that SQLite refused: what is no number adds nothing."""
    before = sums.get(day, _NOTHING)
    both = zip(before, added, strict=False)
    sums[day] = tuple(a + b if type(b) is int else a for a, b in both) + before[len(added) :]


def clean(text: str) -> str:
    """Headers are bytes: what was decoded from them may hold halves of characters, which SQLite refuses."""
    return text.encode("utf-8", "replace").decode()


def _storable(values: tuple[Value, ...], day: DayKey) -> tuple[tuple[Value, ...], DayKey]:
    all_clean = tuple(clean(value) if isinstance(value, str) else value for value in values)
    return all_clean, (day[0], clean(day[1]), clean(day[2]))


def _or_null(value: str | int | None) -> Value:
    return NULL if value is None else value


def _ms(seconds: Seconds | None) -> Value:
    if seconds is None:
        return NULL
    return round(seconds * 1_000) if seconds > 0.0 else 0


def _steps(record: ExchangeRecord) -> str:
    steps: list[_Step] = [
        (round(step.at * 10_000) / 10_000, step.what, step.backend, step.detail) for step in record.steps
    ]
    text = _compact(steps)
    while len(text) > MAX_STEPS_BYTES and len(steps) > 1:
        # Its beginning and its end say most.
        middle = len(steps) // 4
        del steps[middle : len(steps) - middle]
        text = _compact(steps)
        if len(steps) < 4:
            break
    return text if len(text) <= MAX_STEPS_BYTES else "[]"


def _compact(steps: list[_Step]) -> str:
    try:
        return msgspec.json.encode(steps).decode()
    except (UnicodeEncodeError, TypeError):
        return _compact([(at, clean(what), clean(backend), clean(detail)) for at, what, backend, detail in steps])
