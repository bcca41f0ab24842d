"""Connections between two requests: which one goes out first, how many stay, and what needs no task."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from claude_failover.core.commands import AttemptEnded, BodyReceived, Failure, HeadReceived
from claude_failover.upstream.anthropic import AnthropicUpstream
from claude_failover.upstream.idle import MAX_IDLE, Idle
from claude_failover.upstream.line import WRITE_SIZE
from tests.sockets import Handler, listening, request_of
from tests.upstreams import OK, command, played, upstream


class Server:
    """Answers each request when it may; knows its connections by the order in which they came."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.ended: list[int] = []
        self.asked: list[int] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._changed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self._writers)
        self._writers.append(writer)
        self.open.add(number)
        self._tell()
        try:
            while True:
                await request_of(reader)
                self.asked.append(number)
                self._tell()
                await self.may_answer.wait()
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.open.discard(number)
            self.ended.append(number)
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self, number: int) -> None:
        self._writers[number].close()

    async def until(self, connections: int, asked: int = 0, ended: int = 0) -> None:
        async with asyncio.timeout(30):
            while len(self.open) != connections or len(self.asked) < asked or len(self.ended) < ended:
                await self._changed.wait()


@contextlib.asynccontextmanager
async def with_an_idle_connection(server: Handler) -> AsyncIterator[AnthropicUpstream]:
    """The adapter for the Claude API after a first request, whose connection waits for the next."""
    async with listening(server) as port, asyncio.timeout(30):
        claude = upstream(f"http://127.0.0.1:{port}")
        try:
            assert (await played(claude.open(command())))[1] == b"ok"
            yield claude
        finally:
            await claude.close()


@contextlib.asynccontextmanager
async def connections(server: Server, number: int) -> AsyncIterator[list[aiohttp.connector.Connection]]:
    """That many connections as an aiohttp connector makes them."""
    async with listening(server) as port, aiohttp.TCPConnector(limit=0) as connector, asyncio.timeout(30):
        asking = aiohttp.ClientRequest("POST", URL(f"http://127.0.0.1:{port}"))
        yield [await connector.connect(asking, [], aiohttp.ClientTimeout()) for _ in range(number)]


async def test_the_one_used_last_goes_out_first() -> None:
    server = Server()
    async with connections(server, 3) as (one, two, three):
        idle = Idle()
        for connection in (two, three, one):
            idle.put(connection)
        assert [idle.take(), idle.take(), idle.take(), idle.take()] == [one, three, two, None]
        for connection in (one, two, three):
            connection.close()


async def test_of_too_many_the_one_that_waited_longest_is_closed() -> None:
    server = Server()
    async with connections(server, 3) as (one, two, three):
        await server.until(3)
        idle = Idle(limit=2)
        for connection in (one, two, three):
            idle.put(connection)
        assert len(idle) == 2
        await server.until(2)
        assert server.open == {1, 2}
        idle.close()
        await server.until(0)
        assert len(idle) == 0


async def test_one_that_comes_back_after_the_end_is_closed() -> None:
    server = Server()
    async with connections(server, 1) as (one,):
        await server.until(1)
        idle = Idle()
        idle.close()
        idle.put(one)
        await server.until(0)
        assert idle.take() is None


async def test_after_a_while_they_are_closed_each_at_its_time() -> None:
    server = Server()
    async with connections(server, 2) as (one, two):
        idle = Idle(keep=0.3)
        idle.put(one)
        await asyncio.sleep(0.2)
        idle.put(two)
        await server.until(0, ended=2)
        assert server.ended == [0, 1]
        assert len(idle) == 0


async def test_one_that_waited_too_long_is_not_given() -> None:
    server = Server()
    async with connections(server, 1) as (one,):
        idle = Idle(keep=-1.0)
        idle.put(one)
        assert idle.take() is None
        await server.until(0)
        idle.close()


async def test_one_that_its_backend_has_closed_is_passed_over() -> None:
    server = Server()
    async with connections(server, 2) as (one, two):
        await server.until(2)
        idle = Idle()
        idle.put(one)
        idle.put(two)
        server.end(1)
        async with asyncio.timeout(30):
            while not two.closed:  # noqa: ASYNC110 - the transport's to know
                await asyncio.sleep(0.01)
        assert idle.take() is one
        assert len(idle) == 0
        one.close()
        idle.close()


