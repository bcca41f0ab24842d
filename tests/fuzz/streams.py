"""Streams, fuzzed: wherever a stream is cut, the same comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any, Final, TypeVar

from botocore.eventstream import EventStreamBuffer, ParserError

from claude_failover.core import eventstream, failures, sse
from claude_failover.core.answer import AnswerEvent, AnswerReader, FrameReader, SseReader
from claude_failover.core.types import Epoch, Instant, Kind, Monotonic
from claude_failover.core.usage import UsageCounter
from claude_failover.upstream.line import Garbled, Line, Lost

Result = TypeVar("Result")

NOW: Final = Instant(Epoch(1_795_000_000.0), Monotonic(1000.0))


def pieces(data: bytes, sizes: bytes) -> Iterator[bytes]:
    """*data* in pieces; *sizes* say how long they are, again and again."""
    at = number = 0
    while at < len(data):
        size = 1 + (sizes[number % len(sizes)] % 61 if sizes else 0)
        yield data[at : at + size]
        at += size
        number += 1


def split(data: bytes) -> tuple[bytes, bytes]:
    """The first four bytes say where to cut the rest."""
    return data[:4], data[4:]


def told(events: list[AnswerEvent]) -> list[tuple[str, bytes, str]]:
    """What events say, however their bytes were spread."""
    return [(event.type, event.data, event.name) for event in events]


def _relayed(made: AnswerReader, parts: list[bytes]) -> tuple[bytes, list[AnswerEvent]]:
    """Commit at once, then relay."""
    out, events = made.commit(), []
    for part in parts:
        more, found = made.relay(part)
        out += more
        events += found
    return out, events


def _judged(events: list[AnswerEvent]) -> None:
    """Whoever comes after the reader takes what it gives."""
    counter = UsageCounter()
    for event in events:
        counter.event(event.type, event.data)
        if event.type in {"error", "exception"}:
            for kind in Kind:
                failures.classify_event(kind, event.type, event.name, event.data, NOW)
    usage = counter.usage
    assert min(usage.input, usage.output, usage.cache_read) >= 0
    counter.state(complete=False)


def _named_twice(body: bytes) -> bool:
    """Whether an event names itself again after its first line, which no backend does: the relay goes by the first."""
    cut = sse.Splitter()
    return any(
        sum(line.partition(b":")[0] == b"event" for line in block.splitlines()[1:])
        for block in (*(block.lstrip(b"\r\n") for block in cut.feed(body)), cut.pending.lstrip(b"\r\n"))
    )


def _both(made: Callable[[], AnswerReader], data: bytes) -> tuple[list[AnswerEvent], bytes]:
    """What reader and relay make of it, after they were seen to make the same of any pieces."""
    sizes, body = split(data)
    parts = list(pieces(body, sizes))
    whole, cut = made(), made()
    events = whole.feed(body)
    assert told(events) == told([event for part in parts for event in cut.feed(part)])
    assert (whole.end() is None) == (cut.end() is None)
    _judged(events)
    out, notable = _relayed(made(), [body])
    same, others = _relayed(made(), parts)
    # An event may end with CR where the LF after it has not come: that LF then goes with what is next.
    if not _named_twice(body):
        assert (out.rstrip(b"\r\n"), told(notable)) == (same.rstrip(b"\r\n"), told(others))
    _judged(notable)
    return events, out


def events(data: bytes) -> None:
    """Server-sent events."""
    read, out = _both(SseReader, data)
    body = split(data)[1]
    raw = b"".join(event.raw for event in read)
    assert body.startswith(raw)
    assert body.startswith(out)
    if not any(event.type in {"error", "malformed"} for event in read):
        rest = body[len(raw) :]
        assert b"\n\n" not in rest.lstrip(b"\r\n")


def frames(data: bytes) -> None:
    """AWS event stream; botocore's own decoder is asked too."""
    _both(FrameReader, data)
    body = split(data)[1]
    ours = eventstream.Decoder().feed(body)
    theirs = EventStreamBuffer()
    theirs.add_data(body)
    good = [frame for frame in ours if isinstance(frame, eventstream.Frame)]
    assert len(ours) - len(good) <= 1
    for frame in good:
        try:
            message = next(theirs)
        except ParserError as error:
            raise AssertionError("botocore does not read what we do") from error
        assert (dict(frame.headers), frame.payload) == (message.headers, message.payload)


class _Transport:
    """What a connection lies on; nothing goes anywhere."""

    def is_closing(self) -> bool:
        return False

    def set_protocol(self, protocol: object) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def _now(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    finally:
        coroutine.close()
    raise AssertionError("it waits for what is there")


def _answer(parts: list[bytes]) -> tuple[int, Any, bytes, str]:
    """A response, read to the end of its connection: status, lines, body, and how it ended."""
    owner = SimpleNamespace(connection_lost=lambda error: None)
    connection = SimpleNamespace(protocol=owner, transport=_Transport(), release=lambda: None, close=lambda: None)
    made = Line(connection)
    for part in parts:
        made.data_received(part)
    made.connection_lost(None)
    body = b""
    try:
        while piece := _now(made.read()):
            body += piece
    except (Lost, Garbled) as error:
        return made.status, made.lines, body, type(error).__name__
    return made.status, made.lines, body, "over"


def response(data: bytes) -> None:
    """A response of a backend."""
    sizes, body = split(data)
    status, lines, read, how = _answer([body])
    assert status == 0 or status >= 200
    assert len(read) <= len(body)
    assert status != 0 or not read
    for name, value in lines:
        assert not set("\r\n\0") & set(name + value)
    if how == "over":
        assert (status, lines, read, how) == _answer(list(pieces(body, sizes)))
