"""Fuzz with atheris (guided by coverage; CPython on Linux) for as long as it is told to, all targets or some.

    make fuzz SECONDS=600
    python tests/fuzz/run.py --seconds 600 peeked events

Targets run side by side, as many as there are processors, and share the time evenly. What is found is written to
``tests/fuzz/found/TARGET-…`` and fails the run; made small, it belongs into ``tests/fuzz/regressions/TARGET``: the test
suite repeats what lies there. What was worth keeping goes to ``.tools/fuzz/corpus``, where the next run begins.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOUND = HERE / "found"
CORPUS = ROOT / ".tools" / "fuzz" / "corpus"

LONGEST = 4096
"""Bytes of an input."""

SLOWEST = 10
"""Seconds for one input."""


def one(name: str, arguments: list[str]) -> None:
    """Play a target in this process; does not return."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["claude_failover"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    atheris.Setup([sys.argv[0], *arguments], targets[name])
    atheris.Fuzz()


def play(name: str, seconds: int) -> tuple[str, bool]:
    """Play a target in a process of its own; what to say of it, and whether it held."""
    words = importlib.import_module("tests.fuzz.words")
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(words.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = CORPUS / "words"
    escaped = ("".join(f"\\x{byte:02x}" for byte in word[:64]) for word in words.WORDS)
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
    known = HERE / "regressions" / name
    done = subprocess.run(
        [
            sys.executable, str(Path(__file__).resolve()), "--one", name, f"-max_total_time={seconds}",
            f"-max_len={LONGEST}", f"-timeout={SLOWEST}", f"-dict={dictionary}", "-rss_limit_mb=1024",
            f"-artifact_prefix={FOUND}{os.sep}{name}-", "-print_final_stats=1", str(corpus),
            *([str(known)] if known.is_dir() else []),
        ],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True, text=True, errors="replace", check=False, timeout=seconds + 120,
    )  # fmt: skip
    said = done.stdout + done.stderr
    runs = re.search(r"number_of_executed_units: (\d+)", said)
    covered = re.findall(r"cov: (\d+)", said)
    good = done.returncode == 0 and runs is not None
    told = "\n".join(line for line in said.splitlines() if not re.match(r"INFO|WARNING|#\d|stat::|\s*$", line))
    line = f"{name:<12} {runs[1] if runs else '?':>9} inputs, {covered[-1] if covered else '?':>5} branches: "
    return (line + "held", True) if good else (f"{line}FAILED ({done.returncode})\n{told[-6000:]}", False)


def main() -> int:
    """Play what was named, until time is up."""
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3:])
    targets = list(importlib.import_module("tests.fuzz.targets").TARGETS)
    parser = argparse.ArgumentParser(description="Fuzz with atheris.")
    parser.add_argument("--seconds", type=float, default=120.0, help="for all targets together, on the clock")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(targets))
    asked = parser.parse_args()
    names = asked.targets or targets
    if unknown := set(names) - set(targets):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    FOUND.mkdir(exist_ok=True)
    beside = min(os.cpu_count() or 1, len(names))
    seconds = max(1, math.floor(asked.seconds / math.ceil(len(names) / beside)))
    print(f"{len(names)} targets, {beside} at a time, {seconds} s each", flush=True)
    held = True
    with ThreadPoolExecutor(beside) as pool:
        for said, good in pool.map(lambda name: play(name, seconds), names):
            print(said, flush=True)
            held = held and good
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
