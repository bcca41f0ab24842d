"""Attacks on the data port of the real daemon, over raw sockets: malformed, ambiguous and misdirected requests.

Each carries a credential where it could be quoted. Every one must be refused, none may reach a backend, and no
answer and no log may repeat any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.claude_api import OAUTH_TOKEN, SimulatedClaude
from claude_failover.drill.process import DaemonProcess, settings
from claude_failover.drill.script import Refusal, Step
from tests.control_fakes import short_directory
from tests.fakes import messages_body, simulated_bedrock, simulated_claude

MARK = "sk-ant-oat01-worth-nothing-" + "Qzj7Vw" * 8
"""A credential of no one."""
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Scene:
    """The daemon between two simulated backends."""

    daemon: DaemonProcess
    claude: SimulatedClaude
    bedrock: SimulatedBedrock

    @property
    def port(self) -> int:
        return int(self.daemon.address.rpartition(":")[2])

    def written(self) -> str:
        """All that the daemon has written to disk as text, and what it said."""
        files = [path for path in self.daemon.home.rglob("*") if path.is_file() and path.suffix != ".db"]
        return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)


@contextlib.asynccontextmanager
async def attacked(*steps: Step, **more: str) -> AsyncIterator[Scene]:
    with short_directory() as home:
        async with (
            simulated_claude(*steps, allow_violations=True) as claude,
            simulated_bedrock() as bedrock,
            DaemonProcess(Path(home), settings(claude.url, bedrock.url), more=more) as daemon,
        ):
            yield Scene(daemon, claude, bedrock)


async def say(port: int, data: bytes, patience: float = PATIENCE) -> bytes:
    """Send bytes; read to the end of the connection, or of patience."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    try:
        writer.write(data)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(patience):
                while piece := await reader.read(65536):
                    heard += piece
    finally:
        writer.close()
    return heard


def head(*lines: str, first: str = "POST /v1/messages HTTP/1.1", body: bytes = b"") -> bytes:
    return "\r\n".join((first, *lines, "", "")).encode("latin-1") + body


