"""What a simulated backend does with each request: good answers, refusals, and everything that breaks.

A *step* says **what** is answered (:class:`Answer`, :class:`Refusal`, :class:`Drop`, :class:`Garbage`);
its :class:`Wire` says **how** the bytes get to the client (late, in pieces, cut, under a wrong length).
The two are apart because every answer can break in every way. A :class:`Script` deals one step to each
request. Shapes that differ between the backends (headers of a plan limit, exception frames) are made by
:mod:`~claude_failover.drill.claude_faults` and :mod:`~claude_failover.drill.bedrock_faults`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from claude_failover.core.types import Headers, Usage

FOREVER = math.inf
"""Seconds of a stall that only ends when the client leaves or the simulator closes."""

Mark = int | Literal["first", "start", "content", "block", "delta"]
"""A place in an answer's stream: after that many events, or after the first ``message_start``, ``content_block_delta``,
``content_block_stop``, ``message_delta``. ``first`` (or 0) is before any event. For a body that is not a stream the
whole body is one event."""

_AFTER: Mapping[str, str] = {
    "start": "message_start",
    "content": "content_block_delta",
    "block": "content_block_stop",
    "delta": "message_delta",
}


def reached(mark: Mark, sent: int, last: str) -> bool:
    """Whether *mark* lies right behind what was sent: *sent* events, the last one named *last*."""
    if isinstance(mark, int):
        return sent == mark
    if mark == "first":
        return sent == 0
    return last == _AFTER[mark]


class How(StrEnum):
    """How a connection is given up."""

    RESET = "reset"
    """TCP reset."""
    FIN = "fin"
    """An orderly close in the middle: the HTTP framing tells that something is missing."""
    END = "end"
    """HTTP ends as it should; only the content is incomplete (no ``message_stop``, half a frame)."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer breaks off."""

    at: Mark
    how: How = How.RESET
    extra_bytes: int = 0
    """So many bytes of the next event still go out: a cut inside an event."""


@dataclass(frozen=True, slots=True)
class Stall:
    """The answer falls silent for a while, then goes on."""

    at: Mark
    seconds: float = FOREVER
    extra_bytes: int = 0
    """So many bytes of the next event go out before the silence."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How a response travels. The default is a healthy connection."""

    before_head: float = 0.0
    """Seconds of silence before the status line."""
    interim: tuple[int, ...] = ()
    """1xx responses sent before that silence: 100 and 103 prove that a socket lives, not that an answer comes."""
    after_head: float = 0.0
    """Seconds between the head and the first byte of the body."""
    cut: Cut | None = None
    stall: Stall | None = None
    drip: int = 0
    """Send the body in pieces of so many bytes (1 = byte by byte); 0 = one write an event."""
    drip_gap: float = 0.0
    """Seconds between two pieces; 0 still yields to the event loop."""
    corrupt: Mark | None = None
    """The event at this place has one byte flipped in its middle: bad checksum in a frame, bad JSON in an event."""
    insert: bytes = b""
    """These bytes go out at :attr:`insert_at`, between two events."""
    insert_at: Mark = "start"
    framing: Literal["auto", "chunked", "length", "close"] = "auto"
    """``auto``: chunked for streams, content-length else; ``close``: the body ends when the connection does."""
    length_error: int = 0
    """Added to the true content-length: a lie when not 0."""
    content_type: str | None = "auto"
    """``auto``: the right one; ``None``: no such header."""
    gzip: Literal["", "good", "bad"] = ""
    """``content-encoding: gzip`` although identity was asked for; ``bad``: and the body is no gzip."""
    body: bytes | None = None
    """Instead of the answer's own body."""
    close: bool = False
    """Say ``connection: close`` and do it."""


HEALTHY = Wire()


@dataclass(frozen=True, slots=True)
class Text:
    """A text block."""

    text: str = ""
    """Empty: a sentence that names the simulator and counts its answers."""
    deltas: int = 3
    """In how many deltas it is streamed, at most one a character."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """A thinking block; empty text is what ``display: omitted`` looks like (only the signature is streamed)."""

    text: str = "Let me think."
    signature: str = "c2ltdWxhdGVkLXNpZ25hdHVyZQ=="
    deltas: int = 2


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of a client tool, its input streamed as ``input_json_delta``."""

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    """Empty: an id of the backend's own kind is made up."""
    deltas: int = 4


Block = Text | Thinking | ToolUse


