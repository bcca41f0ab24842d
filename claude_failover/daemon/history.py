"""What happened lately, in memory: the last requests for ``explain``, and the figures that ``status`` shows.

Bounded by construction: everything is a deque with a length, so a daemon that runs for a year holds what one that
ran for a day does.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from claude_failover.control.status import Latency, PlanWindow, Totals
from claude_failover.core.limits import PlanLimits, Window
from claude_failover.core.types import AttemptRecord, BackendName, Epoch, ExchangeRecord, Outcome

EXCHANGES: Final = 1000
"""Requests that ``explain`` remembers."""

SAMPLES: Final = 1000
"""Attempts per backend that percentiles are taken of."""


@dataclass(slots=True)
class _Backend:
    ttft: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    duration: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    failed: deque[bool] = field(default_factory=lambda: deque(maxlen=SAMPLES))


@dataclass(frozen=True, slots=True)
class _Told:
    """What one plan told of itself, and when."""

    backend: BackendName
    seen: Epoch
    plan: PlanLimits


class History:
    """The daemon's short memory."""

    def __init__(self) -> None:
        self._exchanges: deque[ExchangeRecord] = deque(maxlen=EXCHANGES)
        self._backends: dict[BackendName, _Backend] = {}
        self._overhead: deque[float] = deque(maxlen=SAMPLES)
        self._plans: dict[BackendName, tuple[PlanLimits, Epoch]] = {}
        self._requests = 0
        self._rescued = 0
        self._failed = 0

    def attempt(self, record: AttemptRecord) -> None:
        """Note one attempt."""
        backend = self._backends.get(record.backend)
        if backend is None:
            backend = self._backends[record.backend] = _Backend()
        if record.outcome is not Outcome.SUCCESS:
            backend.failed.append(record.outcome.blames_backend or record.outcome.is_limit)
            return
        backend.failed.append(False)
        backend.duration.append(record.duration)
        if record.ttft is not None:
            backend.ttft.append(record.ttft)

    def exchange(self, record: ExchangeRecord) -> None:
        """Note one request."""
        self._exchanges.append(record)
        self._requests += 1
        self._overhead.append(record.overhead)
        self._rescued += record.outcome == "served" and record.failed_over
        self._failed += record.outcome in {"passed_error", "aborted"} and (record.status or 500) in _AVOIDABLE

    def heard(self, backend: BackendName, plan: PlanLimits, now: Epoch) -> PlanLimits | None:
        """Note what a response's headers said of the plan's windows; answers what the one before said."""
        before = self._plans.get(backend)
        self._plans[backend] = (plan, now)
        return None if before is None else before[0]

    def windows(self, backend: BackendName) -> tuple[Window, ...]:
        """The plan's windows as *backend* told them last."""
        found = self._plans.get(backend)
        return () if found is None else found[0].windows

    def snapshot(self) -> list[dict[str, Any]]:
        """What the plans told of themselves, as JSON values: a restart need not wait for the next answer to know it."""
        return [
            {"backend": backend, "seen": seen, "plan": msgspec.to_builtins(plan)}
            for backend, (plan, seen) in self._plans.items()
        ]

    def restore(self, entries: object, backends: Collection[BackendName], now: Epoch) -> None:
        """Take back what :meth:`snapshot` said, but no window that has ended, or of which nobody knows when it does."""
        for entry in entries if isinstance(entries, list) else []:
            try:
                told = msgspec.convert(entry, _Told)
            except msgspec.ValidationError:
                continue
            lasting = tuple(one for one in told.plan.windows if one.resets is not None and one.resets > now)
            if lasting and told.backend in backends:
                self._plans[told.backend] = (replace(told.plan, windows=lasting), told.seen)

    def find(self, exchange: str | None) -> ExchangeRecord | None:
        """The request of that id, or the last one."""
        if exchange is None or exchange == "last":
            return self._exchanges[-1] if self._exchanges else None
        matches = [record for record in self._exchanges if record.exchange.startswith(exchange)]
        return matches[-1] if matches else None

    @property
    def exchanges(self) -> tuple[ExchangeRecord, ...]:
        """All that are remembered, oldest first."""
        return tuple(self._exchanges)

    def totals(self) -> Totals:
        """Since the start."""
        return Totals(requests=self._requests, rescued=self._rescued, failed=self._failed)

    def overhead(self) -> Latency:
        """What we added to requests."""
        return percentiles(self._overhead)

    def backend(self, name: BackendName) -> tuple[int, int, Latency, Latency]:
        """Attempts, failures, time to first content, duration."""
        samples = self._backends.get(name, _Backend())
        return len(samples.failed), sum(samples.failed), percentiles(samples.ttft), percentiles(samples.duration)

    def plan(self) -> tuple[PlanWindow, ...]:
        """The windows of every plan that told us about itself."""
        return tuple(
            PlanWindow(
                name=window.name,
                used=window.utilization,
                status=window.status or ("rejected" if window.rejected else "allowed"),
                resets=window.resets,
                backend=backend,
                seen=seen,
            )
            for backend, (plan, seen) in self._plans.items()
            for window in plan.windows
        )


_AVOIDABLE: Final = frozenset({429, 500, 502, 503, 504, 529, 200})
"""Statuses of answers that a failover might have avoided (200: an answer that broke after its commit)."""


def percentiles(samples: deque[float]) -> Latency:
    """Nearest-rank percentiles; seconds."""
    if not samples:
        return Latency()
    ordered = sorted(samples)

    def rank(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    return Latency(count=len(ordered), p50_s=rank(0.50), p95_s=rank(0.95), p99_s=rank(0.99))
