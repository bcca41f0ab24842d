"""Other gateways, doing the same work: LiteLLM's proxy, Portkey's gateway, claude-code-router.

Each has an environment of its own below ``.tools/``, made on the first run, of one pinned version; it runs with no
variable of the person who measures, an empty home, on loopback, with its telemetry off. Those on Node.js have
loopback.cjs loaded first, so that they can neither listen nor reach further.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from claude_failover.clock import pause
from claude_failover.core.types import Seconds
from tests.benchmarks.bench_processes import (
    HERE,
    PROXY_CORE,
    Running,
    daemon,
    forwarder,
    free_port,
    pinned,
    upstream,
    wait_for,
)
from tests.benchmarks.contest import FORWARDER, HEALTHY
from tests.benchmarks.measure import Scale, load, ms, table

TOOLS: Final = HERE.parents[1] / ".tools"
MASTER_KEY: Final = "sk-bench-and-worth-nothing"
MODEL: Final = "claude-opus-5-5"
SAYS: Final = (
    "`make bench-peers`. The same requests to the same simulated Claude API, 80 KB bodies, 32 connections, nothing "
    "failing; each on one core, in one process, as its documentation starts it."
)


@dataclass(frozen=True)
class Peer:
    """One gateway."""

    name: str
    version: str
    install: Callable[[Path, str], None]
    command: Callable[[Path, Path, int, int], list[str]]
    """From its folder, its home, its port and the upstream's port; writes its configuration into its home."""
    headers: Callable[[int], Mapping[str, str]] = field(default=lambda _: {})
    """What its clients send, given the upstream's port."""
    environ: Mapping[str, str] = field(default_factory=dict)


def _pip(folder: Path, version: str) -> None:
    if not (folder / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    code = "from importlib.metadata import version; print(version('litellm'))"
    python = folder / "bin" / "python"
    there = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True)
    if there.stdout.strip() != version:
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"litellm[proxy]=={version}"], check=True)


def _npm(package: str) -> Callable[[Path, str], None]:
    def install(folder: Path, version: str) -> None:
        manifest = folder / "node_modules" / package / "package.json"
        if manifest.exists() and json.loads(manifest.read_text(encoding="utf-8"))["version"] == version:
            return
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        subprocess.run([*npm, "--prefix", str(folder), f"{package}@{version}"], check=True, cwd=folder)

    return install


