"""Small: memory at rest, what an event costs, and what people wait for when they type a command."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

from claude_failover.clock import pause
from claude_failover.core.types import Seconds
from tests.benchmarks.bench_processes import daemon, environment, forwarder, upstream
from tests.benchmarks.contest import FORWARDER, HEALTHY, OVER_INVOKE, OVER_MESSAGES
from tests.benchmarks.imports import imported
from tests.benchmarks.measure import PROGRAM, Scale, load, table

COMMANDS = ("statusline", "status", "status --json", "costs", "logs -n 5")


def memory(scale: Scale) -> dict[str, Any]:
    """At rest, after Bedrock's first use, and after many requests; both surfaces."""
    found: dict[str, Any] = {}
    for surface in ("messages", "invoke"):
        with ExitStack() as stack:
            api = stack.enter_context(upstream("sse" if surface == "messages" else "eventstream", 5))
            limited = stack.enter_context(upstream("limited"))
            target = stack.enter_context(daemon(limited, api, surface))
            pause(Seconds(3.0))
            idle = target.rss()
            load(target, requests=1, connections=1)
            pause(Seconds(1.0))
            used = target.rss()
            done = load(target, requests=scale.of(3000))
            found[surface] = {"idle": idle, "used": used, "after": done["rss"], "errors": done["errors"]}
    return found


def memory_table(data: dict[str, Any]) -> str:
    rows = [
        [surface, f"{one['idle']:.1f}", f"{one['used']:.1f}", f"{one['after']:.1f}"] for surface, one in data.items()
    ]
    return table(["RSS, MB", "idle", "after Bedrock's first use", "after requests that each failed over"], rows)


def events(scale: Scale) -> dict[str, Any]:
    """The same requests with few events and with many: the difference is what the events cost."""
    few, many = 10, 2010
    requests, rounds = scale.of(60), max(1, scale.rounds - 2)
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        limited = stack.enter_context(upstream("limited"))
        spent: dict[str, dict[int, list[float]]] = {}
        targets = {}
        for count in (few, many):
            api = stack.enter_context(upstream("sse", count))
            frames = stack.enter_context(upstream("eventstream", count))
            targets[FORWARDER, count] = stack.enter_context(forwarder(api))
            targets[HEALTHY, count] = stack.enter_context(daemon(api, api))
            targets[OVER_MESSAGES, count] = stack.enter_context(daemon(limited, api))
            targets[OVER_INVOKE, count] = stack.enter_context(daemon(limited, frames, "invoke"))
        for turn in range(rounds + 1):
            for (name, count), target in targets.items():
                done = load(target, requests=requests, connections=8)
                if turn:
                    spent.setdefault(name, {}).setdefault(count, []).append(done["cpu"] / done["requests"])
    for name, by_count in spent.items():
        costs = {count: statistics.median(several) for count, several in by_count.items()}
        found[name] = {"event_us": 1e6 * (costs[many] - costs[few]) / (many - few), "request_ms": 1000 * costs[few]}
    return found


def events_table(data: dict[str, Any]) -> str:
    rows = [[name, f"{one['event_us']:.2f}", f"{one['request_ms']:.2f}"] for name, one in data.items()]
    return table(["", "CPU per event, µs", "CPU of a request with 10 events, ms"], rows)


def commands(scale: Scale) -> dict[str, Any]:
    """Wall time and modules of what people type, against a daemon that runs; and its start."""
    rounds = 3 if scale.quick else 21
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse", 5))
        target = stack.enter_context(daemon(api, api))
        load(target, requests=20)
        assert target.home is not None
        env = environment(target.home)
        typed = {"python -c pass": [sys.executable, "-c", "pass"]}
        typed |= {words: [PROGRAM, *words.split()] for words in COMMANDS}
        # They take turns: what disturbs the machine for some seconds disturbs them all.
        times: dict[str, list[float]] = {name: [] for name in typed}
        for _ in range(rounds):
            for name, command in typed.items():
                times[name].append(_wall(command, env))
        found = {name: {"ms": 1000 * statistics.median(taken)} for name, taken in times.items()}
        for words in COMMANDS:
            found[words]["modules"] = len(imported(env, *words.split()))
    found["start"] = {"ms": _start(3 if scale.quick else 9)}
    return found


def commands_table(data: dict[str, Any]) -> str:
    rows = [[name, f"{one['ms']:.0f}", str(one.get("modules", "-"))] for name, one in data.items()]
    return table(["command", "wall time, ms (median)", "modules loaded"], rows)


def _wall(command: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    return time.perf_counter() - began


def _start(runs: int) -> float:
    """``claude-failover start`` itself, until it returns: by then the daemon answers on socket and port."""
    times = []
    with upstream("sse", 5) as api:
        for _ in range(runs):
            with daemon(api, api) as target:
                assert target.home is not None
                env = environment(target.home)
                subprocess.run([PROGRAM, "stop", "--now"], env=env, check=True, capture_output=True, timeout=30)
                began = time.perf_counter()
                subprocess.run([PROGRAM, "start"], env=env, check=True, capture_output=True, timeout=30)
                times.append(time.perf_counter() - began)
                subprocess.run([PROGRAM, "stop", "--now"], env=env, check=True, capture_output=True, timeout=30)
    return 1000 * statistics.median(times)
