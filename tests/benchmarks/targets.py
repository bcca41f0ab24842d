"""The numbers that the daemon is held to, beside what was measured; whether one is reached is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.benchmarks.contest import FORWARDER, HEALTHY, OVER_INVOKE, OVER_MESSAGES

Results = Mapping[str, Any]
"""The ``data`` of every part that has been measured, by its name."""


@dataclass(frozen=True)
class Target:
    """One number."""

    what: str
    limit: float
    unit: str
    read: Callable[[Results], float]
    """Raises KeyError if the part has not been measured."""
    least: bool = False
    """The limit is the least, not the most."""
    worth: int = 2
    """Decimals."""

    def row(self, results: Results) -> list[str]:
        """What, limit, measured, reached."""
        wanted = f"{'>=' if self.least else '<='} {self.limit:g}{self.unit}"
        try:
            value = self.read(results)
        except KeyError:
            return [self.what, wanted, "not measured", "unknown"]
        return [self.what, wanted, f"{value:.{self.worth}f}{self.unit}", "yes" if self.reached(value) else "**no**"]

    def reached(self, value: float) -> bool:
        """A value that is no number reaches nothing."""
        return value >= self.limit if self.least else value <= self.limit


def _ratio(part: str, *keys: str, who: str = HEALTHY) -> Callable[[Results], float]:
    def read(results: Results) -> float:
        mine, bare = results[part][who], results[part][FORWARDER]
        for key in keys:
            mine, bare = mine[key], bare[key]
        return float(mine) / float(bare)

    return read


def _value(part: str, *keys: str, times: float = 1.0) -> Callable[[Results], float]:
    def read(results: Results) -> float:
        found = results[part]
        for key in keys:
            found = found[key]
        return times * float(found)

    return read


def _worst(part: str, whom: tuple[str, ...], *keys: str, times: float = 1.0) -> Callable[[Results], float]:
    return lambda results: max(_value(part, who, *keys, times=times)(results) for who in whom)


def _errors(results: Results) -> float:
    """Of all requests to the daemon while a backend could serve; those without descriptors are not counted."""
    count = 0
    for part in results.values():
        for name, one in part.items():
            if name in {HEALTHY, OVER_MESSAGES, OVER_INVOKE}:
                count += sum(one.get(key, 0) for key in ("errors", "again", "slow_errors", "whole_errors"))
    return float(
        count
        + sum(results[part]["errors"] for part in ("failover", "sustained", "cooldown", "soak") if part in results)
    )


def _peer(results: Results) -> float:
    peers = results["peers"]
    return float(peers[HEALTHY]["throughput"]) / float(peers["LiteLLM"]["throughput"])


OURS: Final = (HEALTHY, OVER_MESSAGES)

TARGETS: Final = (
    Target("errors that a client saw, in all parts that were measured", 0, "", _errors, worth=0),
    Target("decision to fail over, p99", 10, " ms", _value("failover", "decision", "p99", times=1000)),
    Target("added latency when failing over, p99", 50, " ms", _value("failover", "added", "p99", times=1000)),
    Target("time to first byte at 50 req/s, p50, of the forwarder's", 1.2, "x", _ratio("latency-50", "ttfb", "p50")),
    Target("time to first byte at 50 req/s, p99, of the forwarder's", 1.5, "x", _ratio("latency-50", "ttfb", "p99")),
    Target("throughput, streaming, of the forwarder's", 0.75, "x", _ratio("saturation", "throughput"), least=True),
    Target("throughput, not streaming, of the forwarder's", 0.75, "x", _ratio("saturation-whole", "throughput"),
           least=True),
    Target("CPU per request, streaming, of the forwarder's", 1.35, "x", _ratio("saturation", "cpu_ms")),
    Target("CPU per request, not streaming, of the forwarder's", 1.35, "x", _ratio("saturation-whole", "cpu_ms")),
    Target("throughput, of LiteLLM's proxy", 20, "x", _peer, least=True, worth=1),
    Target("1,000 streams: errors", 0, "", _worst("streams", OURS, "errors"), worth=0),
    Target("1,000 streams: an event behind its source, p99", 250, " ms",
           _worst("streams", OURS, "lag", "p99", times=1000), worth=0),
    Target("1,000 streams: RSS at most", 100, " MB", _value("streams", HEALTHY, "peak"), worth=0),
    Target("1,000 streams that all failed over: RSS at most", 100, " MB", _value("streams", OVER_MESSAGES, "peak"),
           worth=0),
    Target("10 minutes of failing over: errors", 0, "", _value("sustained", "errors"), worth=0),
    Target("10 minutes of failing over: requests a second", 99, "", _value("sustained", "rate"), least=True, worth=1),
    Target("10 minutes of failing over: RSS growth", 5, " MB", _value("sustained", "growth"), worth=1),
    Target("requests of a crowd that reach a primary in its cooldown", 1, "", _value("cooldown", "reached"), worth=0),
    Target("spent over the daily limit, in dollars", 0, "", _value("spend", "over")),
    Target("RSS after Bedrock's first use", 65, " MB", _worst("memory", ("messages", "invoke"), "used"), worth=1),
    Target("`start` until it answers", 1000, " ms", _value("commands", "start", "ms"), worth=0),
    Target("`status`", 200, " ms", _value("commands", "status", "ms"), worth=0),
    Target("`costs`", 200, " ms", _value("commands", "costs", "ms"), worth=0),
    Target("`logs`", 200, " ms", _value("commands", "logs -n 5", "ms"), worth=0),
)  # fmt: skip
