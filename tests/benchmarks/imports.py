"""What a command loads: the modules of one real run in an interpreter of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

SCRIPT = """
import json, sys
from claude_failover.cli.app import main
code = main(json.loads(sys.argv[1]))
sys.stdout.flush()
sys.__stdout__.write("\\n" + json.dumps([code, sorted(sys.modules)]) + "\\n")
"""


def imported(environ: Mapping[str, str], *words: str) -> list[str]:
    """Names of all modules that ``claude-failover WORDS`` has loaded when it is done; it must succeed."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(words)],
        env=dict(environ), input="{}", capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    code, modules = json.loads(run.stdout.splitlines()[-1])
    if code != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {code}: {run.stdout}{run.stderr}")
    return [str(one) for one in modules]
