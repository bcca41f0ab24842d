"""The driver over real sockets: clients that leave or dawdle, waits, opened responses, broken streams, many at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest

from claude_failover.core.commands import AttemptEnded, BodyReceived, Command, Event, HeadReceived, OpenAttempt
from claude_failover.core.exchange import Exchange
from claude_failover.core.reply import PING
from claude_failover.core.settings import CircuitBreaker, Retry, RetryPolicy, Stream, Timeouts
from claude_failover.core.types import AttemptRecord, Ended, ExchangeRecord, Instant, Outcome
from claude_failover.drill import claude_faults
from claude_failover.drill.script import (
    FOREVER,
    Answer,
    Cut,
    Drop,
    How,
    Text,
    Wire,
    in_band,
    long_stream,
    silent,
    silent_after_head,
    stalled,
    text,
)
from claude_failover.proxy import driver
from tests.exchanges import ANSWER, BLOCK_END, CLAUDE, MESSAGE_DELTA, START, STOP, WHOLE, delta
from tests.fakes import (
    HeldClaude,
    claude_headers,
    held_claude,
    messages_body,
    said,
    simulated_bedrock,
    simulated_claude,
    sse_events,
)
from tests.served import KEYED, Notes, Served, client, serving, settings_for
from tests.sockets import listening, request_of

LINES = KEYED | claude_headers()
CLI = LINES | {"user-agent": "claude-cli/2.1.330 (external, cli)"}
QUICK = RetryPolicy(Retry(0), Retry(0), Retry(0))
"""No retries on the same backend: the tests are about what follows."""


async def dialled(
    served: Served, body: bytes, receive: int = 0, more: Mapping[str, str] = MappingProxyType({})
) -> socket.socket:
    """A socket, perhaps with a small receive window, on which a Messages request was sent."""
    sock = socket.socket()
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", served.port))
    head = [f"{name}: {value}" for name, value in {**LINES, **more}.items()]
    head += [f"Host: 127.0.0.1:{served.port}", f"Content-Length: {len(body)}"]
    lines = "\r\n".join(["POST /v1/messages?beta=true HTTP/1.1", *head])
    await loop.sock_sendall(sock, lines.encode() + b"\r\n\r\n" + body)
    return sock


async def connect(served: Served, body: bytes, receive: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The same as a pair of streams."""
    return await asyncio.open_connection(sock=await dialled(served, body, receive), limit=receive or 1 << 16)


async def ask(
    served: Served, web: aiohttp.ClientSession, lines: dict[str, str] | None = None, **fields: object
) -> tuple[aiohttp.ClientResponse, bytes]:
    body = messages_body(**fields)  # type: ignore[arg-type]
    async with web.post(f"{served.url}/v1/messages?beta=true", data=body, headers=lines or LINES) as response:
        return response, await response.read()


async def ask_until(
    served: Served, web: aiohttp.ClientSession, claude: HeldClaude, seen: Callable[[bytes], bool]
) -> tuple[aiohttp.ClientResponse, bytes]:
    """The same; *claude* goes on when *seen* holds of what the client has got."""
    body = b""
    async with web.post(f"{served.url}/v1/messages?beta=true", data=messages_body(), headers=LINES) as response:
        async for piece in response.content.iter_any():
            body += piece
            if seen(body):
                claude.go_on.set()
    return response, body


async def test_an_answer_comes_as_the_primary_said_it() -> None:
    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await request_of(reader)
        assert head.startswith(b"POST /v1/messages?beta=true HTTP/1.1\r\n")
        assert body == messages_body()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nRequest-Id: req_1\r\n")
        writer.write(
            b"anthropic-ratelimit-unified-status: allowed\r\nX-A: 1\r\nX-A: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for piece in (ANSWER[:50], ANSWER[50:300], ANSWER[300:]):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")

    async with (
        listening(upstream) as port,
        serving(settings_for(f"http://127.0.0.1:{port}")) as served,
        client() as web,
    ):
        response, body = await ask(served, web)
    assert body == ANSWER
    assert response.headers["Request-Id"] == "req_1"
    assert response.headers["anthropic-ratelimit-unified-status"] == "allowed"
    assert response.headers.getall("X-A") == ["1", "2"]
    assert response.headers["x-claude-failover-backend"] == "claude"
    assert response.headers["x-claude-failover-request-id"] == served.notes.conclusions[0].exchange


