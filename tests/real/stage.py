"""A stage for real clients: simulated Claude API and Bedrock on loopback, a real daemon between, a throw-away HOME.

Everything a client gets is made up, and everything that arrives on either side is read afterwards: nothing of
Anthropic's may have reached Bedrock, nothing of AWS's or of ours the Claude API (:func:`leaks`).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_failover.core.types import Surface, Usage
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.claude_api import API_KEY, OAUTH_TOKEN, SimulatedClaude
from claude_failover.drill.playback import Reply
from claude_failover.drill.script import Refusal, Seen, Step
from claude_failover.events.journal import LINGER
from tests.fakes import aws_environment
from tests.leak_search import Search
from tests.real.clients import ROOT, ClaudeCode

PATIENCE = 60.0
"""Seconds until a client that has not come to an end is killed."""

LOOPBACK_ONLY = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "IS_SANDBOX": "1",
    "LANG": "C.UTF-8",
}
"""No telemetry, no update; and leave to run tools without asking, for the only machine it can reach is this one."""


class WatchedBedrock(SimulatedBedrock):
    """Remembers what it refused, scripted or not."""

    def __init__(self, *steps: Step, region: str = "us-east-1", mantle: bool = False) -> None:
        super().__init__(*steps, region=region, mantle=mantle)
        self.refusals: list[Refusal] = []

    def _refuse(self, refusal: Refusal, request: Seen) -> Reply:
        self.refusals.append(refusal)
        return super()._refuse(refusal, request)


class WatchedClaude(SimulatedClaude):
    """Remembers what it refused, scripted or not."""

    def __init__(self, *steps: Step) -> None:
        super().__init__(*steps)
        self.refusals: list[Refusal] = []
        self.ended_at: list[float] = []
        """When the last byte of each answer was sent, on the event loop's clock."""

    def _refuse(self, refusal: Refusal, request: Seen) -> Reply:
        self.refusals.append(refusal)
        return super()._refuse(refusal, request)

    def _account(self, visible: Usage | None, complete: bool) -> None:
        if visible is not None:
            self.ended_at.append(asyncio.get_running_loop().time())
        super()._account(visible, complete)


