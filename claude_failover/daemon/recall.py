"""A request's story out of the ledger, for ``explain`` after a restart.

Rule: the same shape as of a story in memory. What the ledger does not keep is empty there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    Step,
    Surface,
    Usage,
)


def record_of(story: Mapping[str, Any]) -> ExchangeRecord:
    """Make the record of what :meth:`claude_failover.ledger_query.Reader.exchange` found."""
    return ExchangeRecord(
        exchange=story["exchange"],
        started=Epoch(story["started_ms"] / 1_000),
        model=story["model"],
        streaming=bool(story["streaming"]),
        outcome=story["outcome"],
        status=story["status"],
        backend=None if story["backend"] is None else BackendName(story["backend"]),
        reason=None if story["reason"] is None else Reason(story["reason"]),
        attempts=tuple(_attempt(row) for row in story["attempts"]),
        steps=tuple(Step(Seconds(at), what, backend, detail) for at, what, backend, detail in story["steps"]),
        duration=Seconds(story["duration_ms"] / 1_000),
        overhead=Seconds(story["overhead_ms"] / 1_000),
        ttft=_seconds(story["ttft_ms"]),
        session=story["session"],
        agent=story["agent"],
        request_class=story["request_class"],
        failed_over=bool(story["failed_over"]),
    )


def _attempt(row: Mapping[str, Any]) -> AttemptRecord:
    return AttemptRecord(
        exchange=row["exchange"],
        attempt=row["attempt"],
        backend=BackendName(row["backend"]),
        kind=Kind(row["kind"]),
        model=row["model"],
        upstream_model=row["upstream_model"],
        surface=Surface(row["surface"]) if row["surface"] else None,
        reason=Reason(row["reason"]),
        outcome=Outcome(row["outcome"]),
        detail=row["detail"],
        status=row["status"],
        started=Epoch(row["started_ms"] / 1_000),
        ttfb=_seconds(row["ttfb_ms"]),
        ttft=_seconds(row["ttft_ms"]),
        duration=Seconds(row["duration_ms"] / 1_000),
        usage=Usage(
            input=row["input"],
            output=row["output"],
            cache_read=row["cache_read"],
            cache_write_5m=row["write_5m"],
            cache_write_1h=row["write_1h"],
            web_searches=row["web_searches"],
            thinking=row["thinking"],
            geo_us=bool(row["geo_us"]),
            fast=bool(row["fast"]),
        ),
        usage_state=Ended(row["usage_state"]),
        upstream_request_id=row["upstream_request_id"],
        session=row["session"],
        agent=row["agent"],
        request_class=row["request_class"],
        paid=bool(row["paid"]),
        cost_nusd=row["cost_nusd"],
        list_cost_nusd=row["list_nusd"],
        price_estimated=bool(row["estimated"]),
        committed=bool(row["committed"]),
        streaming=bool(row["streaming"]),
    )


def _seconds(milliseconds: int | None) -> Seconds | None:
    return None if milliseconds is None else Seconds(milliseconds / 1_000)
