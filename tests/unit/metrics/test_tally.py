from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from claude_failover.metrics.tally import Tallies


def test_the_page_is_the_one_that_prometheus_clients_own_would_write() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies()
    ours.register(tallies)
    count = tallies.counter("seen", "Things.", "kind")
    bare = tallies.counter("bare", "Without labels.")
    spread = tallies.histogram("took_seconds", "Times.", (0.1, 1.0, 5.0), "kind")
    oracle = Counter("claude_failover_seen", "Things.", ["kind"], registry=theirs)
    Counter("claude_failover_bare", "Without labels.", registry=theirs)
    times = Histogram("claude_failover_took_seconds", "Times.", ["kind"], buckets=(0.1, 1.0, 5.0), registry=theirs)
    for kind in ("a", 'b"\n\\'):
        for value in (0.05, 0.1, 0.1000001, 4.9, 5.0, 60.0):
            count.add((kind,))
            spread.add((kind,), value)
            oracle.labels(kind).inc()
            times.labels(kind).observe(value)
    count.add(("a",), 2.5)
    oracle.labels("a").inc(2.5)
    bare.add((), 0)

    def lines(registry: CollectorRegistry) -> list[bytes]:
        return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]

    assert lines(ours) == lines(theirs)


def test_a_counter_only_rises() -> None:
    tallies = Tallies()
    count = tallies.counter("seen", "Things.")
    count.add((), 3)
    count.add((), -2)
    count.add((), math.nan)
    assert [sample.value for sample in count.family().samples] == [3]


def test_there_is_no_need_to_describe() -> None:
    assert list(Tallies().describe()) == []
