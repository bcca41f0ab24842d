"""A streamed answer, whichever wire it comes over: one reader for SSE and for AWS event stream.

Rule: until the commit every event is taken apart and checked, because it decides whether
another backend is tried; after the commit bytes are relayed as they arrive and only the
events that carry usage, the end, or bad news are read. An error is never relayed by the
reader: its bytes, from the first on, are withheld, and the exchange chooses how to tell it.

The types of events are those of the Messages API (claude.md 4) and four of our own:
``exception`` (an AWS frame that reports a failure), ``malformed``, ``comment`` (SSE without
event and data) and, for an event-stream frame of an unknown sort, ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Protocol

import msgspec

from claude_failover.core import eventstream, sse
from claude_failover.core.types import Kind, Surface

NOTABLE = frozenset({"message_start", "message_delta", "message_stop"})
"""What is read after the commit besides errors: usage and the proper end."""
ERROR = "error"
EXCEPTION = "exception"
MALFORMED = "malformed"
COMMENT = "comment"
UNKNOWN = "unknown"

_WITHHELD = frozenset({ERROR})
_BLOCKS = frozenset({"content_block_start", "content_block_delta", "content_block_stop"})
_UNREAD = ("content_block_", "ping")
_JSON_EVENTS = NOTABLE | _BLOCKS
"""Events that are malformed when their data is not a JSON object. ``ping`` and unknown ones may say what they like."""

METRICS = "amazon-bedrock-invocationMetrics"
"""InvokeModel appends this to ``message_stop`` (bedrock.md 3); the Messages API has no such field."""


class AnswerEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of a streamed answer."""

    type: str
    raw: bytes
    """Exactly what the client gets for it: SSE. Empty where there is nothing that a client would understand."""
    data: bytes
    """The JSON payload as it came, invocation metrics included."""
    name: str = ""
    """Of an ``exception``: AWS's name for it. Of ``malformed``: what is wrong."""


class AnswerReader(Protocol):
    """Reads one answer's body. :meth:`feed` until the commit, :meth:`commit` once, :meth:`relay` from then on."""

    def feed(self, data: bytes, until: Collection[str] = ()) -> list[AnswerEvent]:
        """Take bytes, return the whole events in them; after a ``malformed`` one nothing follows.

        After the first event of a type in *until* a reader may stop: whoever asks so commits at that event, and what
        came after it is for :meth:`relay`, which reads less of each event.
        """
        ...

    def commit(self) -> bytes:
        """Switch to relaying; return the bytes of an incomplete event that may go out already.

        A ``relay(b"")`` right after it gives what came together with a malformed event, behind it.
        """
        ...

    def relay(self, data: bytes) -> tuple[bytes, list[AnswerEvent]]:
        """Take bytes, return what the client gets now and the notable events: :data:`NOTABLE`, errors, malformed.

        After an ``error``, an ``exception``, or an event stream's ``malformed``, nothing more is relayed.
        """
        ...

    def end(self) -> str | None:
        """Say at the end of the body what is missing of the last event; nothing after bad news."""
        ...


def reader(kind: Kind, surface: Surface | None, content_type: str) -> AnswerReader | None:
    """Choose the reader for a response; ``None`` if its content type is not what that surface streams.

    A proxy that rewrites the content type has broken the stream too: that must be loud (bedrock.md 3).
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if kind is Kind.BEDROCK and surface is Surface.INVOKE:
        return FrameReader() if media_type == "application/vnd.amazon.eventstream" else None
    return SseReader() if media_type == "text/event-stream" else None


class _Head(msgspec.Struct):
    type: str = ""


_head = msgspec.json.Decoder(_Head)

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises on bytes that are no JSON, or none of that shape."""


def _type_of(data: bytes) -> str | None:
    """Read the ``type`` of a JSON object; ``None`` if *data* is not one."""
    try:
        return _head.decode(data).type
    except _UNREADABLE:
        return None


def _kind_of(event: sse.ServerEvent) -> str:
    """Name an SSE event that has no ``event`` field: by its data."""
    if event.data is None:
        return COMMENT
    return _type_of(event.data) or MALFORMED


class SseReader:
    """Server-sent events, as the Claude API and Bedrock's Messages surfaces stream them."""

    def __init__(self) -> None:
        self._splitter = sse.Splitter()
        self._scanner: sse.Scanner | None = None
        """From the commit on."""
        self._dead = False
        self._stopped = False

    def feed(self, data: bytes, until: Collection[str] = ()) -> list[AnswerEvent]:
        """See :meth:`AnswerReader.feed`."""
        events: list[AnswerEvent] = []
        if self._dead:
            return events
        self._splitter.put(data)
        while (found := self._splitter.event()) is not None:
            event = _checked(found)
            events.append(event)
            if event.type == MALFORMED or event.type in until:
                self._dead = event.type == MALFORMED
                self._stopped = True
                return events
        if self._splitter.overflow:
            self._dead = True
            events.append(AnswerEvent(MALFORMED, b"", b"", f"an event is longer than {sse.MAX_EVENT} bytes"))
        return events

    def commit(self) -> bytes:
        """See :meth:`AnswerReader.commit`."""
        self._dead = self._splitter.overflow
        self._scanner = sse.Scanner(_kind_of, NOTABLE, _WITHHELD, self._splitter.pending, _UNREAD)
        # What followed the last event of feed was not read yet: the next relay does.
        return b"" if self._stopped else self._scanner.scan(b"")[0]

    def relay(self, data: bytes) -> tuple[bytes, list[AnswerEvent]]:
        """See :meth:`AnswerReader.relay`. A malformed event is relayed as it came, and reported."""
        scanner = self._scanner
        assert scanner is not None, "relaying begins with the commit"
        out, found = scanner.scan(data)
        if not found and not scanner.overflow:
            return out, []
        events = [_checked(event) for event in found]
        if scanner.overflow and not self._dead:
            self._dead = True
            events.append(AnswerEvent(ERROR, b"", b"", f"an error event is longer than {sse.MAX_NOTABLE} bytes"))
        return out, events

    def end(self) -> str | None:
        """See :meth:`AnswerReader.end`."""
        if self._dead:
            return None
        return sse.truncated((self._scanner or self._splitter).pending)


