"""Processes of the benchmark: pinned to one core, started when they are ready, ended by pid."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROXY_CORE = 0
LOAD_CORE = 1
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


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


def _cpu(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK
    return 0.0


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


@contextlib.contextmanager
def process(command: Sequence[str], core: int, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start *command* on a core and wait for its line ``ready``; end it afterwards."""
    pinned = ["taskset", "-c", str(core), *command] if shutil.which("taskset") else list(command)
    child = subprocess.Popen(pinned, stdout=subprocess.PIPE, text=True, env=env or dict(os.environ))
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


@contextlib.contextmanager
def upstream(kind: str, events: int = 50, gap: float = 0.0) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, str(HERE / "upstream.py"), str(port), kind, str(events), str(gap)]
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


@contextlib.contextmanager
def nginx(to: int) -> Iterator[Running]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="cf-bench-") as home:
        configuration = Path(home) / "nginx.conf"
        configuration.write_text(NGINX.format(home=home, to=to, port=port), encoding="ascii")
        pinned = ["taskset", "-c", str(PROXY_CORE)] if shutil.which("taskset") else []
        nginx_binary = shutil.which("nginx") or "/usr/sbin/nginx"
        child = subprocess.Popen([*pinned, nginx_binary, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield Running(child.pid, port, {})
        finally:
            child.terminate()
            child.wait(10)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            probe.settimeout(0.1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        subprocess.run(["sleep", "0.05"], check=False)
    raise AssertionError(f"nobody listens on {port}")


CONFIG = """
listen: {{port: 0}}
backends:
  - {{name: claude, kind: anthropic, base_url: "http://127.0.0.1:{primary}"}}
  - {{name: bedrock, kind: bedrock, region: us-east-1, surface: {surface}, endpoint_url: "http://127.0.0.1:{bedrock}"}}
rate_limit_fallback: {{detection_threshold: 1000000}}
cost_tracking: {{daily_limit: null, alert_threshold: null}}
alerts: {{desktop: false}}
logging: {{level: info}}
"""
"""``detection_threshold`` keeps the cooldown from starting: every request asks the primary and fails over."""


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
def daemon(primary: int, bedrock: int, surface: str = "messages") -> Iterator[Running]:
    """Our daemon, as ``start`` runs it."""
    with tempfile.TemporaryDirectory(prefix="cf-bench-") as folder:
        home = Path(folder)
        (home / "cf").mkdir(mode=0o700)
        config = home / "cf" / "config.yaml"
        config.write_text(CONFIG.format(primary=primary, bedrock=bedrock, surface=surface), encoding="ascii")
        config.chmod(0o600)
        reading, writing = os.pipe()
        pinned = ["taskset", "-c", str(PROXY_CORE)] if shutil.which("taskset") else []
        command = [*pinned, sys.executable, "-m", "claude_failover.daemon", "--ready-fd", str(writing), "--debuggable"]
        child = subprocess.Popen(command, env=environment(home), pass_fds=[writing])
        os.close(writing)
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
