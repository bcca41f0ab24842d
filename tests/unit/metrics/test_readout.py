from __future__ import annotations

from prometheus_client import CollectorRegistry

from claude_failover import __version__
from claude_failover.core.gauges import BackendGauges, Gauges, ModelGauges
from claude_failover.core.limits import Window
from claude_failover.core.types import BackendName, Epoch, Seconds
from claude_failover.metrics.readout import Readout

AT = Epoch(1_795_000_000.0)
CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")


def read(gauges: Gauges | None) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(Readout(lambda: gauges, lambda model: model if model == "claude-opus-5-5" else "other"))
    return {
        sample.name.removeprefix("claude_failover_")
        + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_a_daemon_that_starts_has_nothing_to_say() -> None:
    assert read(None) == {f"build_info {__version__}": 1}


def test_a_quiet_daemon_says_that_all_is_well() -> None:
    found = read(Gauges(AT, (BackendGauges(CLAUDE), BackendGauges(BEDROCK)), active=CLAUDE))
    assert found["backend_available claude"] == 1
    assert found["backend_active claude"] == 1
    assert found["backend_active bedrock"] == 0
    assert found["failover_active"] == 0
    assert found["ledger_healthy"] == 1
    assert found["config_last_reload_successful"] == 1
    assert found["bypasses_total"] == 0
    # What is not there has no sample, rather than a zero that looks like 1970 or like a limit of nothing.
    assert "failover_start_timestamp_seconds" not in found
    assert "spend_limit_dollars" not in found
    assert "credential_expiry_timestamp_seconds claude" not in found


def test_everything_that_can_be_read_is_there() -> None:
    claude = BackendGauges(
        CLAUDE,
        available=True,
        blocked="pin",
        in_flight=3,
        credential_expires=Epoch(AT + 60),
        models=(
            ModelGauges("claude-opus-5-5", "half_open", Epoch(AT + 30)),
            ModelGauges("made-up-1", "open", Epoch(AT + 10)),
            ModelGauges("made-up-2", "closed", Epoch(AT + 20)),
            ModelGauges("made-up-3", "closed", Epoch(AT - 1)),
            ModelGauges("made-up-4", "brand-new-state"),
        ),
        plan=(Window("5h", "rejected", 1.01, Epoch(AT + 100)), Window("7d")),
    )
    found = read(
        Gauges(
            AT,
            (claude,),
            active=None,
            failover_since=Epoch(AT - 5),
            offline=True,
            override=True,
            streams=7,
            spent_usd=1.5,
            reserved_usd=0.25,
            limit_usd=10.0,
            alert_usd=8.0,
            ledger_queued=4,
            ledger_failures=2,
            ledger_error="disk full",
            log_dropped=9,
            log_error="disk full",
            loop_lag=Seconds(0.01),
            bypasses=1,
            refused={"host": 3, "key": 1},
            reload_ok=False,
            reloaded=Epoch(AT - 1000),
        )
    )
    assert found == {
        f"build_info {__version__}": 1,
        "backend_available claude": 0,
        "backend_active claude": 0,
        "backend_blocked claude": 1,
        "streams_in_flight claude": 3,
        "credential_expiry_timestamp_seconds claude": AT + 60,
        "breaker_state claude claude-opus-5-5": 1,
        "breaker_state claude other": 2,
        "cooldown_end_timestamp_seconds claude claude-opus-5-5": AT + 30,
        "cooldown_end_timestamp_seconds claude other": AT + 20,
        "plan_utilization_ratio claude 5h": 1.01,
        "plan_reset_timestamp_seconds claude 5h": AT + 100,
        "plan_rejected claude 5h": 1,
        "plan_rejected claude 7d": 0,
        "failover_active": 1,
        "failover_start_timestamp_seconds": AT - 5,
        "offline": 1,
        "override_active": 1,
        "requests_in_flight": 7,
        "event_loop_lag_seconds": 0.01,
        "ledger_queue_rows": 4,
        "ledger_healthy": 0,
        "log_healthy": 0,
        "config_last_reload_successful": 0,
        "config_last_reload_timestamp_seconds": AT - 1000,
        "ledger_write_failures_total": 2,
        "log_dropped_total": 9,
        "bypasses_total": 1,
        "client_refused_total host": 3,
        "client_refused_total key": 1,
        "spend_dollars": 1.5,
        "spend_reserved_dollars": 0.25,
        "spend_limit_dollars": 10,
        "spend_alert_dollars": 8,
    }
