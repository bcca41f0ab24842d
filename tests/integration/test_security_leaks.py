"""Marked secrets and marked words go through the real daemon in every way in which it can succeed or fail.

Afterwards everything that it wrote or said is searched for them, in every spelling: logs at their most talkative,
audit, ledger, state, metrics, ``status``, ``explain``, ``models``, the feed of events, the command line's own output,
standard output and error, the process's command line, and what clients were answered. What may
be seen are names: of models, of betas, of fields of a body that a backend does not take.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from claude_failover.control import api
from claude_failover.control.client import ControlClient
from claude_failover.drill import bedrock_faults, claude_faults, wire_faults
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.claude_api import SimulatedClaude
from claude_failover.drill.client import Turn
from claude_failover.drill.process import DaemonProcess, environment, settings
from claude_failover.drill.script import (
    Answer,
    Drop,
    Garbage,
    How,
    Refusal,
    Step,
    Text,
    cut,
    in_band,
    text,
    tool_call,
    unfinished,
)
from claude_failover.drill.sigv4 import Credential
from tests.control_fakes import short_directory

CLIENT_TOKEN = "sk-ant-oat01-" + "ClientsOwnMark7Kx" * 4
WRONG_TOKEN = "sk-ant-oat01-" + "RefusedMark5Rw" * 4
STORED_KEY = "sk-ant-api03-" + "StoredKeyMark9Qz" * 4
ACCESS_KEY = "ASIAMARKEDACCESSKEY7"
SECRET_KEY = "MarkedSecret+Of/An=AwsAccount7Wz/Tb+Lq42"
SESSION_TOKEN = "IQoJb3JpZ2luX2VjMarkedSession//////////" + "Vh3+Zk/" * 12
BEDROCK_KEY = "ABSK" + "MarkedBedrockApiKey8Gj+/" * 4
PLAIN = "marked-secret-without-any-known-shape-4Yt"
"""As a private gateway's token may look: no pattern knows it."""
PROMPT = "MarkedPromptWordsThatNobodyElseMayRead"
ANSWER = "MarkedAnswerWordsThatNobodyElseMayRead"

Ask = Callable[..., object]


def spellings(secret: str) -> set[bytes]:
    """Worked out apart from the program's own redaction."""
    data = secret.encode()
    found = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], secret.replace("/", "\\/")}
    found |= {data.hex(), data.hex().upper(), secret[::-1]}
    for pad in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Whatever stands before or after: only whole groups of three bytes are sure to look the same.
            whole = encode(data[pad : len(data) - (len(data) - pad) % 3])
            found.add(whole.decode())
    half = len(secret) // 2
    found |= {secret[:half], secret[half:]} if half >= 20 else set()
    return {spelling.encode() for spelling in found}


def leaked(where: str, data: bytes, secrets: Iterable[str]) -> list[str]:
    return [f"{secret[:16]}… in {where}" for secret in secrets if any(form in data for form in spellings(secret))]


@dataclass(frozen=True, slots=True)
class Scene:
    daemon: DaemonProcess
    claude: SimulatedClaude
    bedrock: SimulatedBedrock
    session: aiohttp.ClientSession

    async def ask(
        self, *steps: Step, at_bedrock: tuple[Step, ...] = (), headers: dict[str, str] | None = None,
        token: str = CLIENT_TOKEN, path: str = "/v1/messages?beta=true", body: bytes | None = None, stream: bool = True,
        patience: float = 20.0,
    ) -> bytes:  # fmt: skip
        """One request; what the client got, head and body."""
        self.claude.script.then(*steps)
        self.bedrock.script.then(*at_bedrock)
        lines = Turn(PROMPT).lines(self.daemon.key) | (headers or {})
        lines["authorization"] = f"Bearer {token}"
        lines = {name: value for name, value in lines.items() if value}
        data = Turn(PROMPT, stream=stream).body() if body is None else body
        heard = b""
        try:
            async with self.session.post(
                self.daemon.address + path, data=data, headers=lines, timeout=aiohttp.ClientTimeout(patience)
            ) as response:
                heard = repr((response.status, list(response.headers.items()))).encode()
                async for piece in response.content.iter_any():
                    heard += piece
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            heard += b" (cut)"
        self.claude.script = type(self.claude.script)(default=self.claude.script.default)
        self.bedrock.script = type(self.bedrock.script)(default=self.bedrock.script.default)
        return heard


