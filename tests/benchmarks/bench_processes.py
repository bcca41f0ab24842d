"""Processes of the benchmark: pinned to one core, started when they are ready, ended by pid."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_failover.clock import pause
from claude_failover.core.types import Seconds

HERE = Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, LOAD_CORE = CORES[0], CORES[-1]
"""The thing under test, and all else; the same one where there is only one."""
PAGE = os.sysconf("SC_PAGE_SIZE")


WANTED_FILES = 8192
"""A thousand streams take two each, at the forwarder too."""


def raise_file_limit() -> None:
    """For what is started from now on; the daemon would do it for itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < WANTED_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(WANTED_FILES, hard), hard))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    """A process that serves."""

    pid: int
    port: int
    headers: dict[str, str]
    home: Path | None = None

    def cpu(self) -> float:
        """Seconds of CPU so far, children of nginx included."""
        return sum(_cpu(pid) for pid in (self.pid, *_children(self.pid)))

    def rss(self) -> float:
        """MB."""
        text = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * PAGE / 1e6

    def peak(self) -> float:
        """The most that it ever had, MB."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        kilobytes = next(line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:"))
        return int(kilobytes) * 1024 / 1e6

    def descriptors(self) -> int:
        """Open files and sockets."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def alive(self) -> bool:
        """Whether it is still there, and not a zombie."""
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
            return state != "Z"
        return False


def _cpu(pid: int) -> float:
    """Of all threads, those that ended included.

    Source: clock_getcpuclockid(3); the bits are include/linux/posix-timers.h, CPUCLOCK_SCHED of the process.
    """
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def pinned(core: int) -> list[str]:
    """Words before a command that keep it on a core."""
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


@contextlib.contextmanager
def process(command: Sequence[str], core: int, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start *command* on a core and wait for its line ``ready``; end it afterwards."""
    child = subprocess.Popen([*pinned(core), *command], stdout=subprocess.PIPE, text=True, env=env or dict(os.environ))
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "ready", f"{command[0]} did not get ready"
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


@contextlib.contextmanager
def upstream(kind: str, events: int = 50, gap: float = 0.0, think: float = 0.0) -> Iterator[int]:
    """A simulated API; *gap* and *think* are its seconds between events and before the answer."""
    port = free_port()
    command = [sys.executable, str(HERE / "upstream.py"), str(port), kind, str(events), str(gap), str(think)]
    with process(command, LOAD_CORE):
        yield port


@contextlib.contextmanager
def forwarder(to: int) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, str(HERE / "forwarder.py"), f"http://127.0.0.1:{to}", str(port)]
    with process(command, PROXY_CORE) as child:
        yield Running(child.pid, port, {})


NGINX = """
daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_buffer_size 1m; client_max_body_size 64m; keepalive_requests 1000000;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  upstream api {{ server 127.0.0.1:{to}; keepalive 256; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


def nginx_program() -> str:
    """Where Debian has it, if it is not on the path of who measures."""
    return shutil.which("nginx") or "/usr/sbin/nginx"


@contextlib.contextmanager
def nginx(to: int) -> Iterator[Running]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="cf-bench-") as home:
        configuration = Path(home) / "nginx.conf"
        configuration.write_text(NGINX.format(home=home, to=to, port=port), encoding="ascii")
        child = subprocess.Popen(
            [*pinned(PROXY_CORE), nginx_program(), "-c", str(configuration)], stderr=subprocess.DEVNULL
        )
        try:
            wait_for(port, child)
            yield Running(child.pid, port, {})
        finally:
            child.terminate()
            child.wait(10)


def wait_for(port: int, child: subprocess.Popen[Any], seconds: float = 20.0) -> None:
    """Until somebody listens there."""
    for _ in range(int(seconds / 0.1)):
        with socket.socket() as probe:
            probe.settimeout(0.1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert child.poll() is None, f"it ended with {child.returncode}"
        pause(Seconds(0.1))
    raise AssertionError(f"nobody listens after {seconds:.0f} s")


CONFIG = """
listen: {{port: 0}}
backends:
  - {{name: claude, kind: anthropic, base_url: "http://127.0.0.1:{primary}"}}
  - {{name: bedrock, kind: bedrock, region: us-east-1, surface: {surface}, endpoint_url: "http://127.0.0.1:{bedrock}"}}
rate_limit_fallback: {{detection_threshold: {threshold}}}
cost_tracking: {{daily_limit: {dollars}, alert_threshold: null}}
alerts: {{desktop: false}}
logging: {{level: info}}
"""

NEVER = 1_000_000
"""As ``detection_threshold`` it keeps the cooldown from starting: every request asks the primary and fails over."""


def environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CLAUDE_FAILOVER_HOME": str(home / "cf"),
        "AWS_ACCESS_KEY_ID": "AKIAMADEUP0000000001",
        "AWS_SECRET_ACCESS_KEY": "made-up-for-the-benchmark",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }


@contextlib.contextmanager
def daemon(
    primary: int,
    bedrock: int,
    surface: str = "messages",
    *,
    threshold: int = NEVER,
    dollars: float | None = None,
    files: int | None = None,
) -> Iterator[Running]:
    """Our daemon, as ``start`` runs it; with a daily limit in *dollars*, and at most *files* descriptors."""
    with tempfile.TemporaryDirectory(prefix="cf-bench-") as folder:
        home = Path(folder)
        (home / "cf").mkdir(mode=0o700)
        config = home / "cf" / "config.yaml"
        limit = "null" if dollars is None else dollars
        text = CONFIG.format(primary=primary, bedrock=bedrock, surface=surface, threshold=threshold, dollars=limit)
        config.write_text(text, encoding="ascii")
        config.chmod(0o600)
        reading, writing = os.pipe()
        command = [
            *pinned(PROXY_CORE),
            sys.executable,
            "-m",
            "claude_failover.daemon",
            "--ready-fd",
            str(writing),
            "--debuggable",
        ]
        child = subprocess.Popen(command, env=environment(home), pass_fds=[writing])
        os.close(writing)
        if files is not None:
            # After its start: the daemon raises its own soft limit to the hard one.
            resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (files, files))
        try:
            with os.fdopen(reading) as pipe:
                word = json.loads(pipe.readline())
            assert word["ready"], word
            key = (home / "cf" / "state" / "client.key").read_text(encoding="ascii").strip()
            headers = {"x-claude-failover-key": key, "authorization": "Bearer sk-ant-oat01-made-up"}
            yield Running(child.pid, int(word["address"].rpartition(":")[2]), headers, home)
        finally:
            child.terminate()
            child.wait(40)
