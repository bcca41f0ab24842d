"""The server misbehaves on the wire exactly as its script says, and notices who leaves."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from claude_failover.clock import FakeClock
from claude_failover.drill import server
from claude_failover.drill.script import (
    Answer,
    Cut,
    Drop,
    Garbage,
    How,
    Refusal,
    Stall,
    Text,
    Wire,
    cut,
    dripped,
    long_stream,
    silent,
    silent_after_head,
    stalled,
    text,
    unfinished,
)
from tests.fakes import claude_headers, messages_body, simulated_claude

MS = 0.001


def raw_request(body: bytes | None = None, *more: str) -> bytes:
    """A request as bytes."""
    body = messages_body() if body is None else body
    lines = ["POST /v1/messages HTTP/1.1", "host: simulated", f"content-length: {len(body)}", *more]
    lines += [f"{name}: {value}" for name, value in claude_headers().items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(port: int, request: bytes | None = None) -> tuple[bytes, bytes, bool]:
    """Head, rest, and whether the connection was reset; everything until the server closes."""
    async with connected(port) as (reader, writer):
        writer.write((request or raw_request()).replace(b"\r\nhost:", b"\r\nconnection: close\r\nhost:", 1))
        data, reset = b"", False
        try:
            while piece := await reader.read(65536):
                data += piece
        except ConnectionResetError:
            reset = True
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest, reset


def unchunked(data: bytes) -> tuple[bytes, bool]:
    """The body of a chunked coding, and whether it ended as it should."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return body, data == b"\r\n"
        body, data = body + data[:length], data[length + 2 :]
    return body, False


async def test_a_healthy_stream_is_chunked_and_ends_well() -> None:
    async with simulated_claude() as claude:
        head, rest, reset = await ask(claude.port)
    body, ended = unchunked(rest)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert (ended, reset) == (True, False)


@pytest.mark.parametrize(("how", "expected_reset"), [(How.RESET, True), (How.FIN, False), (How.END, False)])
async def test_a_cut_ends_at_its_mark_in_its_way(how: How, expected_reset: bool) -> None:
    async with simulated_claude(cut("content", how, extra_bytes=7)) as claude:
        _, rest, reset = await ask(claude.port)
    body, ended = unchunked(rest)
    assert body.endswith(b'"Simulated"}}\n\nevent: ')
    assert (ended, reset) == (how is How.END, expected_reset)
    assert claude.served_answers == 0
    assert (claude.partial_answers, claude.partial.output) == (1, 1)


async def test_an_unfinished_stream_ends_well_in_http_only() -> None:
    async with simulated_claude(unfinished()) as claude:
        _, rest, _ = await ask(claude.port)
    body, ended = unchunked(rest)
    assert ended
    assert b"message_delta" in body
    assert b"message_stop" not in body


async def test_a_stall_keeps_back_the_rest_and_then_goes_on() -> None:
    async with simulated_claude(stalled("start", 60 * MS, extra_bytes=5)) as claude, connected(claude.port) as (r, w):
        w.write(raw_request())
        first = await r.readuntil(b"event\r\n")
        started = asyncio.get_running_loop().time()
        await r.readuntil(b"message_stop")
        assert asyncio.get_running_loop().time() - started >= 50 * MS
    assert first.count(b"data: ") == 1


async def test_silence_before_the_head_may_be_preceded_by_interim_responses() -> None:
    async with simulated_claude(silent(60 * MS, 100, 103)) as claude, connected(claude.port) as (reader, writer):
        started = asyncio.get_running_loop().time()
        writer.write(raw_request())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\n\r\n"
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        assert asyncio.get_running_loop().time() - started >= 50 * MS


async def test_a_head_may_come_alone() -> None:
    async with simulated_claude(silent_after_head()) as claude, connected(claude.port) as (reader, writer):
        writer.write(raw_request())
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(50 * MS):
                await reader.readexactly(1)


