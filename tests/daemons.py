"""The daemon as a process of its own, between simulators: started with its handshake, asked, and surely ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from claude_failover.clock import SystemClock
from claude_failover.config_paths import Paths, find_paths
from claude_failover.control import handshake
from claude_failover.control.client import ControlClient
from claude_failover.control.status import Status
from claude_failover.core.types import Seconds
from claude_failover.ledger_query import CostReport
from tests.control_fakes import clean_environment
from tests.fakes import aws_environment, claude_headers, messages_body
from tests.leak_search import consult

Answer = TypeVar("Answer")

PATIENCE = Seconds(40.0)
"""For a start, or anything else, on a machine that is busy with other tests: it only ends what hangs."""

BOTH = """\
listen: {{port: 0}}
backends:
  - {{name: claude, kind: anthropic, base_url: "{claude}"}}
  - {{name: bedrock, kind: bedrock, region: us-east-1, endpoint_url: "{bedrock}"}}
"""

ALONE = """\
listen: {{port: 0}}
backends:
  - {{name: claude, kind: anthropic, base_url: "{claude}"}}
"""


@dataclass
class Reply:
    """An HTTP answer, as far as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool
    """Whether it ended as HTTP says it must."""


@dataclass
class Home:
    """A place for one daemon after the other."""

    path: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> Paths:
        return find_paths(environ={"CLAUDE_FAILOVER_HOME": str(self.path / "cf")})

    @property
    def client(self) -> ControlClient:
        return ControlClient(self.paths.socket, timeout=PATIENCE)

    def configure(self, text: str) -> None:
        config = self.path / "cf/config.yaml"
        config.parent.mkdir(mode=0o700, exist_ok=True)
        config.write_text(text)
        config.chmod(0o600)

    def spawn(self, *words: str, code: str = "", **more: str) -> tuple[subprocess.Popen[bytes], int]:
        """Start it, or what *code* makes of it; answers the process and where to hear its first word."""
        reading, writing = os.pipe()
        program = ["-c", code, str(writing)] if code else ["-m", "claude_failover.daemon", "--ready-fd", str(writing)]
        with (self.path / "said").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-P", *program, *words],
                env=clean_environment(self.path, **self.environ, **more),
                cwd=self.path,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[writing],
            )
        os.close(writing)
        return process, reading

    async def word(self, *words: str, **more: str) -> handshake.Word:
        """Start it where it cannot come up; answers what it said of that."""
        process, reading = self.spawn(*words, **more)
        try:
            word = await asyncio.to_thread(handshake.hear, reading, SystemClock(), PATIENCE)
            assert word is not None, "it ended without a word"
            code = await asyncio.to_thread(process.wait, PATIENCE)
            assert code == word.exit_code
        finally:
            os.close(reading)
            end(process)
        return word

    @contextlib.asynccontextmanager
    async def running(self, **more: str) -> AsyncIterator[Running]:
        """A daemon that is ready; ended with a signal if the test has not."""
        process, reading = self.spawn(**more)
        try:
            word = await asyncio.to_thread(handshake.hear, reading, SystemClock(), PATIENCE)
            assert word is not None, "it ended without a word"
            assert word.ready, word.error
            yield Running(self, process, word)
            if process.poll() is None:
                await asyncio.to_thread(consult, word.address, self.paths)
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.wait, PATIENCE)
        finally:
            os.close(reading)
            end(process)

    def policy(self) -> Any:
        """What the state file knows of the policy."""
        return json.loads(self.paths.state.read_bytes())["policy"]

    def events(self) -> list[dict[str, Any]]:
        """What the log says."""
        return [json.loads(line) for line in self.paths.log.read_text().splitlines()]


@dataclass
class Running:
    """One daemon that runs."""

    home: Home
    process: subprocess.Popen[bytes]
    word: handshake.Word

    @property
    def port(self) -> int:
        return int(self.word.address.rpartition(":")[2])

    async def ask(self, question: Callable[[ControlClient], Answer]) -> Answer:
        """Ask over the control channel."""
        return await asyncio.to_thread(question, self.home.client)

    async def status(self) -> Status:
        return await self.ask(lambda client: client.status())

    async def until(self, holds: Callable[[Status], bool]) -> Status:
        """The first status of which that holds."""
        async with asyncio.timeout(PATIENCE):
            while not holds(status := await self.status()):  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.1)
        return status

    async def until_booked(self) -> None:
        """All that it has recorded by now is in the ledger's file: its writer answers questions after that.

        The first time a row, the second time that the money held for it is no longer held.
        """
        for _ in range(2):
            await self.ask(lambda client: client.costs({}, CostReport))

    async def until_saved(self, holds: Callable[[Any], bool]) -> None:
        """That holds of the policy that the state file knows."""
        async with asyncio.timeout(PATIENCE):
            while not (self.home.paths.state.exists() and holds(self.home.policy())):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def connect(
        self, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send one Messages request; what comes is the caller's to read."""
        body = messages_body() if body is None else body
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self._head("POST", "/v1/messages", {"content-length": str(len(body)), **(headers or {})}) + body)
        return reader, writer

    async def post(self, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one Messages request and read all of the answer."""
        async with asyncio.timeout(30):
            reader, writer = await self.connect(body, {"connection": "close", **(headers or {})})
            reply = await read_reply(reader)
            writer.close()
        return reply

    async def get(self, path: str) -> Reply:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(self._head("GET", path, {"connection": "close"}))
            reply = await read_reply(reader)
            writer.close()
        return reply

    def _head(self, method: str, path: str, more: dict[str, str]) -> bytes:
        key = self.home.paths.client_key.read_text().strip()
        lines = {**claude_headers(), "host": f"127.0.0.1:{self.port}", "x-claude-failover-key": key, **more}
        return "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in lines.items()), "", ""]).encode()

    async def ended(self) -> int:
        """Wait for its end; answers its exit code."""
        return await asyncio.to_thread(self.process.wait, 40)


def at(path: Path) -> Home:
    """A home whose daemon finds the simulated account's keys."""
    return Home(path, aws_environment())


def end(process: subprocess.Popen[bytes]) -> None:
    """Whatever happened: it must not be left behind."""
    if process.poll() is None:
        process.kill()
        process.wait(10)


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Read an answer up to the connection's end, and say whether it was whole."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    rest = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            rest += piece
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, complete = _unchunked(rest)
    else:
        body, complete = rest, len(rest) == int(headers.get("content-length", len(rest)))
    return Reply(int(head[0].split()[1]), headers, body, complete)


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16) if size else 0
        if length == 0:
            return body, size == b"0"
        body, data = body + data[:length], data[length + 2 :]
    return body, False
