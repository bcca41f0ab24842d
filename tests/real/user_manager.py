"""A real ``systemd --user`` of a test's own: in namespaces, with a cgroup of its own, and gone without a trace.

A user manager needs a cgroup that it may divide, and nothing else of a session: no login, no bus, no pid 1. So a
mount namespace hides the machine's cgroups behind a fresh mount of the unified hierarchy, and a process namespace
takes everything with it when its first process ends. Needs root that may mount, so the tests that use it are there
only where the tests run as that.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from claude_failover.clock import SystemClock, pause
from claude_failover.core.types import Seconds
from tests.control_fakes import clean_environment

T = TypeVar("T")

LIMIT: Final = 30.0
"""Seconds for anything that is waited for."""

MANAGER: Final = "/lib/systemd/systemd"

INSIDE: Final = """\
set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$1"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
# It runs only where systemd is said to run, and takes itself for the system's manager as the first process.
mkdir -p /run/systemd
mount -t tmpfs -o mode=755 none /run/systemd
mkdir /run/systemd/system
# What the system's manager would have made there: stand-ins for what a sandbox hides.
mkdir -p /run/systemd/inaccessible/dir
cd /run/systemd/inaccessible
touch reg
mkfifo fifo
mknod chr c 0 0 || touch chr
mknod blk b 0 0 || touch blk
cd "$HOME"
"$2" --user --unit=basic.target &
wait
"""

TRIAL: Final = "mount --make-rprivate / && mount -t cgroup2 none /sys/fs/cgroup"

AFTERWARDS: Final = """\
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} + 2>/dev/null
test ! -d "/sys/fs/cgroup/$1"
"""
"""The manager's cgroup outlives it until somebody removes it; the kernel needs a moment to see that it is empty."""


def may_run_one() -> bool:
    """Whether this machine has a manager and lets us give it what it needs."""
    if sys.platform != "linux" or os.geteuid() != 0 or not Path(MANAGER).exists():
        return False
    trial = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", TRIAL]
    return subprocess.run(trial, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


@dataclass
class UserManager:
    """The running manager."""

    home: Path
    pid: int
    """Of its first process, as we see it."""
    environment: Mapping[str, str]

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command where the manager is: the same processes, the same mounts."""
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", "--mount", "--pid", f"--wd={self.home}", *words],
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def cli(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command line there."""
        return self.run(sys.executable, "-P", "-m", "claude_failover", *words, **more)

    def systemctl(self, *words: str) -> str:
        """Ask the manager, which must not refuse."""
        done = self.run("systemctl", "--user", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def show(self, unit: str) -> dict[str, str]:
        """What the manager knows about *unit*."""
        return dict(line.split("=", 1) for line in self.systemctl("show", unit).splitlines() if "=" in line)


@contextlib.contextmanager
def user_manager(home: Path) -> Iterator[UserManager]:
    """Run one for *home*."""
    name = f"claude-failover-test-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="cf") as runtime, (home / "systemd.log").open("wb") as log:
        environment = {
            **clean_environment(home),
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "XDG_RUNTIME_DIR": runtime,
            "SYSTEMD_LOG_TARGET": "console",
        }
        process = subprocess.Popen(
            [
                "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                "sh", "-c", INSIDE, "manager", name, MANAGER,
            ],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home,
        )  # fmt: skip
        try:
            first = int(until(lambda: children(process.pid))[0])
            manager = UserManager(home, first, environment)
            try:
                until(lambda: manager.run("systemctl", "--user", "is-system-running").stdout.strip() == "running")
            except TimeoutError as error:
                raise AssertionError((home / "systemd.log").read_text("utf-8", "replace")) from error
            yield manager
        finally:
            process.kill()
            process.wait()
            sweep = ["unshare", "--mount", "sh", "-c", AFTERWARDS, "manager", name]
            until(lambda: subprocess.run(sweep, check=False, stdin=subprocess.DEVNULL).returncode == 0)


def children(pid: int) -> list[str]:
    """The processes that *pid* has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def until(look: Callable[[], T]) -> T:
    """Look again and again until there is something."""
    clock = SystemClock()
    ends = clock.now().monotonic + LIMIT
    while not (found := look()):
        if clock.now().monotonic > ends:
            raise TimeoutError
        pause(Seconds(0.05))
    return found
