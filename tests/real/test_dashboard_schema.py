"""The dashboard against Grafana's own types: ``@grafana/schema`` from npm and the TypeScript compiler.

Without npm, or without the network the first time, these tests fail: a missing tool is no result.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.real.clients import ROOT

LISTED = Path(__file__).parent / "grafana"
TOOLS = ROOT / ".tools" / "grafana"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def compiler() -> Path:
    """``tsc`` beside Grafana's types, as the lock file names them; installed once, below ``.tools``."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is needed to install Grafana's types: apt-get install npm")
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        copy, done, lock = TOOLS / "package-lock.json", TOOLS / ".installed", LISTED / "package-lock.json"
        if not (done.exists() and copy.read_bytes() == lock.read_bytes()):
            done.unlink(missing_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(LISTED / name, TOOLS / name)
            ran = subprocess.run(
                [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                cwd=TOOLS,
                capture_output=True,
                timeout=240,
                check=False,
                text=True,
            )
            if ran.returncode != 0:
                pytest.fail(f"npm could not install Grafana's types: {ran.stderr[-2000:]}")
            done.touch()
    return TOOLS / "node_modules" / ".bin" / "tsc"


@pytest.fixture
def complaints(compiler: Path, tmp_path: Path) -> Callable[[Any], list[str]]:
    """What the compiler says about a dashboard."""
    (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    shutil.copyfile(LISTED / "hold.ts", tmp_path / "hold.ts")

    def compile_it(dashboard: Any) -> list[str]:
        text = json.dumps(dashboard, indent=1)
        source = f'import type {{ Held }} from "./hold";\nexport const dashboard: Held = {text};\n'
        (tmp_path / "dashboard.ts").write_text(source, "utf-8")
        ran = subprocess.run(
            [compiler, "--noEmit", "--strict", "--skipLibCheck", "--module", "esnext",
             "--moduleResolution", "bundler", "dashboard.ts"],
            cwd=tmp_path, capture_output=True, timeout=60, check=False, text=True,
        )  # fmt: skip
        found = ran.stdout.splitlines()
        assert (ran.returncode == 0) == (not found), ran.stderr
        return found

    return compile_it


def dashboard() -> dict[str, Any]:
    found = json.loads((files("claude_failover.monitoring") / "dashboard.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def test_the_dashboard_is_one_in_grafanas_own_types(complaints: Callable[[Any], list[str]]) -> None:
    assert complaints(dashboard()) == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("refresh",), 30),
        (("panels", 1, "gridPos", "h"), "tall"),
        (("panels", 5, "fieldConfig", "defaults", "thresholds"), {"mode": "relative", "steps": []}),
        (("panels", 1, "summary"), "a name that panels do not have"),
        (("templating", "list", 0, "hide"), "never"),
        (("time",), {"since": "now-1h"}),
    ],
    ids=["number", "text", "choice", "name", "enum", "nested"],
)
def test_a_dashboard_that_is_wrong_would_be_found(
    complaints: Callable[[Any], list[str]], path: tuple[str | int, ...], wrong: object
) -> None:
    changed = dashboard()
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    assert any("error TS" in line for line in complaints(changed))