def _litellm(folder: Path, home: Path, port: int, to: int) -> list[str]:
    deployment = {"model": f"anthropic/{MODEL}", "api_base": f"http://127.0.0.1:{to}", "api_key": "sk-ant-made-up"}
    settings = {
        "model_list": [{"model_name": MODEL, "litellm_params": deployment}],
        "litellm_settings": {"telemetry": False, "drop_params": True},
        "general_settings": {"master_key": MASTER_KEY},
    }
    config = home / "config.yaml"
    config.write_text(json.dumps(settings), encoding="utf-8")
    return [str(folder / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]


def _node() -> list[str]:
    return [shutil.which("node") or "node", "--require", str(HERE / "loopback.cjs")]


def _portkey(folder: Path, home: Path, port: int, to: int) -> list[str]:
    script = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return [*_node(), str(script), f"--port={port}", "--headless"]


def _portkey_headers(to: int) -> dict[str, str]:
    return {
        "x-portkey-provider": "anthropic",
        "x-portkey-custom-host": f"http://127.0.0.1:{to}/v1",
        "x-api-key": "sk-ant-made-up",
    }


def _router(folder: Path, home: Path, port: int, to: int) -> list[str]:
    provider = {
        "name": "api", "api_base_url": f"http://127.0.0.1:{to}/v1/messages", "api_key": "sk-ant-made-up",
        "models": [MODEL], "transformer": {"use": ["Anthropic"]},
    }  # fmt: skip
    settings = {
        "PORT": port, "HOST": "127.0.0.1", "LOG": False, "NON_INTERACTIVE_MODE": True,
        "Providers": [provider], "Router": {"default": f"api,{MODEL}"},
    }  # fmt: skip
    (home / ".claude-code-router").mkdir()
    (home / ".claude-code-router" / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    script = folder / "node_modules" / "@musistudio" / "claude-code-router" / "dist" / "cli.js"
    return [*_node(), str(script), "start"]


PEERS: Final = (
    Peer(
        "LiteLLM",
        "1.106.2",
        _pip,
        _litellm,
        lambda _: {"authorization": f"Bearer {MASTER_KEY}"},
        {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ),
    Peer("Portkey", "1.15.2", _npm("@portkey-ai/gateway"), _portkey, _portkey_headers),
    # 3.1.1 is newer, and depends on a package that the public registry does not have.
    Peer("claude-code-router", "2.0.0", _npm("@musistudio/claude-code-router"), _router),
)
SECONDS: Final = 4.0
"""Of a round, about."""

FOLDERS: Final = {"LiteLLM": "litellm", "Portkey": "portkey", "claude-code-router": "ccr"}


@contextlib.contextmanager
def running(peer: Peer, to: int) -> Iterator[Running]:
    """Start it, and wait until it listens."""
    folder = TOOLS / FOLDERS[peer.name]
    peer.install(folder, peer.version)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="cf-bench-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        environ = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": name, "TMPDIR": name, "NO_PROXY": "*",
            "AWS_EC2_METADATA_DISABLED": "true", "DO_NOT_TRACK": "1", "NODE_ENV": "production", **peer.environ,
        }  # fmt: skip
        command = [*pinned(PROXY_CORE), *peer.command(folder, home, port, to)]
        with (home / "out.log").open("wb") as log:
            child = subprocess.Popen(command, env=environ, cwd=name, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(port, child, seconds=60.0)
            pause(Seconds(2.0))
            yield Running(child.pid, port, dict(peer.headers(to)), home)
        except AssertionError as error:
            said = (home / "out.log").read_text(encoding="utf-8", errors="replace")[-400:].replace(name, "HOME")
            raise RuntimeError(f"{error}: {said}") from error
        finally:
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _rounds(target: Running, scale: Scale, requests: int, rounds: int) -> dict[str, Any]:
    """Streaming and not; what cannot do it says why."""
    found: dict[str, Any] = {}
    for stream, key in ((True, ""), (False, "whole_")):
        plan = {"stream": stream, "kind": 0 if stream else 1}
        warm = load(target, requests=20, connections=4, **plan)
        if warm["errors"]:
            found[f"{key}why"] = _nowhere(f"{warm['said']}: {warm['sample'][:120]} {_logged(target)}")
            continue
        # Some answer five requests a second: a round of them shall not take minutes.
        tried = load(target, requests=20, connections=4, **plan)
        count = scale.of(int(min(requests, max(32.0, SECONDS * tried["requests"] / tried["elapsed"]))))
        done = [load(target, requests=count, **plan) for _ in range(rounds)]
        found[f"{key}throughput"] = statistics.median(one["requests"] / one["elapsed"] for one in done)
        found[f"{key}cpu_ms"] = statistics.median(1000 * one["cpu"] / one["requests"] for one in done)
        found[f"{key}errors"] = sum(one["errors"] for one in done)
        found[f"{key}ttfb"] = {share: statistics.median(one["ttfb"][share] for one in done) for share in ("p50", "p99")}
    found["rss"] = target.rss()
    return found


def _nowhere(text: str) -> str:
    """Without the folders of this machine."""
    return re.sub(r"(?<!\w)(?:/[\w.@+-]+)+/", "…/", text)


def _logged(target: Running) -> str:
    """The first error in its output."""
    text = "" if target.home is None else (target.home / "out.log").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"\w*Error: .{1,80}", text)
    return f"({found[0]})" if found else ""


def beside(scale: Scale) -> dict[str, Any]:
    """One after the other: a gateway that idles may still have work."""
    found: dict[str, Any] = {}
    rounds = 1 if scale.quick else 3
    for peer in PEERS:
        print(f"{peer.name} {peer.version}", file=sys.stderr, flush=True)
        with ExitStack() as stack:
            api = stack.enter_context(upstream("sse,json"))
            try:
                target = stack.enter_context(running(peer, api))
                found[peer.name] = {"version": peer.version, **_rounds(target, scale, 600, rounds)}
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                found[peer.name] = {"version": peer.version, "why": _nowhere(str(error))[:300]}
    with ExitStack() as stack:
        api = stack.enter_context(upstream("sse,json"))
        found[FORWARDER] = _rounds(stack.enter_context(forwarder(api)), scale, 600, rounds)
        found[HEALTHY] = _rounds(stack.enter_context(daemon(api, api)), scale, 600, rounds)
    return found


def beside_table(data: dict[str, Any]) -> str:
    ours = data[HEALTHY]
    rows = []
    for name, one in data.items():
        cells = [f"{name} {one.get('version', '')}".rstrip()]
        for key in ("", "whole_"):
            if f"{key}throughput" in one:
                throughput, cpu = one[f"{key}throughput"], one[f"{key}cpu_ms"]
                cells += [
                    f"{throughput:.0f}", f"{ours[f'{key}throughput'] / throughput:.1f}x", f"{cpu:.2f}",
                    ms(one[f"{key}ttfb"], "p50"), str(one[f"{key}errors"]),
                ]  # fmt: skip
            else:
                why = " ".join(one.get(f"{key}why", one.get("why", "")).split()).replace("|", "/")
                cells += [f"cannot: {why}", "-", "-", "-", "-"]
        rows.append([*cells, f"{one['rss']:.0f}" if "rss" in one else "-"])
    half = ["requests/s", "ours is", "CPU per request, ms", "first byte p50, ms", "errors"]
    streaming = [f"streaming: {half[0]}", *half[1:]]
    return table(["", *streaming, f"not streaming: {half[0]}", *half[1:], "RSS, MB"], rows)
