"""One request on one connection, against servers that say exactly what they are told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from claude_failover.core.commands import (
    AttemptEnded,
    BodyReceived,
    Failure,
    HeadReceived,
)
from claude_failover.core.types import Headers
from claude_failover.upstream.anthropic import AnthropicUpstream
from claude_failover.upstream.line import HIGH_WATER, MAX_HEAD, MAX_INTERIM, WRITE_SIZE
from tests.sockets import Handler, listening, request_of
from tests.upstreams import OK, command, played, upstream


@contextlib.asynccontextmanager
async def claude_at(handler: Handler) -> AsyncIterator[AnthropicUpstream]:
    async with listening(handler) as port, asyncio.timeout(30):
        claude = upstream(f"http://127.0.0.1:{port}")
        try:
            yield claude
        finally:
            await claude.close()


def saying(answer: bytes, *, slowly: int = 0, stays: bool = False) -> Handler:
    """Say *answer* to the first request, in pieces of *slowly* bytes; then close, unless it stays."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        size = slowly or len(answer) or 1
        for at in range(0, len(answer), size):
            writer.write(answer[at : at + size])
            await writer.drain()
            await asyncio.sleep(0)
        if stays:
            await reader.read()

    return handler


WHOLE = (
    b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    b"HTTP/1.1 200 Fine\r\nX-One: a\r\nx-one:  b \r\ntransfer-encoding: chunked\r\n\r\n"
    b"5;why=not\r\nhello\r\n1\r\n,\r\n0\r\nx-trailer: t\r\n\r\n"
)


@pytest.mark.parametrize("slowly", [0, 1, 2, 7])
async def test_a_response_is_the_same_however_it_is_cut(slowly: int) -> None:
    async with claude_at(saying(WHOLE, slowly=slowly, stays=True)) as claude:
        head, body, ended = await played(claude.open(command()))
        assert head == HeadReceived(7, 200, (("X-One", "a"), ("x-one", "b"), ("transfer-encoding", "chunked")))
        assert (body, ended) == (b"hello,", AttemptEnded(7))


@pytest.mark.parametrize(
    ("answer", "body", "failure"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", None),
        (b"HTTP/1.0 200 OK\r\ncontent-type: x\r\n\r\nto the end", b"to the end", None),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nto the end", b"to the end", None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", None),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nno", b"no", Failure.CUT),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n", b"no", Failure.CUT),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\nzz\r\n", b"no", Failure.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nno", None, Failure.PROTOCOL),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
            None,
            Failure.PROTOCOL,
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nx", None, Failure.PROTOCOL),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * (MAX_INTERIM + 1) + OK, None, Failure.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * (MAX_HEAD + 1) + b"\r\n\r\n", None, Failure.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * (2 * MAX_HEAD + 65_536), None, Failure.PROTOCOL),
        (b"", None, Failure.RESET_BEFORE_HEAD),
    ],
    ids=[
        "until it closes", "1.0", "a coding that does not end", "nothing", "short", "no last chunk", "no chunk at all",
        "two lengths", "length and chunks", "another protocol", "interim for ever", "a huge line", "no end of a line",
        "not a byte",
    ],
)  # fmt: skip
async def test_where_a_response_ends(answer: bytes, body: bytes | None, failure: Failure | None) -> None:
    async with claude_at(saying(answer)) as claude:
        head, found, ended = await played(claude.open(command()))
        assert (None if head is None else found, ended.failure) == (body, failure)


async def test_the_end_is_known_with_the_last_bytes() -> None:
    async with claude_at(saying(OK, stays=True)) as claude:
        attempt = claude.open(command())
        assert attempt.ended() is None
        assert isinstance(await attempt.head(), HeadReceived)
        assert attempt.ended() is None
        assert await attempt.read() == BodyReceived(7, b"ok")
        assert attempt.ended() == await attempt.read() == AttemptEnded(7)


