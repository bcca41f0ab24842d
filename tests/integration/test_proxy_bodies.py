"""Bodies of requests: what all of them may hold together, and when they let go of it."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from claude_failover.drill.script import silent, stalled
from claude_failover.proxy.bodies import Bodies
from tests.fakes import claude_headers, messages_body, simulated_claude
from tests.served import KEYED, Served, client, serving, settings_for

LINES = KEYED | claude_headers()
BODY = messages_body(system="x" * 60_000)
ROOM = 2 * len(BODY) + 1_000
"""For two, not for three."""


async def post(served: Served, web: aiohttp.ClientSession, body: bytes = BODY) -> aiohttp.ClientResponse:
    return await web.post(f"{served.url}/v1/messages?beta=true", data=body, headers=LINES)


async def until_held(served: Served, size: int) -> None:
    async with asyncio.timeout(30):
        while served.world.bodies.held != size:  # noqa: ASYNC110 - requests come in over sockets
            await asyncio.sleep(0.002)


async def test_a_crowd_in_front_of_a_silent_backend_may_not_take_all_memory() -> None:
    async with (
        simulated_claude(silent(), silent()) as claude,
        serving(settings_for(claude.url)) as served,
        client() as web,
    ):
        served.world.bodies = Bodies(ROOM)
        waiting = [asyncio.ensure_future(post(served, web)) for _ in range(2)]  # noqa: TID251 - cancelled below
        await until_held(served, 2 * len(BODY))
        refused = await post(served, web)
        told = await refused.json()
        assert (refused.status, told["error"]["type"]) == (529, "overloaded_error")
        assert told["error"]["message"] == "claude-failover: the daemon holds as many bytes of requests as it may"
        assert refused.headers["retry-after"] == "1"
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await until_held(served, 0)
        assert len(claude.requests) == 2


async def test_a_stream_that_has_begun_takes_no_room_from_others() -> None:
    async with (
        simulated_claude(*[stalled("content")] * 5) as claude,
        serving(settings_for(claude.url)) as served,
        client() as web,
    ):
        served.world.bodies = Bodies(ROOM)
        streams = [await post(served, web) for _ in range(5)]
        assert [stream.status for stream in streams] == [200] * 5
        assert served.world.bodies.held <= ROOM
        for stream in streams:
            stream.close()
        await until_held(served, 0)


async def test_a_body_of_unknown_size_is_counted_as_it_comes() -> None:
    async def pieces(count: int) -> object:
        yield json.dumps(json.loads(BODY)).encode()[:-1]
        for _ in range(count):
            yield b" " * 60_000
        yield b"}"

    async with simulated_claude() as claude, serving(settings_for(claude.url)) as served, client() as web:
        served.world.bodies = Bodies(ROOM)
        async with web.post(f"{served.url}/v1/messages", data=pieces(0), headers=LINES) as response:
            assert response.status == 200
            await response.read()
        async with web.post(f"{served.url}/v1/messages", data=pieces(4), headers=LINES) as response:
            assert response.status == 529
        await until_held(served, 0)
        assert len(claude.requests) == 1


async def test_what_is_announced_to_be_too_much_is_refused_before_it_is_sent() -> None:
    async with simulated_claude() as claude, serving(settings_for(claude.url)) as served:
        served.world.bodies = Bodies(ROOM)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        lines = [f"{name}: {value}" for name, value in LINES.items()]
        lines += [f"Host: 127.0.0.1:{served.port}", f"Content-Length: {ROOM + 1}", "Expect: 100-continue"]
        writer.write("\r\n".join(["POST /v1/messages HTTP/1.1", *lines, "", ""]).encode())
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 529 ")
        writer.close()
        assert claude.count == 0
