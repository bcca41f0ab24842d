"""The journal on a real disk: many threads, rotation, a disk that is full, and libraries that leak."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from claude_failover.clock import SystemClock
from claude_failover.events import Hub, Journal, Level, LiveSecrets, capture_libraries, emit, read_line, use
from claude_failover.events.libraries import PINNED
from tests.leak_search import marked

CANARY = "sk-ant-oat01-CANARY-worth-nothing-CANARY"


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(lambda: SystemClock().now().wall)
    before = use(hub)
    yield hub
    use(before)


def test_many_threads_write_whole_lines_across_rotations_and_lose_none(tmp_path: Path, hub: Hub) -> None:
    journal = Journal(
        tmp_path / "log", None, secrets=LiveSecrets(), max_bytes=100_000, backups=100, queue_size=1_000_000
    )
    hub.subscribe(journal)
    journal.start()

    def talk(who: int) -> None:
        for number in range(2_000):
            emit("exchange.ended", exchange=f"{who}-{number}", outcome="served")

    threads = [threading.Thread(target=talk, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close(30)
    files = list(tmp_path.iterdir())
    assert len(files) > 5
    assert all(file.stat().st_size <= 100_000 for file in files)
    found = [json.loads(line)["exchange"] for file in files for line in file.read_bytes().splitlines()]
    assert len(found) == len(set(found)) == 16_000
    assert journal.health().dropped == 0


def test_a_full_disk_loses_lines_counts_them_and_recovers(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes writes beyond 4 KB fail with EFBIG, as a plain user, without a disk of our own."""
    script = textwrap.dedent(
        """
        import json, resource, sys
        from pathlib import Path
        from claude_failover.core.types import Epoch
        from claude_failover.events import Event, Journal, Level, LiveSecrets

        path = Path(sys.argv[1])
        journal = Journal(path, None, secrets=LiveSecrets(), max_bytes=1_000_000, backups=1)
        journal.start()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        for number in range(200):
            journal(Event(number, Epoch(1.8e9), "exchange.ended", Level.INFO, {"n": number, "pad": "x" * 50}))
            journal.flush()
        full = journal.health()
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        journal(Event(999, Epoch(1.8e9), "exchange.ended", Level.INFO, {"n": 999}))
        journal.flush()
        journal.close()
        print(json.dumps([full.error, full.dropped, journal.health().error]))
        """
    )
    path = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-", str(path)],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        timeout=60,
    )
    assert done.stderr == ""
    error, dropped, recovered = json.loads(done.stdout)
    assert error == "File too large"
    assert recovered is None
    lines = path.read_bytes().splitlines()
    torn = [line for line in lines if read_line(line) is None]
    whole = [json.loads(line) for line in lines if read_line(line) is not None]
    assert len(torn) <= 1
    written = [line["n"] for line in whole if line["event"] == "exchange.ended"]
    assert written == [*range(len(written) - 1), 999]
    assert dropped == 200 - (len(written) - 1)
    assert [line["count"] for line in whole if line["event"] == "log.dropped"] == [dropped]


async def test_a_malformed_request_with_a_credential_leaves_none_in_the_log(tmp_path: Path, hub: Hub) -> None:
    """aiohttp quotes the offending header line at ERROR (reliability-security.md 0, finding 3)."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    capture_libraries()
    journal = Journal(tmp_path / "log", tmp_path / "audit", secrets=LiveSecrets(), level=Level.DEBUG)
    hub.subscribe(journal)
    journal.start()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.path)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        for header in (f"x-api-key: {CANARY}\0", f"Authorization : Bearer {CANARY}"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"POST /v1/messages HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
            await writer.drain()
            assert b" 400 " in await reader.readline()
            writer.close()
    finally:
        await runner.cleanup()
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        for name in PINNED:
            logging.getLogger(name).setLevel(logging.NOTSET)
    await asyncio.to_thread(journal.close)
    log = (tmp_path / "log").read_text()
    assert "aiohttp.server" in log
    assert "CANARY" not in log


def test_botocores_debug_log_never_reaches_ours(tmp_path: Path, hub: Hub) -> None:
    """At DEBUG botocore prints the session token, the body and the signature (reliability-security.md 2.6)."""
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from claude_failover.core.types import Epoch
        from claude_failover.events import Hub, Journal, Level, LiveSecrets, capture_libraries, use

        hub = Hub(lambda: Epoch(1.8e9))
        use(hub)
        journal = Journal(Path(sys.argv[1]), None, secrets=LiveSecrets(), level=Level.DEBUG)
        hub.subscribe(journal)
        journal.start()
        import botocore.auth, botocore.awsrequest, botocore.credentials
        capture_libraries(Level.DEBUG)
        frozen = botocore.credentials.Credentials("AKIAIOSFODNN7EXAMPLE", "worth/nothing", "worth-nothing")
        request = botocore.awsrequest.AWSRequest(method="POST", url="https://x/y", data=b"CANARY prompt")
        botocore.auth.SigV4Auth(frozen, "bedrock", "us-east-1").add_auth(request)
        journal.close()
        """
    )
    path = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-", str(path)],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        timeout=60,
    )
    written = path.read_text() if path.exists() else ""
    assert not marked((written + done.stdout + done.stderr).encode())
    assert "CANARY" not in written + done.stdout + done.stderr


def test_emitting_costs_microseconds_whatever_the_disk_does(tmp_path: Path, hub: Hub) -> None:
    """The folder does not exist, so every write fails; the caller must not notice."""
    journal = Journal(tmp_path / "gone" / "log", None, secrets=LiveSecrets(), queue_size=1000)
    hub.subscribe(journal)
    journal.start()
    clock = SystemClock()
    taken: list[float] = []
    for thousand in range(20):
        began = clock.now().monotonic
        for number in range(1000):
            emit("exchange.ended", exchange=f"{thousand}/{number}")
        taken.append(clock.now().monotonic - began)
    journal.close()
    # Not all of them together: this machine may have stood still once.
    assert sorted(taken)[10] < 0.2
    assert journal.health().dropped == 20_000