async def test_drips_are_single_bytes() -> None:
    async with simulated_claude(dripped(1)) as claude:
        _, rest, _ = await ask(claude.port)
    assert rest.startswith(b"1\r\ne\r\n1\r\nv\r\n")
    assert unchunked(rest)[1]


@pytest.mark.parametrize("step", [Drop(), Drop(How.FIN), Drop(after=10 * MS)])
async def test_a_drop_answers_nothing(step: Drop) -> None:
    async with simulated_claude(step) as claude:
        head, _, reset = await ask(claude.port)
    assert (head, reset) == (b"", step.how is How.RESET)
    assert claude.gone == 0


async def test_garbage_is_not_http() -> None:
    async with simulated_claude(Garbage(b"\x00\x01")) as claude:
        assert (await ask(claude.port))[0] == b"\x00\x01"


async def test_a_length_may_lie() -> None:
    async with simulated_claude(Answer(wire=Wire(length_error=9))) as claude:
        head, rest, _ = await ask(claude.port)
    stated = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert stated == len(rest) + 9


async def test_a_body_may_end_with_its_connection() -> None:
    async with simulated_claude(Answer(wire=Wire(framing="close"))) as claude:
        head, rest, _ = await ask(claude.port)
    assert b"content-length" not in head
    assert b"chunked" not in head
    assert rest.endswith(b"\n\n")


async def test_gzip_is_right_or_broken() -> None:
    async with simulated_claude(Answer(wire=Wire(gzip="good")), Answer(wire=Wire(gzip="bad"))) as claude:
        head, rest, _ = await ask(claude.port)
        assert b"content-encoding: gzip" in head
        assert gzip.decompress(unchunked(rest)[0]).endswith(b"\n\n")
        _, rest, _ = await ask(claude.port)
        with pytest.raises(OSError, match=r"."):
            gzip.decompress(unchunked(rest)[0][:2] + b"\x09" * 20)
        assert unchunked(rest)[0].startswith(b"\x1f\x8b\x08\x00broken")


async def test_the_content_type_may_be_missing_or_wrong() -> None:
    async with simulated_claude(
        Answer(wire=Wire(content_type=None)), Answer(wire=Wire(content_type="text/x"))
    ) as claude:
        assert b"content-type" not in (await ask(claude.port))[0]
        assert b"content-type: text/x" in (await ask(claude.port))[0]


async def test_an_event_may_be_corrupt_and_bytes_may_be_put_between() -> None:
    wire = Wire(corrupt="start", insert=b": comment\n\n", insert_at="content")
    async with simulated_claude(Answer(wire=wire)) as claude:
        body, _ = unchunked((await ask(claude.port))[1])
    assert body.count(b": comment\n\n") == 1
    with pytest.raises(UnicodeDecodeError):
        body.decode()


async def test_a_body_may_be_another_one() -> None:
    async with simulated_claude(Answer(wire=Wire(body=b"<html>"))) as claude:
        assert unchunked((await ask(claude.port))[1])[0] == b"<html>"


async def test_a_client_that_leaves_a_silent_answer_is_noticed_at_once() -> None:
    async with simulated_claude(silent(), stalled("content"), long_stream(50, 10 * MS)) as claude:
        for expected in (1, 2, 3):
            async with connected(claude.port) as (reader, writer):
                writer.write(raw_request())
                if expected > 1:
                    await reader.readuntil(b"content_block_delta")
                else:
                    await claude.until(lambda: claude.count == 1)
            await claude.until(lambda expected=expected: claude.gone == expected)  # type: ignore[misc]
        assert claude.partial_answers == 2


