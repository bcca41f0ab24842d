"""The hub: where events are emitted, and who hears them.

Rule: emitting never raises, never waits and never fails its caller. Sinks (the log, the window, metrics, alerts, the
control channel's feed) are called one after the other in the emitting thread, so they must only take notes; one that
raises is counted and goes on being called. What something broken repeats without end is let through a few times a
minute, and the number of those held back is said with the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import threading
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol, cast

from claude_failover.core.types import Epoch
from claude_failover.events.event import Event, Value, plain_text
from claude_failover.events.names import AUDITED, LEVELS, REPEATING, EventName, Level

if TYPE_CHECKING:
    import asyncio

Sink = Callable[[Event], None]
"""Takes note of an event; must not wait. One with a ``level`` below ``INFO`` hears of details too."""


class _Choosy(Protocol):
    """A sink that says how loud an event must be for it."""

    level: Level


BURST: Final = 5
"""Repeats of one kind that are let through …"""
PERIOD: Final = 60.0
"""… within these seconds."""
_QUOTED: Final = re.compile(r"(['\"`]).*\1", re.DOTALL)
"""From the first quote to the last of its kind: what is quoted may hold quotes itself."""

BURSTS: Final = frozenset(10.0**power for power in range(2, 9))
"""So many held back within one period, of what is audited, are said at once as a burst: somebody is trying keys, or
something is broken. The ones let through before, and the number said with the next one, do not tell that meanwhile."""
KINDS: Final = 512
"""Kinds of repeats that are told apart; the oldest is forgotten first."""


class Hub:
    """Numbers events and hands them to whoever listens."""

    def __init__(self, now: Callable[[], Epoch]) -> None:
        self._now = now
        self._sinks: tuple[Sink, ...] = ()
        self._choosy: tuple[_Choosy, ...] = ()
        """Those with a level."""
        self._lock = threading.Lock()
        self._seq = itertools.count(1)
        self._repeats: OrderedDict[tuple[object, ...], list[float]] = OrderedDict()
        """Kind -> [start of its period, let through in it, held back in it]."""
        self.sink_failures = 0
        """How often a sink raised; shown in the metrics."""

    def subscribe(self, sink: Sink) -> Callable[[], None]:
        """Have *sink* called with every event from now on; call the answer to end it."""
        with self._lock:
            self._seat((*self._sinks, sink))

        def unsubscribe() -> None:
            with self._lock:
                self._seat(tuple(one for one in self._sinks if one is not sink))

        return unsubscribe

    def _seat(self, sinks: tuple[Sink, ...]) -> None:
        self._sinks = sinks
        self._choosy = tuple(cast("_Choosy", one) for one in sinks if hasattr(one, "level"))

    def is_debugged(self) -> bool:
        """Whether anybody wants to hear of details: else they need not even be put together."""
        for sink in self._choosy:  # noqa: SIM110 - a generator costs more than all the looks, and every attempt asks
            if sink.level < Level.INFO:
                return True
        return False

    def emit(self, name: EventName, fields: dict[str, Value], level: Level | None = None) -> None:
        """Say that something happened."""
        loudness = LEVELS.get(name, Level.INFO) if level is None else level
        sinks = self._sinks
        if loudness < Level.INFO:
            sinks = tuple(sink for sink in sinks if getattr(sink, "level", Level.INFO) <= loudness)
            if not sinks:
                return
        at = self._now()
        if name in REPEATING and not self._let_through(name, fields, at):
            return
        try:
            plain = plain_text(fields)
        except Exception:  # noqa: BLE001 - neither may fields that are none
            plain = None
        event = Event(next(self._seq), at, name, loudness, fields, plain)
        for sink in sinks:
            try:
                sink(event)
            except Exception:  # noqa: BLE001 - a listener's bug must not become the caller's
                self.sink_failures += 1

    def _let_through(self, name: EventName, fields: dict[str, Value], at: float) -> bool:
        kind = (name, *(str(fields.get(field)) for field in REPEATING[name]))
        with self._lock:
            seen = self._repeats.get(kind)
            # A wall clock that was set back starts a new period rather than an endless one.
            if seen is None or not 0 <= at - seen[0] < PERIOD:
                if seen is not None and seen[2]:
                    fields["held_back"] = int(seen[2])
                self._repeats[kind] = [at, 1, 0]
                self._repeats.move_to_end(kind)
                if len(self._repeats) > KINDS:
                    self._repeats.popitem(last=False)
                return True
            if seen[1] < BURST:
                seen[1] += 1
                return True
            seen[2] += 1
            if name not in AUDITED or seen[2] not in BURSTS:
                return False
            fields["burst"] = int(seen[1] + seen[2])
            return True


class EventsWindow:
    """The last events, in memory: a :data:`Sink`, bounded by construction."""

    SIZE: Final = 1000
    """Events kept (product.md 7)."""

    def __init__(self, size: int = SIZE, level: Level = Level.INFO) -> None:
        self._events: deque[Event] = deque(maxlen=size)
        self.level = level
        self._counts: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Keep *event* if it is loud enough."""
        if event.level >= self.level:
            self._events.append(event)
            self._counts[event.name] = self._counts.get(event.name, 0) + 1

    def recent(self, count: int | None = None, name: EventName | None = None) -> tuple[Event, ...]:
        """The last *count* events, oldest first; of one name only, if asked."""
        found = tuple(event for event in self._events if name is None or event.name == name)
        return found if count is None else found[max(0, len(found) - count) :]

    def since(self, seq: int) -> tuple[Event, ...]:
        """What came after the event numbered *seq*, as far as it is still here."""
        return tuple(event for event in self._events if event.seq > seq)

    def summary(self) -> dict[str, int]:
        """How many of each name there have been, beyond the window too; what survives a restart."""
        return dict(self._counts)

    def restore(self, summary: dict[str, int]) -> None:
        """Count on from a summary of before the restart; names that are no more are left out."""
        for name, count in summary.items():
            self._counts[name] = self._counts.get(name, 0) + count

    def __len__(self) -> int:
        return len(self._events)


