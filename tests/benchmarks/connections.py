"""Connections: how many it takes, and what happens when there can be no more."""

from __future__ import annotations

import resource
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from typing import Any

from claude_failover.clock import pause
from claude_failover.core.types import Seconds
from tests.benchmarks.bench_processes import Running, daemon, forwarder, upstream
from tests.benchmarks.contest import FORWARDER, HEALTHY, OVER_MESSAGES
from tests.benchmarks.measure import Scale, journal, load, seen, table

CLIENTS = 32

SPARE = 20
"""Descriptors that are left when they become scarce."""

CROWD = 100
"""Clients that come then; each wants two descriptors."""


def pools(scale: Scale) -> dict[str, Any]:
    """The same clients twice, with a rest between: what is opened on both sides."""
    requests = scale.of(2000)
    found: dict[str, Any] = {}
    for name in (FORWARDER, HEALTHY, OVER_MESSAGES):
        with ExitStack() as stack:
            api = stack.enter_context(upstream("sse"))
            limited = stack.enter_context(upstream("limited"))
            if name == FORWARDER:
                target = stack.enter_context(forwarder(api))
            else:
                target = stack.enter_context(daemon(limited if name == OVER_MESSAGES else api, api))
            first = load(target, requests=requests, connections=CLIENTS)
            pause(Seconds(3.0))
            again = load(target, requests=requests, connections=CLIENTS, first=requests)
            sides = {"first": seen(api), "limited": seen(limited)}
        upstreams = {key: one for key, one in sides.items() if one["requests"]}
        found[name] = {
            "requests": first["requests"] + again["requests"],
            "errors": first["errors"] + again["errors"],
            "client": first["connections"] + again["connections"],
            "upstream": sum(one["connections"] - 1 for one in upstreams.values()),
            "upstream_requests": sum(one["requests"] for one in upstreams.values()),
        }
    return found


def pools_table(data: dict[str, Any]) -> str:
    rows = []
    for name, one in data.items():
        shares = [1000 * one["client"] / one["requests"], 1000 * one["upstream"] / one["upstream_requests"]]
        rows.append([
            name, str(one["requests"]), str(one["errors"]), str(one["client"]), f"{shares[0]:.1f}",
            str(one["upstream_requests"]), str(one["upstream"]), f"{shares[1]:.1f}",
        ])  # fmt: skip
    head = ["", "requests", "errors", "connections by clients", "per 1,000 requests"]
    return table([*head, "upstream requests", "connections to upstreams", "per 1,000 requests"], rows)


def _limit(target: Running, files: int) -> None:
    _, hard = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (files, hard))


def descriptors(scale: Scale) -> dict[str, Any]:
    """Take the descriptors away from a running daemon, send it a crowd, and give them back."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse", think=0.2))
        target = stack.enter_context(daemon(api, api))
        load(target, requests=1, connections=1)
        before, lines = target.descriptors(), sum(1 for _ in journal(target))
        soft, _ = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)
        _limit(target, before + SPARE)
        cpu = target.cpu()
        crowd = load(target, requests=CROWD, connections=CROWD, leave_after=8.0)
        found["crowd"] = _told(crowd)
        found["cpu_share"] = (target.cpu() - cpu) / crowd["elapsed"]
        said = list(journal(target))[lines:]
        found["alive"] = target.alive()
        _limit(target, soft)
        pause(Seconds(3.0))
        after = load(target, requests=CROWD, connections=CROWD, leave_after=8.0)
        found["after"] = _told(after)
        found["lines"] = len(said)
        found["log"] = dict(Counter(f"{one.get('level')} {one.get('event')}" for one in said).most_common(12))
        pause(Seconds(5.0))
        found["recorded"] = _recorded(target)
        found["heard"] = 1 + sum(_heard(done) for done in (crowd, after))
        found["descriptors"] = {"before": before, "limit": before + SPARE, "afterwards": target.descriptors()}
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse", think=0.2))
        files = before + CROWD
        target = stack.enter_context(daemon(api, api, files=files))
        found["started_low"] = {
            **_told(load(target, requests=CROWD, connections=CROWD, leave_after=20.0)),
            "limit": files,
        }
        found["started_low"]["alive"] = target.alive()
    return found


def _recorded(target: Running) -> int:
    """Requests in its ledger."""
    assert target.home is not None
    address = f"file:{target.home / 'cf' / 'state' / 'ledger.db'}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM exchanges").fetchone()[0])


def _heard(done: dict[str, Any]) -> int:
    """Requests that were answered, whatever with."""
    refused = sum(count for status, count in done["said"].items() if status.isdigit())
    return int(done["requests"] - done["errors"] - done["left"] + refused)


def _told(done: dict[str, Any]) -> dict[str, Any]:
    good = done["requests"] - done["errors"] - done["left"]
    return {"requests": done["requests"], "good": good, "unanswered": done["left"], "said": done["said"],
            "sample": done["sample"][:200]}  # fmt: skip


def descriptors_table(data: dict[str, Any]) -> str:
    rows = []
    for name, one in (
        (f"{SPARE} descriptors left", data["crowd"]),
        ("given back", data["after"]),
        (f"started with {data['started_low']['limit']}", data["started_low"]),
    ):
        others = ", ".join(f"{count}x {status}" for status, count in one["said"].items()) or "-"
        rows.append([name, str(one["requests"]), str(one["good"]), others, str(one["unanswered"])])
    files = data["descriptors"]
    told = [
        ["the daemon lives", "yes" if data["alive"] and data["started_low"]["alive"] else "NO"],
        ["its CPU while it had none, of a core", f"{100 * data['cpu_share']:.0f} %"],
        ["descriptors before; limit; afterwards", f"{files['before']}; {files['limit']}; {files['afterwards']}"],
        ["requests that were answered; in its ledger", f"{data['heard']}; {data['recorded']}"],
        ["lines of its log meanwhile", f"{data['lines']}: " + ", ".join(f"{n}x {k}" for k, n in data["log"].items())],
    ]
    head = [f"{CROWD} clients at once", "requests", "answered", "refused", "no answer in time"]
    return table(head, rows) + "\n\n" + table(["", ""], told)
