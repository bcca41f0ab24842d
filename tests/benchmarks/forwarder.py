"""The yardstick: the least that an aiohttp program must do to stand between a client and an API."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "accept-encoding"}


async def main(upstream: str, port: int) -> None:
    logging.disable()  # Clients that leave in the middle are part of the benchmark.
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        skip_auto_headers=("user-agent", "accept"),
    )

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        async with session.request(request.method, upstream + request.path_qs, data=body, headers=headers) as answer:
            back = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            response = web.StreamResponse(status=answer.status, headers=back)
            await response.prepare(request)
            async for data in answer.content.iter_any():
                await response.write(data)
            await response.write_eof()
            return response

    def factory(*parts: Any) -> web.BaseRequest:
        asked: Any = web.BaseRequest
        request: web.BaseRequest = asked(*parts, asyncio.get_running_loop(), client_max_size=1 << 26)
        return request

    server = web.Server(handle, request_factory=factory, access_log=None)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=2048).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
