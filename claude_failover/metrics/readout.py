"""The readout: the daemon's gauges as metric families, made anew at each scrape so that nothing stale is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from claude_failover import __version__
from claude_failover.core.gauges import BackendGauges, Gauges
from claude_failover.metrics.tally import PREFIX

BREAKERS = {"closed": 0.0, "half_open": 1.0, "open": 2.0}

Family = CounterMetricFamily | GaugeMetricFamily


class Readout(Collector):
    """Collects what *read* answers; a daemon that is still starting has nothing to say."""

    def __init__(self, read: Callable[[], Gauges | None], label: Callable[[str], str]) -> None:
        self._read = read
        self._label = label

    def describe(self) -> Iterable[Family]:
        """Nothing: the registry need not call :meth:`collect` to learn our names."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Make the families."""
        build = _gauge("build_info", "The running release.", "version")
        build.add_metric([__version__], 1.0)
        yield build
        gauges = self._read()
        if gauges is not None:
            yield from _daemon(gauges)
            yield from _money(gauges)
            yield from self._backends(gauges)

    def _backends(self, gauges: Gauges) -> Iterator[Family]:
        yield _each(
            "backend_available", "Whether requests can go there now (1) or not (0).", gauges,
            lambda one: float(one.available and not one.blocked),
        )  # fmt: skip
        yield _each(
            "backend_active", "Whether the next request goes there (1) or not (0).", gauges,
            lambda one: float(one.name == gauges.active),
        )  # fmt: skip
        yield _each(
            "backend_blocked", "Whether it is blocked: TLS, pin, login.", gauges, lambda one: float(bool(one.blocked))
        )
        yield _each("streams_in_flight", "Attempts that run now.", gauges, lambda one: float(one.in_flight))
        yield _each(
            "credential_expiry_timestamp_seconds",
            "When the credential ends.",
            gauges,
            lambda one: one.credential_expires,
        )
        breaker = _gauge("breaker_state", "Circuit breaker: 0 closed, 1 half-open, 2 open.", "backend", "model")
        cooldown = _gauge("cooldown_end_timestamp_seconds", "When the cooldown ends.", "backend", "model")
        used = _gauge("plan_utilization_ratio", "How full a window of the plan is: 1 is full.", "backend", "window")
        resets = _gauge("plan_reset_timestamp_seconds", "When a window of the plan empties.", "backend", "window")
        rejected = _gauge("plan_rejected", "Whether a window of the plan refuses.", "backend", "window")
        for one in gauges.backends:
            self._models(one, gauges, breaker, cooldown)
            for window in one.plan[:16]:
                labels = [one.name, window.name]
                if window.utilization is not None:
                    used.add_metric(labels, window.utilization)
                if window.resets is not None:
                    resets.add_metric(labels, window.resets)
                rejected.add_metric(labels, float(window.rejected))
        yield from (breaker, cooldown, used, resets, rejected)

    def _models(
        self, one: BackendGauges, gauges: Gauges, breaker: GaugeMetricFamily, cooldown: GaugeMetricFamily
    ) -> None:
        # Several unknown models fold into one label; the worst of them speaks for all.
        worst: dict[str, float] = {}
        latest: dict[str, float] = {}
        for model in one.models:
            label = self._label(model.model)
            worst[label] = max(worst.get(label, 0.0), BREAKERS.get(model.breaker, 0.0))
            if model.cooldown_until is not None and model.cooldown_until > gauges.at:
                latest[label] = max(latest.get(label, 0.0), model.cooldown_until)
        for label, state in worst.items():
            breaker.add_metric([one.name, label], state)
        for label, end in latest.items():
            cooldown.add_metric([one.name, label], end)


def _daemon(gauges: Gauges) -> Iterator[Family]:
    yield _one(
        "failover_active", "Whether somebody else than the primary answers.", float(gauges.failover_since is not None)
    )
    yield _one("failover_start_timestamp_seconds", "Since when; absent if the primary answers.", gauges.failover_since)
    yield _one("offline", "Whether no backend can be reached at all.", float(gauges.offline))
    yield _one("override_active", "Whether force-backend is in force.", float(gauges.override))
    yield _one("requests_in_flight", "Client requests that run now.", float(gauges.streams))
    yield _one("event_loop_lag_seconds", "How late the event loop was at the last look.", gauges.loop_lag)
    yield _one("ledger_queue_rows", "Rows that wait to be written to the ledger.", float(gauges.ledger_queued))
    yield _one("ledger_healthy", "Whether the ledger can be written.", float(not gauges.ledger_error))
    yield _one("log_healthy", "Whether the log can be written.", float(not gauges.log_error))
    yield _one("config_last_reload_successful", "Whether the last reload was taken over.", float(gauges.reload_ok))
    yield _one("config_last_reload_timestamp_seconds", "When the configuration was loaded.", gauges.reloaded)
    yield _count("ledger_write_failures", "Rows that could not be written to the ledger.", gauges.ledger_failures)
    yield _count("log_dropped", "Events that could not be written to the log.", gauges.log_dropped)
    yield _count("bypasses", "Requests that went straight to the primary because our own code failed.", gauges.bypasses)
    refused = CounterMetricFamily(PREFIX + "client_refused", "Requests that the gate refused.", labels=["reason"])
    for reason, count in sorted(gauges.refused.items())[:32]:
        refused.add_metric([reason], count)
    yield refused


def _money(gauges: Gauges) -> Iterator[Family]:
    yield _one("spend_dollars", "Spent today at paid backends.", gauges.spent_usd)
    yield _one("spend_reserved_dollars", "Held for requests that run now.", gauges.reserved_usd)
    yield _one("spend_limit_dollars", "Today's limit; absent if there is none.", gauges.limit_usd)
    yield _one("spend_alert_dollars", "Where the alert begins; absent if there is none.", gauges.alert_usd)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=list(labels))


def _one(name: str, text: str, value: float | None) -> GaugeMetricFamily:
    family = _gauge(name, text)
    if value is not None:
        family.add_metric([], value)
    return family


def _count(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _each(name: str, text: str, gauges: Gauges, value: Callable[[BackendGauges], float | None]) -> GaugeMetricFamily:
    family = _gauge(name, text, "backend")
    for one in gauges.backends:
        if (found := value(one)) is not None:
            family.add_metric([one.name], found)
    return family
