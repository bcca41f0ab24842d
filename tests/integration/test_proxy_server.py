"""The data port's server: what it says when it cannot parse or serve, and how many clients it keeps."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from claude_failover import events
from claude_failover.core.types import Epoch
from claude_failover.proxy import server
from claude_failover.proxy.server import Handler, Server, connection_limit

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SECRET = "sk-ant-oat01-worth-nothing-never-to-be-seen"


async def hello(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")


@contextlib.asynccontextmanager
async def served(handler: Handler = hello, *, limit: int = 100, patience: float = 30.0) -> AsyncIterator[int]:
    runner = web.ServerRunner(Server(handler, limit=limit, patience=patience))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
def heard() -> Iterator[list[events.Event]]:
    # A hub of its own: the process's holds back what other tests have made it say already.
    before = events.use(events.Hub(lambda: Epoch(0.0)))
    with events.capture() as seen:
        yield seen
    events.use(before)


@contextlib.asynccontextmanager
async def connected(port: int, data: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(30):
            writer.write(data)
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(port: int, data: bytes) -> bytes:
    async with connected(port, data) as (reader, _):
        return await reader.read()


async def test_what_is_no_http_is_refused_in_constant_words(heard: list[events.Event]) -> None:
    async with served() as port:
        one = await ask(port, f"GET / HTTP/1.1\r\nx-api-key : {SECRET}\r\n\r\n".encode())
        other = await ask(port, f"{SECRET}\r\n\r\n".encode())
    assert one.partition(b"\r\n")[0] == b"HTTP/1.0 400 Bad Request"
    assert one.endswith(b'"message":"claude-failover: this is not a valid HTTP request"}}')
    assert other.rpartition(b"\r\n\r\n")[2] == one.rpartition(b"\r\n\r\n")[2]
    assert SECRET.encode() not in one + other
    assert [(event.name, event.fields["why"]) for event in heard] == [("client.refused", "malformed")] * 2


@pytest.mark.parametrize("version", [b"", b" HTTP/0.9", b" HTTP/2.0", b" HTTP/3.7"])
async def test_a_request_of_another_version_is_refused(heard: list[events.Event], version: bytes) -> None:
    async with served() as port:
        answer = await ask(port, b"GET /" + version + b"\r\nHost: x\r\n\r\n")
    assert b" 400 " in answer
    assert [event.fields["why"] for event in heard] == ["malformed"]


async def test_our_own_bug_ends_one_answer_and_says_nothing_of_its_values(heard: list[events.Event]) -> None:
    async def broken(request: web.BaseRequest) -> web.StreamResponse:
        raise ValueError(f"invalid literal: '{SECRET}'")

    async with served(broken) as port:
        answer = await ask(port, GET)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert SECRET.encode() not in answer
    [crash] = heard
    assert (crash.name, crash.fields["where"], crash.fields["error"]) == ("code.crashed", "data port", "ValueError")
    assert SECRET not in str(crash.fields)


async def test_a_bug_in_mid_answer_ends_the_connection(heard: list[events.Event]) -> None:
    async def broken(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "10"})
        await response.prepare(request)
        await response.write(b"hal")
        raise LookupError

    async with served(broken) as port:
        answer = await ask(port, GET)
    assert answer.endswith(b"\r\n\r\nhal")
    assert [event.name for event in heard] == ["code.crashed"]


async def test_a_client_that_left_is_no_bug_and_no_refusal(heard: list[events.Event]) -> None:
    async def gone(request: web.BaseRequest) -> web.StreamResponse:
        raise ConnectionResetError

    async with served(gone) as port:
        assert await ask(port, GET) == b""
    assert heard == []


@pytest.mark.parametrize("said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_who_says_no_whole_head_is_not_waited_for(said: bytes) -> None:
    async with served(patience=0.05) as port, connected(port, said) as (reader, _):
        assert await reader.read() == b""


async def test_who_has_asked_once_may_stay() -> None:
    async with served(patience=0.5) as port, connected(port, GET) as (reader, writer):
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        await asyncio.sleep(0.6)
        writer.write(GET)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")


async def test_requests_in_one_packet_are_answered_in_their_order() -> None:
    async def path(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.path)

    said = b"GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(path) as port, connected(port, said) as (reader, _):
        told = await reader.readuntil(b"/second")
    assert b"\r\n\r\n/first" in told


async def test_an_idle_connection_is_closed_but_not_one_that_waits_for_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "KEEPALIVE", 0.05)

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.15)
        return web.Response(text="hello")

    async with served(slow) as port, connected(port, GET) as (reader, _):
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        assert await reader.read() == b""


async def test_the_oldest_idle_connection_makes_room() -> None:
    async with served(limit=2) as port, connected(port) as (first, _), connected(port, GET) as (second, writer):
        await second.readuntil(b"hello")
        async with connected(port, GET) as (third, _):
            assert (await third.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        assert await first.read() == b""
        writer.write(GET)
        assert (await second.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")


async def test_with_every_connection_at_work_a_new_one_is_closed() -> None:
    busy, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        busy.set()
        await go_on.wait()
        return web.Response(text="hello")

    async with served(slow, limit=1) as port, connected(port, GET) as (reader, _):
        await busy.wait()
        assert await ask(port, b"") == b""
        go_on.set()
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")


def test_there_are_as_many_connections_as_descriptors_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, limit in ((1024, 448), (65_536, 4096), (64, 16), (resource.RLIM_INFINITY, 4096)):
        monkeypatch.setattr("resource.getrlimit", lambda _, soft=soft: (soft, soft))
        assert connection_limit() == limit
