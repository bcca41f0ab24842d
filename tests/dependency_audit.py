"""What is installed beside us, in a process that holds credentials: is it what was tested, and nothing else?

Run by ``make lint``. It asks nobody over the network, so it knows only the advisories listed
here; add a row when one is published. The rest is about the way in which such a thing arrives:

- every installed package is the version that ``requirements-ci.txt`` pins (with CI set: and no other is there);
- no ``.pth`` file runs code at the start of each interpreter, except the few that are known. That is how
  a compromised release of a well-known gateway stole cloud credentials in March 2026, from people who
  had only installed it.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packaging.version import Version

ROOT: Final = Path(__file__).parents[1]

FIXED_IN: Final = {
    "aiohttp": ("3.13.4", "CVE-2026-34525, CVE-2026-22815, CVE-2026-34516: request smuggling and parsing"),
}
"""Package -> the first version without what was found, and what that was."""

NEVER: Final = {
    "keyrings-alt": "stores secrets as readable text, and keyring takes it without asking",
    "litellm": "compromised releases in 2026; only ever compared with, in an environment of its own",
}

KNOWN_PTH: Final = re.compile(r"(distutils-precedence|__editable__.*|a1_coverage|_?virtualenv)\.pth\Z")

TOOLS: Final = frozenset({"pip", "setuptools", "wheel", "claude-failover"})
"""Brought by the environment itself."""


def canonical(name: str) -> str:
    """As in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    """The lock."""
    lines = (ROOT / "requirements-ci.txt").read_text("utf-8").splitlines()
    pairs = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {canonical(name): version for name, _, version in pairs}


def complaints(*, strict: bool) -> Iterator[str]:
    """Everything that is not as it should be."""
    lock = pinned()
    installed = {canonical(found.metadata["Name"]): found.version for found in importlib.metadata.distributions()}
    for name, version in sorted(installed.items()):
        if name in NEVER:
            yield f"{name}: must not be installed here: {NEVER[name]}"
        elif name in lock and version != lock[name]:
            yield f"{name}: {version} is installed, requirements-ci.txt says {lock[name]}: make clean, then again"
        elif strict and name not in lock and name not in TOOLS:
            yield f"{name}: is installed and not in requirements-ci.txt"
    for name, (version, what) in FIXED_IN.items():
        for found in filter(None, (installed.get(name), lock.get(name))):
            if Version(found) < Version(version):
                yield f"{name}: {found} is affected by {what}; {version} is not"
    for file in sorted(Path(sysconfig.get_paths()["purelib"]).glob("*.pth")):
        runs = [
            line for line in file.read_text("utf-8", "replace").splitlines() if line.startswith(("import ", "import\t"))
        ]
        if runs and not KNOWN_PTH.match(file.name):
            yield f"{file}: runs code whenever Python starts, and is not known: look at it before anything else"


def main() -> int:
    """Say what is wrong; returns the exit code."""
    found = list(complaints(strict=bool(os.environ.get("CI"))))
    print(
        "\n".join(found)
        or "dependencies: as locked, nothing known against them, no stranger at the interpreter's start"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
