"""What was measured, kept: one file a part, with the machine that it was measured on and nothing that names it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.bench_processes import nginx_program

FOLDER: Final = Path(__file__).parent / "results"
PACKAGES: Final = ("claude-failover", "aiohttp", "httptools", "uvloop", "msgspec")


def machine() -> str:
    """Processor, cores, kernel and versions; no name of the host."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.processor())
    there = {name: found for name in PACKAGES for found in _version(name)}
    listed = ", ".join([*(f"{name} {found}" for name, found in there.items()), *_nginx()])
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}, {platform.system()} {kernel}, Python {platform.python_version()}, {listed}"


def _version(name: str) -> list[str]:
    with contextlib.suppress(PackageNotFoundError):
        return [version(name)]
    return []


def _nginx() -> list[str]:
    if not Path(nginx_program()).exists():
        return []
    said = subprocess.run([nginx_program(), "-v"], check=False, capture_output=True, text=True).stderr
    return [f"nginx {said.strip().rpartition('/')[2]}"] if said else []


def save(name: str, data: dict[str, Any], folder: Path = FOLDER, *, disturbed: bool = False) -> None:
    """Keep what a part has measured, instead of what it had before."""
    folder.mkdir(exist_ok=True)
    text = json.dumps(rounded({"machine": machine(), "disturbed": disturbed, "data": data}), indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    """Six digits are more than any of it is worth."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: rounded(one) for key, one in value.items()}
        case list() | tuple():
            return [rounded(one) for one in value]
        case _:
            return value


def kept(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Everything that has been measured."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