async def test_a_crowd_leaves_no_more_connections_than_may_wait() -> None:
    server = Server()
    server.may_answer.clear()
    async with listening(server) as port, asyncio.timeout(30):
        claude = upstream(f"http://127.0.0.1:{port}")
        async with asyncio.TaskGroup() as crowd:
            asking = [crowd.create_task(played(claude.open(command()))) for _ in range(MAX_IDLE + 12)]
            await server.until(MAX_IDLE + 12)
            server.may_answer.set()
        assert {task.result()[1] for task in asking} == {b"ok"}
        await server.until(MAX_IDLE)
        await claude.close()
        await server.until(0)


async def test_a_request_that_waits_for_nothing_is_sent_at_once() -> None:
    server = Server()
    async with listening(server) as port, asyncio.timeout(30):
        claude = upstream(f"http://127.0.0.1:{port}")
        first = claude.open(command())
        assert not first.start(), "there is no connection yet"
        assert (await played(first))[1] == b"ok"

        server.may_answer.clear()
        second = claude.open(command())
        assert second.start()
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await second.head()
        server.may_answer.set()
        head, body, ended = await played(second)
        assert (head, body, ended) == (HeadReceived(7, 200, (("content-length", "2"),)), b"ok", AttemptEnded(7))
        assert server.asked == [0, 0]
        await claude.close()


async def test_what_must_be_waited_for_is_not_sent_at_once() -> None:
    server = Server()
    async with with_an_idle_connection(server) as claude:
        for not_now in (command(fresh=True), command(body=b"x" * (WRITE_SIZE + 1))):
            assert not claude.open(not_now).start()
        assert server.asked == [0]
        server.end(0)
        await server.until(0)
        assert not claude.open(command()).start(), "nobody is at the other end any more"


async def test_giving_up_what_was_sent_at_once_closes_the_connection() -> None:
    server = Server()
    async with with_an_idle_connection(server) as claude:
        server.may_answer.clear()
        attempt = claude.open(command())
        assert attempt.start()
        await server.until(1, asked=2)
        await attempt.close()
        server.may_answer.set()
        await server.until(0)
        assert await attempt.head() == AttemptEnded(7)


async def test_a_used_connection_that_ends_without_an_answer_is_named_as_such() -> None:
    """It says nothing about the backend: the request may be sent again on a fresh one."""
    server = Server()
    async with with_an_idle_connection(server) as claude:
        server.may_answer.clear()
        attempt = claude.open(command())
        assert attempt.start()
        server.end(0)
        ended = await attempt.head()
        assert isinstance(ended, AttemptEnded)
        assert ended.failure is Failure.STALE_CONNECTION
        assert await attempt.head() == ended


async def test_what_has_come_is_there_without_waiting() -> None:
    server = Server()
    async with with_an_idle_connection(server) as claude:
        server.may_answer.clear()
        attempt = claude.open(command())
        assert attempt.start()
        assert not attempt.ready()
        server.may_answer.set()
        while not attempt.ready():  # noqa: ASYNC110 - the transport's to know
            await asyncio.sleep(0.01)
        assert isinstance(await attempt.head(), HeadReceived)
        assert attempt.ready()
        assert await attempt.read() == BodyReceived(7, b"ok")
        assert attempt.ready()
        assert await attempt.read() == AttemptEnded(7)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"])
async def test_a_failed_attempt_keeps_no_body(answer: bytes, *, used: bool) -> None:
    """Not even until the garbage collector comes: an outage fails hundreds, and each body may be megabytes."""
    answers = [OK, answer] if used else [answer]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while answers:
                await request_of(reader)
                writer.write(answers.pop(0))

    async with listening(handler) as port, asyncio.timeout(30):
        claude = upstream(f"http://127.0.0.1:{port}")
        if used:
            assert (await played(claude.open(command())))[1] == b"ok"
        body = bytes(100_000)
        free = sys.getrefcount(body)
        gc.disable()
        try:
            attempt = claude.open(command(body=body))
            attempt.start()
            assert (await played(attempt))[2].failure is not None
            await attempt.close()
            del attempt
            await asyncio.sleep(0)
            assert sys.getrefcount(body) == free
        finally:
            gc.enable()
        await claude.close()


async def test_a_line_that_is_none_is_not_sent_at_once_either() -> None:
    server = Server()
    async with with_an_idle_connection(server) as claude:
        attempt = claude.open(command(headers=(("x-a", "b\r\nx-c: d"),)))
        assert attempt.start()
        ended = await attempt.head()
        assert isinstance(ended, AttemptEnded)
        assert ended.failure is Failure.INTERNAL
        assert server.asked == [0]