class Counting:
    """Answers every request of every connection with *answer*; counts connections."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            try:
                await request_of(reader)
            except asyncio.IncompleteReadError:
                return
            writer.write(self.answer)


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (OK, 1),
        (WHOLE, 1),
        (OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmore", 3),
        (OK + b"garbage", 3),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 3),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 3),
    ],
    ids=["whole", "chunked", "an answer too many", "bytes too many", "close", "1.0"],
)
async def test_a_connection_is_used_again_only_after_a_response_and_nothing_more(
    answer: bytes, connections: int
) -> None:
    server = Counting(answer)
    async with claude_at(server) as claude:
        for _ in range(3):
            _, body, ended = await played(claude.open(command()))
            assert body in {b"ok", b"hello,"}
            assert ended.failure is None
        assert server.connections == connections


async def test_requests_of_each_kind_share_a_connection() -> None:
    server = Counting()
    async with claude_at(server) as claude:
        for _ in range(3):
            assert (await played(claude.open(command())))[1] == b"ok"
            assert (await played(claude.open_stream("GET", "/v1/models", (("x-api-key", "x"),), None)))[1] == b"ok"
        assert server.connections == 2


async def test_an_answer_before_the_end_of_the_request_ends_the_sending() -> None:
    """A body that a backend refuses by its head need not go out whole, and what is left of it is no request."""
    received = 0
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received, connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                received += len(data)

    async with claude_at(handler) as claude:
        for _ in range(2):
            head, body, _ = await played(claude.open(command(body=b"x" * (200 * WRITE_SIZE))))
            assert head is not None
            assert (head.status, body) == (413, b"no")
        assert connections == 2
    assert received < 2 * 200 * WRITE_SIZE


async def test_a_large_body_waits_for_a_slow_reader() -> None:
    sizes: list[int] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        got = 0
        while got < size:
            await asyncio.sleep(0.001)
            got += len(await reader.read(200_000))
        sizes.append(got)
        writer.write(OK)

    async with claude_at(handler) as claude:
        assert (await played(claude.open(command(body=b"x" * 9_000_001))))[1] == b"ok"
    assert sizes == [9_000_001]


async def test_a_body_that_is_not_read_is_not_received() -> None:
    """What waits here is bounded; the rest waits at the backend."""
    sent = 0
    piece = b"x" * 65_536
    pieces = 1_000

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(piece) * pieces))
        for _ in range(pieces):
            writer.write(piece)
            await writer.drain()
            sent += 1

    async with claude_at(handler) as claude:
        attempt = claude.open(command())
        assert isinstance(await attempt.head(), HeadReceived)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        # Sockets hold some megabytes; we hold the rest of one read beyond the mark.
        assert sent < pieces // 2
        event = await attempt.read()
        assert isinstance(event, BodyReceived)
        assert HIGH_WATER < len(event.data) <= HIGH_WATER + 1024 * 1024
        got = len(event.data)
        while isinstance(event := await attempt.read(), BodyReceived):
            got += len(event.data)
        assert (got, event.failure) == (len(piece) * pieces, None)


async def test_a_read_that_is_given_up_loses_nothing() -> None:
    go_on = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
        await go_on.wait()
        writer.write(b"cd")

    async with claude_at(handler) as claude:
        attempt = claude.open(command())
        await attempt.head()
        assert await attempt.read() == BodyReceived(7, b"ab")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await attempt.read()
        go_on.set()
        assert await attempt.read() == BodyReceived(7, b"cd")
        assert await attempt.read() == AttemptEnded(7)


async def test_giving_up_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
        await reader.read()
        closed.set()

    async with claude_at(handler) as claude:
        attempt = claude.open(command())
        await attempt.head()
        await attempt.close()
        await closed.wait()
        ended = attempt.ended() or await attempt.read()
        assert ended == AttemptEnded(7)


async def test_giving_up_before_the_head_closes_the_connection() -> None:
    asked = asyncio.Event()
    closed = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        asked.set()
        await reader.read()
        closed.set()

    async with claude_at(handler) as claude:
        attempt = claude.open(command())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await attempt.head()
        await attempt.close()
        await closed.wait()
    assert asked.is_set()


async def test_the_adapter_closes_while_a_stream_is_open() -> None:
    async with claude_at(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab", stays=True)) as claude:
        attempt = claude.open(command())
        await attempt.head()
        assert await attempt.read() == BodyReceived(7, b"ab")
        await claude.close()
        ended = await attempt.read()
        assert isinstance(ended, AttemptEnded)
        assert ended.failure is Failure.CUT


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b"])
async def test_a_line_with_a_break_in_it_never_goes_out(value: str) -> None:
    requests = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += bool(await reader.read(1))

    async with claude_at(handler) as claude:
        headers: Headers = (("x-api-key", "x"), ("x-odd", value))
        head, _, ended = await played(claude.open(command(headers=headers)))
        assert (head, ended.failure) == (None, Failure.INTERNAL)
    assert requests == 0