@dataclass(frozen=True, slots=True)
class Told:
    """What a run of claude left on the terminal."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def result(self) -> dict[str, Any]:
        """The final object of ``--output-format json`` or ``stream-json``."""
        for line in reversed(self.stdout.strip().splitlines()):
            if line.startswith("{"):
                found = json.loads(line)
                assert isinstance(found, dict)
                return found
        raise AssertionError(f"no result; exit {self.exit_code}\nstdout: {self.stdout}\nstderr: {self.stderr}")

    @property
    def text(self) -> str:
        """The answer that the user reads."""
        return str(self.result.get("result"))

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every object of ``--output-format stream-json``."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    def good(self) -> str:
        """The answer, after making sure that nothing about it was an error."""
        assert self.exit_code == 0, (self.stdout, self.stderr)
        assert self.result["is_error"] is False, self.stdout
        assert self.result["subtype"] == "success", self.stdout
        assert self.stderr == "", self.stderr
        return self.text


@dataclass(slots=True)
class Stage:
    """The scene: who plays, where they are, and what was said."""

    home: Path
    claude: WatchedClaude
    bedrock: WatchedBedrock
    address: str = ""
    key: str = ""
    told: list[Told] = field(default_factory=list)
    forgiven: bool = False
    """The client talks to Bedrock by itself here, under its own name: what arrives there is not our doing."""

    # --- clients ---

    @property
    def base_environment(self) -> dict[str, str]:
        """What every client gets: a PATH, the throw-away HOME, and no way out."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            **LOOPBACK_ONLY,
        }

    def environment(self, *, oauth: bool = False, **more: str) -> dict[str, str]:
        """As ``claude-failover env`` would set it, with a made-up credential of the user's own."""
        credential = {"CLAUDE_CODE_OAUTH_TOKEN": OAUTH_TOKEN} if oauth else {"ANTHROPIC_API_KEY": API_KEY}
        return {
            **self.base_environment,
            "ANTHROPIC_BASE_URL": self.address,
            **({"ANTHROPIC_CUSTOM_HEADERS": f"x-claude-failover-key: {self.key}"} if self.key else {}),
            "ENABLE_TOOL_SEARCH": "true",
            "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1",
            "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
            "NO_PROXY": "127.0.0.1",
            "CLAUDE_FAILOVER": "1",
            **credential,
            **more,
        }

    async def ask(
        self,
        client: ClaudeCode,
        prompt: str,
        *words: str,
        oauth: bool = False,
        environment: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> Told:
        """Run ``claude -p`` through the daemon."""
        environ = self.environment(oauth=oauth) if environment is None else environment
        line = [str(client.program), "-p", prompt, "--output-format", "json", *words]
        return await self.run(line, environ, patience=patience)

    async def run(self, line: Sequence[str], environment: Mapping[str, str], *, patience: float = PATIENCE) -> Told:
        """Run a program in the scene's working directory; killed, with all its children, when its time is over."""
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *line,
            env=dict(environment),
            cwd=self.home / "work",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(patience):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        told = Told(process.returncode or 0, out.decode(), err.decode(), time.perf_counter() - began)
        self.told.append(told)
        return told

    # --- what happened ---

    async def exchanges(self, at_least: int = 1) -> list[dict[str, Any]]:
        """The daemon's line about each request, in order.

        The journal lets a line wait for others (``LINGER``), so one more look is taken when that time is over.
        """
        log = self.home / "cf" / "log" / "daemon.log"

        def written() -> list[dict[str, Any]]:
            lines = map(json.loads, log.read_text("utf-8").splitlines() if log.exists() else ())
            return [line for line in lines if line["event"] == "exchange.ended"]

        async with asyncio.timeout(40):
            while len(written()) < at_least:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
            await asyncio.sleep(4 * LINGER)
        return written()

    def asked(self, server: SimulatedClaude | SimulatedBedrock) -> list[dict[str, Any]]:
        """The bodies of the requests for answers that reached *server*."""
        return [json.loads(seen.body) for seen in server.requests if seen.method == "POST"]


def leaks(stage: Stage) -> list[str]:
    """Everything on the wrong side of the scene; names, never values."""
    ours, aws = (stage.key, "x-claude-failover"), (ACCESS_KEY, SECRET_KEY, "AWS4-HMAC", "x-amz-", "bedrock-api-key")
    found = [*stage.claude.violations, *stage.bedrock.violations]
    for side, server, foreign in (
        ("Bedrock", stage.bedrock, (API_KEY, OAUTH_TOKEN, "sk-ant-", "x-stainless", "claude-cli", "x-app", *ours)),
        ("the Claude API", stage.claude, (*aws, *ours)),
    ):
        for seen in server.requests:
            head = "\n".join(f"{name}: {value}" for name, value in seen.headers).lower()
            found += [
                f"{mark[:12]}… in the head of request {seen.number} at {side}"
                for mark in filter(None, foreign)
                if mark.lower() in head or mark in seen.target
            ]
            # The text of a conversation may well speak of a header; a credential has no business in it.
            secrets = (API_KEY, OAUTH_TOKEN, ACCESS_KEY, SECRET_KEY, *filter(None, (stage.key,)))
            found += [
                f"{mark[:12]}… in the body of request {seen.number} at {side}"
                for mark in secrets
                if mark.encode() in seen.body
            ]
    return found


def written(stage: Stage) -> list[str]:
    """Every file of ours in which a made-up secret or the client key stands without belonging there."""
    search = Search()
    search.tree(stage.home / "cf")
    return search.taken()


def configuration(claude_url: str, bedrock_url: str, surface: Surface | str = "auto", more: str = "") -> str:
    """A config.yaml for the scene."""
    return (
        "listen: {port: 0}\n"
        "alerts: {desktop: false}\n"
        "backends:\n"
        f"  - {{name: claude, kind: anthropic, base_url: {claude_url}}}\n"
        f"  - {{name: bedrock, kind: bedrock, region: us-east-1, endpoint_url: {bedrock_url}, surface: {surface}}}\n"
        f"{more}\n"
    )


@asynccontextmanager
async def scene(
    *claude_steps: Step,
    bedrock: Sequence[Step] = (),
    surface: Surface | str = "auto",
    more: str = "",
    daemon: bool = True,
    mantle: bool = False,
) -> AsyncIterator[Stage]:
    """Raise the curtain; afterwards nothing is left running, and what leaked fails the test.

    Args:
        claude_steps: What the Claude API answers, one a request, then good answers.
        bedrock: The same for Bedrock.
        surface: Which API of Bedrock the daemon uses.
        more: More of config.yaml.
        daemon: Whether a daemon is started; ``claude-failover run`` starts its own.
        mantle: Be bedrock-mantle instead of bedrock-runtime.
    """
    home = Path(tempfile.mkdtemp(prefix="cf-real-"))
    try:
        async with AsyncExitStack() as stack:
            claude = await stack.enter_async_context(WatchedClaude(*claude_steps))
            aws = await stack.enter_async_context(WatchedBedrock(*bedrock, mantle=mantle))
            for name in ("cf", "work", "tmp"):
                (home / name).mkdir(mode=0o700)
            file = home / "cf" / "config.yaml"
            file.write_text(configuration(claude.url, aws.url, surface, more), "utf-8")
            file.chmod(0o600)
            stage = Stage(home, claude, aws)
            if daemon:
                await stack.enter_async_context(running(stage))
            yield stage
        assert stage.forgiven or leaks(stage) == []
        assert written(stage) == []
    finally:
        shutil.rmtree(home, ignore_errors=True)


def daemon_environment(stage: Stage) -> dict[str, str]:
    """What the daemon knows: where it lives, and a made-up AWS account."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(stage.home),
        "CLAUDE_FAILOVER_HOME": str(stage.home / "cf"),
        "PYTHONPATH": str(ROOT),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        **aws_environment(),
    }


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[None]:
    """The daemon, where a scene began without it."""
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "claude_failover.daemon", "--ready-fd", str(writing),
        env=daemon_environment(stage), pass_fds=[writing], cwd=stage.home,
    )  # fmt: skip
    os.close(writing)
    try:
        async with asyncio.timeout(40):
            line = await asyncio.to_thread(os.read, reading, 65_536)
        word = json.loads(line or b'{"ready": false}')
        assert word["ready"], (word, *(file.read_text("utf-8") for file in stage.home.glob("cf/log/*.log")))
        stage.address = word["address"]
        stage.key = (stage.home / "cf" / "state" / "client.key").read_text("ascii").strip()
        yield
        process.terminate()
        async with asyncio.timeout(40):
            assert await process.wait() == 0
    finally:
        os.close(reading)
        if process.returncode is None:
            process.kill()
            await process.wait()
