"""The real Claude Code, installed from npm below ``.tools/``: the newest version that was measured, and an older one.

The native binary is a package of its own, so that the machine's Node may be older than the main package asks for.
Whoever lacks npm, the network or the platform gets a failure that says so, not a skipped test.
"""

from __future__ import annotations

import fcntl
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTED = Path(__file__).parent / "claude"
TOOLS = ROOT / ".tools" / "claude"

NEWEST = "2.1.330"
OLDER = "2.1.197"
"""Pinned in ``tests/real/claude/package-lock.json``; the difference between them is docs/after-the-commit.md."""

_FOLDER = {NEWEST: "claude-newest", OLDER: "claude-older"}


@dataclass(frozen=True, slots=True)
class ClaudeCode:
    """One installed version."""

    version: str
    program: Path


def installed(version: str = NEWEST) -> ClaudeCode:
    """Install what the lock file names, once, and return the program of *version*."""
    program = TOOLS / "node_modules" / _FOLDER[version] / "claude"
    lock = LISTED / "package-lock.json"
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        copy, done = TOOLS / "package-lock.json", TOOLS / ".installed"
        if not (done.exists() and program.exists() and copy.read_bytes() == lock.read_bytes()):
            _install(done)
    return ClaudeCode(version, program)


def _install(done: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is needed to install the real Claude Code: apt-get install npm")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.fail(f"tests/real/claude names the binary for Linux on x86_64, this is {platform.platform()}")
    done.unlink(missing_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(LISTED / name, TOOLS / name)
    ran = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=TOOLS,
        capture_output=True,
        timeout=600,
        check=False,
        text=True,
    )
    if ran.returncode != 0:
        pytest.fail(f"npm could not install Claude Code: {ran.stderr[-2000:]}")
    done.touch()