@dataclass(frozen=True, slots=True)
class InBand:
    """An error inside a 200: an SSE ``error`` event, or on Bedrock's event stream an exception frame."""

    at: Mark = "first"
    error_type: str = "overloaded_error"
    message: str = "Overloaded"
    exception: str = "serviceUnavailableException"
    """The ``:exception-type`` of the frame, on the event stream only."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the exception's payload (``originalStatusCode``)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer, or one that starts good."""

    blocks: tuple[Block, ...] = (Text(),)
    stop_reason: str = ""
    """Empty: ``tool_use`` if a block calls a tool, else ``end_turn``."""
    gap: float = 0.0
    """Seconds between two events of the stream, kept to a schedule from the first event on."""
    pings: int = 0
    """So many pings between ``message_start`` and the first block, *ping_gap* apart: a backend that only thinks."""
    ping_gap: float = 0.0
    usage: Usage | None = None
    """``None``: derived from the body's size and the text sent."""
    error: InBand | None = None
    headers: Headers = ()
    wire: Wire = HEALTHY


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error status with a body."""

    status: int
    error_type: str = "api_error"
    """Anthropic's ``error.type``, or the name of AWS's exception."""
    message: str = "Error"
    details: Mapping[str, Any] | None = None
    """Anthropic's ``error.details``."""
    shape: Literal["native", "anthropic", "aws", "aws-capital"] = "native"
    """``native``: the backend's own; ``aws-capital``: ``{"Message": …}``."""
    headers: Headers = ()
    headers_at: Callable[[float], Headers] | None = None
    """More headers, made from the simulator's wall clock (epoch seconds): resets, ``Date``."""
    body: bytes | None = None
    """Instead of the shaped error: HTML of an edge, a coral body, nothing at all."""
    content_type: str = "application/json"
    wire: Wire = HEALTHY


@dataclass(frozen=True, slots=True)
class Drop:
    """No response at all: the connection goes away."""

    how: How = How.RESET
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that are not HTTP, then the end."""

    data: bytes = b"\x16\x03\x01\x02\x00\x01\x00 not a status line\r\n\r\n"


Step = Answer | Refusal | Drop | Garbage


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    number: int
    """From 1, over the simulator's life."""
    method: str
    target: str
    headers: Headers
    body: bytes
    connection: int
    """Which connection, from 1: tells reuse."""
    at: float
    """Seconds on the event loop's clock, when it was complete."""

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def all(self, name: str) -> list[str]:
        """Every value of a header, by its lower-case name."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the ``?``, as it came."""
        return self.target.partition("?")[2]


Dealer = Callable[[Seen], Step]


class Script:
    """Deals one step to each request: first the queue in order, then the default, for ever."""

    def __init__(self, *steps: Step | Dealer, default: Step | Dealer | None = None) -> None:
        self._queue: deque[Step | Dealer] = deque(steps)
        self.default: Step | Dealer = Answer() if default is None else default
        """What every request gets when the queue is empty; a callable chooses by the request."""

    def then(self, *steps: Step | Dealer) -> Script:
        """Queue more steps; returns itself, so that a scenario reads as one sentence."""
        self._queue.extend(steps)
        return self

    def always(self, step: Step | Dealer) -> Script:
        """Forget the queue; from now on every request gets this."""
        self._queue.clear()
        self.default = step
        return self

    @property
    def pending(self) -> int:
        """How many queued steps nobody has got yet."""
        return len(self._queue)

    def deal(self, request: Seen) -> Step:
        """Choose what this request gets."""
        step = self._queue.popleft() if self._queue else self.default
        return step(request) if callable(step) else step


def on_wire(step: Answer | Refusal, wire: Wire) -> Answer | Refusal:
    """The same content over another wire."""
    return replace(step, wire=wire)


def text(words: str, *, deltas: int = 3, gap: float = 0.0) -> Answer:
    """A plain answer in so many deltas."""
    return Answer(blocks=(Text(words, deltas),), gap=gap)


def long_stream(deltas: int, gap: float = 0.0) -> Answer:
    """A stream of *deltas* text deltas, *gap* seconds apart, each of them a word of its own."""
    return Answer(blocks=(Text("".join(f"w{n:05d} " for n in range(deltas)), deltas),), gap=gap)


def tool_call(name: str, tool_input: Mapping[str, Any], *, said: str = "") -> Answer:
    """An answer that calls a client tool, after a sentence if *said*."""
    call = ToolUse(name, tool_input)
    return Answer(blocks=(Text(said), call) if said else (call,))


def in_band(at: Mark = "first", error_type: str = "overloaded_error", message: str = "Overloaded") -> Answer:
    """A 200 whose stream holds an error."""
    return Answer(error=InBand(at, error_type, message))


def cut(at: Mark, how: How = How.RESET, extra_bytes: int = 0) -> Answer:
    """An answer that breaks off."""
    return Answer(wire=Wire(cut=Cut(at, how, extra_bytes)))


def stalled(at: Mark, seconds: float = FOREVER, extra_bytes: int = 0) -> Answer:
    """An answer that falls silent in the middle."""
    return Answer(wire=Wire(stall=Stall(at, seconds, extra_bytes)))


def silent(seconds: float = FOREVER, *interim: int) -> Answer:
    """No status line for *seconds*, perhaps after some 1xx."""
    return Answer(wire=Wire(before_head=seconds, interim=interim))


def silent_after_head(seconds: float = FOREVER) -> Answer:
    """A head at once, then nothing for *seconds*."""
    return Answer(wire=Wire(after_head=seconds))


def dripped(size: int = 1, gap: float = 0.0) -> Answer:
    """A good answer in pieces of *size* bytes."""
    return Answer(wire=Wire(drip=size, drip_gap=gap))


def unfinished() -> Answer:
    """HTTP ends well, ``message_stop`` never came."""
    return cut("delta", How.END)
