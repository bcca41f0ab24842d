"""Server-sent events: bytes to events, without changing a byte.

Rule: what goes in comes out. The blocks that :class:`Splitter` returns and what it still
holds are, joined, exactly the bytes it was fed; a cut anywhere in the stream changes neither
which events there are nor what they say. :class:`Scanner` relays instead of parsing: bytes go
on at once, also in the middle of an event, and only the few events that somebody must read
are taken apart. It withholds bytes only while they may still become an event that the client
must not get unasked.

Source: WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6: a line ends with CRLF, LF or CR, an
event with an empty line, a line that starts with a colon is a comment, a stream may start with
a byte order mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache

import msgspec

from claude_failover.core.members import at_hand

MAX_EVENT = 1 << 20
"""Bytes of one event before the commit; a longer one is malformed. Events of the Messages API are a few KB at most."""

MAX_NOTABLE = 1 << 18
"""Bytes of one event that is kept back or copied while relaying; a longer one is relayed unread."""

_BOM = b"\xef\xbb\xbf"
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n?|\n)")
"""The end of a line and the empty line after it. The look-ahead keeps CR and LF of one line end together."""
_PLAIN = re.compile(rb"event: ([^\n]+)\ndata: ([^\n]*)\n\n")
"""An event as every backend writes it, if there is no CR in it: taken apart in one step."""
_LINE_ENDS = b"\r\n"
_LOOK = 80
"""How much of an event's start is looked at for its name."""


class ServerEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as it came."""

    raw: bytes
    """Every byte of it, the empty line that ends it included; empty lines before it belong to it."""
    name: str = ""
    """The last ``event`` field; empty if there is none."""
    data: bytes | None = None
    """The ``data`` fields, joined by LF; ``None`` if there is none (a comment, a lone ``id``)."""


def _plain(work: bytes | bytearray, start: int) -> ServerEvent | None:
    """The event that begins at *start*, if it is whole and written as usual; the same that :func:`parse` reads."""
    found = _PLAIN.match(work, start)
    if found is None:
        return None
    raw, name, data = found.group(0, 1, 2)
    if b"\r" in raw:
        return None
    return ServerEvent(raw, name.decode("utf-8", "replace"), data)


def parse(block: bytes) -> ServerEvent:
    """Read the fields of one event; what is not ``event`` or ``data`` is ignored, as the standard says."""
    name = b""
    data: list[bytes] = []
    for line in block.removeprefix(_BOM).splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return ServerEvent(block, name.decode("utf-8", "replace"), b"\n".join(data) if data else None)


def render(name: str, data: bytes) -> bytes:
    """Write an event; data of several lines takes several ``data`` fields."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.splitlines())
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def _content(work: bytes | bytearray, start: int) -> int:
    """Skip the empty lines before an event: they are part of it and say nothing."""
    while start < len(work) and work[start] in _LINE_ENDS:
        start += 1
    return start


def _end(work: bytes | bytearray, start: int, *, plain: bool) -> int:
    """Find where the event ends (the index after its empty line), or -1.

    An event that ends with CR ends at once, without waiting for an LF that may follow: that LF is then
    an empty line before the next event. *plain*: there is no CR in *work*, which makes it a plain search.
    """
    if plain:
        found = work.find(b"\n\n", start)
        return found + 2 if found >= 0 else -1
    match = _END.search(work, start)
    return match.end() if match else -1


