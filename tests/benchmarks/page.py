"""docs/benchmarks.md, written from the results that are kept and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.benchmarks.bench_processes import HERE
from tests.benchmarks.measure import table
from tests.benchmarks.parts import PARTS
from tests.benchmarks.results import kept
from tests.benchmarks.targets import TARGETS

DOCUMENT: Final = HERE.parents[1] / "docs" / "benchmarks.md"

HEAD: Final = """\
<!-- Written by `make bench` from tests/benchmarks/results/. -->

# Benchmarks

What stands between Claude Code and an API costs something. Here is how much, beside the least that a program of the
same kind can do: [a bare forwarder](../tests/benchmarks/forwarder.py) of some 40 lines on the same HTTP library, which
parses nothing, counts nothing and rescues nobody; and beside nginx, the limit.

The thing under test has one core; the load and the simulated APIs, raw protocols that write prepared bytes, have the
other. Contenders take turns within a run: compare within a table, not across. "Failing over" means that every single
request asks the first backend, is refused with 429 and is answered by the simulated Bedrock: two requests, a
translation, a signature. `make bench` repeats all of it but the parts that say otherwise; `make bench-peers` compares
with other gateways; `make guard` is the short form that CI runs.

"""

DISTURBED: Final = " **Other work was going on meanwhile**: times are too high, errors and memory are what they are."

TARGETS_SAY: Final = "Each is computed from the tables below; what is not reached says so.\n\n"


def text(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page."""
    data = {name: one["data"] for name, one in results.items()}
    machines = sorted({str(one["machine"]) for one in results.values()})
    sections = [HEAD + "\n\n".join(f"Measured on {machine}." for machine in machines)]
    rows = [target.row(data) for target in TARGETS]
    sections.append("## Targets\n\n" + TARGETS_SAY + table(["what", "target", "measured", "reached"], rows))
    for name, part in PARTS.items():
        body = part.table(data[name]) if name in data else f"Not measured yet: `run.py --only {name}`."
        note = DISTURBED if results.get(name, {}).get("disturbed") else ""
        sections.append(f"## {part.title}\n\n{part.says}{note}\n\n{body}")
    return "\n\n".join(sections) + "\n"


def write() -> None:
    """Write it."""
    DOCUMENT.write_text(text(kept()), encoding="utf-8")