_hub = Hub(lambda: Epoch(0.0))


def use(hub: Hub) -> Hub:
    """Make *hub* the one that :func:`emit` speaks to; answers the one before."""
    global _hub
    before, _hub = _hub, hub
    return before


def emit(name: EventName, /, *, level: Level | None = None, **fields: Value) -> None:
    """Say that something happened: to the log, the window, the metrics, the alerts and whoever watches.

    Args:
        name: What.
        level: If it is louder or quieter than its name usually is.
        **fields: Scalars. Never a header, a body, a credential.
    """
    _hub.emit(name, fields, level)


def say(name: EventName, fields: dict[str, Value], level: Level | None = None) -> None:
    """Emit with fields that were put together elsewhere."""
    _hub.emit(name, fields, level)


def is_debugged() -> bool:
    """Whether anybody wants to hear of details."""
    return _hub.is_debugged()


def crash(where: str, error: BaseException) -> None:
    """Say that our own code raised what it should not have: type, message, and where, without any value.

    Python's own messages quote what they could not use (``invalid literal for int(): '…'``), and that may be a
    piece of a prompt; so what stands in quotes is left out, and no local variable is looked at.
    """
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    trace = " < ".join(f"{frame.name} {frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames))
    message = _QUOTED.sub(r"\1…\1", str(error))
    emit("code.crashed", where=where, error=type(error).__name__, message=message, trace=trace)


def on_loop(loop: asyncio.AbstractEventLoop, sink: Sink) -> Sink:
    """Make a sink that belongs to *loop* safe to be called from any thread: credentials are refreshed in threads.

    Call this in the loop's own thread; events that come from there are handed over at once, in order.
    """
    home = threading.get_ident()

    def deliver(event: Event) -> None:
        if threading.get_ident() == home:
            sink(event)
        else:
            # A loop that is closed already has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(sink, event)

    return deliver


class _Captured(list[Event]):
    """A list that is a sink of everything."""

    level = Level.DEBUG

    def __call__(self, event: Event) -> None:
        self.append(event)


@contextlib.contextmanager
def capture() -> Iterator[list[Event]]:
    """Collect what is emitted meanwhile: for tests and for ``drill``."""
    seen = _Captured()
    unsubscribe = _hub.subscribe(seen)
    try:
        yield seen
    finally:
        unsubscribe()


def hook_interpreter() -> None:
    """Send what no frame catches through the log: exceptions of threads, of destructors, of the program itself."""

    def of_program(kind: type[BaseException], error: BaseException, trace: object) -> None:
        del trace
        crash("program", error)
        if not issubclass(kind, KeyboardInterrupt | SystemExit):
            sys.stderr.write(f"claude-failover: {kind.__name__}; see `claude-failover logs`\n")

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            crash(f"thread {args.thread.name if args.thread else 'unknown'}", args.exc_value)

    def of_destructor(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            crash("destructor", args.exc_value)

    sys.excepthook = of_program
    threading.excepthook = of_thread
    sys.unraisablehook = of_destructor
