"""What is asked often must be quick: the modules that a command really loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("aiohttp", "botocore", "keyring", "prometheus_client", "uvloop", "sqlite3", "asyncio")
"""Seconds of imports, together; the first four alone are 0.35 s."""

SCRIPT = """
import json, sys
from claude_failover.cli.app import main
code = main(json.loads(sys.argv[1]))
print(json.dumps([code, sorted(sys.modules)]))
"""


def loaded(home: Path, *words: str) -> tuple[int, set[str]]:
    """Run a command in a fresh interpreter; its exit code and what it imported."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "CLAUDE_FAILOVER_HOME": str(home / "cf")}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(words)],
        env=environ,
        input="{}",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    code, modules = json.loads(run.stdout.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status"], 3),
        (["status", "--json"], 3),
        (["statusline"], 0),
        (["force-backend", "bedrock"], 3),
        (["explain", "last"], 3),
        (["config", "path"], 0),
        (["--version"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_quick_command_loads_nothing_heavy(tmp_path: Path, words: list[str], code: int) -> None:
    ended, modules = loaded(tmp_path, *words)
    assert ended == code
    assert sorted(modules & set(HEAVY)) == []


def test_what_is_asked_most_often_does_not_even_load_the_parser(tmp_path: Path) -> None:
    _, modules = loaded(tmp_path, "statusline")
    assert sorted(modules & {"typer", "click", "rich", "yaml"}) == []
