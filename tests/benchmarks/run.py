"""The benchmarks: everything between a client and an API, measured the same way in one run.

``make bench`` writes docs/benchmarks.md. The thing under test has one core to itself, load and simulated upstream
share the other. Ratios between contenders of one run mean something on a noisy machine; absolute times do not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from claude_failover.clock import pause
from claude_failover.core.types import Seconds
from tests.benchmarks.bench_processes import HERE, LOAD_CORE, Running, daemon, environment, forwarder, nginx, upstream

DOCS = HERE.parents[1] / "docs" / "benchmarks.md"


def load(target: Running, **plan: Any) -> dict[str, Any]:
    """Run the load on its core; with CPU and RSS of the target."""
    told = json.dumps({"port": target.port, "headers": target.headers, **plan})
    before = target.cpu()
    out = subprocess.run(
        ["taskset", "-c", str(LOAD_CORE), sys.executable, str(HERE / "load.py"), told],
        check=True, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    measured: dict[str, Any] = json.loads(out.stdout)
    measured["cpu"] = target.cpu() - before
    measured["rss"] = target.rss()
    return measured


def percentile(samples: list[float], share: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


@dataclass
class Row:
    """One contender's rounds."""

    name: str
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def median(self, of: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(of(one) for one in self.rounds)

    @property
    def throughput(self) -> float:
        return self.median(lambda one: one["requests"] / one["elapsed"])

    @property
    def cpu_ms(self) -> float:
        return self.median(lambda one: 1000 * one["cpu"] / one["requests"])

    def ttfb_ms(self, share: float) -> float:
        return self.median(lambda one: 1000 * percentile(one["ttfb"], share))

    @property
    def errors(self) -> int:
        return sum(one["errors"] for one in self.rounds)


@contextmanager
def contenders(kind: str) -> Iterator[dict[str, Running]]:
    """Everything that is measured, up at the same time (idle ones cost nothing)."""
    with ExitStack() as stack:
        api = stack.enter_context(upstream(kind))
        limited = stack.enter_context(upstream("limited"))
        frames = stack.enter_context(upstream("eventstream"))
        yield {
            "direct": Running(os.getpid(), api, {}),
            "bare aiohttp forwarder": stack.enter_context(forwarder(api)),
            "nginx": stack.enter_context(nginx(api)),
            "claude-failover, healthy": stack.enter_context(daemon(api, api)),
            "claude-failover, failing over (messages)": stack.enter_context(daemon(limited, api)),
            "claude-failover, failing over (invoke)": stack.enter_context(daemon(limited, frames, "invoke")),
        }


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def saturation(rounds: int, requests: int, body: int, kind: str) -> str:
    """Throughput and CPU per request."""
    rows: dict[str, Row] = {}
    with contenders(kind) as all_of_them:
        chosen = {n: t for n, t in all_of_them.items() if kind == "sse" or "invoke" not in n}
        for name, target in chosen.items():
            load(target, requests=100, stream=kind == "sse", body_bytes=body)
            rows[name] = Row(name)
        for _ in range(rounds):
            for name, target in chosen.items():
                rows[name].rounds.append(load(target, requests=requests, stream=kind == "sse", body_bytes=body))
    base = rows["bare aiohttp forwarder"]
    return table(
        ["", "requests/s", "of the bare forwarder", "CPU per request, ms", "of the bare forwarder", "errors"],
        [
            [
                row.name,
                f"{row.throughput:.0f}",
                f"{row.throughput / base.throughput:.2f}x",
                "-" if row.name == "direct" else f"{row.cpu_ms:.2f}",
                "-" if row.name == "direct" else f"{row.cpu_ms / base.cpu_ms:.2f}x",
                str(row.errors),
            ]
            for row in rows.values()
        ],
    )


def latency(rounds: int, rate: float, seconds: float) -> str:
    """Time to first byte at a fixed rate."""
    rows: dict[str, Row] = {}
    with contenders("sse") as all_of_them:
        for name, target in all_of_them.items():
            load(target, requests=100)
            rows[name] = Row(name)
        for _ in range(rounds):
            for name, target in all_of_them.items():
                plan = {"requests": int(rate * seconds), "rate": rate, "connections": 16}
                rows[name].rounds.append(load(target, **plan))
    base = rows["bare aiohttp forwarder"]
    shares = (0.5, 0.95, 0.99)
    return table(
        [
            "",
            *(f"p{share * 100:.0f}, ms" for share in shares),
            "p50 of the forwarder",
            "p99 of the forwarder",
            "errors",
        ],
        [
            [
                row.name,
                *(f"{row.ttfb_ms(share):.2f}" for share in shares),
                f"{row.ttfb_ms(0.5) / base.ttfb_ms(0.5):.2f}x",
                f"{row.ttfb_ms(0.99) / base.ttfb_ms(0.99):.2f}x",
                str(row.errors),
            ]
            for row in rows.values()
        ],
    )


def streams(count: int, events: int) -> str:
    """Many slow streams at once."""
    rows = []
    gap = 0.05
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse", events, gap))
        for name, target in (
            ("direct", Running(os.getpid(), api, {})),
            ("bare aiohttp forwarder", stack.enter_context(forwarder(api))),
            ("claude-failover, healthy", stack.enter_context(daemon(api, api))),
        ):
            measured = load(target, requests=count, connections=count)
            shortest = min(measured["total"], default=float("nan"))
            behind = [1000 * (one - shortest) for one in measured["total"]]
            rows.append([
                name, str(measured["requests"]), str(measured["errors"]), f"{shortest:.2f}",
                f"{percentile(behind, 0.5):.0f}", f"{percentile(behind, 0.99):.0f}",
                "-" if name == "direct" else f"{measured['rss']:.0f}",
                "-" if name == "direct" else f"{1e6 * measured['cpu'] / (count * (events + 5)):.0f}",
            ])  # fmt: skip
    head = [
        "",
        "streams",
        "errors",
        "quickest, s",
        "behind it p50, ms",
        "behind it p99, ms",
        "RSS, MB",
        "CPU per event, µs",
    ]
    return table(head, rows)


def memory(requests: int) -> str:
    """RSS at rest, after Bedrock's first use, and after many requests."""
    rows = []
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse", 5))
        limited = stack.enter_context(upstream("limited"))
        target = stack.enter_context(daemon(limited, api))
        pause(Seconds(2.0))
        rows.append(["idle", f"{target.rss():.1f}"])
        load(target, requests=1, connections=1)
        rows.append(["after Bedrock's first use", f"{target.rss():.1f}"])
        load(target, requests=requests // 10)
        first = target.rss()
        rows.append([f"after {requests // 10} requests, each failing over", f"{first:.1f}"])
        load(target, requests=requests)
        rows.append([f"after {requests} more", f"{target.rss():.1f} (growth {target.rss() - first:+.1f})"])
    return table(["", "RSS, MB"], rows)


def commands(runs: int) -> str:
    """Wall time of the commands that people type."""
    rows = []
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse", 5))
        target = stack.enter_context(daemon(api, api))
        assert target.home is not None
        env = environment(target.home)
        program = str(Path(sys.executable).parent / "claude-failover")
        bare = _median(runs, [sys.executable, "-c", "pass"], env)
        rows.append(["python -c pass", f"{bare:.0f}"])
        asked = (
            ["status"],
            ["status", "--json"],
            ["status", "--short"],
            ["costs"],
            ["logs", "-n", "5"],
            ["statusline"],
        )
        rows += [[" ".join(words), f"{_median(runs, [program, *words], env):.0f}"] for words in asked]
    return table(["command", "median wall time, ms"], [*rows, ["start until it answers", f"{_start(runs):.0f}"]])


def _median(runs: int, command: list[str], env: dict[str, str]) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(command, env=env, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def _start(runs: int) -> float:
    times = []
    with upstream("sse", 5) as api:
        for _ in range(runs):
            began = time.perf_counter()
            with daemon(api, api):
                times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def overhead(requests: int) -> str:
    """What the daemon itself measured: its own share of a request that fails over."""
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse", 5))
        limited = stack.enter_context(upstream("limited"))
        target = stack.enter_context(daemon(limited, api))
        assert target.home is not None
        load(target, requests=50)
        load(target, requests=requests, rate=50.0, connections=16)
        program = str(Path(sys.executable).parent / "claude-failover")
        env = environment(target.home)
        said = subprocess.run([program, "status", "--json"], env=env, check=True, capture_output=True, timeout=30)
        own = json.loads(said.stdout)["overhead"]
    rows = [[name, f"{1000 * own[key]:.2f}"] for name, key in (("p50", "p50_s"), ("p95", "p95_s"), ("p99", "p99_s"))]
    return table(["our own share of a request that fails over, 50 req/s", "ms"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs")
    parser.add_argument("--peers", action="store_true", help="other gateways too (see faults_beside_litellm.py)")
    parser.add_argument("--out", type=Path, default=DOCS)
    told = parser.parse_args()
    rounds, scale = (1, 0.1) if told.quick else (5, 1.0)
    parts = [
        (
            f"Saturation, streaming, 80 KB bodies, {rounds} rounds, medians",
            saturation(rounds, int(600 * scale), 80_000, "sse"),
        ),
        (
            f"Saturation, not streaming, 80 KB bodies, {rounds} rounds",
            saturation(rounds, int(600 * scale), 80_000, "json"),
        ),
        (
            f"Saturation, streaming, 600 KB bodies, {rounds} rounds",
            saturation(rounds, int(200 * scale), 600_000, "sse"),
        ),
        ("Time to first byte at 50 req/s, 80 KB bodies", latency(rounds, 50, 10 * scale)),
        ("Time to first byte at 100 req/s, 80 KB bodies", latency(rounds, 100, 10 * scale)),
        ("Own share", overhead(int(500 * scale))),
        ("1,000 streams at 20 events/s", streams(int(1000 * scale), int(100 * scale))),
        ("Memory", memory(int(20_000 * scale))),
        ("Commands", commands(3 if told.quick else 9)),
    ]
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in parts)
    told.out.write_text(HEAD.format(machine=machine()) + text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    versions = {name: __import__(name).__version__ for name in ("aiohttp", "uvloop", "msgspec", "claude_failover")}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({model}), {system}, {listed}"


HEAD = """# Benchmarks

Written by `make bench` (tests/benchmarks/run.py); every figure below is from one run on one machine, with other
work going on: compare within a table, not across. Machine: {machine}. The thing under test has one core, the load
and the simulated upstream the other. The bare forwarder is tests/benchmarks/forwarder.py, about 40 lines of aiohttp.
"Failing over" means that every single request asks the primary, gets a 429 and is answered by the simulated Bedrock:
two upstream requests, a translation and a signature.

"""

if __name__ == "__main__":
    main()