def _checked(event: sse.ServerEvent) -> AnswerEvent:
    """Turn an SSE event into ours; one of the API's own whose data is no JSON object is malformed."""
    kind = event.name or _kind_of(event)
    data = event.data or b""
    if kind in _JSON_EVENTS:
        try:
            _head.decode(data)
        except _UNREADABLE:
            return AnswerEvent(MALFORMED, event.raw, data, f"the data of a {kind} event is not a JSON object")
    what = "an event without a name whose data is not a JSON object with a type" if kind == MALFORMED else ""
    return AnswerEvent(kind, event.raw, data, what)


class _Chunk(msgspec.Struct):
    """The payload of a ``chunk`` frame; ``p`` is padding that hides the length of tokens."""

    event: bytes = msgspec.field(name="bytes")


_chunk = msgspec.json.Decoder(_Chunk)


class FrameReader:
    """AWS event stream, as InvokeModelWithResponseStream answers; the client gets SSE."""

    def __init__(self) -> None:
        self._decoder = eventstream.Decoder()
        self._dead = False

    def feed(self, data: bytes, until: Collection[str] = ()) -> list[AnswerEvent]:
        """See :meth:`AnswerReader.feed`; a frame is decoded whole before and after the commit, so it stops nowhere."""
        del until
        events: list[AnswerEvent] = []
        if self._dead:
            return events
        for frame in self._decoder.feed(data):
            events.append(_from_frame(frame))
            if events[-1].type == MALFORMED:
                self._dead = True
                break
        return events

    def commit(self) -> bytes:
        """See :meth:`AnswerReader.commit`: a part of a frame says nothing yet."""
        return b""

    def relay(self, data: bytes) -> tuple[bytes, list[AnswerEvent]]:
        """See :meth:`AnswerReader.relay`."""
        out: list[bytes] = []
        notable: list[AnswerEvent] = []
        for event in self.feed(data):
            if event.type in {ERROR, EXCEPTION, MALFORMED}:
                self._dead = True
                notable.append(event)
                break
            out.append(event.raw)
            if event.type in NOTABLE:
                notable.append(event)
        return b"".join(out), notable

    def end(self) -> str | None:
        """See :meth:`AnswerReader.end`."""
        return None if self._dead else self._decoder.end()


def _from_frame(frame: eventstream.Frame | eventstream.Malformed) -> AnswerEvent:
    if isinstance(frame, eventstream.Malformed):
        return AnswerEvent(MALFORMED, b"", b"", frame.what)
    headers = frame.headers
    if headers.get(":event-type") == "chunk" and headers.get(":message-type") == "event":
        return _from_chunk(frame.payload)
    match headers.get(":message-type"):
        case "exception":
            return AnswerEvent(EXCEPTION, b"", frame.payload, str(headers.get(":exception-type", "")))
        case "error":
            message = msgspec.json.encode({"message": str(headers.get(":error-message", ""))})
            return AnswerEvent(EXCEPTION, b"", message, str(headers.get(":error-code", "")))
        case "event":
            return AnswerEvent(UNKNOWN, b"", frame.payload, str(headers.get(":event-type", "")))
        case other:
            return AnswerEvent(MALFORMED, b"", b"", f"a frame has the message type {other!r}")


_TYPE = re.compile(rb'\{"type":"([a-z_]+)"')
"""How every event that Claude sends begins; the rest is not parsed."""


def _from_chunk(payload: bytes) -> AnswerEvent:
    try:
        data = _chunk.decode(payload).event
    except _UNREADABLE:
        return AnswerEvent(MALFORMED, b"", payload, "a chunk's payload is not JSON with bytes")
    found = _TYPE.match(data)
    kind = found[1].decode() if found and data.endswith(b"}") else _type_of(data)
    if not kind:
        return AnswerEvent(MALFORMED, b"", data, "a chunk does not hold a JSON object with a type")
    shown = without_metrics(data) if kind == "message_stop" else data
    return AnswerEvent(kind, sse.render(kind, shown), data)


def without_metrics(data: bytes) -> bytes:
    """Take Bedrock's invocation metrics out of a ``message_stop``; every other byte stays as it is."""
    literal = b'"' + METRICS.encode() + b'"'
    if literal not in data:
        return data
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except _UNREADABLE:
        return data
    value = fields.pop(METRICS, None)
    if value is None:
        return data
    member = literal + rb"\s*:\s*" + re.escape(bytes(value))
    # The member goes with the comma before it, or, if it is the first, with the one after it.
    shorter = re.sub(rb",\s*" + member + rb"|" + member + rb"\s*,\s*|" + member, b"", data, count=1)
    try:
        same = msgspec.json.decode(shorter, type=dict[str, msgspec.Raw]) == fields
    except msgspec.MsgspecError:
        same = False
    return shorter if same else msgspec.json.encode(fields)