@asynccontextmanager
async def scene(more: dict[str, str]) -> AsyncIterator[Scene]:
    claude = SimulatedClaude(strict=False, tokens=(CLIENT_TOKEN, PLAIN), keys=(STORED_KEY,))
    bedrock = SimulatedBedrock(
        strict=False, credentials=(Credential(ACCESS_KEY, SECRET_KEY, SESSION_TOKEN),), api_keys=(BEDROCK_KEY,)
    )
    claude.script.always(text(ANSWER))
    bedrock.script.always(text(ANSWER))
    over = {
        "logging": {"level": "debug"},
        "circuit_breaker": {"failure_threshold": 1000, "failure_rate": 1.0},
        "rate_limit_fallback": {"cooldown_time": 1},
        "timeouts": {"stream_idle": 1, "first_content": 1, "first_byte": 1, "total_attempts": 2},
        "stream": {"hold_max": 0.1},
        "retry_policy": {kind: {"retries": 0} for kind in ("RateLimitError", "OverloadedError", "ConnectionError")},
    }
    with short_directory() as home:
        more = {"ANTHROPIC_API_KEY": STORED_KEY, **more}
        async with (
            claude,
            bedrock,
            aiohttp.ClientSession() as session,
            DaemonProcess(Path(home), settings(claude.url, bedrock.url, over), more=more) as daemon,
        ):
            yield Scene(daemon, claude, bedrock, session)


ECHOES = f"you sent {PROMPT} with {CLIENT_TOKEN}, {SECRET_KEY} and {SESSION_TOKEN}"
"""An upstream that is careless with what it was sent. What it answers is the client's business, but no log's."""

