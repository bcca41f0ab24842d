"""Limits under a crowd: a primary that said until when it refuses, and a daily limit that must not be overspent."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from claude_failover.clock import pause
from claude_failover.core.types import Seconds
from tests.benchmarks.bench_processes import daemon, upstream
from tests.benchmarks.measure import Scale, load, seen, status, table

CROWD = 100

DOLLARS = 5.0

MONEY = ("limit", "spent", "witness")


def cooldown(scale: Scale) -> dict[str, Any]:
    """One request is refused until a time that is far away; then a crowd comes."""
    with ExitStack() as stack:
        limited = stack.enter_context(upstream("limited"))
        api = stack.enter_context(upstream("sse", 5))
        target = stack.enter_context(daemon(limited, api, threshold=1))
        load(target, requests=1, connections=1)
        before = seen(limited)["requests"]
        done = load(target, requests=scale.of(3000), connections=CROWD, first=1)
        reached = seen(limited)["requests"] - before
    return {"requests": done["requests"], "errors": done["errors"], "elapsed": done["elapsed"], "reached": reached}


def cooldown_table(data: dict[str, Any]) -> str:
    row = [str(data["requests"]), str(data["errors"]), f"{data['elapsed']:.1f}", str(data["reached"])]
    return table(["requests", "errors", "in seconds", "of them reached the primary"], [row])


def spend(scale: Scale) -> dict[str, Any]:
    """A crowd that would cost many times the daily limit; the backend's count of answers is the witness."""
    with ExitStack() as stack:
        limited = stack.enter_context(upstream("limited"))
        # It takes its time, so that many are in flight when the limit comes near.
        api = stack.enter_context(upstream("sse", 5, think=0.1))
        target = stack.enter_context(daemon(limited, api, threshold=1, dollars=DOLLARS))
        load(target, requests=1, connections=1)
        pause(Seconds(1.0))
        each = status(target)["spend"]["today_usd"]
        done = load(target, requests=scale.of(2000), connections=CROWD, first=1)
        pause(Seconds(1.0))
        told = status(target)["spend"]
        answers = seen(api)["requests"]
    return {
        "requests": done["requests"] + 1, "answers": answers, "refused": done["said"], "each": each,
        "spent": told["today_usd"], "witness": answers * each, "limit": told["limit_usd"],
        "over": max(0.0, max(told["today_usd"], answers * each) - told["limit_usd"]), "says": done["sample"][:160],
    }  # fmt: skip


def spend_table(data: dict[str, Any]) -> str:
    told = [
        ("requests at once", f"{CROWD} of {data['requests']}"),
        ("answered by the paid backend; refused", f"{data['answers']}; {data['refused'].get('429', 0)} with 429"),
        ("limit; booked; answers times the price of one", "; ".join(f"${data[key]:.2f}" for key in MONEY)),
        ("over the limit", f"${data['over']:.2f}"),
    ]  # fmt: skip
    return table(["", ""], told)
