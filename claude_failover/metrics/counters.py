"""The counters: what is counted of every attempt, every request, and some events.

No histogram has the model as a label: models are many, and each set of labels is sixteen lines of the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from claude_failover.core.alert_rules import RULES
from claude_failover.core.conditions import failed_in_band
from claude_failover.core.gauges import Gauges
from claude_failover.core.types import AttemptRecord, BackendName, ExchangeRecord, Outcome
from claude_failover.events import Event
from claude_failover.metrics.readout import BREAKERS, Readout
from claude_failover.metrics.tally import Tallies

OTHER: Final = "other"
MAX_MODELS: Final = 100
"""Models that have a label of their own; the table has about thirty."""

SLOW: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds: from a refusal to a long answer."""
FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Seconds that we add ourselves; the bounds that product.md 1 promises (10, 50, 100, 500 ms) are among them."""

_LIMITS: Final = frozenset(
    {
        Outcome.PLAN_LIMIT,
        Outcome.FAMILY_LIMIT,
        Outcome.THROTTLED,
        Outcome.TRANSIENT_LIMIT,
        Outcome.ENTITLEMENT,
        Outcome.BILLING,
    }
)
_KINDS: Final = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
_NANO: Final = 1e-9


class Metrics:
    """Everything on ``/metrics``.

    Args:
        primary: The first backend: everything else is a failover.
        models: Claude ids that get a label of their own.
        backends: Every backend's name: counters of things that should not happen begin at zero for each, because
            Prometheus sees no rise from a counter that is not there to one that is 1.
        read: Answers the daemon's gauges, or ``None`` while it starts.
    """

    def __init__(
        self,
        primary: BackendName,
        models: Iterable[str],
        read: Callable[[], Gauges | None] = lambda: None,
        backends: Iterable[BackendName] = (),
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        tallies = Tallies()
        counter, histogram = tallies.counter, tallies.histogram
        self._requests = counter("requests", "Client requests, by who answered.", "backend", "role", "model", "outcome")
        self._attempts = counter("attempts", "Attempts, by how they ended.", "backend", "outcome")
        self._limits = counter("limits", "Limits that a backend told, by kind.", "backend", "kind")
        self._failovers = counter("failovers", "Switches to another backend.", "from", "to", "reason")
        self._in_band = counter("in_band_errors", "Attempts that failed after a good status.", "backend")
        self._tokens = counter("tokens", "Tokens; the kinds are disjoint.", "backend", "model", "kind")
        self._cost = counter("cost_dollars", "Cost, billed or notional.", "backend", "model", "billing")
        self._list_cost = counter("list_cost_dollars", "The same tokens at the Claude API's list price.", "backend")
        self._unpriced = counter("unpriced_attempts", "Attempts of models that are not in the price table.", "backend")
        self._breakers = counter("breaker_transitions", "Changes of circuit breakers.", "backend", "to")
        self._refreshes = counter("credential_refreshes", "Refreshes of credentials.", "backend", "result")
        self._alerts = counter("alerts", "Alerts that were raised.", "alert")
        self._undelivered = counter("alert_failures", "Alerts that could not be delivered.", "channel")
        self._crashes = counter("crashes", "Exceptions of our own code.")
        self._denials = counter("denials_learned", "Things that a backend refused and is not sent again.", "backend")
        self._per_request = histogram("attempts_per_request", "Attempts that a request took.", (1, 2, 3, 4, 5, 8))
        self._ttfb = histogram("time_to_first_byte_seconds", "Attempt opened to response head.", SLOW, "backend")
        self._ttft = histogram("time_to_first_content_seconds", "Attempt opened to first content.", SLOW, "backend")
        self._attempt = histogram("attempt_duration_seconds", "Attempt opened to its end.", SLOW, "backend")
        self._duration = histogram(
            "request_duration_seconds", "Request in to its end, by who answered.", SLOW, "backend"
        )
        self._overhead = histogram(
            "overhead_seconds", "Of a request, what no backend was waited for.", FAST, "failed_over"
        )
        self._models: frozenset[str] = frozenset()
        self._primary = primary
        self.configure(primary, models, backends)
        self._registry.register(tallies)
        self._registry.register(Readout(read, self.model_label))
        ProcessCollector(registry=self._registry)

    def configure(self, primary: BackendName, models: Iterable[str], backends: Iterable[BackendName] = ()) -> None:
        """Take over a changed configuration; what was counted stays."""
        self._primary = primary
        self._models = frozenset(sorted(set(models))[:MAX_MODELS])
        for backend in backends:
            for tally in (self._in_band, self._unpriced, self._denials):
                tally.add((backend,), 0)
            for result in ("ok", "failed"):
                self._refreshes.add((backend, result), 0)
            for state in BREAKERS:
                self._breakers.add((backend, state), 0)
        for rule in RULES:
            self._alerts.add((rule.code,), 0)
        for channel in ("desktop", "command", "webhook"):
            self._undelivered.add((channel,), 0)

    def model_label(self, model: str) -> str:
        """The model, if we know it."""
        return model if model in self._models else OTHER

    def attempted(self, record: AttemptRecord) -> None:
        """Count an attempt."""
        backend, outcome = record.backend, record.outcome
        label = (backend,)
        self._attempts.counts[backend, outcome.value] += 1.0
        if outcome is not Outcome.SUCCESS:
            if outcome in _LIMITS:
                self._limits.add((backend, outcome.value))
            if failed_in_band(record):
                self._in_band.add(label)
        if record.ttfb is not None:
            self._ttfb.add(label, record.ttfb)
        if record.ttft is not None:
            self._ttft.add(label, record.ttft)
        self._attempt.add(label, record.duration)
        if record.usage.prompt or record.usage.output:
            self._money(record)

    def _money(self, record: AttemptRecord) -> None:
        backend, model = record.backend, self.model_label(record.model)
        usage, tokens = record.usage, self._tokens.counts
        counts = (usage.input, usage.output, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h)
        for kind, count in zip(_KINDS, counts, strict=True):
            if count > 0:
                tokens[backend, model, kind] += count
        billing = "billed" if record.paid else "notional"
        self._cost.add((backend, model, billing), record.cost_nusd * _NANO)
        self._list_cost.add((backend,), record.list_cost_nusd * _NANO)
        if record.price_estimated:
            self._unpriced.add((backend,))

    def concluded(self, record: ExchangeRecord) -> None:
        """Count a request."""
        backend = record.backend or "none"
        role = "none" if record.backend is None else "primary" if backend == self._primary else "failover"
        self._requests.counts[backend, role, self.model_label(record.model), record.outcome] += 1.0
        self._duration.add((backend,), record.duration)
        self._overhead.add(("true" if record.failed_over else "false",), max(0.0, record.overhead))
        self._per_request.add((), len(record.attempts))
        before = self._primary
        for attempt in record.attempts:
            if attempt.backend != before:
                self._failovers.add((before, attempt.backend, attempt.reason.value))
            before = attempt.backend

    def __call__(self, event: Event) -> None:
        """Count what is only told by an event: a sink."""
        fields = event.fields
        backend = str(fields.get("backend") or "none")
        # Repeats that were held back are told with the next one; a bool is no number of repeats.
        held_back = fields.get("held_back")
        count = 1 + (held_back if isinstance(held_back, int) else 0)
        match event.name:
            case "breaker.changed":
                self._breakers.add((backend, str(fields.get("to"))))
            case "credential.refreshed":
                self._refreshes.add((backend, "ok"))
            case "credential.failed":
                self._refreshes.add((backend, "failed"), count)
            case "alert.raised":
                self._alerts.add((str(fields.get("alert")),))
            case "alert.failed":
                self._undelivered.add((str(fields.get("channel")),), count)
            case "code.crashed":
                self._crashes.add((), count)
            case "denial.learned":
                self._denials.add((backend,))
            case _:
                pass

    def exposition(self, accept: str | None = None) -> tuple[str, bytes]:
        """Write everything in the format that *accept* asks for: content type and body."""
        encode, content_type = choose_encoder(accept or "")
        return content_type, encode(self._registry)
