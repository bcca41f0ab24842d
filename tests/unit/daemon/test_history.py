"""The short memory: bounded, and its figures worked by hand."""

from __future__ import annotations

import json
from collections import deque

import pytest
from msgspec.structs import replace

from claude_failover.control.status import Latency
from claude_failover.core.limits import PlanLimits, Window
from claude_failover.core.types import BackendName, Epoch, Outcome
from claude_failover.daemon.history import EXCHANGES, History, percentiles
from tests.control_fakes import sample_story

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert percentiles(deque()) == Latency()
    assert percentiles(deque([3.0, 1.0, 2.0])) == Latency(3, 2.0, 3.0, 3.0)
    hundred = deque(float(number) for number in range(1, 101))
    assert percentiles(hundred) == Latency(100, 50.0, 95.0, 99.0)


def test_the_last_request_and_any_of_the_window_can_be_found() -> None:
    history = History()
    assert history.find(None) is None
    for number in range(EXCHANGES + 1):
        history.exchange(sample_story(f"cfr_{number:04d}"))
    assert len(history.exchanges) == EXCHANGES
    assert history.find("cfr_0000") is None
    last = history.find("last")
    assert last is not None
    assert last == history.find(None) == history.find(f"cfr_{EXCHANGES:04d}")
    assert history.find("cfr_05") == history.find("cfr_0599")


def test_requests_are_counted_by_how_they_ended() -> None:
    history = History()
    rescued = sample_story()
    history.exchange(rescued)
    history.exchange(replace(rescued, failed_over=False))
    history.exchange(replace(rescued, outcome="passed_error", status=529, failed_over=False))
    history.exchange(replace(rescued, outcome="passed_error", status=400, failed_over=False))
    history.exchange(replace(rescued, outcome="client_gone", status=None))
    totals = history.totals()
    assert (totals.requests, totals.rescued, totals.failed) == (5, 1, 1)
    assert history.overhead().count == 5


def test_a_backends_figures_are_of_its_own_attempts() -> None:
    history = History()
    limited, served = sample_story().attempts
    history.attempt(limited)
    history.attempt(replace(limited, outcome=Outcome.CLIENT_GONE))
    history.attempt(served)
    assert history.backend(CLAUDE) == (2, 1, Latency(), Latency())
    attempts, failures, ttft, duration = history.backend(BEDROCK)
    assert (attempts, failures) == (1, 0)
    assert (ttft.p50_s, duration.p50_s) == (1.1, 4.0)
    assert history.backend(BackendName("unheard")) == (0, 0, Latency(), Latency())


def test_the_plans_windows_are_as_last_told() -> None:
    history = History()
    full = Window("5h", None, 1.0, Epoch(2000.0))
    week = Window("7d", "allowed", 0.3)
    first = PlanLimits("allowed", None, None, (week,))
    assert history.heard(CLAUDE, first, Epoch(1.0)) is None
    assert history.heard(CLAUDE, PlanLimits("rejected", None, "5h", (full, week)), Epoch(9.0)) == first
    assert history.windows(CLAUDE) == (full, week)
    assert history.windows(BEDROCK) == ()
    told = history.plan()
    assert [(one.name, one.used, one.status, one.resets, one.backend, one.seen) for one in told] == [
        ("5h", 1.0, "rejected", 2000.0, "claude", 9.0),
        ("7d", 0.3, "allowed", None, "claude", 9.0),
    ]


def test_the_plans_windows_survive_a_restart_until_they_end() -> None:
    before, after = History(), History()
    windows = (
        Window("5h", "rejected", 1.0, Epoch(1000.0)),
        Window("7d", "allowed", 0.25, Epoch(9000.0)),
        Window("7d_opus", "allowed", 0.5),
    )
    before.heard(CLAUDE, PlanLimits("rejected", Epoch(1000.0), "5h", windows), Epoch(500.0))
    before.heard(BackendName("gone"), PlanLimits(None, None, None, windows), Epoch(500.0))
    written = json.loads(json.dumps(before.snapshot()))
    after.restore(written, [CLAUDE, BEDROCK], Epoch(999.0))
    assert [(one.name, one.used, one.resets, one.backend, one.seen) for one in after.plan()] == [
        ("5h", 1.0, 1000.0, CLAUDE, 500.0),
        ("7d", 0.25, 9000.0, CLAUDE, 500.0),
    ]
    later = History()
    later.restore(written, [CLAUDE], Epoch(1000.0))
    assert [one.name for one in later.windows(CLAUDE)] == ["7d"]
    much_later = History()
    much_later.restore(written, [CLAUDE], Epoch(9000.0))
    assert much_later.plan() == ()


@pytest.mark.parametrize("nonsense", [None, {}, [None], [{"backend": "claude"}], [{"plan": 1, "seen": 1}]], ids=str)
def test_what_does_not_look_like_plans_is_passed_over(nonsense: object) -> None:
    history = History()
    history.restore(nonsense, [CLAUDE], Epoch(1.0))
    assert history.plan() == ()