class Impatient(Notes):
    """Books that look, whenever something is booked, at what the client has got by then."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.sock = sock
        self.got = b""
        self.seen: list[bytes] = []

    def look(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.got += self.sock.recv(1 << 16)
        self.seen.append(self.got)

    def record(self, record: AttemptRecord) -> None:
        self.look()
        super().record(record)

    def conclude(self, record: ExchangeRecord) -> None:
        self.look()
        super().conclude(record)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_client_has_its_answer_before_anything_is_booked(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        body, kind = (ANSWER, b"text/event-stream") if stream else (WHOLE, b"application/json")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body)

    async with listening(upstream) as port, serving(settings_for(f"http://127.0.0.1:{port}")) as served:
        sock = await dialled(served, messages_body(stream=stream))
        served.world.books = books = Impatient(sock)
        handle = Exchange.handle

        def look_first(exchange: Exchange, event: Event, now: Instant) -> list[Command]:
            # A whole answer that is no stream cannot be told before it is judged.
            if stream and isinstance(event, AttemptEnded):
                books.look()
            return handle(exchange, event, now)

        monkeypatch.setattr(Exchange, "handle", look_first)
        await books.until(1)
        sock.close()
    body = books.seen[0].partition(b"\r\n\r\n")[2]
    assert body == (b"%x\r\n%b\r\n0\r\n\r\n" % (len(ANSWER), ANSWER) if stream else WHOLE)
    assert (len(books.records), books.conclusions[0].outcome) == (1, "served")


async def test_what_was_paid_is_booked_before_the_client_may_make_us_wait() -> None:
    # The reservation ends when the answer has been judged: from then on only the record knows of the money.
    long = json.loads(WHOLE)
    long["content"][0]["text"] = "x" * 16_000_000
    body = json.dumps(long).encode()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()

    async with listening(upstream) as port, serving(settings_for(f"http://127.0.0.1:{port}")) as served:
        served.world.current.paid = lambda _: {CLAUDE: True}
        sock = await dialled(served, messages_body(stream=False), receive=8192)
        async with asyncio.timeout(30):
            while not served.notes.records:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.002)
        assert (served.notes.records[0].cost_nusd > 0, served.notes.conclusions) == (True, [])
        sock.close()
        await served.notes.until(1)
    assert (len(served.notes.records), len(served.notes.conclusions)) == (1, 1)


class Torn(Notes):
    """Books that have no page for attempts."""

    def record(self, record: AttemptRecord) -> None:
        raise RuntimeError(record.exchange)


async def test_a_record_that_cannot_be_booked_does_not_take_the_conclusion_along() -> None:
    async with simulated_claude(Answer()) as claude, serving(settings_for(claude.url)) as served, client() as web:
        served.world.books = books = Torn()
        with contextlib.suppress(aiohttp.ClientError):
            await ask(served, web)
        await books.until(1)
    assert [record.outcome for record in books.conclusions] == ["served"]


async def test_trailing_data_behind_the_end_is_passed_on() -> None:
    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + ANSWER + b": bye\n\n"
        )

    async with (
        listening(upstream) as port,
        serving(settings_for(f"http://127.0.0.1:{port}")) as served,
        client() as web,
    ):
        _, body = await ask(served, web)
    assert body == ANSWER + b": bye\n\n"


async def test_whole_answers_and_errors_keep_their_bytes_and_length() -> None:
    async with (
        simulated_claude(Answer(), claude_faults.client_error()) as claude,
        serving(settings_for(claude.url)) as served,
        client() as web,
    ):
        response, body = await ask(served, web, stream=False)
        assert response.headers["content-length"] == str(len(body))
        assert json.loads(body)["type"] == "message"
        response, body = await ask(served, web)
        assert (response.status, response.headers["content-length"]) == (400, str(len(body)))
        assert served.notes.conclusions[1].outcome == "passed_error"


async def test_a_limit_becomes_bedrocks_answer_and_the_next_goes_there_at_once() -> None:
    async with (
        simulated_claude(claude_faults.plan_limit()) as claude,
        simulated_bedrock() as bedrock,
        serving(settings_for(claude.url, bedrock.url)) as served,
        client() as web,
    ):
        for attempts in ("2", "1"):
            response, body = await ask(served, web)
            assert (response.status, response.headers["x-claude-failover-backend"]) == (200, "bedrock")
            assert response.headers["x-claude-failover-attempts"] == attempts
            assert "Bedrock" in said(body)
        assert claude.count == 1
        # Deciding and translating are ours, and part of the whole.
        assert all(0.0 < one.overhead < one.duration for one in served.notes.conclusions)


async def test_one_request_can_be_forced_elsewhere() -> None:
    async with (
        simulated_claude() as claude,
        simulated_bedrock() as bedrock,
        serving(settings_for(claude.url, bedrock.url)) as served,
        client() as web,
    ):
        response, _ = await ask(served, web, LINES | {"x-claude-failover-force": "bedrock"})
        assert response.headers["x-claude-failover-reason"] == "forced"
        assert claude.count == 0
        assert not served.notes.conclusions[0].failed_over


# --- clients that leave ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "reads"),
    [
        (silent(), 0),
        (silent_after_head(), 0),
        (stalled("start"), 0),
        (stalled("content"), 1),
        (long_stream(5000, 0.01), 1),
    ],
    ids=["before the head", "after the head", "before the commit", "in mid-stream", "while bytes flow"],
)
async def test_a_client_that_leaves_ends_its_attempt_at_once(step: Answer, reads: int) -> None:
    async with simulated_claude(step) as claude, serving(settings_for(claude.url)) as served:
        reader, writer = await connect(served, messages_body())
        await claude.until(lambda: claude.count == 1)
        if reads:
            async with asyncio.timeout(30):
                assert await reader.readuntil(b"content_block_delta")
        else:
            await asyncio.sleep(0.02)
        writer.close()
        await claude.until(lambda: claude.gone == 1, 10.0)  # our first ping, at 15 s, would tell us too
        await served.notes.until(1)
        assert served.notes.records[0].outcome is Outcome.CLIENT_GONE
        assert served.notes.conclusions[0].outcome == "client_gone"
        if reads:
            assert served.notes.records[0].usage_state is Ended.PARTIAL
            assert served.notes.records[0].usage.input > 0


async def test_a_client_may_leave_while_we_wait_for_a_second_attempt() -> None:
    slow = RetryPolicy(overloaded=Retry(1, 25.0, 30.0))
    async with (
        simulated_claude(claude_faults.overloaded()) as claude,
        serving(settings_for(claude.url, retry_policy=slow)) as served,
    ):
        _, writer = await connect(served, messages_body())
        await claude.until(lambda: claude.count == 1)
        await asyncio.sleep(0.05)
        writer.close()
        await served.notes.until(1, 10.0)
        assert served.notes.conclusions[0].outcome == "client_gone"
        assert claude.count == 1


async def test_a_reset_in_mid_stream_loses_no_record() -> None:
    """The write fails in the middle of a batch of commands; the books still get their part."""
    async with simulated_claude(long_stream(200_000)) as claude, serving(settings_for(claude.url)) as served:
        reader, writer = await connect(served, messages_body())
        async with asyncio.timeout(30):
            await reader.readuntil(b"content_block_delta")
        writer.transport.abort()
        await served.notes.until(1)
        assert len(served.notes.records) == 1
        assert len(served.notes.conclusions) == 1


async def test_a_client_that_leaves_at_the_very_end_is_written_down_once() -> None:
    for delay in (0.0, 0.001, 0.003, 0.006):
        async with simulated_claude(text("short", deltas=2)) as claude, serving(settings_for(claude.url)) as served:
            _, writer = await connect(served, messages_body())
            await claude.until(lambda claude=claude: claude.count == 1)  # type: ignore[misc]
            await asyncio.sleep(delay)
            writer.transport.abort()
            await served.notes.until(1)
            assert (len(served.notes.records), len(served.notes.conclusions)) == (1, 1)


# --- clients that dawdle --------------------------------------------------------------------------------


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A stream of 60 MB, as fast as it is taken."""
    await request_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + START)
    piece = delta("x" * 60_000)
    for _ in range(1000):
        writer.write(piece)
        await writer.drain()


