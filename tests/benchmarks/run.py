"""The benchmarks: everything between a client and an API, measured the same way in one run.

``make bench`` measures every part but the long ones and writes docs/benchmarks.md from all results that are kept in
``results/``, one file a part: ``--only NAME`` measures again what it names. The thing under test has one core to
itself, load and simulated upstream share the other. Ratios between contenders of one run mean something on a noisy
machine; absolute times do not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import page
from tests.benchmarks.bench_processes import raise_file_limit
from tests.benchmarks.measure import Scale
from tests.benchmarks.parts import PARTS
from tests.benchmarks.results import FOLDER, save


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs; keeps nothing")
    parser.add_argument("--peers", action="store_true", help="only the part with other gateways, which it installs")
    parser.add_argument("--minutes", type=float, default=10.0, help="of `sustained`, and at most of `soak`")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of `soak`")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--disturbed", action="store_true", help="other work is going on: the page says so")
    told = parser.parse_args()
    scale = Scale(told.quick, told.minutes, told.requests)
    names = told.only or (["peers"] if told.peers else [name for name, part in PARTS.items() if not part.by_itself])
    raise_file_limit()
    failed = []
    for name in [] if told.page else names:
        began = time.perf_counter()
        try:
            data = PARTS[name].measure(scale)
        except Exception as error:  # noqa: BLE001 - the other parts are still worth their time
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            failed.append(name)
            continue
        print(
            f"## {PARTS[name].title} ({time.perf_counter() - began:.0f} s)\n\n{PARTS[name].table(data)}\n", flush=True
        )
        if not told.quick:
            save(name, data, disturbed=told.disturbed)
    if not told.quick:
        page.write()
        print(f"{page.DOCUMENT.name} is written from {len(list(FOLDER.glob('*.json')))} results")
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
