"""Metrics that are loaded after the start miss nothing of what happened before."""

from __future__ import annotations

from msgspec.structs import replace

from claude_failover import events
from claude_failover.core.types import BackendName, Epoch
from claude_failover.daemon.late import LateMetrics
from tests.control_fakes import sample_story

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")


def page(metrics: LateMetrics) -> str:
    kind, body = metrics.exposition()
    assert kind.startswith("text/plain")
    return body.decode()


def told(metrics: LateMetrics) -> None:
    story = sample_story()
    for attempt in story.attempts:
        metrics.attempted(attempt)
    metrics.concluded(story)
    metrics(events.Event(1, Epoch(1.0), "code.crashed", events.Level.ERROR, {"where": "test"}))


async def test_what_happened_before_they_were_loaded_is_counted() -> None:
    metrics = LateMetrics(CLAUDE, ["claude-opus-5"], lambda: None, [CLAUDE, BEDROCK])
    told(metrics)
    await metrics.load()
    told(metrics)
    text = page(metrics)
    assert 'claude_failover_attempts_total{backend="bedrock",outcome="success"} 2.0' in text
    assert "claude_failover_crashes_total 2.0" in text
    assert 'model="claude-opus-5",outcome="served",role="failover"} 2.0' in text


def test_whoever_scrapes_first_loads_them() -> None:
    metrics = LateMetrics(CLAUDE, [], lambda: None, [CLAUDE, BEDROCK])
    told(metrics)
    assert "claude_failover_crashes_total 1.0" in page(metrics)


def test_a_reload_before_and_after_is_taken_over() -> None:
    metrics = LateMetrics(CLAUDE, [], lambda: None, [CLAUDE])
    metrics.configure(BEDROCK, ["claude-opus-5"], [CLAUDE, BEDROCK])
    metrics.concluded(sample_story())
    assert 'backend="bedrock",model="claude-opus-5",outcome="served",role="primary"} 1.0' in page(metrics)
    metrics.configure(CLAUDE, [], [CLAUDE])
    metrics.concluded(replace(sample_story(), model="another"))
    assert 'model="other",outcome="served",role="failover"} 1.0' in page(metrics)