async def test_a_slow_client_slows_only_its_own_upstream_and_memory_stays_flat() -> None:
    async with (
        listening(flood) as port,
        serving(settings_for(f"http://127.0.0.1:{port}")) as served,
        simulated_claude() as claude,
        serving(settings_for(claude.url)) as other,
        client() as web,
    ):
        tracemalloc.start()
        try:
            reader, writer = await connect(served, messages_body(), receive=8192)
            await asyncio.sleep(0.5)
            held, _ = tracemalloc.get_traced_memory()
            assert held < 8 << 20, "the upstream is read although nobody takes it"
            _, body = await ask(other, web)
            assert said(body)
        finally:
            tracemalloc.stop()
        writer.transport.abort()
        await served.notes.until(1)
        del reader


async def test_a_client_that_takes_nothing_is_dropped_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "WRITE_STALL", 2.0)
    monkeypatch.setattr(driver, "BUSY_LOOK", 0.05)
    settings: dict[str, Any] = {"timeouts": Timeouts(stream_idle=1.5), "stream": Stream(5.0, 0.1)}
    async with listening(flood) as port, serving(settings_for(f"http://127.0.0.1:{port}", **settings)) as served:
        _, writer = await connect(served, messages_body(), receive=8192)
        await served.notes.until(1)
        assert served.notes.conclusions[0].outcome == "client_gone"
        writer.close()


