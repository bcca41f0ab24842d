from __future__ import annotations

import asyncio
import contextlib
import gzip
import resource
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from claude_failover.core.commands import (
    AttemptEnded,
    BodyReceived,
    Failure,
    HeadReceived,
    OpenAttempt,
)
from claude_failover.core.types import Headers
from tests.sockets import Handler, listening, request_of
from tests.upstreams import OK, command, played, upstream


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    async with listening(handler) as port:
        yield f"http://127.0.0.1:{port}"


def answering(*answers: bytes) -> Handler:
    """One answer for each request of a connection; closes it after the last."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await request_of(reader)
            writer.write(answer)
            await writer.drain()

    return handler


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def once(handler: Handler, sent: OpenAttempt | None = None) -> tuple[HeadReceived | None, bytes, AttemptEnded]:
    async with serving(handler) as url:
        claude = upstream(url)
        try:
            async with asyncio.timeout(30):
                return await played(claude.open(sent or command()))
        finally:
            await claude.close()


# --- what goes out


async def test_the_request_goes_out_as_it_came() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(OK)

    sent: Headers = (
        ("Host", "127.0.0.1:8484"),
        ("X-Api-Key", "sk-ant-worth-nothing"),
        ("anthropic-beta", "one,two"),
        ("Anthropic-Beta", "three"),
        ("Accept-Encoding", "gzip, br"),
        ("Connection", "keep-alive, X-Private"),
        ("X-Private", "1"),
        ("Content-Length", "99"),
        ("x-claude-failover-key", "local"),
        ("x-Stainless-OS", "Linux"),
        ("x-name", "naïve"),
    )
    target = "/v1/messages%2Fa%3Ab?beta=true&q=%20+x&empty"
    _, _, ended = await once(handler, command(target, sent, b'{"model":1}'))
    assert ended == AttemptEnded(7)
    ((head, body),) = seen
    lines = head.decode().split("\r\n")
    assert lines[0] == f"POST {target} HTTP/1.1"
    assert lines[1].startswith("Host: 127.0.0.1:")
    assert lines[2:-2] == [
        "X-Api-Key: sk-ant-worth-nothing",
        "anthropic-beta: one,two",
        "Anthropic-Beta: three",
        "x-Stainless-OS: Linux",
        "x-name: naïve",
        "accept-encoding: identity",
        "Content-Length: 11",
    ]
    assert body == b'{"model":1}'


async def test_a_large_body_goes_out_whole_without_a_warning() -> None:
    sizes: list[int] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await request_of(reader)
        sizes.append(len(body))
        writer.write(OK)

    await once(handler, command(body=b"x" * 5_000_001))
    assert sizes == [5_000_001]


# --- what comes back


async def test_the_response_comes_back_as_it_was_sent() -> None:
    packed = gzip.compress(b"hello")
    head = (
        b"HTTP/1.1 429 Whatever\r\nRequest-ID: req_1\r\nanthropic-ratelimit-unified-status: rejected\r\n"
        b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Encoding: gzip\r\nX-Long: " + b"y" * 20_000 + b"\r\n"
        b"Content-Length: " + str(len(packed)).encode() + b"\r\n\r\n"
    )
    found, body, ended = await once(answering(head + packed))
    assert found is not None
    assert (found.attempt, found.status, body, ended) == (7, 429, packed, AttemptEnded(7))
    assert found.headers[:5] == (
        ("Request-ID", "req_1"),
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("Content-Encoding", "gzip"),
    )


async def test_redirects_are_not_followed_and_cookies_not_kept() -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append((await request_of(reader))[0])
            writer.write(b"HTTP/1.1 307 T\r\nlocation: /elsewhere\r\nset-cookie: a=1\r\ncontent-length: 0\r\n\r\n")

    async with serving(handler) as url:
        claude = upstream(url)
        for _ in range(2):
            head, _, _ = await played(claude.open(command()))
            assert head is not None
            assert head.status == 307
        await claude.close()
    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ],
    ids=["length", "chunked", "until close", "after early hints"],
)
async def test_every_framing_ends_as_it_should(answer: bytes) -> None:
    _, body, ended = await once(answering(answer))
    assert (body, ended) == (b"hello", AttemptEnded(7))


async def test_an_empty_body_is_an_end_at_once() -> None:
    assert (await once(answering(b"HTTP/1.1 204 No Content\r\n\r\n")))[1:] == (b"", AttemptEnded(7))


async def test_bytes_are_handed_out_while_the_stream_goes_on() -> None:
    more = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    async with serving(handler) as url:
        claude = upstream(url)
        attempt = claude.open(command())
        await attempt.head()
        assert await attempt.read() == BodyReceived(7, b"one")
        for _ in range(3):  # a read that is given up loses nothing
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await attempt.read()
        more.set()
        assert await attempt.read() == BodyReceived(7, b"two")
        assert await attempt.read() == AttemptEnded(7)
        await claude.close()


# --- what breaks


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    await reader.read()


async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)


async def reset_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    reset(writer)


@pytest.mark.parametrize(
    ("handler", "failure"),
    [
        (drop, Failure.RESET_BEFORE_HEAD),
        (reset_at_once, Failure.RESET_BEFORE_HEAD),
        (answering(b"HTTP/1.1 200 OK\r\ncontent-ty"), Failure.RESET_BEFORE_HEAD),
        (answering(b"220 smtp.example ESMTP\r\n\r\n"), Failure.PROTOCOL),
        (answering(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 140_000 + b"\r\n\r\n"), Failure.PROTOCOL),
    ],
    ids=["closed", "reset", "half a head", "another protocol", "endless header"],
)
async def test_what_breaks_before_the_head(handler: Handler, failure: Failure) -> None:
    head, _, ended = await once(handler)
    assert (head, ended.attempt, ended.failure) == (None, 7, failure)
    assert "127.0.0.1:" in ended.detail


@pytest.mark.parametrize(
    ("answer", "body", "failure"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", b"hello", Failure.CUT),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", b"hello", Failure.CUT),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello", b"hello", Failure.CUT),
    ],
    ids=["short", "no last chunk", "half a chunk"],
)
async def test_what_breaks_after_the_head_comes_after_the_bytes_before_it(
    answer: bytes, body: bytes, failure: Failure
) -> None:
    head, found, ended = await once(answering(answer))
    assert head is not None
    assert (found, ended.failure) == (body, failure)


async def test_framing_that_breaks_in_the_middle_is_not_http() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"zz\r\n")

    _, body, ended = await once(handler)
    assert (body, ended.failure) == (b"hello", Failure.PROTOCOL)


async def test_a_reset_in_the_middle_is_a_cut() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello")
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    _, body, ended = await once(handler)
    assert (body, ended.failure) == (b"hello", Failure.CUT)


async def test_nobody_listening_is_a_failure_to_connect() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        claude = upstream(f"http://127.0.0.1:{taken.getsockname()[1]}")
        _, _, ended = await played(claude.open(command()))
        await claude.close()
    assert ended.failure is Failure.CONNECT


async def test_a_listener_that_never_accepts_is_given_up_after_the_connect_limit() -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        claude = upstream(f"http://127.0.0.1:{full.getsockname()[1]}", connect=0.2)
        _, _, ended = await played(claude.open(command()))
        await claude.close()
    assert (ended.failure, ended.detail.partition(" to ")[0]) == (Failure.CONNECT, "no connection")


async def test_a_name_that_does_not_resolve_is_dns() -> None:
    claude = upstream("http://nothing.invalid:1")
    _, _, ended = await played(claude.open(command()))
    await claude.close()
    assert ended.failure is Failure.DNS


async def test_too_many_descriptors_are_our_own_fault() -> None:
    claude = upstream("http://127.0.0.1:9")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        _, _, ended = await played(claude.open(command()))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await claude.close()
    assert ended.failure is Failure.LOCAL


async def test_a_header_that_cannot_be_sent_is_our_own_fault_and_not_quoted() -> None:
    async with serving(hang) as url:
        claude = upstream(url)
        _, _, ended = await played(claude.open(command(headers=(("x-a", "secret\r\nx-b: c"),))))
        await claude.close()
    assert ended.failure is Failure.INTERNAL
    assert "secret" not in ended.detail


# --- connections


async def test_a_connection_is_used_again_after_a_whole_answer_and_known_to_be_stale_when_it_dies() -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request_of(reader)
        writer.write(OK)
        await request_of(reader)  # and closes without an answer

    async with serving(handler) as url:
        claude = upstream(url)
        assert (await played(claude.open(command())))[1] == b"ok"
        _, _, ended = await played(claude.open(command()))
        assert (connections, ended.failure) == (1, Failure.STALE_CONNECTION)
        assert (await played(claude.open(command(fresh=True))))[1] == b"ok"
        assert connections == 2
        assert (await played(claude.open(command(fresh=True))))[1] == b"ok"
        assert connections == 3
        await claude.close()


async def test_half_a_head_on_a_used_connection_is_not_stale() -> None:
    async with serving(answering(OK, b"HTTP/1.1 200 O")) as url:
        claude = upstream(url)
        await played(claude.open(command()))
        _, _, ended = await played(claude.open(command()))
        assert ended.failure is Failure.RESET_BEFORE_HEAD
        await claude.close()


async def test_an_answer_that_is_not_read_stops_its_backend() -> None:
    sent = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with serving(handler) as url:
        claude = upstream(url)
        attempt = claude.open(command())
        await attempt.head()
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 30_000_000  # what fits into the kernel's buffers, and little more
        await attempt.close()
        await claude.close()


async def test_closing_in_the_middle_closes_the_connection_at_once() -> None:
    gone = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhello")
        await reader.read()
        gone.set()

    async with serving(handler) as url:
        claude = upstream(url)
        attempt = claude.open(command())
        await attempt.head()
        await attempt.read()
        await attempt.close()
        await attempt.close()
        async with asyncio.timeout(30):
            await gone.wait()
        assert isinstance(await attempt.read(), AttemptEnded)
        await claude.close()


async def test_a_head_that_is_waited_for_no_longer_closes_its_connection() -> None:
    gone = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await reader.read()
        gone.set()

    async with serving(handler) as url:
        claude = upstream(url)
        attempt = claude.open(command())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await attempt.head()
        await attempt.close()
        async with asyncio.timeout(30):
            await gone.wait()
        await claude.close()


async def test_an_attempt_that_is_closed_before_it_began_sends_nothing() -> None:
    claude = upstream("http://127.0.0.1:9")
    attempt = claude.open(command())
    await attempt.close()
    assert await attempt.head() == AttemptEnded(7)
    assert await attempt.read() == AttemptEnded(7)
    await claude.close()


# --- the relay of every other path


async def test_a_stream_goes_up_while_its_answer_comes_down() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while (line := await reader.readline()) != b"0\r\n":
            size = int(line, 16)
            data = await reader.readexactly(size + 2)
            writer.write(b"%x\r\n%b" % (size, data))
        writer.write(b"0\r\n\r\n")

    got = asyncio.Queue[bytes]()

    async def body() -> AsyncIterator[bytes]:
        yield b"ping"
        assert await got.get() == b"ping"
        yield b"pong"

    async with serving(echo) as url:
        claude = upstream(url)
        attempt = claude.open_stream("POST", "/v1/files", (("content-type", "x/y"),), body())
        head = await attempt.head()
        assert isinstance(head, HeadReceived)
        first = await attempt.read()
        assert first == BodyReceived(0, b"ping")
        got.put_nowait(first.data)
        assert await attempt.read() == BodyReceived(0, b"pong")
        assert await attempt.read() == AttemptEnded(0)
        await claude.close()


async def test_a_stream_of_announced_length_keeps_it() -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await request_of(reader)
        heads.append(head)
        assert body == b"abcdef"
        writer.write(OK)

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"def"

    async with serving(handler) as url:
        claude = upstream(url)
        headers: Headers = (("Content-Length", "6"), ("x-claude-failover-key", "k"))
        assert (await played(claude.open_stream("PUT", "/v1/x?y=%2F", headers, body())))[1] == b"ok"
        await claude.close()
    assert b"chunked" not in heads[0]
    assert heads[0].startswith(b"PUT /v1/x?y=%2F HTTP/1.1\r\n")
    assert b"failover" not in heads[0]
