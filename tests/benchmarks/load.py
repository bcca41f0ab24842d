"""The load: raw connections that send prepared requests and read answers to their end.

``python load.py URL-PORT JSON-OF-Plan`` prints one JSON line with what it measured. A connection sends its next
request when the last is answered (closed loop), or at its time (open loop, *rate* > 0).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop


@dataclass
class Plan:
    """What is sent."""

    port: int
    headers: dict[str, str]
    body_bytes: int = 80_000
    stream: bool = True
    connections: int = 32
    requests: int = 500
    rate: float = 0.0
    """Requests a second over all connections; 0 = as fast as they are answered."""


@dataclass
class Measured:
    """What came back; seconds."""

    requests: int = 0
    errors: int = 0
    elapsed: float = 0.0
    ttfb: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    bytes: int = 0


def request_bytes(plan: Plan) -> bytes:
    text = "x" * 900
    turns = [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n in range(plan.body_bytes // 940)]
    if len(turns) % 2 == 0:
        turns.append({"role": "user", "content": "go on"})
    body = json.dumps({
        "model": "claude-opus-5-5", "max_tokens": 32000, "stream": plan.stream,
        "system": [{"type": "text", "text": "You are a bench.", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "Bash", "description": "run", "input_schema": {"type": "object", "properties": {}}}],
        "messages": turns,
    }).encode()  # fmt: skip
    lines = {
        "host": f"127.0.0.1:{plan.port}",
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "user-agent": "claude-cli/2.1.330 (external, cli)",
        **plan.headers,
        "content-length": str(len(body)),
    }
    head = "POST /v1/messages?beta=true HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
    return head.encode() + body


class Client(asyncio.Protocol):
    """One connection; :meth:`ask` sends a request and waits for the end of its answer."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._done: asyncio.Future[bool] | None = None
        self._have = bytearray()
        self._length = -1
        self._chunked = False
        self._head = False
        self._status = b""
        self.first = 0.0
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(good=False)

    async def ask(self, data: bytes) -> bool:
        assert self.transport is not None
        self._have = bytearray()
        self._head = False
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return await self._done

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._have += data
        if not self._head:
            end = self._have.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._have[:end]).lower()
            self._status = head[9:12]
            self._chunked = b"transfer-encoding: chunked" in head
            at = head.find(b"content-length:")
            self._length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else -1
            del self._have[: end + 4]
            self._head = True
            self.first = 0.0
        if self.first == 0.0 and self._have:
            self.first = time.perf_counter()
        if self._chunked:
            if self._have.endswith(b"\r\n0\r\n\r\n"):
                self._finish(good=self._status == b"200" and b"message_stop" in self._have[-400:])
            elif len(self._have) > 65536:
                del self._have[:-1024]
        elif len(self._have) >= self._length >= 0:
            self._finish(good=self._status == b"200")

    def _finish(self, *, good: bool) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(good)


async def main(plan: Plan) -> Measured:
    loop = asyncio.get_running_loop()
    data = request_bytes(plan)
    measured = Measured()
    clients = [(await loop.create_connection(Client, "127.0.0.1", plan.port))[1] for _ in range(plan.connections)]
    left = plan.requests
    began = time.perf_counter()
    gap = plan.connections / plan.rate if plan.rate else 0.0

    async def work(client: Client, offset: float) -> None:
        nonlocal left
        due = began + offset
        while left > 0:
            left -= 1
            if gap:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                due += gap
            start = time.perf_counter()
            good = await client.ask(data)
            end = time.perf_counter()
            measured.requests += 1
            if good:
                measured.ttfb.append(client.first - start)
                measured.total.append(end - start)
            else:
                measured.errors += 1
                if client.transport is None or client.transport.is_closing():
                    client = (await loop.create_connection(Client, "127.0.0.1", plan.port))[1]

    async with asyncio.TaskGroup() as group:
        for index, client in enumerate(clients):
            group.create_task(work(client, gap * index / len(clients)))
    measured.elapsed = time.perf_counter() - began
    measured.bytes = sum(client.received for client in clients)
    for client in clients:
        if client.transport is not None:
            client.transport.close()
    return measured


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(main(Plan(**json.loads(sys.argv[1])))))))