class Waits:
    """A backend that says much in one read, then nothing until it is told to go on."""

    def __init__(self, much: bytes) -> None:
        self.go_on = asyncio.Event()
        self._reads: list[bytes | None] = [START + delta(), much, None, BLOCK_END + MESSAGE_DELTA + STOP]

    def open(self, command: OpenAttempt) -> Waits:
        assert command.attempt == 0
        return self

    def start(self) -> bool:
        return False

    async def head(self) -> HeadReceived:
        return HeadReceived(0, 200, (("content-type", "text/event-stream"),))

    async def read(self) -> BodyReceived | AttemptEnded:
        if self._reads and self._reads[0] is None:
            await self.go_on.wait()
            self._reads.pop(0)
        data = self._reads.pop(0) if self._reads else None
        return AttemptEnded(0) if data is None else BodyReceived(0, data)

    def ready(self) -> bool:
        return False

    def ended(self) -> AttemptEnded | None:
        return None

    async def close(self) -> None:
        pass


async def test_a_slow_client_does_not_make_a_backend_look_stalled() -> None:
    """While we wrote for longer than ``stream_idle``, nobody listened: the backend may still pause after that."""
    much = delta("x" * 40_000_000)
    backend = Waits(much)
    settings: dict[str, Any] = {"timeouts": Timeouts(stream_idle=3.0), "stream": Stream(15.0, 5.0)}
    async with serving(settings_for("http://127.0.0.1:9", **settings)) as served:
        served.world.current = replace(served.world.current, upstreams={CLAUDE: backend})
        loop = asyncio.get_running_loop()
        with await dialled(served, messages_body(), receive=1 << 16) as sock:
            await asyncio.sleep(3.2)
            async with asyncio.timeout(30):
                got = 0
                while got < len(much):
                    got += len(await loop.sock_recv(sock, 1 << 20))
                await asyncio.sleep(0.1)
                backend.go_on.set()
                heard = b""
                while not heard.endswith(b"\r\n0\r\n\r\n"):
                    heard += await loop.sock_recv(sock, 1 << 20)
            assert b"message_stop" in heard
        await served.notes.until(1)
        assert served.notes.conclusions[0].outcome == "served"


