"""The load: raw connections that send prepared requests and read answers to their end.

``python load.py`` reads a plan as JSON and prints one JSON line with what it measured. A connection sends its next
request when the last is answered (closed loop), or at its time (open loop, *rate* > 0).
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

import uvloop

MARK: Final = b"bench:0#00000000"
STAMP: Final = re.compile(rb"t=(\d{10}\.\d{6})")


@dataclass
class Plan:
    """What is sent."""

    port: int
    headers: dict[str, str]
    path: str = "/v1/messages?beta=true"
    model: str = "claude-opus-5-5"
    body_bytes: int = 80_000
    stream: bool = True
    connections: int = 32
    requests: int = 500
    rate: float = 0.0
    """Requests a second over all connections; 0 = as fast as they are answered."""
    kind: int = 0
    """Which of its answers the upstream shall give."""
    slow: float = 0.0
    """Seconds that a client rests after every *slow_bytes* that it reads, with a small buffer below; 0 = never."""
    slow_bytes: int = 65_536
    leave_after: float = 0.0
    """Seconds after which a client hangs up in the middle; 0 = never."""
    ramp: float = 0.0
    """Seconds over which the connections start their work."""
    first: int = 0
    """The number of the first request."""


@dataclass
class Measured:
    """What came back; seconds, as percentiles."""

    requests: int = 0
    errors: int = 0
    left: int = 0
    said: dict[str, int] = field(default_factory=dict)
    """How errors ended: statuses, and where no status came."""
    sample: str = ""
    """The first error's body, its beginning."""
    elapsed: float = 0.0
    connections: int = 0
    """Opened, over the whole run."""
    late: float = 0.0
    """By how much a request of an open loop was sent too late, at most."""
    bytes: int = 0
    ttfb: dict[str, float] = field(default_factory=dict)
    total: dict[str, float] = field(default_factory=dict)
    lag: dict[str, float] = field(default_factory=dict)
    """Of stamped events, from the upstream's write to here."""
    behind: dict[str, float] = field(default_factory=dict)
    """The same of each stream's last stamped event."""


def shares(samples: array[float]) -> dict[str, float]:
    ordered = sorted(samples)
    if not ordered:
        return {}
    size = len(ordered)
    named = {f"p{100 * share:g}": ordered[min(size - 1, int(share * size))] for share in (0.5, 0.95, 0.99)}
    return {**named, "max": ordered[-1], "n": float(size)}