def smuggled(key: str, port: int) -> dict[str, bytes]:
    """Requests on whose end two readers could disagree, or that no reader should take."""
    ours = (f"Host: 127.0.0.1:{port}", f"x-claude-failover-key: {key}", f"Authorization: Bearer {MARK}")
    body = messages_body("Hello", stream=False)
    sized = f"Content-Length: {len(body)}"
    chunked = "Transfer-Encoding: chunked"
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return {
        "CL and TE": head(*ours, sized, chunked, body=chunks),
        "TE and CL": head(*ours, chunked, "Content-Length: 4", body=chunks),
        "two different CL": head(*ours, sized, "Content-Length: 0", body=body),
        "the same CL twice": head(*ours, sized, sized, body=body),
        "CL with a sign": head(*ours, f"Content-Length: +{len(body)}", body=body),
        "CL with a minus": head(*ours, "Content-Length: -1", body=body),
        "CL in hexadecimal": head(*ours, f"Content-Length: {hex(len(body))}", body=body),
        "CL with an underscore": head(*ours, "Content-Length: 1_0", body=body),
        "CL as a list": head(*ours, f"Content-Length: {len(body)}, {len(body)}", body=body),
        "unknown TE": head(*ours, "Transfer-Encoding: chunkedd", body=chunks),
        "TE that is not last": head(*ours, "Transfer-Encoding: chunked, gzip", body=chunks),
        "TE twice": head(*ours, chunked, "Transfer-Encoding: identity", body=chunks),
        "TE with a tab in its name": head(*ours, "Transfer-Encoding\t: chunked", body=chunks),
        "a space before the colon": head(*ours, f"x-api-key : {MARK}", sized, body=body),
        "a folded line": head(*ours, f"x-folded: a\r\n {MARK}", sized, body=body),
        "a bare LF": head(*ours, f"x-one: a\nx-api-key: {MARK}", sized, body=body),
        "a bare CR": head(*ours, f"x-one: a\rx-api-key: {MARK}", sized, body=body),
        "NUL in a value": head(*ours, f"x-api-key: {MARK}\0", sized, body=body),
        "NUL in a name": head(*ours, f"x-a\0pi-key: {MARK}", sized, body=body),
        "a name of no letters": head(*ours, f"(x): {MARK}", sized, body=body),
        "a line without a colon": head(*ours, MARK, sized, body=body),
        "an empty name": head(*ours, f": {MARK}", sized, body=body),
        "two Hosts": head(*ours, f"Host: 127.0.0.1:{port}", sized, body=body),
        "two Hosts that differ": head(*ours, f"Host: {MARK}.example", sized, body=body),
        "no Host": head(*ours[1:], sized, body=body),
        "an empty Host": head("Host:", *ours[1:], sized, body=body),
        "a huge header": head(*ours, f"x-huge: {MARK}{'a' * 70_000}", sized, body=body),
        "a thousand headers": head(*ours, *(f"x-{n}: {MARK}" for n in range(1000)), sized, body=body),
        "a huge target": head(*ours, sized, first=f"POST /v1/messages?{MARK}{'a' * 70_000} HTTP/1.1", body=body),
        "a bad chunk size": head(*ours, chunked, body=b"zz\r\n" + MARK.encode() + b"\r\n0\r\n\r\n"),
        "a chunk size with a sign": head(*ours, chunked, body=b"+5\r\nhello\r\n0\r\n\r\n"),
        "a chunk without its end": head(*ours, chunked, body=b"5\r\nhelloX" + MARK.encode() + b"\r\n0\r\n\r\n"),
        "a method of no letters": head(*ours, sized, first=f"{MARK}( /v1/messages HTTP/1.1", body=body),
        "an unknown version": head(*ours, sized, first=f"POST /{MARK} HTTP/3.7", body=body),
        "no version": head(*ours, sized, first=f"POST /{MARK}", body=body),
        "a target with a space": head(*ours, sized, first=f"POST /v1/mess ages{MARK} HTTP/1.1", body=body),
        "h2c by upgrade": head(
            *ours, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", sized,
            body=body,
        ),
        "h2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
        "a websocket": head(
            *ours, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version: 13", first="GET /v1/messages HTTP/1.1",
        ),
        "noise": bytes(range(256)) * 8,
    }  # fmt: skip


def judge(name: str, heard: bytes) -> None:
    """One refusal and nothing else; nothing of the request is in it."""
    assert MARK.encode() not in heard, name
    assert b"helloX" not in heard, name
    if heard:
        first, _, rest = heard.partition(b"\r\n")
        assert first.split()[1] in {b"400", b"403"}, (name, first)
        assert heard.count(b"server: claude-failover") == 1, (name, "more than one answer")
        lines, _, body = rest.partition(b"\r\n\r\n")
        assert json.loads(body)["type"] == "error", (name, body)
        assert b"python" not in lines.lower(), (name, lines)
        assert b"aiohttp" not in heard.lower(), (name, heard)
        assert b"access-control" not in lines.lower(), (name, lines)


@pytest.mark.parametrize("parser", [{}, {"AIOHTTP_NO_EXTENSIONS": "1"}], ids=["llhttp", "Python"])
async def test_nothing_ambiguous_or_malformed_is_served_or_quoted(parser: dict[str, str]) -> None:
    """With either of aiohttp's parsers; where no wheel fits, it is the one in Python."""
    async with attacked(**parser) as scene:
        corpus = smuggled(scene.daemon.key, scene.port)
        heard = await asyncio.gather(*(say(scene.port, data) for data in corpus.values()))
        for name, answer in zip(corpus, heard, strict=True):
            judge(name, answer)
        silent = [name for name, answer in zip(corpus, heard, strict=True) if not answer]
        assert silent == []
        assert (scene.claude.count, scene.bedrock.count) == (0, 0)
        good = await say(
            scene.port, head(f"Host: 127.0.0.1:{scene.port}", "Connection: close", first="HEAD / HTTP/1.1")
        )
        assert good.startswith(b"HTTP/1.1 200 ")
        await scene.daemon.stop()
        # Read at the end: the journal may write an event a moment after it happened.
        assert '"why":"malformed"' in scene.daemon.paths.audit.read_text("utf-8")
        written = scene.written()
    assert MARK not in written
    assert "code.crashed" not in written
    assert "library.logged" not in written
    assert "Traceback" not in written