class Splitter:
    """Cuts a stream into whole events; used until the commit.

    An event of more than *limit* bytes sets :attr:`overflow`; everything after it is dropped.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self.overflow = False
        self._limit = limit
        self._buffer: bytes | bytearray = b""
        self._start = 0
        self._searched = 0
        self._plain = True

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the events that they complete."""
        self.put(data)
        blocks: list[bytes] = []
        while (block := self.next()) is not None:
            blocks.append(block)
        return blocks

    def put(self, data: bytes) -> None:
        """Take bytes; :meth:`next` gives the events in them, one by one."""
        if self.overflow:
            return
        if self._start == len(self._buffer):
            self._buffer = data  # as it came: as a rule it holds whole events, and need not be copied
        else:
            if self._start or type(self._buffer) is bytes:
                self._buffer = bytearray(self._buffer[self._start :])
            self._buffer += data
        self._start = 0
        self._plain = b"\r" not in self._buffer

    def event(self) -> ServerEvent | None:
        """The next whole event, read; ``None`` as :meth:`next` says it."""
        # One that comes in pieces is not gone over again with each: next() remembers how far it has looked.
        event = None if self.overflow or self._searched else _plain(self._buffer, self._start)
        if event is not None and (size := len(event.raw)) <= self._limit:
            self._start += size
            return event
        block = self.next()
        return None if block is None else parse(block)

    def next(self) -> bytes | None:
        """The next whole event; ``None`` if more bytes are needed, or none will help (:attr:`overflow`)."""
        if self.overflow:
            return None
        work, start = self._buffer, self._start
        end = _end(work, max(_content(work, start), self._searched), plain=self._plain)
        if 0 <= end <= start + self._limit:
            self._searched = 0
            self._start = end
            return bytes(work[start:end])
        if start:
            self._buffer = work = work[start:]
            self._start = 0
        self.overflow = end >= 0 or len(work) > self._limit
        # An end has at most four bytes, of which three may have come. Never search before the content, though.
        self._searched = max(len(work) - 3, 0)
        return None

    @property
    def pending(self) -> bytes:
        """The bytes that :meth:`next` has not given out: an incomplete event, unless it was asked too seldom."""
        return bytes(self._buffer[self._start :])


def truncated(rest: bytes) -> str | None:
    """Say what a stream lost that ended with *rest* after its last event; comments and empty lines are no loss."""
    if all(line.startswith(b":") for line in rest.splitlines() if line):
        return None
    return f"the stream ended inside an event, after {len(rest)} of its bytes"


@at_hand
class _Interest(Enum):
    """What an event that is not complete may become."""

    NONE = "none"
    COPY = "copy"
    """Notable: relayed, and copied until it is complete. Also: empty lines, of which nothing is known."""
    GUESS = "guess"
    """Its first line is no complete name: kept back, but relayed when it grows too long."""
    WITHHOLD = "withhold"


@dataclass(frozen=True, slots=True)
class _Names:
    """What a scanner looks for, as bytes: worked out once, not for every stream."""

    interesting: tuple[bytes, ...]
    withheld: tuple[bytes, ...]
    unread: tuple[bytes, ...]
    """How an event begins that nobody reads."""
    otherwise: re.Pattern[bytes]
    """The end of an event after which none of those begins, in bytes without CR."""

    @classmethod
    @cache
    def of(cls, notable: frozenset[str], withheld: frozenset[str], unread: tuple[str, ...]) -> _Names:
        either = b"|".join(re.escape(name.encode()) for name in unread)
        return cls(
            interesting=tuple(name.encode() for name in notable | withheld),
            withheld=tuple(name.encode() for name in withheld),
            unread=tuple(b"event: " + name.encode() for name in unread),
            # Measured: in half the time of the same with a look-ahead for the second LF, or with "event: " in each.
            otherwise=re.compile(rb"\n\n(?!event: (?:" + either + rb"))"),
        )


