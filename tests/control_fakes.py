"""A daemon that only answers on the control channel, with a script for what it says; and the CLI as a subprocess.

Run as a module (``python -m tests.control_fakes``) it is a process of its own that speaks the
start handshake, holds the lock and answers ``/healthz`` on a port: what ``start`` needs to see.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiohttp import web
from msgspec import structs

from claude_failover import __version__
from claude_failover.cli.app import main as main_here
from claude_failover.config_paths import find_paths
from claude_failover.control import api, claim, handshake
from claude_failover.control.feed import Feed
from claude_failover.control.server import ControlServer, Peer
from claude_failover.control.status import (
    BackendStatus,
    Current,
    Health,
    Latency,
    Override,
    PlanWindow,
    Spend,
    State,
    Status,
    Totals,
)
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Epoch,
    ExchangeRecord,
    Kind,
    Outcome,
    Reason,
    Seconds,
    Step,
    Surface,
    Usage,
)
from claude_failover.errors import ConfigError, FailoverError, UsageError
from tests.leak_search import current

NOW = 1_795_000_000.0
"""2026-11-18 11:06:40 UTC."""


def sample_status(**changes: object) -> Status:
    """A daemon that has failed over to Bedrock because the five-hour window is used up."""
    status = Status(
        version=__version__,
        pid=4711,
        now=NOW,
        started=NOW - 3 * 3600,
        listen="http://127.0.0.1:8484",
        health=Health.FAILED_OVER,
        current=Current("bedrock", "plan_limit", "the 5-hour window is used up", NOW + 4320),
        backends=(
            BackendStatus(
                "claude",
                "anthropic",
                State.COOLDOWN,
                NOW + 4320,
                "the 5-hour window is used up",
                where="https://api.anthropic.com",
                attempts=120,
                failures=1,
                ttft=Latency(119, 0.8, 2.1, 3.04),
                duration=Latency(119, 9.5, 31.0, 48.25),
            ),
            BackendStatus("bedrock", "bedrock", paid=True, where="us-east-1, global", credential="profile work"),
        ),
        plan=(
            PlanWindow("5h", 1.0, "rejected", NOW + 4320, "claude", NOW - 60),
            PlanWindow("7d", 0.34, "allowed", NOW + 3 * 86400, "claude", NOW - 60),
        ),
        spend=Spend(today_usd=1.82, reserved_usd=0.41, limit_usd=20.0, alert_usd=16.0, resets=NOW + 36800),
        streams=2,
        totals=Totals(134, 14, 0),
        config_file="/home/me/.config/claude-failover/config.yaml",
    )
    return replace(status, **changes)  # type: ignore[arg-type]  # the tests name real fields


def sample_story(exchange: str = "cfr_1") -> ExchangeRecord:
    """A request that met the limit and was answered by Bedrock."""
    limited = AttemptRecord(
        exchange=exchange,
        attempt=0,
        backend=BackendName("claude"),
        kind=Kind.ANTHROPIC,
        model="claude-opus-5",
        upstream_model="claude-opus-5",
        surface=None,
        reason=Reason.PRIMARY,
        outcome=Outcome.PLAN_LIMIT,
        detail="the 5-hour window is used up",
        status=429,
        started=Epoch(NOW),
        ttfb=Seconds(0.2),
        ttft=None,
        duration=Seconds(0.21),
    )
    served = structs.replace(
        limited,
        attempt=1,
        backend=BackendName("bedrock"),
        kind=Kind.BEDROCK,
        surface=Surface.MESSAGES,
        reason=Reason.PLAN_LIMIT,
        outcome=Outcome.SUCCESS,
        detail="",
        status=200,
        ttft=Seconds(1.1),
        duration=Seconds(4.0),
        usage=Usage(input=900, output=250, cache_read=20_000),
        paid=True,
        cost_nusd=21_500_000,
        committed=True,
    )
    return ExchangeRecord(
        exchange=exchange,
        started=Epoch(NOW),
        model="claude-opus-5",
        streaming=True,
        outcome="served",
        status=200,
        backend=BackendName("bedrock"),
        reason=Reason.PLAN_LIMIT,
        attempts=(limited, served),
        steps=(
            Step(Seconds(0.0), "opened", "claude"),
            Step(Seconds(0.21), "failed over", "bedrock", "the 5-hour window is used up"),
            Step(Seconds(1.31), "committed", "bedrock"),
        ),
        duration=Seconds(4.22),
        overhead=Seconds(0.004),
        ttft=Seconds(1.31),
        session="s-1",
        agent=None,
        request_class=None,
        failed_over=True,
    )


@dataclass(frozen=True)
class Costs:
    """Any dataclass of the ledger's."""

    today_usd: float
    asked: Mapping[str, str]