class Overslept(Waits):
    """A backend whose answer, and the end of it, come while the whole process stands still: the alarm rings first."""

    def __init__(self) -> None:
        super().__init__(b"")
        self._reads = [START + delta(), BLOCK_END + MESSAGE_DELTA + STOP]
        self._come = False

    def start(self) -> bool:
        return True

    def ready(self) -> bool:
        self._come = True
        return True

    async def head(self) -> HeadReceived:
        await self._waited()
        return await super().head()

    async def read(self) -> BodyReceived | AttemptEnded:
        await self._waited()
        return await super().read()

    async def _waited(self) -> None:
        if not self._come:
            await asyncio.Event().wait()
        self._come = False


async def test_what_came_while_everything_stood_still_is_no_silence() -> None:
    backend = Overslept()
    timeouts = Timeouts(first_byte=0.1, first_content=0.2, stream_idle=0.1)
    settings = settings_for("http://127.0.0.1:9", timeouts=timeouts, retry_policy=QUICK)
    async with serving(settings) as served, client() as web:
        served.world.current = replace(served.world.current, upstreams={CLAUDE: backend})
        response, body = await ask(served, web)
    assert (response.status, body) == (200, START + delta() + BLOCK_END + MESSAGE_DELTA + STOP)
    assert [record.outcome for record in served.notes.records] == [Outcome.SUCCESS]


async def begin_and_wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin an answer, keep nothing of the request, and wait for the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    del head
    while left:
        left -= len(await reader.read(min(left, 1 << 16)))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + START + delta())
    await reader.read()


async def held_by(count: int, body: bytes, lines: Mapping[str, str] = MappingProxyType({})) -> int:
    """Bytes that so many streams hold which have begun."""
    async with listening(begin_and_wait) as port, serving(settings_for(f"http://127.0.0.1:{port}")) as served:
        writers = []
        tracemalloc.start()
        try:
            for _ in range(count):
                reader, writer = await asyncio.open_connection(sock=await dialled(served, body, more=lines))
                writers.append(writer)
                async with asyncio.timeout(30):
                    await reader.readuntil(b"content_block_delta")
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            for writer in writers:
                writer.close()
        await served.notes.until(count)
        return held


async def test_the_body_of_a_request_is_let_go_at_the_commit() -> None:
    """A thousand streams must not hold a thousand bodies."""
    held = await held_by(10, messages_body("x" * 1_000_000))
    assert held < 4_000_000, f"{held} bytes are held by ten streams with bodies of 1 MB"


async def test_the_head_of_a_request_is_let_go_at_the_commit() -> None:
    """aiohttp keeps the lines as bytes and as text for as long as it serves; no third copy may stay with them."""
    held = await held_by(20, messages_body(), {f"x-line-{number}": "x" * 8_000 for number in range(7)})
    # Two copies of 20 heads of 56 KB are 2.2 MB, with all else that a stream has 3.0; a third makes it 4.1.
    assert held < 3_600_000, f"{held} bytes are held by 20 streams with heads of 56 KB"


# --- waits, opened responses, broken streams -----------------------------------------------------------------


PATIENT = Stream(hold_max=0.15, ping_interval=0.1)


