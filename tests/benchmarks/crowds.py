"""Many at once: slow streams by the thousand, a thousand requests in the same moment, slow ones among fast ones."""

from __future__ import annotations

import os
import statistics
from contextlib import ExitStack
from typing import Any

from tests.benchmarks.bench_processes import Running, daemon, forwarder, upstream
from tests.benchmarks.contest import FORWARDER, HEALTHY, OVER_MESSAGES
from tests.benchmarks.measure import Scale, begin, load, ms, table

GAP = 0.05
"""Seconds between two events: 20 a second."""

RAMP = 8.0
"""Seconds over which the streams begin."""

SLOW_READERS = 20
"""Each has asked for 15 MB, and reads 64 KB of it twice a second."""

DRIPS = 50
"""Streams whose upstream writes 20 events a second."""

FAST = 20.0
"""Requests a second that are neither."""


def streams(scale: Scale) -> dict[str, Any]:
    """1,000 streams of 20 events a second. Each event carries the time at which the source wrote it."""
    count, events = scale.of(1000), scale.of(300)
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        api = stack.enter_context(upstream("drip", events, GAP))
        limited = stack.enter_context(upstream("limited"))
        for name, target in (
            ("direct", Running(os.getpid(), api, {})),
            (FORWARDER, stack.enter_context(forwarder(api))),
            (HEALTHY, stack.enter_context(daemon(api, api))),
            (OVER_MESSAGES, stack.enter_context(daemon(limited, api))),
        ):
            done = load(target, every=0.5, requests=count, connections=count, ramp=RAMP)
            most = [rss for at, rss in done["curve"] if RAMP < at < events * GAP] or [done["rss"]]
            found[name] = {
                **{key: done[key] for key in ("requests", "errors", "said", "lag", "behind", "peak")},
                "streaming": statistics.median(most),
                "cpu_us": 1e6 * done["cpu"] / (count * (events + 5)),
            }
    return found


def streams_table(data: dict[str, Any]) -> str:
    rows = []
    for name, one in data.items():
        own = [f"{one['streaming']:.0f}", f"{one['peak']:.0f}", f"{one['cpu_us']:.0f}"]
        own = ["-", "-", "-"] if name == "direct" else own
        lags = [ms(one["lag"], share) for share in ("p50", "p99", "max")]
        rows.append([name, str(one["requests"]), str(one["errors"]), *lags, ms(one["behind"], "p99"), *own])
    head = ["", "streams", "errors", "event behind its source p50, ms", "p99", "max", "last event p99, ms"]
    return table([*head, "RSS while all stream, MB", "at most", "CPU per event, µs"], rows)


def burst(scale: Scale) -> dict[str, Any]:
    """1,000 connections, each with a request of 80 KB, in the same moment."""
    count = scale.of(1000)
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse"))
        limited = stack.enter_context(upstream("limited"))
        for name, target in (
            (FORWARDER, stack.enter_context(forwarder(api))),
            (HEALTHY, stack.enter_context(daemon(api, api))),
            (OVER_MESSAGES, stack.enter_context(daemon(limited, api))),
        ):
            before = target.rss()
            done = load(target, requests=count, connections=count)
            found[name] = {
                **{key: done[key] for key in ("requests", "errors", "said", "elapsed", "total", "peak", "rss")},
                "before": before,
                "again": load(target, requests=count, connections=32)["errors"],
            }
    return found


def burst_table(data: dict[str, Any]) -> str:
    rows = [
        [
            name, str(one["requests"]), str(one["errors"]), f"{one['elapsed']:.2f}", ms(one["total"], "p99"),
            f"{one['before']:.0f}", f"{one['peak']:.0f}", f"{one['rss']:.0f}", str(one["again"]),
        ]
        for name, one in data.items()
    ]  # fmt: skip
    head = ["", "requests", "errors", "all answered after, s", "answer p99, ms", "RSS before, MB", "at most"]
    return table([*head, "afterwards", "errors of as many requests after it"], rows)


def mixed(scale: Scale) -> dict[str, Any]:
    """Fast requests alone, then the same among clients that hardly read and backends that hardly write."""
    seconds = 4.0 if scale.quick else 8.0
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse,large,drip", 1000, GAP))
        bare = stack.enter_context(forwarder(api))
        ours = stack.enter_context(daemon(api, api))
        for name, target in ((FORWARDER, bare), (HEALTHY, ours)):
            found[name] = _among_slow_ones(target, seconds)
    return found


def _among_slow_ones(target: Running, seconds: float) -> dict[str, Any]:
    fast = {"requests": int(FAST * seconds), "rate": FAST, "connections": 8}
    slow = {"leave_after": seconds + 3, "ramp": 1.0}
    load(target, requests=100)
    alone = load(target, **fast)
    before = target.rss()
    readers = begin(target, kind=1, requests=SLOW_READERS, connections=SLOW_READERS, slow=0.5, **slow)
    drips = begin(target, kind=2, requests=DRIPS, connections=DRIPS, **slow)
    among = load(target, every=0.5, **fast)
    read, dripped = readers.result(), drips.result()
    after = load(target, **fast)
    return {
        "alone": alone["ttfb"], "among": among["ttfb"], "after": after["ttfb"],
        "errors": alone["errors"] + among["errors"] + after["errors"],
        "slow_errors": read["errors"] + dripped["errors"],
        "read_mb": read["bytes"] / 1e6, "drip_lag": dripped["lag"],
        "before": before, "most": max(rss for _, rss in among["curve"]), "rss": after["rss"],
    }  # fmt: skip


def mixed_table(data: dict[str, Any]) -> str:
    rows = [
        [name, when, *(ms(one[key], share) for share in ("p50", "p95", "p99"))]
        for name, one in data.items()
        for when, key in (("alone", "alone"), ("among slow ones", "among"), ("afterwards", "after"))
    ]
    others = [
        [
            name, str(one["errors"]), str(one["slow_errors"]), f"{one['read_mb']:.0f}", ms(one["drip_lag"], "p99"),
            f"{one['before']:.0f}", f"{one['most']:.0f}", f"{one['rss']:.0f}",
        ]
        for name, one in data.items()
    ]  # fmt: skip
    head = ["", "errors of the fast", "of the slow", "slow readers read, MB", "slow upstreams' events behind p99, ms"]
    first = table(["20 req/s, first byte, ms", "", "p50", "p95", "p99"], rows)
    return first + "\n\n" + table([*head, "RSS before, MB", "at most", "afterwards"], others)