async def test_raw_tls_on_the_port_is_refused_at_once() -> None:
    async with attacked() as scene:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        judge("a ClientHello", await say(scene.port, outgoing.read()))


def misdirected(key: str, port: int) -> dict[str, tuple[bytes, int]]:
    """Well-formed requests by the wrong asker or for the wrong place, and the status that each must get."""
    host, ours = f"Host: 127.0.0.1:{port}", f"x-claude-failover-key: {key}"
    mine = f"Authorization: Bearer {MARK}"
    messages, metrics = "POST /v1/messages HTTP/1.1", "GET /metrics HTTP/1.1"
    body = messages_body("Hello", stream=False)
    sized = f"Content-Length: {len(body)}"
    cases: dict[str, tuple[bytes, int]] = {}
    for name, first in (("messages", messages), ("metrics", metrics), ("health", "GET /healthz HTTP/1.1")):
        sends, carried = ((sized,), body) if first == messages else ((), b"")
        for what, line in {
            "a name that was rebound": "Host: attacker.example",
            "a name that was rebound, with our port": f"Host: attacker.example:{port}",
            "a name that begins like ours": f"Host: 127.0.0.1.attacker.example:{port}",
            "a name that ends like ours": f"Host: attacker.127.0.0.1:{port}",
            "a name behind ours": f"Host: 127.0.0.1:{port}@attacker.example",
            "localhost of somebody": f"Host: localhost.attacker.example:{port}",
            "another port": f"Host: 127.0.0.1:{port + 1}",
            "no port": "Host: 127.0.0.1",
            "all addresses": f"Host: 0.0.0.0:{port}",
            "our address as a number": f"Host: 2130706433:{port}",
        }.items():
            cases[f"{name}: {what}"] = (head(line, ours, mine, *sends, first=first, body=carried), 403)
        for what, line in {
            "a page's fetch": "Origin: https://attacker.example",
            "a page of a file": "Origin: null",
            "a page of our own address": f"Origin: http://127.0.0.1:{port}",
            "a link": "Referer: https://attacker.example/",
            "a navigation": "Sec-Fetch-Site: cross-site",
            "a sibling": "Sec-Fetch-Site: same-site",
            "a cookie": "Cookie: a=b",
        }.items():
            cases[f"{name}: {what}"] = (head(host, line, ours, mine, *sends, first=first, body=carried), 403)
    for name, first in (("messages", messages), ("metrics", metrics), ("another path", "GET /v1/models HTTP/1.1")):
        sends, carried = ((sized,), body) if first == messages else ((), b"")
        for what, lines in {
            "no key": (),
            "a wrong key": (f"x-claude-failover-key: {MARK}",),
            "half the key": (f"x-claude-failover-key: {key[:-1]}",),
            "the key and more": (f"x-claude-failover-key: {key}x",),
            "an empty key": ("x-claude-failover-key:",),
            "a key of other letters": ("x-claude-failover-key: \xe9\xff\x80",),
            "a wrong Bearer": (mine,),
            "the key as Basic": (f"Authorization: Basic {key}",),
            "a wrong x-api-key": (f"x-api-key: {MARK}",),
            "the key in a cookie's place": (f"x-claude-failover-keys: {key}",),
        }.items():
            cases[f"{name}: {what}"] = (head(host, *lines, *sends, first=first, body=carried), 401)
    cases["the key in the query"] = (
        head(host, first=f"GET /metrics?key={key}&x-claude-failover-key={key} HTTP/1.1"),
        401,
    )
    for target in (
        f"http://attacker.example/{MARK}", f"http://127.0.0.1:{port}/v1/messages", "//attacker.example/v1/messages",
        f"/v1/%2e%2e/{MARK}", "/v1/../metrics", "/v1/./messages", "/v1%2fmessages", "/v1/messages%00", "/v1/%5c../x",
        "/v1/messages/..", f"/\\attacker.example/{MARK}",
    ):  # fmt: skip
        cases[f"target {target}"] = (head(host, ours, mine, sized, first=f"POST {target} HTTP/1.1", body=body), 400)
    for target in (f"attacker.example:{port}", f"127.0.0.1:{port}", "/v1/messages"):
        cases[f"CONNECT {target}"] = (head(host, ours, mine, first=f"CONNECT {target} HTTP/1.1"), 400)
    cases["OPTIONS *"] = (head(host, ours, mine, first="OPTIONS * HTTP/1.1"), 400)
    cases["a preflight"] = (
        head(
            host, "Origin: https://attacker.example", "Access-Control-Request-Method: POST",
            first="OPTIONS /v1/messages HTTP/1.1",
        ),
        403,
    )  # fmt: skip
    return cases