async def test_an_undecided_response_is_opened_and_filled_with_pings() -> None:
    async with (
        held_claude(silent()) as claude,
        serving(settings_for(claude.url, stream=PATIENT)) as served,
        client() as web,
    ):
        response, body = await ask_until(served, web, claude, lambda body: PING * 2 in body)
    assert response.status == 200
    assert "x-claude-failover-backend" not in response.headers
    assert body.startswith(PING * 2)
    assert said(body)


async def test_an_opened_response_may_still_fail_over() -> None:
    async with (
        held_claude(Answer(wire=Wire(after_head=FOREVER, cut=Cut("start", How.RESET)))) as claude,
        simulated_bedrock() as bedrock,
        serving(settings_for(claude.url, bedrock.url, stream=PATIENT, retry_policy=QUICK)) as served,
        client() as web,
    ):
        response, body = await ask_until(served, web, claude, lambda body: PING in body)
        assert body.startswith(PING)
        assert "Bedrock" in said(body)
        assert [name for name, _ in sse_events(body)].count("message_start") == 1
        assert response.status == 200
        assert served.notes.conclusions[0].failed_over


async def test_an_error_behind_an_opened_head_is_in_band() -> None:
    async with (
        held_claude(Answer(wire=Wire(after_head=FOREVER, cut=Cut("start", How.RESET)))) as claude,
        serving(settings_for(claude.url, stream=PATIENT, retry_policy=QUICK)) as served,
        client() as web,
    ):
        response, body = await ask_until(served, web, claude, lambda body: PING in body)
        assert response.status == 200
        name, data = sse_events(body)[-1]
        assert (name, data["error"]["type"]) == ("error", "api_error")


async def test_nothing_comes_between_a_wait_and_its_second_attempt() -> None:
    async with (
        simulated_claude(claude_faults.overloaded(), text("At last.")) as claude,
        serving(settings_for(claude.url)) as served,
        client() as web,
    ):
        _, body = await ask(served, web)
        assert said(body) == "At last."
        assert claude.count == 2
        assert served.notes.conclusions[0].overhead < 0.25


@pytest.mark.parametrize("how", [How.RESET, How.FIN, How.END])
async def test_a_cut_after_the_commit_cuts_claude_code_off(how: How) -> None:
    """Without the chunked end: Claude Code repeats the turn."""
    step = Answer(blocks=(Text("words", 5),), wire=Wire(cut=Cut("content", how)))
    async with simulated_claude(step) as claude, serving(settings_for(claude.url)) as served, client() as web:
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(served, web, CLI)
        assert served.notes.conclusions[0].outcome == "aborted"
        assert claude.count == 1


@pytest.mark.parametrize("how", [How.RESET, How.FIN, How.END])
async def test_a_cut_after_the_commit_is_an_error_event_for_others(how: How) -> None:
    step = Answer(blocks=(Text("words", 5),), wire=Wire(cut=Cut("content", how)))
    async with simulated_claude(step) as claude, serving(settings_for(claude.url)) as served, client() as web:
        _, body = await ask(served, web)
        name, data = sse_events(body)[-1]
        assert name == "error"
        assert "claude broke off" in data["error"]["message"]
        assert claude.count == 1


async def test_a_stall_after_the_commit_is_filled_with_pings() -> None:
    async with (
        held_claude(stalled("content")) as claude,
        serving(settings_for(claude.url, stream=PATIENT)) as served,
        client() as web,
    ):
        # Their own pings come before the content.
        _, body = await ask_until(served, web, claude, lambda body: PING in body.partition(b"content_block_delta")[2])
    assert said(body)


async def test_a_stall_after_the_commit_ends() -> None:
    settings: dict[str, Any] = {"timeouts": Timeouts(stream_idle=0.2), "stream": PATIENT}
    async with (
        simulated_claude(stalled("content")) as claude,
        serving(settings_for(claude.url, **settings)) as served,
        client() as web,
    ):
        _, body = await ask(served, web)
        assert sse_events(body)[-1][0] == "error"
        assert served.notes.records[0].outcome is Outcome.STALLED


