"""The contest: the same requests through everything that can stand between a client and an API."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.benchmarks.bench_processes import Running, daemon, forwarder, nginx, upstream
from tests.benchmarks.measure import Scale, load, table

FORWARDER = "bare aiohttp forwarder"
HEALTHY = "claude-failover, healthy"
OVER_MESSAGES = "claude-failover, failing over (messages)"
OVER_INVOKE = "claude-failover, failing over (invoke)"


@contextmanager
def contenders(kind: str) -> Iterator[dict[str, Running]]:
    """Everything that is measured, up at the same time (idle ones cost nothing)."""
    with ExitStack() as stack:
        api = stack.enter_context(upstream(kind))
        limited = stack.enter_context(upstream("limited"))
        found = {
            "direct": Running(os.getpid(), api, {}),
            FORWARDER: stack.enter_context(forwarder(api)),
            "nginx": stack.enter_context(nginx(api)),
            HEALTHY: stack.enter_context(daemon(api, api)),
            OVER_MESSAGES: stack.enter_context(daemon(limited, api)),
        }
        if kind == "sse":
            frames = stack.enter_context(upstream("eventstream"))
            found[OVER_INVOKE] = stack.enter_context(daemon(limited, frames, "invoke"))
        yield found


def rounds(kind: str, count: int, without: str = "", **plan: Any) -> dict[str, list[dict[str, Any]]]:
    """Everybody's rounds; they take turns, after one to warm up."""
    done: dict[str, list[dict[str, Any]]] = {}
    with contenders(kind) as everybody:
        chosen = {name: target for name, target in everybody.items() if name != without}
        warm = {**plan, "requests": min(100, plan["requests"]), "rate": 0.0, "connections": 32}
        for target in chosen.values():
            load(target, stream=kind == "sse", **warm)
        for _ in range(count):
            for name, target in chosen.items():
                done.setdefault(name, []).append(load(target, stream=kind == "sse", **plan))
    return done


def saturation(scale: Scale, requests: int, body: int, kind: str) -> dict[str, Any]:
    """As many requests as it takes, over 32 connections: throughput, and CPU per request."""
    done = rounds(kind, scale.rounds, requests=scale.of(requests), body_bytes=body)
    return {
        name: {
            "throughput": statistics.median(one["requests"] / one["elapsed"] for one in several),
            "cpu_ms": statistics.median(1000 * one["cpu"] / one["requests"] for one in several),
            "errors": sum(one["errors"] for one in several),
            "requests": sum(one["requests"] for one in several),
        }
        for name, several in done.items()
    }


def saturation_table(data: dict[str, Any]) -> str:
    base = data[FORWARDER]
    rows = []
    for name, one in data.items():
        cpu = ["-", "-"]
        if name != "direct":
            cpu = [f"{one['cpu_ms']:.2f}", f"{one['cpu_ms'] / base['cpu_ms']:.2f}x"]
        ratio = f"{one['throughput'] / base['throughput']:.2f}x"
        rows.append([name, f"{one['throughput']:.0f}", ratio, *cpu, str(one["errors"])])
    return table(["", "requests/s", "of the forwarder's", "CPU per request, ms", "of the forwarder's", "errors"], rows)


def latency(scale: Scale, rate: float) -> dict[str, Any]:
    """Requests at their time, whatever became of those before."""
    seconds = 2.0 if scale.quick else 5.0
    done = rounds("sse", scale.rounds, "nginx", requests=int(rate * seconds), rate=rate, connections=16)
    return {
        name: {
            "ttfb": {
                share: statistics.median(one["ttfb"][share] for one in several) for share in ("p50", "p95", "p99")
            },
            "total": {
                share: statistics.median(one["total"][share] for one in several) for share in ("p50", "p95", "p99")
            },
            "errors": sum(one["errors"] for one in several),
            "requests": sum(one["requests"] for one in several),
        }
        for name, several in done.items()
    }


def latency_table(data: dict[str, Any]) -> str:
    base = data[FORWARDER]["ttfb"]
    rows = []
    for name, one in data.items():
        first, total = one["ttfb"], one["total"]
        rows.append([
            name, *(f"{1000 * first[share]:.2f}" for share in ("p50", "p95", "p99")),
            f"{first['p50'] / base['p50']:.2f}x", f"{first['p99'] / base['p99']:.2f}x",
            *(f"{1000 * total[share]:.2f}" for share in ("p50", "p95", "p99")), str(one["errors"]),
        ])  # fmt: skip
    first_byte = ["first byte p50, ms", "p95", "p99", "p50 of the forwarder's", "p99 of the forwarder's"]
    return table(["", *first_byte, "whole answer p50, ms", "p95", "p99", "errors"], rows)