class Scanner:
    """Relays a stream after the commit and reads only what is notable.

    Args:
        kind: The type of an event that is complete and has no name.
        notable: Types whose events are returned besides being relayed.
        withheld: Types whose events are returned and **not** relayed, nor is anything after them.
        pending: What a :class:`Splitter` still held; :meth:`scan` relays it first.
        unread: How names begin that are in neither set: the bulk of a stream, recognised at a glance.

    An event's type is read off its first line, ``event: name``, as every backend writes it. An event that
    starts otherwise is kept back until it is complete (at most :data:`MAX_NOTABLE` bytes).

    Written for speed: of a read full of unread events none is looked at by itself. One search finds the first event
    that begins otherwise (measured: 3 us for a read of 50 events, where going from one to the next took 25).
    """

    def __init__(
        self,
        kind: Callable[[ServerEvent], str],
        notable: frozenset[str],
        withheld: frozenset[str],
        pending: bytes = b"",
        unread: tuple[str, ...] = (),
    ) -> None:
        self.overflow = False
        """An event that must be withheld was longer than :data:`MAX_NOTABLE`; relaying has ended."""
        self._kind = kind
        self._notable = notable
        self._withheld = withheld
        self._names = _Names.of(notable, withheld, unread)
        self._tail = pending
        self._sent = 0  # how many bytes of the tail the client has
        self._passing = False  # inside an event that nobody reads: the tail is just enough to see its end
        self._closed = False

    def scan(self, data: bytes) -> tuple[bytes, list[ServerEvent]]:
        """Take bytes, return those that go to the client now, and the events that somebody must read."""
        if self._closed:
            return b"", []
        work = self._tail + data if self._tail else data
        plain = b"\r" not in work
        unread = self._names.unread
        events: list[ServerEvent] = []
        sent = self._sent
        start = first = 0
        if self._passing:
            start = _end(work, 0, plain=plain)
            if start < 0:
                self._tail = work[-3:]
                self._sent = len(self._tail)
                return data, []
            self._passing = False
        while start < len(work):
            if plain and work.startswith(unread, start):
                other = self._names.otherwise.search(work, start)
                if other is None:  # all the rest is unread, and the last of it is not complete
                    last = work.rfind(b"\n\n", start)
                    start = first = last + 2 if last >= 0 else start
                    break
                start = other.end()
                continue
            first, end, event = self._read(work, start, plain=plain)
            if end < 0:
                break
            if event is not None:
                kind = event.name or self._kind(event)
                if kind in self._withheld:
                    self._closed = True
                    return work[sent:start], [*events, event]
                if kind in self._notable:
                    events.append(event)
            start = end
        if start == len(work):
            self._tail = b""
            self._sent = 0
            return (work[sent:] if sent else work), events
        return self._keep(work, start, first, sent), events

    def _read(self, work: bytes, start: int, *, plain: bool) -> tuple[int, int, ServerEvent | None]:
        """Where the event at *start* has its content, where it ends (or -1), and what it says if that may matter."""
        event = _plain(work, start)
        if event is not None:
            return start, start + len(event.raw), event
        first = _content(work, start)
        end = _end(work, first, plain=plain)
        if end < 0 or work.startswith(self._names.unread, first) or self._boring(work, first):
            return first, end, None
        return first, end, parse(work[start:end])

    def _boring(self, work: bytes, first: int) -> bool:
        """Whether the first line already says that nobody reads this event."""
        name = self._name(work, first)
        return name is not None and name[1] and name[0] not in self._names.interesting

    @staticmethod
    def _name(work: bytes, first: int) -> tuple[bytes, bool] | None:
        """Read ``event: name`` at *first*: the name and whether it is complete; ``None`` if no name is there."""
        if not work.startswith(b"event:", first):
            return None
        begin = first + (7 if work.startswith(b" ", first + 6) else 6)
        text = work[begin : begin + _LOOK]
        name = text.splitlines()[0] if text else text
        complete = len(name) < len(text)
        return (name, complete) if name or not complete else None

    def _interest(self, work: bytes, first: int) -> _Interest:
        """Say what to do with the event that begins at *first* and is not complete."""
        if work.startswith(self._names.unread, first):
            return _Interest.NONE
        name = self._name(work, first)
        if name is None:
            return _Interest.GUESS
        if any(_fits(*name, known) for known in self._names.withheld):
            return _Interest.WITHHOLD
        if any(_fits(*name, known) for known in self._names.interesting):
            return _Interest.COPY
        return _Interest.NONE

    def _keep(self, work: bytes, start: int, first: int, sent: int) -> bytes:
        """Decide about the incomplete event at *start*, whose content begins at *first*; return what goes out."""
        interest = _Interest.COPY if first == len(work) else self._interest(work, first)
        if len(work) - start > MAX_NOTABLE:
            self._closed = self.overflow = interest is _Interest.WITHHOLD
            interest = interest if self.overflow else _Interest.NONE
        if interest in {_Interest.WITHHOLD, _Interest.GUESS}:
            self._tail, self._sent = work[start:], max(sent - start, 0)
            return work[sent:start]
        self._passing = interest is _Interest.NONE
        self._tail = work[-3:] if self._passing else work[start:]
        self._sent = len(self._tail)
        return work[sent:] if sent else work

    @property
    def pending(self) -> bytes:
        """Bytes of an event that is not complete (only the last of them, if nobody reads it)."""
        return b"" if self._closed else self._tail


def _fits(text: bytes, complete: bool, known: bytes) -> bool:
    """Whether an event's name is, or while incomplete may still become, *known*."""
    return text == known if complete else known.startswith(text)