def request_parts(plan: Plan) -> tuple[bytes, bytes]:
    """What stands before and after the mark."""
    text = "x" * 900
    turns = [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n in range(plan.body_bytes // 940)]
    if len(turns) % 2 == 0:
        turns.append({"role": "user", "content": "go on"})
    body = json.dumps({
        "model": plan.model, "max_tokens": 32000, "stream": plan.stream,
        "system": [{"type": "text", "text": MARK.decode(), "cache_control": {"type": "ephemeral"}}],
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
    head = f"POST {plan.path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
    before, _, after = body.partition(MARK)
    return head.encode() + before, after


class Client(asyncio.Protocol):
    """One connection; :meth:`ask` sends a request and waits for the end of its answer."""

    def __init__(self, plan: Plan, lags: array[float]) -> None:
        self.transport: asyncio.Transport | None = None
        self._plan = plan
        self._lags = lags
        self._needle = b"message_stop" if plan.stream else b"}"
        self._done: asyncio.Future[bool] | None = None
        self._have = bytearray()
        self._length = -1
        self._chunked = False
        self._head = False
        self._eager = 0
        self.status = ""
        self.first = 0.0
        self.behind = -1.0
        self.received = 0

    @property
    def closed(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    @property
    def body(self) -> str:
        return bytes(self._have[:300]).decode(errors="replace")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self.transport = cast("asyncio.Transport", transport)
        if self._plan.slow:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)

    def connection_lost(self, exc: Exception | None) -> None:
        self.status = f"cut after {self.status}" if self._head else "cut"
        self._finish(good=False)

    async def ask(self, data: bytes) -> bool:
        if self.transport is None or self.closed:
            self.status = "closed unasked"
            return False
        self._have = bytearray()
        self._head = False
        self.status = ""
        self.first = 0.0
        self.behind = -1.0
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return await self._done

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._have += data
        if self._plan.slow:
            self._rest(len(data))
        if not self._head:
            end = self._have.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._have[:end]).lower()
            self.status = head[9:12].decode()
            self._chunked = b"transfer-encoding: chunked" in head
            at = head.find(b"content-length:")
            self._length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else -1
            del self._have[: end + 4]
            self._head = True
        if self.first == 0.0 and self._have:
            self.first = time.perf_counter()
        stamps = STAMP.findall(data)
        if stamps:
            now = time.perf_counter()
            for one in stamps:
                self.behind = now - float(one)
                self._lags.append(self.behind)
        if self._chunked:
            if self._have.endswith(b"\r\n0\r\n\r\n"):
                self._finish(good=self.status == "200" and self._needle in self._have[-400:])
            elif len(self._have) > 65536:
                del self._have[:-1024]
        elif len(self._have) >= self._length >= 0:
            self._finish(good=self.status == "200" and self._needle in self._have[-400:])

    def _rest(self, size: int) -> None:
        self._eager += size
        if self._eager >= self._plan.slow_bytes and self.transport is not None:
            self._eager = 0
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(self._plan.slow, self._go_on)

    def _go_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _finish(self, *, good: bool) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(good)


class Load:
    """The run of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._before, self._after = request_parts(plan)
        self._measured = Measured()
        self._said: Counter[str] = Counter()
        self._ttfb, self._total, self._lags, self._behind = (array("d") for _ in range(4))
        self._next = 0

    async def run(self) -> Measured:
        plan, measured = self._plan, self._measured
        clients = [await self._connect() for _ in range(plan.connections)]
        began = time.perf_counter()
        gap = plan.connections / plan.rate if plan.rate else 0.0
        spread = gap or plan.ramp
        async with asyncio.TaskGroup() as group:
            for index, client in enumerate(clients):
                group.create_task(self._work(client, began + spread * index / len(clients), gap))
        measured.elapsed = time.perf_counter() - began
        measured.said = dict(self._said)
        measured.ttfb, measured.total = shares(self._ttfb), shares(self._total)
        measured.lag, measured.behind = shares(self._lags), shares(self._behind)
        return measured

    async def _connect(self) -> Client:
        self._measured.connections += 1
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: Client(self._plan, self._lags), "127.0.0.1", self._plan.port)
        return client

    async def _work(self, client: Client, due: float, gap: float) -> None:
        plan, measured = self._plan, self._measured
        while self._next < plan.requests:
            number = self._next
            self._next += 1
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            start = time.perf_counter()
            if gap:
                measured.late = max(measured.late, start - due)
                due += gap
            mark = b"bench:%d#%08d" % (plan.kind, plan.first + number)
            data = self._before + mark + self._after
            try:
                async with asyncio.timeout(plan.leave_after or None):
                    good = await client.ask(data)
            except TimeoutError:
                measured.left += 1
                good = None
                if client.transport is not None:
                    client.transport.abort()
            end = time.perf_counter()
            measured.requests += 1
            if good:
                self._ttfb.append(client.first - start)
                self._total.append(end - start)
                if client.behind >= 0:
                    self._behind.append(client.behind)
            elif good is not None:
                measured.errors += 1
                self._said[client.status] += 1
                measured.sample = measured.sample or client.body
            if client.closed:
                measured.bytes += client.received
                try:
                    client = await self._connect()
                except OSError:
                    # Nobody listens, or no descriptors: this connection has done its work.
                    self._said["no connection"] += 1
                    return
        measured.bytes += client.received
        if client.transport is not None:
            client.transport.close()


def main(told: dict[str, Any]) -> dict[str, Any]:
    return asdict(uvloop.run(Load(Plan(**told)).run()))


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
