from __future__ import annotations

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from claude_failover.core.gauges import BackendGauges, Gauges
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
    Usage,
)
from claude_failover.events import Event, EventName, Level, Value
from claude_failover.metrics import Metrics
from claude_failover.metrics.counters import MAX_MODELS

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
OPUS = "claude-opus-5-5"
AT = Epoch(1_795_000_000.0)

LIMITED = AttemptRecord(
    exchange="cfr_1",
    attempt=0,
    backend=CLAUDE,
    kind=Kind.ANTHROPIC,
    model=OPUS,
    upstream_model=OPUS,
    surface=None,
    reason=Reason.PRIMARY,
    outcome=Outcome.PLAN_LIMIT,
    detail="",
    status=429,
    started=AT,
    ttfb=Seconds(0.2),
    ttft=None,
    duration=Seconds(0.2),
)
SERVED = replace(
    LIMITED,
    attempt=1,
    backend=BEDROCK,
    kind=Kind.BEDROCK,
    reason=Reason.PLAN_LIMIT,
    outcome=Outcome.SUCCESS,
    status=200,
    ttft=Seconds(0.7),
    duration=Seconds(3.0),
    usage=Usage(input=100, output=20, cache_read=3000, cache_write_1h=7),
    usage_state=Ended.COMPLETE,
    paid=True,
    cost_nusd=2_000_000_000,
    list_cost_nusd=1_500_000_000,
)
EXCHANGE = ExchangeRecord(
    exchange="cfr_1",
    started=AT,
    model=OPUS,
    streaming=True,
    outcome="served",
    status=200,
    backend=BEDROCK,
    reason=Reason.PLAN_LIMIT,
    attempts=(LIMITED, SERVED),
    steps=(),
    duration=Seconds(3.3),
    overhead=Seconds(0.002),
    ttft=Seconds(0.9),
    session=None,
    agent=None,
    request_class=None,
    failed_over=True,
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CLAUDE, [OPUS])


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample but buckets and the process's: ``name{label=value}``, the prefix left out."""
    found = {}
    for family in text_string_to_metric_families(metrics.exposition()[1].decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            if sample.name.startswith("claude_failover_") and "le" not in sample.labels:
                found[sample.name.removeprefix("claude_failover_") + f"{{{labels}}}"] = sample.value
    return found


def test_a_request_that_was_rescued_counts_on_both_sides(metrics: Metrics) -> None:
    metrics.attempted(LIMITED)
    metrics.attempted(SERVED)
    metrics.concluded(EXCHANGE)
    found = samples(metrics)
    expected = {
        "requests_total{backend=bedrock,model=claude-opus-5-5,outcome=served,role=failover}": 1,
        "attempts_total{backend=claude,outcome=plan_limit}": 1,
        "attempts_total{backend=bedrock,outcome=success}": 1,
        "limits_total{backend=claude,kind=plan_limit}": 1,
        "failovers_total{from=claude,reason=plan_limit,to=bedrock}": 1,
        "tokens_total{backend=bedrock,kind=input,model=claude-opus-5-5}": 100,
        "tokens_total{backend=bedrock,kind=output,model=claude-opus-5-5}": 20,
        "tokens_total{backend=bedrock,kind=cache_read,model=claude-opus-5-5}": 3000,
        "tokens_total{backend=bedrock,kind=cache_write_1h,model=claude-opus-5-5}": 7,
        "cost_dollars_total{backend=bedrock,billing=billed,model=claude-opus-5-5}": 2.0,
        "list_cost_dollars_total{backend=bedrock}": 1.5,
        "attempts_per_request_sum{}": 2,
        "time_to_first_byte_seconds_count{backend=claude}": 1,
        "time_to_first_content_seconds_sum{backend=bedrock}": 0.7,
        "attempt_duration_seconds_count{backend=bedrock}": 1,
        "request_duration_seconds_sum{backend=bedrock}": 3.3,
        "overhead_seconds_sum{failed_over=true}": 0.002,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert not any(name.startswith(("in_band", "unpriced")) for name in found if "{backend" in name)


def test_a_subscriptions_tokens_are_notional_and_the_primary_is_no_failover(metrics: Metrics) -> None:
    served = replace(SERVED, backend=CLAUDE, paid=False, price_estimated=True)
    metrics.attempted(served)
    metrics.concluded(replace(EXCHANGE, backend=CLAUDE, attempts=(served,), failed_over=False))
    found = samples(metrics)
    assert found["cost_dollars_total{backend=claude,billing=notional,model=claude-opus-5-5}"] == 2.0
    assert found["unpriced_attempts_total{backend=claude}"] == 1
    assert found["requests_total{backend=claude,model=claude-opus-5-5,outcome=served,role=primary}"] == 1
    assert not any(name.startswith("failovers_total{") for name in found)


def test_a_primary_that_is_cooling_and_not_even_tried_is_a_failover_too(metrics: Metrics) -> None:
    metrics.concluded(replace(EXCHANGE, attempts=(replace(SERVED, reason=Reason.COOLDOWN),)))
    assert samples(metrics)["failovers_total{from=claude,reason=cooldown,to=bedrock}"] == 1


def test_a_request_that_nobody_answered_is_counted_under_none(metrics: Metrics) -> None:
    metrics.concluded(replace(EXCHANGE, backend=None, attempts=(), outcome="refused"))
    assert samples(metrics)["requests_total{backend=none,model=claude-opus-5-5,outcome=refused,role=none}"] == 1


def test_an_error_inside_a_200_is_counted(metrics: Metrics) -> None:
    metrics.attempted(replace(SERVED, outcome=Outcome.OVERLOADED, usage=Usage()))
    assert samples(metrics)["in_band_errors_total{backend=bedrock}"] == 1


def test_ten_thousand_made_up_models_are_one_label(metrics: Metrics) -> None:
    """A client can send any string; the page must not grow with it."""
    for number in range(10_000):
        record = replace(SERVED, model=f"made-up-{number}")
        metrics.attempted(record)
        metrics.concluded(replace(EXCHANGE, model=record.model, attempts=(record,)))
    found = samples(metrics)
    assert found["requests_total{backend=bedrock,model=other,outcome=served,role=failover}"] == 10_000
    assert len(metrics.exposition()[1]) < 40_000


def test_even_a_table_of_many_models_is_bounded() -> None:
    metrics = Metrics(CLAUDE, [f"claude-{number}" for number in range(1000)])
    assert len({metrics.model_label(f"claude-{number}") for number in range(1000)}) == MAX_MODELS + 1


def test_a_reload_changes_the_primary_and_the_models_and_keeps_the_counts(metrics: Metrics) -> None:
    metrics.concluded(EXCHANGE)
    metrics.configure(BEDROCK, ["claude-new"])
    metrics.concluded(replace(EXCHANGE, attempts=(SERVED,)))
    found = samples(metrics)
    assert found["requests_total{backend=bedrock,model=claude-opus-5-5,outcome=served,role=failover}"] == 1
    assert found["requests_total{backend=bedrock,model=other,outcome=served,role=primary}"] == 1


@pytest.mark.parametrize(
    ("name", "fields", "sample", "value"),
    [
        (
            "breaker.changed",
            {"backend": "claude", "to": "open"},
            "breaker_transitions_total{backend=claude,to=open}",
            1,
        ),
        ("credential.refreshed", {"backend": "bedrock"}, "credential_refreshes_total{backend=bedrock,result=ok}", 1),
        ("credential.failed", {"backend": "bedrock"}, "credential_refreshes_total{backend=bedrock,result=failed}", 1),
        ("credential.failed", {"held_back": 4}, "credential_refreshes_total{backend=none,result=failed}", 5),
        ("alert.raised", {"alert": "cost"}, "alerts_total{alert=cost}", 1),
        ("alert.failed", {"channel": "webhook"}, "alert_failures_total{channel=webhook}", 1),
        ("code.crashed", {}, "crashes_total{}", 1),
        ("denial.learned", {"backend": "bedrock"}, "denials_learned_total{backend=bedrock}", 1),
    ],
)
def test_what_only_an_event_tells_is_counted(
    metrics: Metrics, name: EventName, fields: dict[str, Value], sample: str, value: float
) -> None:
    metrics(Event(1, AT, name, Level.INFO, fields))
    assert samples(metrics)[sample] == value


def test_other_events_count_nothing(metrics: Metrics) -> None:
    before = samples(metrics)
    metrics(Event(1, AT, "exchange.ended", Level.INFO, {"backend": "claude"}))
    assert samples(metrics) == before


def test_what_should_not_happen_begins_at_zero_so_that_its_first_time_is_a_rise() -> None:
    found = samples(Metrics(CLAUDE, [OPUS], backends=[CLAUDE, BEDROCK]))
    for name in (
        "in_band_errors_total{backend=claude}",
        "unpriced_attempts_total{backend=bedrock}",
        "credential_refreshes_total{backend=bedrock,result=failed}",
        "breaker_transitions_total{backend=claude,to=open}",
        "alerts_total{alert=spend_limit}",
        "alert_failures_total{channel=webhook}",
        "crashes_total{}",
    ):
        assert found[name] == 0


def test_both_formats_are_spoken(metrics: Metrics) -> None:
    metrics.concluded(EXCHANGE)
    plain, page = metrics.exposition(None)
    assert plain.startswith("text/plain; version=")
    assert b"claude_failover_build_info{version=" in page
    assert b"process_resident_memory_bytes" in page
    assert b"_created" not in page
    accept = "application/openmetrics-text; version=1.0.0"
    opened, page = metrics.exposition(accept)
    assert opened.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


def test_gauges_are_read_at_every_scrape() -> None:
    active = [CLAUDE]
    metrics = Metrics(
        CLAUDE, [OPUS], lambda: Gauges(AT, (BackendGauges(CLAUDE), BackendGauges(BEDROCK)), active=active[0])
    )
    assert samples(metrics)["backend_active{backend=claude}"] == 1
    active[0] = BEDROCK
    assert samples(metrics)["backend_active{backend=claude}"] == 0
