"""The driver: feeds one exchange with what happens and does what it says.

One attempt is open at a time, so the driver is a plain loop: obey, wait for the next event, feed it. There
is one timer for a whole request (:class:`Alarm`), no task per read and no queue: a client that
reads slowly makes this loop wait in ``write``, and so the upstream is not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import chain
from typing import Final, Protocol, TypeVar

from aiohttp import web

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
from claude_failover.proxy.response import Response
from claude_failover.upstream import Attempt, Upstream

WRITE_STALL: Final = 120.0
"""Seconds that a client may leave its receive window shut before it counts as gone."""

BUSY_LOOK: Final = 1.0
"""How soon the alarm looks again when it rings while the loop is writing."""

LONG_WRITE: Final = 0.05
"""Seconds of writing during which a backend's silence may well have been our deafness."""


_WRITTEN_DOWN: Final = frozenset({Record, Announce, Conclude})
"""Commands that touch neither the client nor the backend: they wait until these have got what they get."""


_Received = TypeVar("_Received")


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

    Re-arming costs a comparison: the timer is only moved when it rings too early, and then it asks anew when
    it should ring. It interrupts the task the way :func:`asyncio.timeout` does, but only while the task says
    that it is waiting; while the task is writing it watches for a client that takes nothing.

    Args:
        clock: The daemon's.
        deadline: When the exchange wants to be woken.
        stalled: What to do with a client that takes nothing.
    """

    def __init__(self, clock: Clock, deadline: Callable[[], float | None], stalled: Callable[[], None]) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._deadline = deadline
        self._stalled = stalled
        self._handle: asyncio.TimerHandle | None = None
        self._armed = float("inf")
        self._waiting = False
        self._rang = False
        self.writing_since: float | None = None
        """Set while the task may be waiting for the client."""

    def set(self, at: float | None) -> None:
        """Ring at that monotonic moment, or before."""
        if at is not None and at < self._armed:
            self._arm(at)

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = at
        self._handle = self._loop.call_later(max(0.0, at - self._clock.now().monotonic), self._ring)

    def _ring(self) -> None:
        self._handle = None
        self._armed = float("inf")
        now = self._clock.now().monotonic
        at = self._deadline()
        if self.writing_since is not None:
            if now - self.writing_since >= WRITE_STALL:
                self._stalled()
            else:
                self._arm(now + BUSY_LOOK)
        elif at is not None and now < at:
            self._arm(at)
        elif at is not None and self._waiting and self._task is not None:
            self._rang = True
            self._task.cancel()

    async def wait(self, event: Awaitable[_Received]) -> _Received | Wakeup:
        """Wait for something that may be given up and waited for again, or for the alarm."""
        self._waiting = True
        try:
            return await event
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
        """Connecting, signing, sending; only for an attempt that had to wait for one of these."""
        self._headless = False
        """The attempt has not answered yet."""
        self._batch: Iterator[Command] = iter(())
        """What is left of the commands under way: whatever interrupts them, the books get their part."""
        self._unwritten: list[Command] = []
        """Those of them that are for the books and had to wait."""
        self._concluded = False
        self._busy = 0.0
        """Seconds spent on deciding and translating."""
        self._backend = BackendName("")

    @property
    def began(self) -> bool:
        """Whether the client has got a byte."""
        return self._response is not None

    async def run(self) -> web.StreamResponse:
        """Serve the client to the end; returns the response that was sent.

        Raises:
            asyncio.CancelledError: The client went away, or the daemon stops; everything is closed and recorded.
            ExceptionGroup: Our own code has failed; everything is closed and recorded.
        """
        alarm = Alarm(self._clock, lambda: self._exchange.deadline, self._drop_client)
        try:
            async with asyncio.TaskGroup() as tasks:
                try:
                    await self._loop(alarm, tasks)
                except asyncio.CancelledError:
                    gone, now = getattr(self._request.protocol, "lost", True), self._clock.now()
                    self._close_books(self._exchange.handle(ClientGone(), now) if gone else self._exchange.cut(now))
                    raise
                except ConnectionError:
                    # The client cannot be written to any more. (An upstream's never raises.)
                    self._close_books(self._exchange.handle(ClientGone(), self._clock.now()))
                except Exception:
                    self._close_books(self._exchange.bypass(self._clock.now()))
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
        now = clock.now()
        commands = exchange.handle(Start(), now)
        last: list[Command] = []
        while True:
            decided = clock.now()
            self._busy += decided.monotonic - now.monotonic
            alarm.writing_since = decided.monotonic
            await self._carry_out(commands, last, tasks)
            alarm.writing_since = None
            if self._concluded:
                return
            after = clock.now()
            if after.monotonic - now.monotonic > LONG_WRITE:
                exchange.listen(after)
            alarm.set(exchange.deadline)
            event = await self._next_event(alarm)
            if isinstance(event, AttemptEnded):
                # Nothing more comes of it: during a wait its end would be read again and again.
                await self._close_attempt()
            now = clock.now()
            commands, last = exchange.handle(event, now), []
            if type(event) is BodyReceived and self._attempt is not None and (ended := self._attempt.ended()):
                # The end came with the last bytes: both are told to the client in one go. Nothing is left to close.
                self._attempt = None
                if exchange.whole:
                    # And before anything is booked: the core's own Finish will find nothing left to do.
                    self._busy += clock.now().monotonic - now.monotonic
                    alarm.writing_since = now.monotonic
                    await self._carry_out(commands, [Finish()], tasks)
                    commands, now = [], clock.now()
                # Nothing may be awaited between this and the batch.
                last = exchange.handle(ended, now)

    async def _carry_out(self, commands: list[Command], last: list[Command], tasks: asyncio.TaskGroup) -> None:
        """Do what was decided; *last* at an end that was known already when *commands* were decided."""
        self._batch = chain(commands, last)
        held = b""
        for command in self._batch:
            # The hot path first: after the commit nearly every command is this one.
            if type(command) is SendBody:
                assert self._response is not None, "a body comes after its head"
                if held:
                    await self._response.write(held)
                held = command.data
            elif type(command) is Finish:
                assert self._response is not None, "the end comes after the head"
                # The last bytes and the end in one write.
                rest, held = held, b""
                await self._response.write_eof(rest)
            elif type(command) in _WRITTEN_DOWN:
                self._unwritten.append(command)
                if type(command) is Record and command.record.paid:
                    # Its reservation is given back already: a crash while the client makes us wait must not lose both.
                    self._write_unwritten()
            elif type(command) is SendHead:
                await self._begin(command, commands if command in commands else last)
            else:
                if held:
                    assert self._response is not None, "a body comes after its head"
                    await self._response.write(held)
                    held = b""
                await self._obey(command, tasks)
        if held and self._response is not None:
            await self._response.write(held)
        self._write_unwritten()

    async def _next_event(self, alarm: Alarm) -> Event:
        if self._attempt is not None and self._head is None:
            return await self._told(alarm, self._attempt)
        deadline = self._exchange.deadline
        assert deadline is not None, "an exchange that is not over waits for something, but not for ever"
        timeout = max(0.0, deadline - self._clock.now().monotonic)
        if self._head is None:
            await asyncio.sleep(timeout)
            return Wakeup()
        done, _ = await asyncio.wait({self._head}, timeout=timeout)
        if not done:
            return Wakeup()
        task, self._head = self._head, None
        return self._heard(task.result())

    async def _told(self, alarm: Alarm, attempt: Attempt) -> Event:
        """What the attempt says next."""
        ask: Callable[[], Awaitable[HeadReceived | BodyReceived | AttemptEnded]]
        ask = attempt.head if self._headless else attempt.read
        event = await alarm.wait(ask())
        if isinstance(event, Wakeup):
            # Something may have come while this process stood still, and so did the alarm: that is no silence.
            return self._heard(await ask()) if attempt.ready() else event
        return self._heard(event)

    def _heard(self, event: HeadReceived | BodyReceived | AttemptEnded) -> Event:
        if self._headless:
            self._headless = False
            if isinstance(event, HeadReceived):
                self._books.heard(self._backend, event.headers)
        return event

    async def _obey(self, command: Command, tasks: asyncio.TaskGroup) -> None:
        match command:
            case OpenAttempt():
                await self._close_attempt()
                self._backend = command.backend
                self._attempt = self._upstreams[command.backend].open(command)
                self._headless = True
                if not self._attempt.start():
                    self._head = tasks.create_task(self._attempt.head())
            case CloseAttempt():
                await self._close_attempt()
            case Abort():
                self._drop_client()
            case _:
                raise AssertionError(f"{type(command).__name__} has been carried out already")

    async def _begin(self, head: SendHead, batch: list[Command]) -> None:
        size = sum([len(command.data) for command in batch if type(command) is SendBody])
        ends = any(type(command) is Finish for command in batch)
        self._response = response = Response(self._request, head.status)
        await response.begin(
            head.headers, self._clock.now().wall, size=size if ends else None, at_once=not (size or ends)
        )

    async def _close_attempt(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            head.cancel()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            await attempt.close()

    def _write_down(self, command: Command) -> None:
        match command:
            case Record(record=record):
                self._books.record(record)
            case Announce(transition=transition):
                self._books.announce(transition)
            case Conclude(record=record):
                self._concluded = True
                # The exchange's time stands still while it decides and translates; to it that is the backend's.
                self._books.conclude(record.busier(self._busy))
            case _:
                pass  # about a client or an attempt that is no more

    def _close_books(self, last: list[Command]) -> None:
        """Write down what had to wait, what was interrupted, how it ended; without awaiting, for it may be the end."""
        self._unwritten += (*self._batch, *last)
        self._write_unwritten()

    def _write_unwritten(self) -> None:
        """Each is taken off before it is tried: one that fails does not take those behind it along."""
        while self._unwritten:
            self._write_down(self._unwritten.pop(0))

    def _drop_client(self) -> None:
        transport = self._request.transport
        if transport is not None:
            transport.abort()
