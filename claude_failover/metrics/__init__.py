"""Metrics: what is counted, what is read, and both as Prometheus sees them.

Fed by the records of attempts and requests, by events, and at each scrape by the daemon's gauges. All labels come
from closed or configured sets; a model that we do not know is counted as ``other``, because any client can send any
string.
"""

from __future__ import annotations

from claude_failover.metrics.counters import Metrics
from claude_failover.metrics.readout import Readout

__all__ = ["Metrics", "Readout"]
