"""A real daemon as a subprocess, with a home, a configuration and an environment of its own.

Nothing of the person who runs a drill reaches it: no HOME, no credential, no keyring, no proxy. It
listens on a free port, and says over the start handshake which one that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import claude_failover
from claude_failover.clock import Clock, SystemClock
from claude_failover.config_paths import Paths, find_paths
from claude_failover.control import handshake
from claude_failover.control.client import ControlClient
from claude_failover.core.types import Seconds
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.errors import DaemonFailed

PATIENCE: Final = Seconds(30.0)
"""For one daemon to get ready while others start beside it; alone it needs about half a second."""

POLL: Final = 0.02
"""Seconds between two looks whether it has ended."""

INHERITED: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""What a program needs to run at all."""

CREDENTIALS: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""The simulated account's; nothing else is to be found."""


def settings(claude: str, bedrock: str, over: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A configuration that knows two backends by their URLs; *over* wins, key by key."""
    plain: dict[str, Any] = {
        "listen": {"port": 0},
        "backends": [
            {"name": "claude", "kind": "anthropic", "base_url": claude},
            {"name": "bedrock", "kind": "bedrock", "region": "us-east-1", "endpoint_url": bedrock},
        ],
        "alerts": {"desktop": False},
        "credentials": {"sources": ["env"]},
        "cost_tracking": {"timezone": "UTC"},
    }
    return merged(plain, over or {})


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two trees of settings as one; lists are replaced, not joined."""
    out = dict(below)
    for key, value in above.items():
        inner = out.get(key)
        out[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return out


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Everything that the daemon is told about the world."""
    found = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        importlib.metadata.version("claude-failover")
    except importlib.metadata.PackageNotFoundError:
        found["PYTHONPATH"] = str(Path(claude_failover.__file__).parent.parent)
    return {
        **found,
        "HOME": str(home),
        "CLAUDE_FAILOVER_HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / "no-claude"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        **CREDENTIALS,
        **(more or {}),
    }


class DaemonProcess:
    """``python -m claude_failover.daemon``, started and stopped; ``async with`` does both.

    Args:
        home: An empty directory that is its own. Short: the control socket lies in it.
        config: What ``config.yaml`` says (JSON is YAML).
        more: Variables over :func:`environment`.
        arguments: More for its command line.
        clock: For the wait at the start.
    """

    def __init__(
        self,
        home: Path,
        config: Mapping[str, Any],
        *,
        more: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        clock: Clock | None = None,
    ) -> None:
        self.home = home
        self.config = config
        self._more = more
        self._arguments = arguments
        self._clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""
        """The data port's URL, after the start."""
        self.key = ""
        """What a client must show there."""

    @property
    def paths(self) -> Paths:
        """Where its files are."""
        return find_paths(environ={"CLAUDE_FAILOVER_HOME": str(self.home)})

    @property
    def pid(self) -> int:
        """Of the process; it runs."""
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def control(self) -> ControlClient:
        """A client of its control channel; blocking."""
        return ControlClient(self.paths.socket, clock=self._clock)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            FailoverError: What it said; ``DaemonFailed`` if it said nothing.
        """
        word = await asyncio.to_thread(self._launch)
        self.address = word.address
        with contextlib.suppress(FileNotFoundError):  # `listen.client_key: off`
            self.key = self.paths.client_key.read_text("utf-8").strip()

    def _launch(self) -> handshake.Word:
        self.home.mkdir(0o700, parents=True, exist_ok=True)
        path = self.home / "config.yaml"
        path.touch(0o600)
        path.write_text(json.dumps(self.config), "utf-8")
        reading, writing = os.pipe()
        boot = self.home / "boot.log"
        try:
            with boot.open("ab") as said:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-P", "-m", "claude_failover.daemon",
                     "--ready-fd", str(writing), "--config", str(path), *self._arguments],
                    stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=(writing,),
                    env=environment(self.home, self._more), start_new_session=True,
                )  # fmt: skip
            os.close(writing)
            writing = -1
            word = handshake.hear(reading, self._clock, PATIENCE)
        finally:
            os.close(reading)
            if writing >= 0:
                os.close(writing)
        if word is None:
            raise DaemonFailed(f"the daemon ended before it was ready; it said: {boot.read_text('utf-8', 'replace')}")
        if not word.ready:
            raise handshake.error_of(word)
        return word

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process is not None:
            self._process.send_signal(number)

    async def wait(self, patience: float = 40.0) -> int:
        """Wait for its end; returns the exit code.

        Raises:
            TimeoutError: It goes on.
        """
        assert self._process is not None, "it was started"
        # Looked at, not awaited: asyncio's watcher and Popen's own poll() race for the same exit status.
        async with asyncio.timeout(patience):
            while (code := self._process.poll()) is None:  # noqa: ASYNC110
                await asyncio.sleep(POLL)
        return code

    async def stop(self, patience: float = 40.0) -> int:
        """Let it drain and end; it is killed if it does not. Returns the exit code."""
        self.signal(signal.SIGTERM)
        try:
            return await self.wait(patience)
        except TimeoutError:
            await self.kill()
            raise

    async def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            await self.wait()
