"""The parts of the benchmark: what each measures, and how it stands on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.benchmarks import connections, contest, crowds, limits, peers, small, sustained
from tests.benchmarks.measure import Scale

Data = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One section."""

    title: str
    says: str
    measure: Callable[[Scale], Data]
    table: Callable[[Data], str]
    by_itself: bool = False
    """Only measured when it is asked for: it takes long, or needs what is not here."""


PARTS: Final[Mapping[str, Part]] = {
    "saturation": Part(
        "Saturation: streaming, 80 KB bodies",
        "32 connections, each asks again as soon as it is answered (50 events). Rounds take turns; medians.",
        lambda scale: contest.saturation(scale, 600, 80_000, "sse"),
        contest.saturation_table,
    ),
    "saturation-whole": Part(
        "Saturation: not streaming, 80 KB bodies",
        "The same without streaming.",
        lambda scale: contest.saturation(scale, 600, 80_000, "json"),
        contest.saturation_table,
    ),
    "saturation-large": Part(
        "Saturation: streaming, 600 KB bodies",
        "The body of a long conversation. The direct row shows where the load itself ends.",
        lambda scale: contest.saturation(scale, 200, 600_000, "sse"),
        contest.saturation_table,
    ),
    "latency-50": Part(
        "Latency at 50 requests a second",
        "80 KB bodies, streaming, 16 connections; medians of the rounds' percentiles.",
        lambda scale: contest.latency(scale, 50.0),
        contest.latency_table,
    ),
    "latency-100": Part(
        "Latency at 100 requests a second",
        "The same at twice the rate.",
        lambda scale: contest.latency(scale, 100.0),
        contest.latency_table,
    ),
    "failover": Part(
        "Failing over at 100 requests a second",
        "Every request is refused by the first backend and answered by the second, for 20 seconds. Both simulated "
        "backends answer at once; all that the client waits counts as added. The decision is timed between the "
        "backends: from the write of the 429 to the first bytes of the same request at the other, so that the loopback "
        "and the turns of three processes are in it. The daemon's own share is the time in which it had no attempt "
        "open: translating and signing belong to the attempt and are not in that line, but in the two above.",
        lambda scale: sustained.sustained(Scale(minutes=0.1 if scale.quick else 1 / 3)),
        sustained.sustained_table,
    ),
    "sustained": Part(
        "The same for 10 minutes",
        "`run.py --only sustained`; not part of every run.",
        sustained.sustained,
        sustained.sustained_table,
        by_itself=True,
    ),
    "cooldown": Part(
        "A crowd during the primary's cooldown",
        f"One request is refused until a time that is far away; then {limits.CROWD} clients ask without a pause. What "
        "reaches the primary is a probe.",
        limits.cooldown,
        limits.cooldown_table,
    ),
    "spend": Part(
        "A crowd at the daily limit",
        "The primary refuses, and what is asked would cost many times what the paid backend may. Each request is "
        "reserved before it is sent, with the most that it may cost.",
        limits.spend,
        limits.spend_table,
    ),
    "burst": Part(
        "1,000 requests at once",
        "1,000 connections are open; each sends a request of 80 KB in the same moment, 80 MB together.",
        crowds.burst,
        crowds.burst_table,
    ),
    "streams": Part(
        "1,000 streams, 20 events a second each",
        "80 KB bodies; the streams begin within 8 seconds and last 15. Each event carries the time at which the "
        'source wrote it; "behind" is from there until a client has it, the load\'s own queue included, which the '
        "direct row shows.",
        crowds.streams,
        crowds.streams_table,
    ),
    "mixed": Part(
        "Slow clients and slow upstreams among fast ones",
        f"{crowds.SLOW_READERS} clients read 128 KB a second of answers of 15 MB that their upstream would send at "
        f"once, {crowds.DRIPS} upstreams write 20 events a second, and meanwhile others want their answers at "
        f"{crowds.FAST:.0f} requests a second.",
        crowds.mixed,
        crowds.mixed_table,
    ),
    "pools": Part(
        "Connections opened",
        f"{connections.CLIENTS} clients with one connection each, 3 seconds of rest, and {connections.CLIENTS} others.",
        connections.pools,
        connections.pools_table,
    ),
    "descriptors": Part(
        "When descriptors run out",
        f"A running daemon is left {connections.SPARE} descriptors (`prlimit`); {connections.CROWD} clients come at "
        "once; the descriptors are given back and as many come again. Then a daemon that is started with few. A "
        "connection that it cannot keep is closed at once, which clients take for a failed connection and repeat.",
        connections.descriptors,
        connections.descriptors_table,
    ),
    "events": Part(
        "Cost of an event",
        "Requests with 10 events and with 2,010; the difference, by event. An `invoke` event is a frame of an AWS "
        "event stream with a checksum and base64 inside.",
        small.events,
        small.events_table,
    ),
    "memory": Part(
        "Memory",
        "One daemon for each surface of Bedrock.",
        small.memory,
        small.memory_table,
    ),
    "commands": Part(
        "Commands",
        "Against a running daemon; `start` is the command itself, until it returns.",
        small.commands,
        small.commands_table,
    ),
    "soak": Part(
        "Soak",
        "As many requests as there was time for, each failing over; `run.py --only soak --requests 1000000 "
        "--minutes 90`; not part of every run.",
        sustained.soak,
        sustained.soak_table,
        by_itself=True,
    ),
    "peers": Part(
        "Beside other gateways",
        peers.SAYS,
        peers.beside,
        peers.beside_table,
        by_itself=True,
    ),
}
