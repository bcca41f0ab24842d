"""The response, beside aiohttp's own: the same head, the same framing, the same fate of the connection."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
from aiohttp import web

from claude_failover.core.types import Epoch, Headers
from claude_failover.proxy.response import Response
from claude_failover.proxy.server import Server

DATE = ("date", "Sun, 22 Nov 2026 12:00:00 GMT")
NOW = Epoch(1_795_348_800.0)
BODY = b"data: 1\n\n"

PROTOCOLS = [
    ("HTTP/1.1", ""),
    ("HTTP/1.1", "Connection: close\r\n"),
    ("HTTP/1.0", ""),
    ("HTTP/1.0", "Connection: keep-alive\r\n"),
]
LINES: list[Headers] = [
    (),
    (("content-type", "text/event-stream"), ("x-a", "1"), ("X-A", "2")),
    (("content-length", str(len(BODY))), ("server", "cloudflare")),
]


async def ask(handler: object, version: str, more: str) -> tuple[list[bytes], bytes, bool]:
    """Head lines, body as framed, and whether a second request on the same connection is answered."""
    runner = web.ServerRunner(Server(handler))  # type: ignore[arg-type]
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        request = f"POST / {version}\r\nHost: localhost\r\nContent-Length: 0\r\n{more}\r\n".encode()
        async with asyncio.timeout(30):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(request)
            rest = b""
            while b"HTTP/1." not in rest and (piece := await reader.read(1 << 16)):
                rest += piece
        writer.close()
    finally:
        await runner.cleanup()
    first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    return [first, *sorted(line.lower() for line in lines)], rest.partition(b"HTTP/1.")[0], b"HTTP/1." in rest


@pytest.mark.parametrize(("version", "more"), PROTOCOLS)
async def test_it_says_what_aiohttps_own_would_say(version: str, more: str) -> None:
    for status, lines, sized in product([200, 400, 429, 529, 204, 304, 299], LINES, [False, True]):
        bare = status in {204, 304}
        body = b"" if bare else BODY

        async def ours(request: web.BaseRequest) -> web.StreamResponse:
            response = Response(request, status)  # noqa: B023 - served before the next round
            await response.begin((*lines, DATE), NOW, size=len(body) if sized else None, at_once=False)  # noqa: B023
            await response.write_eof(body)  # noqa: B023
            return response

        async def theirs(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(status=status)  # noqa: B023
            for name, value in (*lines, DATE):  # noqa: B023
                response.headers.add(name, value)
            if sized:  # noqa: B023
                response.headers.setdefault("content-length", str(len(body)))  # noqa: B023
            response.headers.setdefault("server", "claude-failover")
            await response.prepare(request)
            await response.write_eof(body)  # noqa: B023
            return response

        head, framed, again = await ask(theirs, version, more)
        if version == "HTTP/1.0" and not bare and not any(line.startswith(b"content-length") for line in head):
            again = False  # aiohttp leaves a connection open whose end would be the body's, and the client waits
        assert await ask(ours, version, more) == (head, framed, again), (status, lines, sized)


@pytest.mark.parametrize(
    ("version", "expected", "kept"),
    [
        ("HTTP/1.1", b"9\r\ndata: 1\n\n\r\n0\r\n\r\n", True),
        ("HTTP/1.0", b"data: 1\n\n", False),
    ],
)
async def test_a_stream_is_chunked_or_ends_with_its_connection(version: str, expected: bytes, kept: bool) -> None:
    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        response = Response(request, 200)
        await response.begin((), NOW, size=None, at_once=True)
        await response.write(BODY)
        await response.write_eof()
        return response

    head, body, again = await ask(stream, version, "")
    assert head[0].endswith(b" 200 OK")
    assert (body, again) == (expected, kept)


async def test_a_head_may_go_out_before_there_is_a_body_and_always_has_a_date() -> None:
    goes_on = asyncio.Event()

    async def waits(request: web.BaseRequest) -> web.StreamResponse:
        response = Response(request, 200)
        await response.begin((), NOW, size=None, at_once=True)
        await goes_on.wait()
        await response.write_eof(BODY)
        return response

    async def held(request: web.BaseRequest) -> web.StreamResponse:
        response = Response(request, 200)
        await response.begin((), NOW, size=None, at_once=False)
        assert request.writer.output_size == 0, "waits for its body"
        await response.write_eof(BODY)
        return response

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(ask(waits, "HTTP/1.1", ""))
        await asyncio.sleep(0.05)
        goes_on.set()
    assert b"date: sun, 22 nov 2026 12:00:00 gmt" in asked.result()[0]
    assert (await ask(held, "HTTP/1.1", ""))[1] == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"
