"""What must not get slower unnoticed: CPU time beside a bare forwarder, and what the quick commands import.

``make guard``, part of CI. Only ratios of one run are judged, and only CPU time: short rounds of the forwarder and of
the daemon take turns on one core, the same requests for both, and the middle of the rounds counts. Other work on the
machine makes both slower. Counting instructions (valgrind) would be steadier and takes minutes, so it is not done.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.bench_processes import Running, daemon, environment, forwarder, upstream
from tests.benchmarks.imports import imported
from tests.benchmarks.measure import load, table

LIMITS: Final[Mapping[str, float]] = {
    "streaming, healthy": 2.5,
    "not streaming, healthy": 3.4,
    "streaming, failing over": 8.0,
    "not streaming, failing over": 9.6,
}
"""CPU per request, in units of the bare forwarder's: about 1.5 times what it was when this was set."""

MODULES: Final[Mapping[str, int]] = {
    "statusline": 215,
    "status": 270,
    "status --json": 270,
    "logs -n 5": 215,
    "costs": 295,
}
"""The most modules that a command may have loaded when it ends: a tenth more than it does, for other Pythons."""

HEAVY: Final = frozenset(
    {"aiohttp", "asyncio", "botocore", "click", "keyring", "prometheus_client", "pydantic", "rich", "sqlite3", "typer"}
    | {"uvloop", "yaml"}
)
"""What a quick command may not load, but for what it needs."""

NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "status": frozenset({"rich"}),
    "status --json": frozenset({"rich"}),
    "costs": frozenset({"rich", "sqlite3"}),
}

ROUNDS: Final = 7
REQUESTS: Final = 80
BODY_BYTES: Final = 80_000


@dataclass(frozen=True)
class Judged:
    """One line of the table."""

    what: str
    measured: float
    limit: float
    unit: str
    spread: str = ""

    @property
    def good(self) -> bool:
        """A value that is no number is not good."""
        return self.measured <= self.limit

    def row(self) -> list[str]:
        return [
            self.what, f"{self.measured:.2f}{self.unit}", self.spread, f"{self.limit:g}{self.unit}",
            "ok" if self.good else "TOO MUCH",
        ]  # fmt: skip


def judge_cpu(
    what: str, ours: Sequence[float], theirs: Sequence[float], limits: Mapping[str, float] = LIMITS
) -> Judged:
    """Compare rounds that took turns; each of ours with the forwarder's beside it, the median of all."""
    ratios = sorted(mine / bare for mine, bare in zip(ours, theirs, strict=True))
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return Judged(f"CPU, {what}", statistics.median(ratios), limits[what], "x", spread)


def judge_imports(command: str, modules: Sequence[str], limits: Mapping[str, int] = MODULES) -> list[Judged]:
    """Count what a command loaded, and look for what it may not load."""
    tops = {name.partition(".")[0] for name in modules}
    banned = sorted(tops & (HEAVY - NEEDED.get(command, frozenset())))
    return [
        Judged(f"modules of `{command}`", len(modules), limits[command], ""),
        Judged(f"heavy modules of `{command}`", len(banned), 0, "", ", ".join(banned)),
    ]


def cpu() -> list[Judged]:
    """Rounds that take turns, for each kind of work."""
    spent: dict[str, list[float]] = {}
    with ExitStack() as stack:
        limited = stack.enter_context(upstream("limited"))
        work: list[tuple[str, Running, bool]] = []
        for stream, name in ((True, "streaming"), (False, "not streaming")):
            api = stack.enter_context(upstream("sse" if stream else "json"))
            work += [
                (f"{name}, forwarder", stack.enter_context(forwarder(api)), stream),
                (f"{name}, healthy", stack.enter_context(daemon(api, api)), stream),
                (f"{name}, failing over", stack.enter_context(daemon(limited, api)), stream),
            ]
        for turn in range(ROUNDS + 1):
            for name, target, stream in work:
                done = load(target, requests=REQUESTS, connections=8, stream=stream, body_bytes=BODY_BYTES)
                if done["errors"]:
                    raise RuntimeError(f"{name}: {done['errors']} of {REQUESTS} requests failed")
                if turn:  # the first round warms up
                    spent.setdefault(name, []).append(done["cpu"] / done["requests"])
    return [judge_cpu(name, spent[name], spent[f"{name.partition(', ')[0]}, forwarder"]) for name in LIMITS]


def imports() -> list[Judged]:
    """Against a daemon that runs and has answered a request: the commands take their whole way."""
    judged: list[Judged] = []
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse", 5))
        target = stack.enter_context(daemon(api, api))
        load(target, requests=1, connections=1)
        assert target.home is not None
        for command in MODULES:
            judged += judge_imports(command, imported(environment(target.home), *command.split()))
    return judged


def main() -> int:
    judged = [*cpu(), *imports()]
    print(table(["what", "measured", "from … to, or which", "limit", ""], [one.row() for one in judged]))
    bad = [one for one in judged if not one.good]
    if bad:
        print(f"\n{len(bad)} of {len(judged)} limits exceeded; they stand in {Path(__file__).name}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
