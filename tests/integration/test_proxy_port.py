"""Everything but the exchange: what is relayed, to the byte, and what is answered here."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from claude_failover import events
from claude_failover.core.policy import Policy
from claude_failover.core.types import Outcome, Verdict
from claude_failover.drill import claude_faults
from claude_failover.drill.script import Drop
from claude_failover.proxy import port as proxy_port
from claude_failover.proxy.port import Generation
from tests.exchanges import ANSWER, MODEL, error
from tests.fakes import claude_headers, messages_body, simulated_bedrock, simulated_claude
from tests.served import KEY, KEYED, client, serving, settings_for
from tests.sockets import listening


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def body_of(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """A body by its framing: chunked ones come out whole."""
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if lines.get(b"transfer-encoding") == b"chunked":
        whole = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            whole += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return whole
    return await reader.readexactly(int(lines.get(b"content-length", b"0")))


class Mirror:
    """An upstream that keeps what came and answers with given bytes."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await head_of(reader)
            self.heads.append(head)
            self.bodies.append(await body_of(reader, head))
            writer.write(self.answers.pop(0))
            await writer.drain()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.asynccontextmanager
async def mirrored(*answers: bytes) -> AsyncIterator[tuple[Mirror, Callable[[bytes], Awaitable[bytes]], int]]:
    """A port before a mirror; gives the mirror, a way to send raw bytes and read to the end, and the port."""
    mirror = Mirror(*answers)
    async with listening(mirror) as upstream, serving(settings_for(f"http://127.0.0.1:{upstream}")) as served:

        async def say(data: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            try:
                async with asyncio.timeout(30):
                    writer.write(data)
                    return await reader.read()
            finally:
                writer.close()

        yield mirror, say, served.port


def raw(line: str, port: int, *lines: str, body: bytes = b"", close: bool = True) -> bytes:
    head = [line, f"Host: 127.0.0.1:{port}", f"x-claude-failover-key: {KEY}", *lines]
    if close:
        head.append("Connection: close")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def header_lines(head: bytes) -> list[bytes]:
    return head.split(b"\r\n")[1:-2]


async def test_any_request_reaches_the_primary_to_the_byte() -> None:
    answer = (
        b"HTTP/1.1 207 Whatever\r\nX-One: 1\r\nx-one: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Odd:  spaced  \r\n"
        b"Date: then\r\nServer: them\r\nContent-Type: text/odd\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n"
    )
    async with mirrored(answer) as (mirror, say, port):
        body = bytes(range(256))
        heard = await say(
            raw(
                "PUT /v1/files/%E2%82%AC%20a?b=%2F&c=+&c=2&d HTTP/1.1",
                port,
                "X-Two: b",
                "x-two: a",
                "Authorization: Bearer worth-nothing",
                "Accept-Encoding: gzip, br",
                "Content-Encoding: odd",
                f"Content-Length: {len(body)}",
                body=body,
            )
        )
    assert mirror.heads[0].startswith(b"PUT /v1/files/%E2%82%AC%20a?b=%2F&c=+&c=2&d HTTP/1.1\r\n")
    sent = header_lines(mirror.heads[0])
    for line in (b"X-Two: b", b"Authorization: Bearer worth-nothing", b"Content-Encoding: odd", b"Content-Length: 256"):
        assert line.lower() in [one.lower() for one in sent]
    assert [one.split(b": ")[1] for one in sent if one.lower().startswith(b"x-two")] == [b"b", b"a"]
    assert b"accept-encoding: identity" in sent
    assert not [one for one in sent if b"failover" in one.lower() or b"user-agent" in one.lower()]
    assert mirror.bodies[0] == body
    head, _, rest = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 207 ")
    lines = head.split(b"\r\n")[1:]
    assert [one.split(b": ", 1)[1] for one in lines if one.lower().startswith(b"x-one")] == [b"1", b"2"]
    for line in (b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"X-Odd: spaced", b"Date: then", b"Server: them"):
        assert line in lines
    assert b"Content-Type: text/odd" in lines
    assert rest == b"\x00\xff\r\n"


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
async def test_a_request_without_a_body_gets_none(method: str) -> None:
    async with mirrored(OK) as (mirror, say, port):
        await say(raw(f"{method} /v1/models HTTP/1.1", port))
    assert b"transfer-encoding" not in mirror.heads[0].lower()
    assert mirror.bodies == [b""]


async def test_a_post_of_nothing_stays_one() -> None:
    async with mirrored(OK) as (mirror, say, port):
        await say(raw("POST /v1/odd HTTP/1.1", port, "Content-Length: 0"))
    assert b"content-length: 0" in mirror.heads[0].lower()


async def test_a_chunked_request_stays_chunked() -> None:
    async with mirrored(OK) as (mirror, say, port):
        await say(
            raw("POST /v1/odd HTTP/1.1", port, "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        )
    assert mirror.bodies == [b"abcde"]
    assert b"content-length" not in mirror.heads[0].lower()


async def test_a_head_request_and_empty_statuses_have_no_body() -> None:
    answers = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: a/b\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
        b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
    )
    async with mirrored(*answers) as (_, say, port):
        head = await say(raw("HEAD /v1/models HTTP/1.1", port))
        empty = await say(raw("GET /v1/models HTTP/1.1", port))
        unchanged = await say(raw("GET /v1/models HTTP/1.1", port))
    assert b"Content-Length: 1234" in head
    assert head.endswith(b"\r\n\r\n")
    assert empty.startswith(b"HTTP/1.1 204")
    assert unchanged.startswith(b"HTTP/1.1 304")
    assert b'ETag: "x"' in unchanged
    for one in (head, empty, unchanged):
        assert one.count(b"\r\n\r\n") == 1
        assert b"chunked" not in one


async def test_an_answer_that_ends_with_its_connection_is_relayed_chunked() -> None:
    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

    async with (
        listening(upstream) as port,
        serving(settings_for(f"http://127.0.0.1:{port}")) as served,
        client() as web,
        web.get(f"{served.url}/v1/odd", headers=KEYED) as response,
    ):
        assert await response.read() == b"until the end"


async def test_an_answer_that_is_cut_is_cut_here_too() -> None:
    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    async with listening(upstream) as port, serving(settings_for(f"http://127.0.0.1:{port}")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(raw("GET /v1/odd HTTP/1.1", served.port, close=False))
        heard = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30):
                heard = await reader.read()
        writer.close()
        assert heard == b"" or heard.endswith(b"half")


async def test_both_ways_stream_at_once() -> None:
    """The answer begins before the request has ended."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await reader.readline(), 16):
            data = await reader.readexactly(size + 2)
            writer.write(f"{size:x}\r\n".encode() + data)
        await reader.readline()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async with listening(echo) as port, serving(settings_for(f"http://127.0.0.1:{port}")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        async with asyncio.timeout(30):
            writer.write(raw("POST /v1/odd HTTP/1.1", served.port, "Transfer-Encoding: chunked"))
            for word in (b"one", b"two", b"three"):
                writer.write(b"%x\r\n%b\r\n" % (len(word), word))
                if word == b"one":
                    assert (await head_of(reader)).startswith(b"HTTP/1.1 200")
                assert await reader.readuntil(word + b"\r\n")
            writer.write(b"0\r\n\r\n")
            assert await reader.read() == b"0\r\n\r\n"
        writer.close()


async def test_sixty_four_mebibytes_go_both_ways() -> None:
    size = 64 << 20

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        left = size
        while left:
            left -= len(await reader.read(min(left, 1 << 20)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 20):
            writer.write(bytes(1 << 20))
            await writer.drain()
        await reader.read()

    async def zeros() -> AsyncIterator[bytes]:
        for _ in range(size >> 20):
            yield bytes(1 << 20)

    async with (
        listening(upstream) as port,
        serving(settings_for(f"http://127.0.0.1:{port}")) as served,
        client() as web,
    ):
        lines = {**KEYED, "content-length": str(size)}
        async with web.post(f"{served.url}/v1/files", data=zeros(), headers=lines) as response:
            got = 0
            async for piece in response.content.iter_any():
                got += len(piece)
    assert got == size


async def test_a_client_that_takes_nothing_of_a_relayed_answer_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_port, "WRITE_STALL", 0.2)
    gone = asyncio.Event()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(bytes(1 << 20))
                await writer.drain()
        finally:
            gone.set()

    async with listening(upstream) as port, serving(settings_for(f"http://127.0.0.1:{port}")) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
        writer.write(raw("GET /v1/odd HTTP/1.1", served.port))
        async with asyncio.timeout(30):
            await gone.wait()
        writer.close()


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with mirrored(OK, OK) as (mirror, say, port):
        twice = raw("GET /v1/a HTTP/1.1", port, close=False) + raw("GET /v1/b HTTP/1.1", port)
        heard = await say(twice)
    assert heard.count(b"HTTP/1.1 200") == 2
    assert [head.split(b" ")[1] for head in mirror.heads] == [b"/v1/a", b"/v1/b"]


async def test_a_client_that_waits_for_leave_gets_it() -> None:
    async with mirrored(OK) as (mirror, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(30):
            writer.write(raw("POST /v1/odd HTTP/1.1", port, "Content-Length: 3", "Expect: 100-continue"))
            assert await head_of(reader) == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await head_of(reader)).startswith(b"HTTP/1.1 200")
        writer.close()
    assert mirror.bodies == [b"abc"]
    assert b"expect" not in mirror.heads[0].lower()


async def test_odd_bytes_in_headers_break_nothing() -> None:
    odd = b"HTTP/1.1 200 OK\r\nX-Odd: caf\xe9 \xc3\xa9\r\nContent-Length: 2\r\n\r\nok"
    async with mirrored(odd) as (_, say, port):
        heard = await say(raw("GET /v1/odd HTTP/1.1", port, "X-Mine: caf\xe9"))
    assert heard.startswith(b"HTTP/1.1 200")
    assert heard.endswith(b"ok")


# --- what is answered here ---------------------------------------------------------------------------


async def test_what_is_local_is_answered_without_anybody_else() -> None:
    async with serving(settings_for("http://127.0.0.1:9")) as served, client() as web:
        for path in ("/", "/api/hello"):
            async with web.head(f"{served.url}{path}") as response:
                assert response.status == 200
        async with web.get(f"{served.url}/healthz") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})
        async with web.get(f"{served.url}/metrics", headers=KEYED) as response:
            assert (response.status, (await response.json())["error"]["type"]) == (404, "not_found_error")
        served.world.metrics = lambda accept: ("text/plain", f"x 1\n{accept}".encode())
        async with web.get(f"{served.url}/metrics", headers=KEYED | {"accept": "a"}) as response:
            assert await response.read() == b"x 1\na"
        served.world.draining = True
        async with web.get(f"{served.url}/healthz") as response:
            assert response.status == 503
        async with web.post(f"{served.url}/v1/messages", data=b"{}", headers=KEYED) as response:
            assert (response.status, response.headers["retry-after"]) == (529, "1")
            assert "shutting down" in (await response.json())["error"]["message"]
        served.world.draining = False
        served.world.in_flight += 4096
        async with web.post(f"{served.url}/v1/messages", data=b"{}", headers=KEYED) as response:
            assert "too many requests" in (await response.json())["error"]["message"]
        served.world.in_flight -= 4096


async def test_without_the_key_nothing_is_served() -> None:
    async with serving(settings_for("http://127.0.0.1:9")) as served, client() as web:
        async with web.post(f"{served.url}/v1/messages", data=b"{}") as response:
            assert (response.status, (await response.json())["error"]["type"]) == (401, "authentication_error")
        assert served.world.refused == {"key": 1}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("x-claude-failover-force", "nobody", "names no configured backend; there are: claude"),
        ("x-claude-failover-budget", "much", "is not an amount of US dollars"),
    ],
)
async def test_our_own_headers_must_make_sense(name: str, value: str, words: str) -> None:
    async with serving(settings_for("http://127.0.0.1:9")) as served, client() as web:
        async with web.post(f"{served.url}/v1/messages", data=b"{}", headers=KEYED | {name: value}) as response:
            assert response.status == 400
            told = await response.json()
        assert told["type"] == "error"
        assert words in told["error"]["message"]
        assert served.notes.conclusions == []


async def test_a_body_that_is_too_large_is_refused_by_its_head_and_by_its_bytes() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield bytes(1 << 20)

    async with serving(settings_for("http://127.0.0.1:9")) as served, client() as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(raw("POST /v1/messages HTTP/1.1", served.port, f"Content-Length: {65 << 20}", close=False))
        async with asyncio.timeout(30):
            head = await head_of(reader)
        assert head.startswith(b"HTTP/1.1 413")
        writer.close()
        with contextlib.suppress(OSError):
            async with web.post(f"{served.url}/v1/messages", data=endless(), headers=KEYED) as response:
                assert response.status == 413
                assert (await response.json())["error"]["type"] == "request_too_large"


async def test_counting_tokens_is_the_primarys_while_it_can() -> None:
    counting = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}).encode()
    lines = KEYED | claude_headers()
    async with (
        simulated_claude(claude_faults.plan_limit()) as claude,
        simulated_bedrock() as bedrock,
        serving(settings_for(claude.url, bedrock.url)) as served,
        client() as web,
    ):
        path = f"{served.url}/v1/messages/count_tokens?beta=true"
        async with web.post(path, data=counting, headers=lines) as response:
            assert response.status == 200
            assert (await response.json())["input_tokens"] > 0
        async with web.post(f"{served.url}/v1/messages", data=messages_body(), headers=lines) as response:
            assert response.headers["x-claude-failover-backend"] == "bedrock"
            await response.read()
        before = claude.count
        async with web.post(path, data=counting, headers=lines) as response:
            assert response.status == 404
            assert (await response.json())["error"]["type"] == "not_found_error"
        assert claude.count == before


async def test_counting_tokens_with_nobody_there_is_not_found() -> None:
    async with serving(settings_for("http://127.0.0.1:9")) as served, client() as web:
        async with web.post(
            f"{served.url}/v1/messages/count_tokens", data=b"{}", headers=KEYED | claude_headers()
        ) as one:
            assert one.status == 404
        async with web.get(f"{served.url}/v1/models", headers=KEYED | claude_headers()) as other:
            assert other.status == 502
            assert "the Claude API cannot be reached" in (await other.json())["error"]["message"]


# --- what happens when our own code fails ----------------------------------------------------------------


class Fails:
    """A policy that breaks down at one question."""

    def __init__(self, policy: Policy, question: str) -> None:
        self._policy = policy
        self._question = question

    def __getattr__(self, name: str) -> object:
        if name == self._question:
            raise ZeroDivisionError("ours")
        return getattr(self._policy, name)


def with_failing(generation: Generation, question: str) -> Generation:
    policy: Any = Fails(generation.counsel.policy, question)
    return replace(generation, counsel=replace(generation.counsel, policy=policy))


@pytest.mark.parametrize("question", ["choose", "observe"])
async def test_a_failure_of_our_own_sends_the_original_to_the_primary(question: str) -> None:
    """Never worse than no proxy; counted, logged, written down."""
    async with simulated_claude() as claude, serving(settings_for(claude.url)) as served, client() as web:
        whole = served.world.current
        served.world.current = with_failing(whole, question)
        body, lines = messages_body(stream=False), KEYED | claude_headers()
        if question == "observe":
            claude.script.then(claude_faults.server_error())
        with events.capture() as heard:
            async with web.post(f"{served.url}/v1/messages?beta=true", data=body, headers=lines) as response:
                assert response.status == 200
                assert (await response.json())["type"] == "message"
        assert served.world.bypasses == 1
        assert len([one for one in heard if one.name == "bypass.happened"]) == 1
        assert claude.requests[-1].body == body
        assert claude.requests[-1].target == "/v1/messages?beta=true"
        assert claude.requests[-1].header("x-claude-failover-key") is None
        if question == "choose":
            assert [one.outcome for one in served.notes.conclusions] == ["bypassed"]
        else:
            # The broken policy cannot take its permit back; the test does it in its place.
            for flight in list(whole.counsel.policy._desk.flights.values()):
                whole.counsel.policy.observe(flight.permit, Verdict(Outcome.LOCAL), served.world.clock.now())


async def test_a_failure_of_our_own_after_the_commit_cuts_the_connection() -> None:
    async with simulated_claude() as claude, serving(settings_for(claude.url)) as served:
        served.world.current = with_failing(served.world.current, "committed")
        body = messages_body()
        lines = [f"{name}: {value}" for name, value in claude_headers().items()]
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(raw("POST /v1/messages HTTP/1.1", served.port, *lines, f"Content-Length: {len(body)}", body=body))
        heard = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30):
                heard = await reader.read()
        writer.close()
        assert b"0\r\n\r\n" not in heard
        await served.notes.until(1)
        assert served.notes.conclusions[0].outcome == "aborted"
        assert served.world.bypasses == 1
        assert claude.count == 1


async def test_a_compressed_request_goes_to_the_primary_untouched() -> None:
    packed = gzip.compress(messages_body())
    sse = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
    async with mirrored(sse + ANSWER) as (mirror, say, port):
        heard = await say(
            raw(
                "POST /v1/messages HTTP/1.1",
                port,
                "Content-Encoding: gzip",
                f"Content-Length: {len(packed)}",
                body=packed,
            )
        )
    assert mirror.bodies == [packed]
    assert b"content-encoding: gzip" in mirror.heads[0].lower()
    assert heard.startswith(b"HTTP/1.1 200")
    assert b"message_stop" in heard


async def test_a_large_request_is_sent_without_a_warning() -> None:
    body = messages_body("x" * (5 << 20))
    answer = error("invalid_request_error", "no")
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
    async with mirrored(head + answer) as (mirror, say, port):
        heard = await say(raw("POST /v1/messages HTTP/1.1", port, f"Content-Length: {len(body)}", body=body))
    assert mirror.bodies == [body]
    assert heard.endswith(answer)


async def test_names_of_requests_go_up_with_time_and_none_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_port, "NAMES", 4)
    names = []
    async with simulated_claude() as claude, serving(settings_for(claude.url)) as served, client() as web:
        before = served.world.clock.now().wall
        for _ in range(10):
            body, lines = messages_body(stream=False), KEYED | claude_headers()
            async with web.post(f"{served.url}/v1/messages", data=body, headers=lines) as response:
                names.append(response.headers["x-claude-failover-request-id"])
        after = served.world.clock.now().wall
    assert names == sorted(set(names))
    assert all(re.fullmatch("cfr_[0-9a-f]{20}", name) for name in names)
    moments = [int(name[4:16], 16) // 4 / 1_000 for name in names]
    assert all(before - 0.001 <= moment <= after for moment in moments)
    assert len({name[16:] for name in names}) > 5, "the dice"


async def test_a_broken_body_is_refused_in_our_shape() -> None:
    async with mirrored() as (_, say, port):
        heard = await say(raw("POST /v1/messages HTTP/1.1", port, "Transfer-Encoding: chunked", body=b"zz\r\n"))
    assert b" 400 " in heard.split(b"\r\n")[0]
    assert b'"type":"error"' in heard


async def test_the_primary_that_drops_other_requests_is_a_bad_gateway() -> None:
    async with (
        simulated_claude(Drop()) as claude,
        serving(settings_for(claude.url)) as served,
        client() as web,
        claude.refusing(),
        web.get(f"{served.url}/v1/models", headers=KEYED) as response,
    ):
        assert response.status == 502


async def test_no_credential_at_all_is_said_as_what_it_is() -> None:
    settings = settings_for("http://127.0.0.1:9", credential="auto")
    async with serving(settings) as served, client() as web:
        async with web.get(f"{served.url}/v1/models", headers=KEYED) as response:
            assert (response.status, (await response.json())["error"]["type"]) == (401, "authentication_error")
        async with web.post(f"{served.url}/v1/messages", data=messages_body(), headers=KEYED) as response:
            assert (response.status, (await response.json())["error"]["type"]) == (401, "authentication_error")
