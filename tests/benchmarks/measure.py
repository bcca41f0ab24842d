"""Running the load on its core, asking who knows, and turning what they say into numbers and tables."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.bench_processes import HERE, LOAD_CORE, Running, environment, pinned

PROGRAM = str(Path(sys.executable).parent / "claude-failover")


@dataclass(frozen=True)
class Scale:
    """How much work is done."""

    quick: bool = False
    minutes: float = 10.0
    requests: int = 1_000_000

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 5

    def of(self, whole: int) -> int:
        """A tenth of *whole*, if it is to be quick."""
        return max(1, whole // 10) if self.quick else whole


@dataclass
class Load:
    """A load that runs."""

    target: Running
    child: subprocess.Popen[str]
    before: float

    def result(self, every: float = 0.0, timeout: float = 180.0) -> dict[str, Any]:
        """Wait for its end, looking at the target's memory *every* so many seconds."""
        began = time.perf_counter()
        curve: list[tuple[float, float]] = []
        out = ""
        while True:
            try:
                out, _ = self.child.communicate(timeout=every or timeout)
                break
            except subprocess.TimeoutExpired:
                spent = time.perf_counter() - began
                curve.append((round(spent, 1), round(self.target.rss(), 2)))
                if spent > timeout:
                    self.child.kill()
                    self.child.communicate()
                    raise
        if self.child.returncode:
            raise RuntimeError(f"the load ended with {self.child.returncode}")
        measured: dict[str, Any] = json.loads(out)
        measured["cpu"] = self.target.cpu() - self.before
        measured["rss"] = round(self.target.rss(), 2)
        measured["peak"] = round(self.target.peak(), 2)
        if every:
            measured["curve"] = curve
        return measured


def begin(target: Running, **plan: Any) -> Load:
    """Start a load on its core."""
    told = json.dumps({"port": target.port, "headers": target.headers, **plan})
    command = [*pinned(LOAD_CORE), sys.executable, str(HERE / "load.py")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    before = target.cpu()
    # Not on the command line: the daemon's client key is in it.
    assert child.stdin is not None
    child.stdin.write(told)
    child.stdin.close()
    child.stdin = None
    return Load(target, child, before)


def load(target: Running, *, every: float = 0.0, timeout: float = 180.0, **plan: Any) -> dict[str, Any]:
    """Run the load to its end; with CPU seconds and RSS (MB, afterwards and at most) of the target."""
    return begin(target, **plan).result(every, timeout)


def seen(port: int) -> dict[str, Any]:
    """What a simulated upstream has counted; this question counts as a connection."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/bench")
        told: dict[str, Any] = json.loads(connection.getresponse().read())
    return told


def status(target: Running) -> dict[str, Any]:
    """The daemon's own view."""
    assert target.home is not None
    said = subprocess.run(
        [PROGRAM, "status", "--json"], env=environment(target.home), check=True, capture_output=True, timeout=30
    )
    told: dict[str, Any] = json.loads(said.stdout)
    return told


def journal(target: Running) -> Iterator[dict[str, Any]]:
    """The lines of its log."""
    assert target.home is not None
    for path in sorted((target.home / "cf" / "log").glob("daemon.log*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def percentile(samples: Iterable[float], share: float) -> float:
    """The sample below which *share* of them lie; not a number if there are none."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the most, as the load gives them."""
    named = {f"p{100 * share:g}": percentile(samples, share) for share in (0.5, 0.95, 0.99)}
    return {**named, "max": max(samples, default=float("nan")), "n": float(len(samples))}


def ms(shares: Mapping[str, float], share: str) -> str:
    """A percentile in milliseconds, as text."""
    value = shares.get(share)
    return "-" if value is None else f"{1000 * value:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