AT_CLAUDE: tuple[Step, ...] = (
    text(ANSWER),
    tool_call("Bash", {"command": ANSWER}),
    claude_faults.overloaded(),
    claude_faults.server_error(),
    claude_faults.throttle(1),
    claude_faults.bare_limit(),
    claude_faults.client_error(400, ECHOES),
    Refusal(400, "invalid_request_error", ECHOES, details={"input": PROMPT}),
    Refusal(403, ECHOES, ECHOES),
    Refusal(413, body=ECHOES.encode(), content_type="text/plain"),
    Refusal(500, body=ECHOES.encode(), content_type=f"text/{PROMPT}"),
    Refusal(429, ECHOES, ECHOES, headers=(("retry-after", PROMPT), ("request-id", PROMPT * 9))),
    Refusal(529, message=ECHOES, headers=(("x-should-retry", CLIENT_TOKEN), ("anthropic-ratelimit-x", PROMPT))),
    Drop(),
    Drop(How.FIN),
    Garbage(ECHOES.encode() + b"\r\n\r\n"),
    Garbage(f"HTTP/1.1 200 OK\r\n{ECHOES} : x\r\n\r\n".encode()),
    Garbage(f"HTTP/1.1 200 OK\r\ncontent-length: {PROMPT}\r\n\r\n".encode()),
    Garbage(f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{PROMPT}\r\n".encode()),
    cut("start"),
    cut("delta", How.FIN),
    cut("content", How.RESET, 20),
    unfinished(),
    in_band(message=ECHOES),
    in_band("content", ECHOES, ECHOES),
    replace(text(ANSWER), wire=replace(text("").wire, corrupt="content")),
    wire_faults.garbage_body(ECHOES.encode()),
    wire_faults.bad_gzip(),
    wire_faults.long_length(),
)

AT_BEDROCK: tuple[Step, ...] = (
    text(ANSWER),
    Answer(blocks=(Text(ANSWER, 3),), wire=replace(text("").wire, corrupt="content")),
    bedrock_faults.expired_token(),
    bedrock_faults.bad_signature(),
    bedrock_faults.unrecognised(),
    bedrock_faults.access_denied(),
    bedrock_faults.aws(403, "AccessDeniedException", f"User: arn:aws:sts::1:assumed-role/x is not allowed: {ECHOES}"),
    bedrock_faults.aws(400, "ValidationException", ECHOES),
    bedrock_faults.aws(400, ECHOES, ECHOES),
    bedrock_faults.extra_input(PROMPT),
    bedrock_faults.unexpected_beta(PROMPT),
    bedrock_faults.invalid_beta(),
    bedrock_faults.model_side(ECHOES),
    bedrock_faults.html(),
    bedrock_faults.coral(),
    bedrock_faults.bad_checksum(),
    bedrock_faults.truncated_frame(),
    bedrock_faults.wrong_content_type(),
    bedrock_faults.error_frame(),
    Drop(),
    Garbage(ECHOES.encode() + b"\r\n\r\n"),
)


MALFORMED: tuple[bytes, ...] = (
    b"",
    PROMPT.encode(),
    b'{"model": "' + PROMPT.encode(),
    b"\xff" * 99,
    json.dumps([PROMPT]).encode(),
    json.dumps({"model": "m", "messages": PROMPT, "max_tokens": PROMPT, "stream": PROMPT}).encode(),
    json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": PROMPT, "content": [PROMPT]}]}).encode(),
    json.dumps(
        {"model": "claude-opus-5-5", "max_tokens": 9, "metadata": {"user_id": PROMPT}, "unheard_of": PROMPT,
         "messages": [{"role": "user", "content": {PROMPT: PROMPT}}]}
    ).encode(),
)  # fmt: skip


async def play(stage: Scene) -> list[bytes]:
    """Everything that can happen; what the daemon answered of its own."""
    for step in AT_CLAUDE:
        await stage.ask(step)
        await stage.ask(step, headers={"x-claude-failover-force": "claude"}, stream=False)
    for step in AT_BEDROCK:
        await stage.ask(headers={"x-claude-failover-force": "bedrock"}, at_bedrock=(step, step))
        await stage.ask(claude_faults.overloaded(), claude_faults.overloaded(), at_bedrock=(step,), stream=False)
    ours = [
        await stage.ask(headers={"x-claude-failover-force": PLAIN}),
        await stage.ask(headers={"x-claude-failover-force": WRONG_TOKEN}),
        await stage.ask(headers={"x-claude-failover-key": WRONG_TOKEN}),
        await stage.ask(headers={"x-claude-failover-key": PLAIN}, token=PLAIN),
        await stage.ask(headers={"x-claude-failover-session-budget": PLAIN}),
        await stage.ask(headers={"host": f"{PLAIN}.example"}),
        await stage.ask(headers={"origin": f"https://{PLAIN}.example"}),
        await stage.ask(path=f"/v1/%2e%2e/{PLAIN}"),
    ]
    await stage.ask(token=WRONG_TOKEN)
    await stage.ask(headers={"x-claude-failover-force": "claude"}, token=PLAIN)
    for body in MALFORMED:
        await stage.ask(body=body)
        await stage.ask(body=body, headers={"x-claude-failover-force": "bedrock"})
    await stage.ask(path=f"/v1/files/{PLAIN}?token={PLAIN}")
    await stage.ask(path=f"/v1/messages/count_tokens?key={CLIENT_TOKEN}")
    await stage.ask(headers={"user-agent": PROMPT, "x-app": CLIENT_TOKEN})
    # Only our key: then the stored credential goes out.
    await stage.ask(token=stage.daemon.key, headers={"x-claude-failover-key": ""})
    # Nobody can serve, and the client leaves while it is waited for.
    await stage.ask(claude_faults.throttle(30), at_bedrock=(bedrock_faults.throttled(),) * 3, patience=0.5)
    return ours


def consulted(control: ControlClient) -> Iterable[tuple[str, bytes]]:
    """Everything that the control channel tells."""
    yield "status", api.encode(control.status())
    yield "models", api.encode(control.models(refresh=True))
    control.reload()
    control.force(api.ForceRequest(backend="bedrock"))
    control.force(api.ForceRequest(backend=None))
    yield "explain", api.encode(control.explain())
    told = []
    for event in control.events(0):
        told.append(api.encode(event))
        if event.name == "override.set" and len(told) > 20:
            break
    yield "events", b"\n".join(told)
    exchanges = {json.loads(line)["fields"].get("exchange") for line in told} - {None}
    assert len(exchanges) > 20
    for exchange in sorted(exchanges):
        yield f"explain {exchange}", api.encode(control.explain(exchange))


SHOWN = (
    ("status", "--json"), ("status",), ("logs", "-n", "10000", "--level", "debug"), ("logs", "--audit", "--json"),
    ("costs", "--json"), ("explain", "last"), ("doctor", "--json"), ("token", "status"), ("config", "show"),
)  # fmt: skip


def commanded(home: Path) -> Iterable[tuple[str, bytes]]:
    """What the command line shows."""
    for words in SHOWN:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "claude_failover", *words],
            env=environment(home, {"ANTHROPIC_API_KEY": STORED_KEY}), capture_output=True, check=False, timeout=30,
        )  # fmt: skip
        yield " ".join(words), done.stdout + done.stderr


