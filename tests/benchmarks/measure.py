"""Running the load on its core, and turning what it says into numbers and tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tests.benchmarks.bench_processes import HERE, LOAD_CORE, Running, pinned


def load(target: Running, *, timeout: float = 180.0, **plan: Any) -> dict[str, Any]:
    """Run the load to its end; with CPU seconds and RSS (MB, afterwards and at most) of the target."""
    told = json.dumps({"port": target.port, "headers": target.headers, **plan})
    before = target.cpu()
    out = subprocess.run(
        [*pinned(LOAD_CORE), sys.executable, str(HERE / "load.py"), told],
        check=True, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    measured: dict[str, Any] = json.loads(out.stdout)
    measured["cpu"] = target.cpu() - before
    measured["rss"] = target.rss()
    measured["peak"] = target.peak()
    return measured


def percentile(samples: Iterable[float], share: float) -> float:
    """The sample below which *share* of them lie; not a number if there are none."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def percentiles(samples: Sequence[float], scale: float = 1000.0) -> dict[str, float]:
    """p50, p95, p99 and the most, times *scale*."""
    named: dict[str, Callable[[], float]] = {
        "p50": lambda: percentile(samples, 0.5),
        "p95": lambda: percentile(samples, 0.95),
        "p99": lambda: percentile(samples, 0.99),
        "max": lambda: max(samples, default=float("nan")),
    }
    return {name: round(scale * of(), 3) for name, of in named.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