async def test_nobody_but_the_owner_is_served() -> None:
    """Rebinding, web pages, missing and wrong keys, tricks with the target: on every path that is served."""
    async with attacked() as scene:
        cases = misdirected(scene.daemon.key, scene.port)
        heard = await asyncio.gather(*(say(scene.port, data) for data, _ in cases.values()))
        for (name, (_, status)), answer in zip(cases.items(), heard, strict=True):
            assert answer, name
            assert int(answer.split()[1]) == status, (name, answer)
            assert MARK.encode() not in answer, name
            assert scene.daemon.key.encode() not in answer, name
            assert b"attacker" not in answer, name
            assert b"access-control" not in answer.lower(), name
            assert b"\r\ncontent-security-policy: default-src 'none'\r\n" in answer, name
        assert (scene.claude.count, scene.bedrock.count) == (0, 0)
        await scene.daemon.stop()
        written = scene.written().replace(scene.daemon.paths.client_key.read_text("utf-8"), "")
        key = scene.daemon.key
    assert MARK not in written
    assert key not in written
    assert "attacker" not in written


@pytest.mark.parametrize("first", ["POST /v1/messages HTTP/1.1", "POST /v1/messages/batches HTTP/1.1"])
async def test_a_redirect_is_shown_and_not_followed(first: str) -> None:
    """A credential goes where the configuration says, not where an answer says."""
    async with simulated_claude() as elsewhere:
        away = Refusal(307, headers=(("location", f"{elsewhere.url}/v1/messages"),))
        async with attacked(away, away, away) as scene:
            body = messages_body("Hello", stream=False)
            lines = (
                f"Host: 127.0.0.1:{scene.port}", f"x-claude-failover-key: {scene.daemon.key}", "Connection: close",
                f"Authorization: Bearer {OAUTH_TOKEN}", f"Content-Length: {len(body)}",
            )  # fmt: skip
            heard = await say(scene.port, head(*lines, first=first, body=body))
            assert heard.startswith(b"HTTP/1.1 ")
            assert elsewhere.count == 0
            assert scene.claude.count >= 1


async def test_silence_shuts_nobody_out() -> None:
    """Two thousand connections that say nothing, and some that say one byte at a time: others are served as ever."""
    async with attacked() as scene:
        held = [await asyncio.open_connection("127.0.0.1", scene.port) for _ in range(2000)]
        for _, writer in held[::10]:
            writer.write(b"POST /v1/mess")
        loop = asyncio.get_running_loop()
        taken: list[float] = []
        for _ in range(20):
            began = loop.time()
            answer = await say(
                scene.port,
                head(f"Host: 127.0.0.1:{scene.port}", "Connection: close", first="GET /healthz HTTP/1.1"),
            )
            taken.append(loop.time() - began)
            assert answer.startswith(b"HTTP/1.1 200 ")
        # Not the slowest of all: this machine may have stood still for it.
        assert sorted(taken)[len(taken) // 2] < 1.0
        for _, writer in held:
            writer.close()