CREDENTIALS = {
    "signed": {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_SESSION_TOKEN": SESSION_TOKEN,
    },
    "with an API key": {"AWS_BEARER_TOKEN_BEDROCK": BEDROCK_KEY},
}  # fmt: skip


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
async def test_nothing_marked_is_left_anywhere(credentials: dict[str, str]) -> None:
    secrets = (CLIENT_TOKEN, WRONG_TOKEN, STORED_KEY, SECRET_KEY, SESSION_TOKEN, BEDROCK_KEY, PLAIN, PROMPT, ANSWER)
    async with scene(credentials) as stage:
        daemon = stage.daemon
        everything = (*secrets, daemon.key)
        found: list[str] = []
        for number, answer in enumerate(await play(stage)):
            found += leaked(f"answer {number} of our own", answer, everything)
        assert stage.claude.count > 60
        assert stage.bedrock.count > 30
        lines = {"x-claude-failover-key": daemon.key}
        async with stage.session.get(f"{daemon.address}/metrics", headers=lines) as response:
            assert response.status == 200
            found += leaked("metrics", await response.read(), everything)
        for where, data in await asyncio.to_thread(lambda: list(consulted(daemon.control))):
            found += leaked(where, data, everything)
        for where, data in await asyncio.to_thread(lambda: list(commanded(daemon.home))):
            found += leaked(where, data, everything)
        for name in ("cmdline", "comm", "status", "maps") if sys.platform == "linux" else ():
            found += leaked(name, await asyncio.to_thread(Path(f"/proc/{daemon.pid}", name).read_bytes), everything)
        assert await daemon.stop() == 0
        files = [path for path in daemon.home.rglob("*") if path.is_file()]
        assert {"daemon.log", "audit.log", "ledger.db", "state.json", "boot.log", "client.key"} <= {
            f.name for f in files
        }
        assert daemon.paths.log.stat().st_size > 20_000
        for path in files:
            marks = secrets if path == daemon.paths.client_key else everything
            found += leaked(str(path.relative_to(daemon.home)), path.read_bytes(), marks)
            # The test opened the daemon's standard output, and its configuration, for it.
            assert path.stat().st_mode & 0o077 == 0 or path.parent == daemon.home, path
        log = daemon.paths.log.read_text("utf-8")
        assert '"event":"code.crashed"' not in log
        assert '"event":"bypass.happened"' not in log
    assert sorted(set(found)) == []


def test_the_search_finds_what_it_is_to_find() -> None:
    """A net that catches nothing looks like a clean house."""
    padded = b"xy" + SECRET_KEY.encode() + b"z"
    for data in (
        SECRET_KEY.encode(), base64.b64encode(padded), base64.urlsafe_b64encode(padded), padded.hex().encode(),
        quote(SECRET_KEY, safe="").encode(), json.dumps({"a": SECRET_KEY}).encode(), SECRET_KEY[:20].encode(),
    ):  # fmt: skip
        assert leaked("here", data, [SECRET_KEY]) == [f"{SECRET_KEY[:16]}… in here"]
    assert leaked("here", b"nothing of the kind", [SECRET_KEY, PROMPT]) == []
