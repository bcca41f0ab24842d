"""Every way in which a connection or a stream can break, whoever the backend is, by name.

These are good answers on bad wires; refusals are in :mod:`~claude_failover.drill.claude_faults` and
:mod:`~claude_failover.drill.bedrock_faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from claude_failover.drill.script import (
    Answer,
    Drop,
    Garbage,
    How,
    Step,
    Wire,
    cut,
    dripped,
    in_band,
    silent,
    silent_after_head,
    stalled,
    unfinished,
)


def garbage_body(data: bytes = b"<html><body>Welcome to the hotel network</body></html>") -> Answer:
    """200, the right content type, and a body that is something else."""
    return Answer(wire=Wire(body=data))


def garbage_page() -> Answer:
    """200 and a page of somebody in between, honestly labelled."""
    return Answer(wire=Wire(body=b"<!DOCTYPE html><h1>Sign in</h1>", content_type="text/html"))


def bad_gzip() -> Answer:
    """Says gzip and is none."""
    return Answer(wire=Wire(gzip="bad"))


def unasked_gzip() -> Answer:
    """Real gzip, though identity was asked for."""
    return Answer(wire=Wire(gzip="good"))


def long_length() -> Answer:
    """The content-length promises more than comes."""
    return Answer(wire=Wire(length_error=100))


def short_length() -> Answer:
    """The content-length promises less than comes."""
    return Answer(wire=Wire(length_error=-100))


def no_content_type() -> Answer:
    """Nobody says what the body is."""
    return Answer(wire=Wire(content_type=None))


def only_pings(seconds: float, gap: float = 0.05) -> Answer:
    """The stream is alive and says nothing for *seconds*."""
    return Answer(pings=max(1, int(seconds / gap)), ping_gap=gap)


def unknown_event(at: str = "start") -> Answer:
    """An event, a comment and a field that nobody knows yet; all must be passed on or ignored."""
    data = b': comment\n\nevent: from_the_future\ndata: {"type":"from_the_future"}\nid: 7\nretry: 10\n\n'
    return Answer(wire=Wire(insert=data, insert_at="content" if at == "content" else "start"))


BEFORE_CONTENT: Mapping[str, Callable[[], Step]] = {
    "reset-before-head": Drop,
    "close-before-head": lambda: Drop(How.FIN),
    "no-http": Garbage,
    "silent": silent,
    "silent-after-100": lambda: silent(float("inf"), 100),
    "silent-after-103": lambda: silent(float("inf"), 103),
    "silent-after-head": silent_after_head,
    "silent-after-start": lambda: stalled("start"),
    "silent-inside-start": lambda: stalled("first", extra_bytes=30),
    "overloaded-first": in_band,
    "overloaded-after-start": lambda: in_band("start"),
    "reset-after-head": lambda: cut("first"),
    "reset-after-start": lambda: cut("start"),
    "reset-inside-start": lambda: cut("first", extra_bytes=30),
    "close-after-start": lambda: cut("start", How.FIN),
    "end-without-content": lambda: cut("start", How.END),
    "end-of-nothing": lambda: cut("first", How.END),
    "garbage-body": garbage_body,
    "garbage-page": garbage_page,
    "bad-gzip": bad_gzip,
    "corrupt-first": lambda: Answer(wire=Wire(corrupt="first")),
}
"""Breaks before any content: another backend can still answer, and the client must not notice."""

AFTER_CONTENT: Mapping[str, Callable[[], Step]] = {
    "silent-after-content": lambda: stalled("content"),
    "overloaded-after-content": lambda: in_band("content"),
    "reset-after-content": lambda: cut("content"),
    "reset-inside-content": lambda: cut("content", extra_bytes=30),
    "close-after-content": lambda: cut("content", How.FIN),
    "reset-after-block": lambda: cut("block"),
    "end-without-stop": unfinished,
}
"""Breaks after content went out: nobody else may go on; the client must be told."""

HARMLESS: Mapping[str, Callable[[], Step]] = {
    "dripped-by-byte": dripped,
    "dripped-by-seven": lambda: dripped(7),
    "until-close": lambda: Answer(wire=Wire(framing="close")),
    "with-length": lambda: Answer(wire=Wire(framing="length")),
    "connection-close": lambda: Answer(wire=Wire(close=True)),
    "short-stall": lambda: stalled("content", 0.05, extra_bytes=9),
    "late-head": lambda: silent(0.05, 100, 103),
}
"""Odd, but a complete answer: it must arrive."""

CATALOGUE: Mapping[str, Callable[[], Step]] = {
    **BEFORE_CONTENT,
    **AFTER_CONTENT,
    **HARMLESS,
    "unasked-gzip": unasked_gzip,
    "long-length": long_length,
    "short-length": short_length,
    "no-content-type": no_content_type,
    "unknown-event": unknown_event,
}
"""All of them."""