async def test_their_error_event_after_the_commit_is_passed_on() -> None:
    async with (
        simulated_claude(in_band("content")) as claude,
        serving(settings_for(claude.url)) as served,
        client() as web,
    ):
        _, body = await ask(served, web)
        assert sse_events(body)[-1][1]["error"]["type"] == "overloaded_error"
        assert served.notes.conclusions[0].outcome == "aborted"


async def test_a_connection_goes_on_after_a_stream() -> None:
    async with simulated_claude() as claude, serving(settings_for(claude.url)) as served:
        reader, writer = await connect(served, messages_body())
        async with asyncio.timeout(30):
            await reader.readuntil(b"\r\n0\r\n\r\n")
            lines = "\r\n".join(f"{name}: {value}" for name, value in LINES.items())
            body = messages_body(stream=False)
            head = (
                f"POST /v1/messages HTTP/1.1\r\nHost: localhost:{served.port}\r\n{lines}\r\nContent-Length: {len(body)}"
            )
            writer.write(head.encode() + b"\r\n\r\n" + body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        assert claude.connections == 1


async def test_a_stopping_daemon_writes_down_what_it_cuts() -> None:
    async with simulated_claude(stalled("content")) as claude, serving(settings_for(claude.url)) as served:
        reader, writer = await connect(served, messages_body())
        async with asyncio.timeout(30):
            await reader.readuntil(b"content_block_delta")
        served.world.draining = True
        await served.runner.cleanup()
        await served.notes.until(1)
        assert len(served.notes.records) == 1
        await claude.until(lambda: claude.gone == 1)
        writer.close()


# --- many ------------------------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@contextlib.asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """No task and no descriptor more than before."""
    tasks, files = len(asyncio.all_tasks()), descriptors()
    yield
    async with asyncio.timeout(30):
        while len(asyncio.all_tasks()) > tasks or descriptors() > files:  # noqa: ASYNC110 - transports close a turn later
            await asyncio.sleep(0.01)


async def test_two_hundred_streams_at_once_mix_nothing_and_leave_nothing() -> None:
    async with nothing_left():
        steps = [
            (
                text(f"answer {count}", deltas=5, gap=0.02),
                in_band("start"),
                claude_faults.overloaded(),
                Drop(),
                stalled("start", 0.2),
            )[count % 5]
            for count in range(200)
        ]
        calm = CircuitBreaker(failure_threshold=10_000, failure_rate=1.0)
        async with (
            simulated_claude(*steps) as claude,
            simulated_bedrock() as bedrock,
            serving(settings_for(claude.url, bedrock.url, retry_policy=QUICK, circuit_breaker=calm)) as served,
            client() as web,
        ):
            async with asyncio.timeout(30):
                answers = await asyncio.gather(*(ask(served, web) for _ in range(200)))
            for response, body in answers:
                assert response.status == 200
                names = [name for name, _ in sse_events(body)]
                assert names[0] == "message_start"
                assert names[-1] == "message_stop"
                assert names.count("message_start") == 1
            assert len(served.notes.conclusions) == 200
            assert {one.outcome for one in served.notes.conclusions} == {"served"}
            assert len({record.exchange for record in served.notes.records}) == 200


async def test_streams_that_are_left_leave_nothing() -> None:
    async with (
        nothing_left(),
        simulated_claude(*[stalled("content")] * 50) as claude,
        serving(settings_for(claude.url)) as served,
    ):
        pairs = [await connect(served, messages_body()) for _ in range(50)]
        await asyncio.gather(*(reader.readuntil(b"content_block_delta") for reader, _ in pairs))
        for _, writer in pairs:
            writer.transport.abort()
        await served.notes.until(50)
        await claude.until(lambda: claude.gone == 50)
