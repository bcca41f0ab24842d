"""The benchmark's own load and upstream: what they count is what happened, and errors are seen."""

from __future__ import annotations

import os

from tests.benchmarks.bench_processes import Running, daemon, forwarder, upstream
from tests.benchmarks.measure import load, seen


def direct(port: int) -> Running:
    return Running(os.getpid(), port, {})


def test_every_request_is_counted_on_both_sides() -> None:
    with upstream("sse", 3) as api:
        done = load(direct(api), requests=20, connections=4, first=100)
        told = seen(api)
    assert (done["requests"], done["errors"], done["connections"]) == (20, 0, 4)
    assert (told["requests"], told["connections"]) == (20, 5)
    assert sorted(map(int, told["came"])) == list(range(100, 120))
    assert all(told["came"][number] <= told["answered"][number] for number in told["came"])


def test_a_refusal_is_an_error_and_its_status_is_kept() -> None:
    with upstream("limited") as api:
        done = load(direct(api), requests=6, connections=2)
    assert (done["errors"], done["said"]) == (6, {"429": 6})
    assert "rate_limit_error" in done["sample"]


def test_a_request_chooses_its_answer() -> None:
    with upstream("sse,json,limited", 3) as api:
        streamed = load(direct(api), requests=2, connections=1)
        whole = load(direct(api), requests=2, connections=1, stream=False, kind=1)
        refused = load(direct(api), requests=2, connections=1, kind=2)
        mistaken = load(direct(api), requests=2, connections=1, kind=1)
    assert [one["errors"] for one in (streamed, whole, refused, mistaken)] == [0, 0, 2, 2]


def test_events_that_drip_tell_how_late_they_are() -> None:
    with upstream("drip", 4, 0.01) as api, forwarder(api) as bare:
        done = load(bare, requests=6, connections=3)
    assert (done["errors"], done["lag"]["n"], done["behind"]["n"]) == (0, 24, 6)
    assert 0 < done["lag"]["p50"] <= done["lag"]["max"]


def test_a_client_that_leaves_is_no_error() -> None:
    with upstream("drip", 10_000, 0.01) as api:
        done = load(direct(api), requests=3, connections=3, leave_after=0.3)
    assert (done["left"], done["errors"]) == (3, 0)


def test_a_daemon_that_fails_over_asks_both_backends_once_a_request() -> None:
    with upstream("sse", 3) as api, upstream("limited") as limited, daemon(limited, api) as target:
        done = load(target, requests=10, connections=2)
        asked = {name: set(seen(port)["came"]) for name, port in (("first", limited), ("second", api))}
        assert target.cpu() > 0
        assert 0 < target.rss() <= target.peak()
    assert done["errors"] == 0
    assert asked["first"] == asked["second"] == {str(number) for number in range(10)}
