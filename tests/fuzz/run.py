"""Fuzz one target with atheris (``pip install atheris``, CPython on Linux) for as long as it is told to.

    python tests/fuzz/run.py streamed -max_total_time=600

What it finds is written to ``tests/fuzz/found/TARGET-…`` and belongs, made small, into ``tests/fuzz/regressions``: the
test suite repeats what lies there. Further arguments are libFuzzer's.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Play the target named first until time is up or something is found."""
    atheris = importlib.import_module("atheris")
    sys.path.insert(0, str(HERE.parents[1]))
    with atheris.instrument_imports(include=["claude_failover"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    name, arguments = sys.argv[1], sys.argv[2:]
    found = HERE / "found"
    found.mkdir(exist_ok=True)
    seeds = HERE / "regressions" / name
    folders = [str(seeds)] if seeds.is_dir() else []
    atheris.Setup([sys.argv[0], f"-artifact_prefix={found}{os.sep}{name}-", *arguments, *folders], targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
