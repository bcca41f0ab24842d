"""What a process of ours may do to itself, seen from outside it."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import ctypes, os, resource, sys
from claude_failover.daemon.hardening import harden, raise_file_limit
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
harden(debuggable=sys.argv[1] == "yes")
umask = os.umask(0)
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == "linux" else None
soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
print(oct(umask), resource.getrlimit(resource.RLIMIT_CORE), dumpable, soft > 64, raise_file_limit() == soft)
"""


@pytest.mark.parametrize(("debuggable", "dumpable"), [("no", "0"), ("yes", "1")])
def test_files_are_private_cores_are_off_and_descriptors_are_many(debuggable: str, dumpable: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, debuggable], capture_output=True, text=True, timeout=30, check=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    words = done.stdout.split()
    assert words[0] == "0o77"
    assert " ".join(words[1:3]) == "(0, 0)"
    assert words[3] == (dumpable if sys.platform == "linux" else "None")
    assert words[4:] == ["True", "True"]


def test_what_is_loaded_is_not_looked_at_again_by_the_collector() -> None:
    probe = "import gc; import claude_failover.daemon.hardening as h; h.settle_down(); print(gc.get_freeze_count())"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=30, check=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert int(done.stdout) > 1000


def test_memory_that_is_free_goes_back_to_the_system() -> None:
    """Blocks of 100 KB lie below glibc's threshold for mappings; every second one stays, so none is at the end."""
    probe = """
import sys
from pathlib import Path
from claude_failover.daemon.hardening import give_back
def pages():
    return int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
kept = [bytes(100_000) + b"x" for _ in range(600)]
del kept[::2]
before = pages()
give_back()
print(before - pages())
"""
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=30, check=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    glibc = sys.platform == "linux" and "glibc" in platform.libc_ver()
    # 300 blocks of 24 whole pages.
    assert int(done.stdout) > 5_000 if glibc else int(done.stdout) == 0
