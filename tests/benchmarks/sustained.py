"""Every request fails over: at a steady rate for a long time, and as many as there can be.

Both backends answer at once, so that all the time that a client waits counts as added, the work of the simulated
backends and of the load included. The decision is timed from outside: from the 429's write to the first bytes of the
same request at the other backend, on the clock that all processes share.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from tests.benchmarks.bench_processes import daemon, upstream
from tests.benchmarks.measure import Scale, load, ms, percentiles, seen, status, table

RATE = 100.0


def growth(curve: Sequence[tuple[float, float]], warm: float) -> float:
    """How much memory came to be in use between the end of the warm-up and the end, MB.

    The middle of the first tenth of the samples after it against the middle of the last tenth; single samples jump.
    """
    after = [rss for at, rss in curve if at >= warm]
    tenth = max(1, len(after) // 10)
    return statistics.median(after[-tenth:]) - statistics.median(after[:tenth]) if after else float("nan")


def sustained(scale: Scale) -> dict[str, Any]:
    """100 requests a second."""
    seconds = 60 * scale.minutes
    warm = min(60.0, seconds / 5)
    with ExitStack() as stack:
        limited = stack.enter_context(upstream("limited"))
        api = stack.enter_context(upstream("sse"))
        target = stack.enter_context(daemon(limited, api))
        load(target, requests=100)
        plan = {"requests": int(RATE * seconds), "rate": RATE, "connections": 32, "first": 1000}
        done = load(target, every=1.0, timeout=seconds * 2 + 60, **plan)
        primary, second = seen(limited), seen(api)
        own = status(target)["overhead"]
    gaps = [
        second["came"][number] - at
        for number, at in primary["answered"].items()
        if int(number) >= 1000 and number in second["came"]
    ]
    return {
        "minutes": scale.minutes,
        "rate": done["requests"] / done["elapsed"],
        "requests": done["requests"],
        "failed_over": len(gaps),
        "errors": done["errors"],
        "said": done["said"],
        "added": done["ttfb"],
        "late": done["late"],
        "decision": percentiles(gaps),
        "own": {"p50": own["p50_s"], "p95": own["p95_s"], "p99": own["p99_s"]},
        "cpu_ms": 1000 * done["cpu"] / done["requests"],
        "growth": growth(done["curve"], warm),
        "warm": warm,
        "rss": done["rss"],
        "peak": done["peak"],
        "curve": done["curve"][:: max(1, len(done["curve"]) // 30)],
    }


def sustained_table(data: dict[str, Any]) -> str:
    told = [
        ("minutes; requests a second", f"{data['minutes']:g}; {data['rate']:.1f}"),
        ("requests; failed over; errors", f"{data['requests']}; {data['failed_over']}; {data['errors']}"),
        ("RSS at the end, MB; at most", f"{data['rss']:.1f}; {data['peak']:.1f}"),
        (f"RSS growth after the first {data['warm']:.0f} s, MB", f"{data['growth']:+.1f}"),
        ("CPU per request, ms", f"{data['cpu_ms']:.2f}"),
    ]
    times = [
        ["added until the first byte, at the client", *(ms(data["added"], share) for share in ("p50", "p95", "p99"))],
        ["decision, between the backends", *(ms(data["decision"], share) for share in ("p50", "p95", "p99"))],
        ["own share of the request, by the daemon", *(ms(data["own"], share) for share in ("p50", "p95", "p99"))],
    ]
    return table(["", ""], told) + "\n\n" + table(["ms", "p50", "p95", "p99"], times)


def soak(scale: Scale) -> dict[str, Any]:
    """Until so many requests are done, or the time is over."""
    deadline = time.perf_counter() + 60 * scale.minutes
    batch = min(10_000, max(1000, scale.requests // 20))
    curve: list[tuple[float, float]] = []
    count = errors = 0
    with ExitStack() as stack:
        limited = stack.enter_context(upstream("limited"))
        api = stack.enter_context(upstream("sse", 5))
        target = stack.enter_context(daemon(limited, api))
        while count < scale.requests and time.perf_counter() < deadline:
            done = load(target, requests=batch, body_bytes=8_000, first=count)
            count += done["requests"]
            errors += done["errors"]
            curve.append((float(count), done["rss"]))
        files = target.descriptors()
    return {
        "requests": count, "wanted": scale.requests, "errors": errors, "descriptors": files,
        "growth": growth(curve, max(count / 10, float(batch))), "first": curve[0][1], "rss": curve[-1][1],
        "curve": curve[:: max(1, len(curve) // 30)],
    }  # fmt: skip


def soak_table(data: dict[str, Any]) -> str:
    told = [
        ("requests, each failing over (8 KB bodies); errors", f"{data['requests']}; {data['errors']}"),
        ("RSS after the first batch; at the end, MB", f"{data['first']:.1f}; {data['rss']:.1f}"),
        ("RSS growth after the first tenth, MB", f"{data['growth']:+.1f}"),
        ("open descriptors afterwards", str(data["descriptors"])),
    ]
    rows = [[f"{at:.0f}", f"{rss:.1f}"] for at, rss in data["curve"]]
    return table(["", ""], told) + "\n\n" + table(["after requests", "RSS, MB"], rows)
