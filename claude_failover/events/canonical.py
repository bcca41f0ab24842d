"""The core's records as events: one canonical line per request, one line per attempt, one per transition.

The canonical line (``exchange.ended``) answers "what happened to this request" alone; the rest is detail.
"""

from __future__ import annotations

from typing import Final

from claude_failover.core.types import AttemptRecord, ExchangeRecord, Transition, TransitionKind
from claude_failover.events.event import Value
from claude_failover.events.hub import is_debugged, say
from claude_failover.events.names import Level

_NANO: Final = 1e-9


def attempted(record: AttemptRecord) -> None:
    """Emit ``attempt.ended``."""
    if is_debugged():
        say("attempt.ended", _attempt(record))


def concluded(record: ExchangeRecord) -> None:
    """Emit ``exchange.ended``, the canonical line of a request."""
    level = None if record.outcome in {"served", "client_gone"} else Level.WARNING
    say("exchange.ended", exchange_fields(record), level)


def announced(transition: Transition) -> None:
    """Emit the event of a transition."""
    fields: dict[str, Value] = {"backend": transition.backend, "model": transition.model}
    fields |= {"detail": transition.detail or None, "until": transition.until}
    fields |= dict(transition.fields)
    level = None
    if transition.kind is TransitionKind.BREAKER_CHANGED and transition.fields.get("to") == "closed":
        level = Level.INFO
    say(transition.kind.value, {key: value for key, value in fields.items() if value is not None}, level)


def exchange_fields(record: ExchangeRecord) -> dict[str, Value]:
    """The canonical line's fields; a value that is not there is left out."""
    attempts = record.attempts
    last = attempts[-1] if attempts else None
    # One look at every attempt, and only then the fields: it is done for each request, and most have one attempt.
    tried: list[str] = []
    ids: list[str] = []
    read = written = cached = kept = cost = 0
    for one in attempts:
        usage = one.usage
        tried.append(f"{one.backend}:{one.outcome.value}")
        read += usage.input
        written += usage.output
        cached += usage.cache_read
        kept += usage.cache_write_5m + usage.cache_write_1h
        if one.paid:
            cost += one.cost_nusd
        if one.upstream_request_id:
            ids.append(one.upstream_request_id)
    fields: dict[str, Value] = {
        "exchange": record.exchange,
        "outcome": record.outcome,
        "status": record.status,
        "model": record.model,
        "backend": record.backend,
        "reason": record.reason.value if record.reason else None,
        "attempts": len(attempts),
        "tried": tried or None,
        "failed_over": record.failed_over,
        "streaming": record.streaming,
        "duration_s": round(record.duration, 4),
        "overhead_s": round(record.overhead, 4),
        "ttft_s": None if record.ttft is None else round(record.ttft, 4),
        "tokens_input": read,
        "tokens_output": written,
        "tokens_cache_read": cached,
        "tokens_cache_write": kept,
        "cost_usd": round(cost * _NANO, 9),
        "upstream_model": last.upstream_model if last else None,
        "upstream_request_ids": ids or None,
        "detail": last.detail if last and record.outcome != "served" else None,
        "session": record.session,
        "agent": record.agent,
        "class": record.request_class,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _attempt(record: AttemptRecord) -> dict[str, Value]:
    fields: dict[str, Value] = {
        "exchange": record.exchange,
        "attempt": record.attempt,
        "backend": record.backend,
        "model": record.model,
        "upstream_model": record.upstream_model,
        "surface": record.surface.value if record.surface else None,
        "reason": record.reason.value,
        "outcome": record.outcome.value,
        "detail": record.detail or None,
        "status": record.status,
        "ttfb_s": None if record.ttfb is None else round(record.ttfb, 4),
        "ttft_s": None if record.ttft is None else round(record.ttft, 4),
        "duration_s": round(record.duration, 4),
        "committed": record.committed,
        "upstream_request_id": record.upstream_request_id,
        "cost_usd": round(record.cost_nusd * _NANO, 9),
        "paid": record.paid,
    }
    return {name: value for name, value in fields.items() if value is not None}