@dataclass
class FakeDaemon:
    """Says what it was told to say, and remembers what it was asked."""

    now: Status = field(default_factory=sample_status)
    feed: Feed = field(default_factory=Feed)
    fails: FailoverError | Exception | None = None
    """Raised by every command but ping."""
    asked: list[object] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def ping(self) -> api.Ping:
        return api.Ping(self.now.version, os.getpid(), self.now.listen, self.now.started, streams=self.now.streams)

    def status(self) -> Status:
        if self.fails is not None:
            raise self.fails
        return self.now

    async def stop(self, request: api.StopRequest, peer: Peer) -> api.StopResult:
        self.asked.append((request, peer.uid))
        self.stopping.set()
        return api.StopResult(self.now.streams, os.getpid())

    async def reload(self, peer: Peer) -> api.ReloadResult:
        if self.fails is not None:
            raise self.fails
        self.asked.append(("reload", peer.uid))
        return api.ReloadResult(("cost_tracking.daily_limit", "listen.port"), ("listen.port",), ("claude",))

    async def force(self, request: api.ForceRequest, peer: Peer) -> api.ForceResult:
        self.asked.append((request, peer.uid))
        if request.backend is None:
            override = None
        elif request.backend not in {one.name for one in self.now.backends}:
            raise UsageError(f"no backend {request.backend!r}", hint="one of claude, bedrock")
        else:
            until = None if request.for_s is None else self.now.now + request.for_s
            override = Override(request.backend, request.model, until)
        self.now = replace(self.now, override=override)
        self.feed.publish("override.set", {"backend": request.backend}, Epoch(self.now.now))
        return api.ForceResult(override)

    async def explain(self, exchange: str | None) -> api.Explain | None:
        return api.Explain(sample_story(exchange or "cfr_last")) if exchange != "cfr_unknown" else None

    async def costs(self, query: Mapping[str, str]) -> object:
        return Costs(1.82, query)

    async def models(self, *, refresh: bool) -> api.Models:
        self.asked.append(("models", refresh))
        return api.Models(
            (
                api.ModelEntry(
                    "claude-opus-5", "bedrock", "global.anthropic.claude-opus-5", ("messages", "invoke"), "table", 5, 25
                ),
                api.ModelEntry("claude-new-9", "bedrock", "", note="no rule"),
            ),
            (api.Learned("bedrock", "claude-opus-5", "messages", "beta fast-mode-2026-02-01", NOW + 60),),
        )


@contextlib.asynccontextmanager
async def serving(daemon: FakeDaemon, path: Path, *, uid: int | None = None) -> AsyncIterator[ControlServer]:
    """Serve *daemon* in this loop."""
    server = ControlServer(daemon, path, uid=uid)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A place whose path is short enough for a socket: pytest's are not, on every machine."""
    with tempfile.TemporaryDirectory(prefix="cf") as name:
        yield Path(name).resolve()


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of this machine's: no login, no cloud, no XDG."""
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "CLAUDE_FAILOVER_HOME": str(home / "cf"),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "COLUMNS": "100",
        **{
            name: value
            for name, value in os.environ.items()
            if name.startswith("COV_CORE") or name == "COVERAGE_PROCESS_CONFIG"
        },
        **more,
    }


def cli(*arguments: str, home: Path, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a clean environment."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "claude_failover", *arguments],
        env=clean_environment(home, **more),
        cwd=more.pop("PWD", None) or home,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50.0,
        check=False,
    )


async def cli_async(*arguments: str, home: Path, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """The same without holding up the loop that serves the fake daemon."""
    return await asyncio.to_thread(lambda: cli(*arguments, home=home, stdin=stdin, **more))


def here(*arguments: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process, with the environment and the streams that a process would have."""
    before = dict(os.environ)
    output, talk = io.StringIO(), io.StringIO()
    os.environ.clear()
    os.environ.update(clean_environment(home, **more))
    time.tzset()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(talk), contextlib.chdir(home):
            code = main_here(list(arguments))
    finally:
        os.environ.clear()
        os.environ.update(before)
        time.tzset()
    current.said(f"the output of {arguments}", output.getvalue() + talk.getvalue())
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), talk.getvalue())


async def here_async(*arguments: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The same without holding up the loop that serves the fake daemon."""
    return await asyncio.to_thread(lambda: here(*arguments, home=home, **more))


# --- as a process of its own ---------------------------------------------------------------------


async def _live(arguments: argparse.Namespace) -> None:
    paths = find_paths(arguments.config)
    paths.prepare()
    try:
        if arguments.refuse:
            raise ConfigError(arguments.refuse, hint="claude-failover config check")
        lock = claim.acquire(paths.lock)
    except FailoverError as error:
        handshake.tell_failed(arguments.ready_fd, error)
        sys.exit(error.exit_code)
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = web.Application()

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    paths.client_key.write_text("k" * 43 + "\n")
    daemon = FakeDaemon(sample_status(listen=address, pid=os.getpid()))
    async with serving(daemon, paths.socket):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, daemon.stopping.set)
        if not arguments.mute:
            handshake.tell_ready(arguments.ready_fd, pid=os.getpid(), address=address, notes=("claude: ready",))
        async with asyncio.timeout(60):  # a test that forgets it must not leave it behind
            await daemon.stopping.wait()
    await runner.cleanup()
    lock.release()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--config")
    parser.add_argument("--refuse")
    parser.add_argument("--crash")
    parser.add_argument("--mute", action="store_true")
    arguments = parser.parse_args()
    if arguments.crash:
        sys.stderr.write(arguments.crash + "\n")
        sys.exit(7)
    asyncio.run(_live(arguments))


if __name__ == "__main__":
    main()
