"""The driver: feeds one exchange with what happens and does what it says.

One attempt is open at a time, so the driver is a plain loop: obey, wait for the next event, feed it. There
is one timer for a whole request (:class:`Alarm`), no task per read and no queue: a client that
reads slowly makes this loop wait in ``write``, and so the upstream is not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from aiohttp import web
from multidict import CIMultiDict

from claude_failover.clock import Clock
from claude_failover.core.commands import (
    Abort,
    Announce,
    AttemptEnded,
    BodyReceived,
    ClientGone,
    CloseAttempt,
    Command,
    Conclude,
    Event,
    Finish,
    HeadReceived,
    OpenAttempt,
    Record,
    SendBody,
    SendHead,
    Start,
    Wakeup,
)
from claude_failover.core.exchange import Exchange
from claude_failover.core.types import AttemptRecord, BackendName, ExchangeRecord, Headers, Transition
from claude_failover.upstream import Attempt, Upstream

WRITE_STALL: Final = 120.0
"""Seconds that a client may leave its receive window shut before it counts as gone."""

BUSY_LOOK: Final = 1.0
"""How soon the alarm looks again when it rings while the loop is writing."""


class Books(Protocol):
    """Where what happened is written down; must not block and must not raise."""

    def record(self, record: AttemptRecord) -> None:
        """One attempt is over."""

    def conclude(self, record: ExchangeRecord) -> None:
        """One exchange is over."""

    def announce(self, transition: Transition) -> None:
        """Something changed."""

    def heard(self, backend: BackendName, headers: Headers) -> None:
        """A backend answered with these headers."""


class Alarm:
    """One timer for many waits of one task.

    Re-arming costs a comparison: the timer is only moved when it rings too early. It interrupts the
    task the way :func:`asyncio.timeout` does, but only while the task says that it is waiting.
    """

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop, stalled: Callable[[], None]) -> None:
        self._clock = clock
        self._loop = loop
        self._task = asyncio.current_task()
        self._stalled = stalled
        self._handle: asyncio.TimerHandle | None = None
        self._armed = float("inf")
        self._at = float("inf")
        self._waiting = False
        self._rang = False
        self.writing_since: float | None = None

    def set(self, at: float | None) -> None:
        """Ring at that monotonic moment."""
        self._at = float("inf") if at is None else at
        if self._at < self._armed:
            self._arm(self._at)

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = at
        delay = max(0.0, at - self._clock.now().monotonic)
        self._handle = self._loop.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._handle = None
        self._armed = float("inf")
        now = self._clock.now().monotonic
        if self.writing_since is not None and now - self.writing_since >= WRITE_STALL:
            self._stalled()
        elif self._at == float("inf"):
            return
        elif now < self._at:
            self._arm(self._at)
        elif self._waiting and self._task is not None:
            self._rang = True
            self._task.cancel()
        else:
            self._arm(now + BUSY_LOOK)

    async def read(self, attempt: Attempt) -> BodyReceived | AttemptEnded | Wakeup:
        """Wait for the attempt's next bytes, or for the alarm."""
        self._waiting = True
        try:
            return await attempt.read()
        except asyncio.CancelledError:
            if self._rang and self._task is not None:
                self._rang = False
                if self._task.uncancel() == 0:
                    return Wakeup()
            raise
        finally:
            self._waiting = False

    def close(self) -> None:
        """Ring no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Driver:
    """Drives one exchange for one client.

    Args:
        request: The client's, its body already read.
        exchange: Not started.
        upstreams: One per backend.
        books: Where records and announcements go.
        clock: The daemon's.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        exchange: Exchange,
        upstreams: Mapping[BackendName, Upstream],
        books: Books,
        clock: Clock,
    ) -> None:
        self._request = request
        self._exchange = exchange
        self._upstreams = upstreams
        self._books = books
        self._clock = clock
        self._response: web.StreamResponse | None = None
        self._attempt: Attempt | None = None
        self._head: asyncio.Task[HeadReceived | AttemptEnded] | None = None
        self._concluded = False
        self._backend = BackendName("")

    @property
    def began(self) -> bool:
        """Whether the client has got a byte."""
        return self._response is not None

    async def run(self) -> web.StreamResponse:
        """Serve the client to the end; returns the response that was sent.

        Raises:
            asyncio.CancelledError: The client went away; everything is closed and recorded.
        """
        loop = asyncio.get_running_loop()
        alarm = Alarm(self._clock, loop, self._drop_client)
        try:
            async with asyncio.TaskGroup() as tasks:
                try:
                    await self._loop(alarm, tasks)
                except (asyncio.CancelledError, ConnectionError) as error:
                    self._client_gone()
                    if isinstance(error, asyncio.CancelledError):
                        raise
                finally:
                    if self._head is not None:
                        self._head.cancel()
        finally:
            alarm.close()
            await self._close_attempt()
        assert self._response is not None, "an exchange always answers"
        return self._response

    async def _loop(self, alarm: Alarm, tasks: asyncio.TaskGroup) -> None:
        exchange, clock = self._exchange, self._clock
        commands = exchange.handle(Start(), clock.now())
        while True:
            for command in commands:
                # The hot path first: after the commit nearly every command is this one.
                if type(command) is SendBody:
                    await self._write(command.data, alarm)
                else:
                    await self._obey(command, commands, tasks)
            if self._concluded:
                return
            alarm.set(exchange.deadline)
            event = await self._next_event(alarm)
            if isinstance(event, AttemptEnded):
                # Nothing more comes of it: during a wait its end would be read again and again.
                await self._close_attempt()
            commands = exchange.handle(event, clock.now())

    async def _next_event(self, alarm: Alarm) -> Event:
        if self._attempt is not None and self._head is None:
            return await alarm.read(self._attempt)
        deadline = self._exchange.deadline
        timeout = None if deadline is None else max(0.0, deadline - self._clock.now().monotonic)
        if self._head is None:
            await asyncio.sleep(timeout if timeout is not None else WRITE_STALL)
            return Wakeup()
        done, _ = await asyncio.wait({self._head}, timeout=timeout)
        if not done:
            return Wakeup()
        task, self._head = self._head, None
        event = task.result()
        if isinstance(event, HeadReceived):
            self._books.heard(self._backend, event.headers)
        return event

    async def _write(self, data: bytes, alarm: Alarm) -> None:
        assert self._response is not None, "a body comes after its head"
        alarm.writing_since = self._clock.now().monotonic
        await self._response.write(data)
        alarm.writing_since = None

    async def _obey(self, command: Command, batch: list[Command], tasks: asyncio.TaskGroup) -> None:
        match command:
            case SendBody():
                raise AssertionError("bodies are written by the loop")
            case OpenAttempt():
                await self._close_attempt()
                self._backend = command.backend
                self._attempt = self._upstreams[command.backend].open(command)
                self._head = tasks.create_task(self._attempt.head())
            case CloseAttempt():
                await self._close_attempt()
            case SendHead(status=status, headers=headers):
                await self._begin(status, headers, batch)
            case Finish():
                assert self._response is not None, "the end comes after the head"
                await self._response.write_eof()
            case Abort():
                self._drop_client()
            case Record(record=record):
                self._books.record(record)
            case Announce(transition=transition):
                self._books.announce(transition)
            case Conclude(record=record):
                self._concluded = True
                self._books.conclude(record)

    async def _begin(self, status: int, headers: Headers, batch: list[Command]) -> None:
        lines: CIMultiDict[str] = CIMultiDict(headers)
        if any(isinstance(command, Finish) for command in batch) and "content-length" not in lines:
            size = sum(len(command.data) for command in batch if isinstance(command, SendBody))
            lines["content-length"] = str(size)
        lines.setdefault("server", "claude-failover")
        self._response = web.StreamResponse(status=status, headers=lines)
        await self._response.prepare(self._request)

    async def _close_attempt(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            head.cancel()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            await attempt.close()

    def _client_gone(self) -> None:
        """Close the books without awaiting: this task is being cancelled."""
        for command in self._exchange.handle(ClientGone(), self._clock.now()):
            match command:
                case Record(record=record):
                    self._books.record(record)
                case Announce(transition=transition):
                    self._books.announce(transition)
                case Conclude(record=record):
                    self._books.conclude(record)
                case _:
                    continue

    def _drop_client(self) -> None:
        transport = self._request.transport
        if transport is not None:
            transport.abort()