async def test_a_slow_client_slows_its_own_answer() -> None:
    async with (
        simulated_claude(Answer(blocks=(Text("x" * 40_000_000, 40),))) as claude,
        connected(claude.port) as (r, w),
    ):
        w.write(raw_request())
        await r.readuntil(b"message_start")
        await asyncio.sleep(50 * MS)
        assert claude.served_answers == 0
        while await r.read(1 << 20):
            if claude.served_answers:
                break
    assert claude.served_answers == 1


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with simulated_claude(Refusal(529)) as claude, connected(claude.port) as (reader, writer):
        writer.write(raw_request() + raw_request())
        await reader.readuntil(b"HTTP/1.1 529")
        await reader.readuntil(b"HTTP/1.1 200")
        await reader.readuntil(b"message_stop")
        assert [seen.connection for seen in claude.requests] == [1, 1]


async def test_while_it_refuses_nobody_connects_and_afterwards_everybody() -> None:
    async with simulated_claude() as claude:
        port = claude.port
        async with connected(port) as (reader, _), claude.refusing():
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            # Nor can another program be given the port, and answer there.
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
        assert claude.port == port
        assert (await ask(port))[0].startswith(b"HTTP/1.1 200")


async def test_chunked_requests_and_expectations_are_served() -> None:
    body = messages_body()
    chunks = b"%x;x=y\r\n%b\r\n0\r\ntrailer: 1\r\n\r\n" % (len(body), body)
    head = raw_request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked\r\nexpect: 100-continue")
    async with simulated_claude() as claude:
        first, rest, _ = await ask(claude.port, head + chunks)
        assert first == b"HTTP/1.1 100 Continue"
        assert rest.startswith(b"HTTP/1.1 200 OK")
        assert claude.requests[-1].body == body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffff\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"x" * 70_000,
    ],
)
async def test_what_is_no_careful_http_is_a_violation(request_bytes: bytes) -> None:
    async with simulated_claude(allow_violations=True) as claude:
        async with connected(claude.port) as (reader, writer):
            writer.write(request_bytes)
            assert (await reader.readline()) == b"HTTP/1.1 400 Bad Request\r\n"
        assert len(claude.violations) == 1


async def test_half_a_request_is_no_request() -> None:
    async with simulated_claude() as claude:
        for part in (b"POST / HT", raw_request()[:-5]):
            async with connected(claude.port) as (_, writer):
                writer.write(part)
                await writer.drain()
        await claude.until(lambda: claude.connections == 2 and not claude.open_connections)
        assert (claude.count, claude.gone) == (0, 0)


async def test_what_is_remembered_is_bounded_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with simulated_claude() as claude:
        monkeypatch.setattr(server, "KEPT_REQUESTS", 2)
        for _ in range(3):
            await ask(claude.port)
        assert [seen.number for seen in claude.requests] == [2, 3]
        monkeypatch.setattr(server, "KEPT_BYTES", 1)
        await ask(claude.port)
        assert [seen.number for seen in claude.requests] == [4]
        assert claude.count == 4


async def test_gaps_keep_to_a_schedule() -> None:
    loop = asyncio.get_running_loop()
    async with simulated_claude(long_stream(10, 10 * MS)) as claude:
        started = loop.time()
        await ask(claude.port)
        assert loop.time() - started >= 120 * MS  # 13 gaps: every event but the first, the ping too


async def test_the_date_is_the_clocks() -> None:
    async with simulated_claude(text("x"), clock=FakeClock(wall=1_795_000_000.0)) as claude:
        assert b"date: Wed, 18 Nov 2026 11:06:40 GMT\r\n" in (await ask(claude.port))[0]


async def test_leaving_the_block_ends_whatever_hangs() -> None:
    async with simulated_claude(silent(), silent()) as claude:
        _, writer = await asyncio.open_connection("127.0.0.1", claude.port)
        writer.write(raw_request())
        await claude.until(lambda: claude.count == 1)
    assert (claude.open_connections, claude.gone) == (0, 0)
    writer.close()


async def test_a_stall_and_a_cut_may_follow_each_other() -> None:
    wire = Wire(stall=Stall("start", 10 * MS), cut=Cut("block", How.END))
    async with simulated_claude(Answer(wire=wire)) as claude:
        body, ended = unchunked((await ask(claude.port))[1])
    assert ended
    assert body.endswith(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n')
