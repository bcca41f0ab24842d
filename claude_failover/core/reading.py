"""Reading one attempt's answer: from bytes and ends to what they mean for the exchange.

Three ways of reading, chosen at the head: a stream of events (held until one proves an answer, then
relayed as it comes), and a body that is judged whole: every error, and a non-streaming answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from claude_failover.core import answer, failures, headers
from claude_failover.core.answer import AnswerEvent
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import AttemptEnded, Failure, HeadReceived
from claude_failover.core.types import Instant, Kind, Outcome, Verdict

PROOFS: Final = frozenset({"content_block_delta", "content_block_stop", "message_delta", "message_stop"})
"""Events that prove an answer. ``message_start``, ``ping`` and ``content_block_start`` prove nothing:
overloads arrive after them inside a 200 (claude.md 4). The other three end answers that have no delta."""

BREAKS: Final = frozenset({"error", "exception", "malformed"})
"""Events that end an attempt."""

ERROR_BODY_MAX: Final = 1024 * 1024
"""Bytes kept of an error's body; Anthropic's and AWS's are a few hundred."""

WHOLE_BODY_MAX: Final = 64 * 1024 * 1024
"""Bytes of a non-streaming answer; 128k output tokens are under 1 MiB."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The commit: these bytes are the answer's first."""

    data: bytes
    broken: Broken | None = None
    """What ended it at once."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The commit of an answer that is complete: this is all of it."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed before the commit, so another backend may try."""

    verdict: Verdict
    close: bool = False
    """Whether its connection is still open."""


@dataclass(frozen=True, slots=True)
class Broken:
    """It broke after the commit."""

    verdict: Verdict
    told: bytes = b""
    """The upstream's own error event, if it said so itself."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A stream has come to its proper end."""


Progress = Begun | Whole | Failed | Broken | Completed | None
"""``None``: nothing to do yet."""


def begin(attempt: Attempt, event: HeadReceived, now: Instant, *, streaming: bool) -> None:
    """Note the head, and choose how the body is read."""
    attempt.receive_head(event, now)
    if streaming and 200 <= event.status < 300:
        content_type = headers.get(event.headers, "content-type") or ""
        attempt.reader = answer.reader(attempt.backend.kind, attempt.surface, content_type)


def is_error(attempt: Attempt) -> bool:
    """Whether the head said that this will be no answer."""
    return attempt.status is not None and not 200 <= attempt.status < 300


def take(attempt: Attempt, data: bytes, now: Instant, *, streaming: bool, opened: bool) -> Progress:
    """Take bytes of an answer that has not begun.

    Args:
        attempt: Whose.
        data: As they arrived.
        now: Both clocks.
        streaming: Whether the client asked for a stream.
        opened: Whether the client has got the head of a stream already.
    """
    if attempt.reader is None:
        if attempt.keep(data, ERROR_BODY_MAX if is_error(attempt) else WHOLE_BODY_MAX):
            return None
        ended = judge(attempt, Failure.PROTOCOL, now, streaming=streaming, opened=opened)
        return Failed(ended.verdict, close=True) if isinstance(ended, Failed) else ended
    events = attempt.reader.feed(data)
    for index, event in enumerate(events):
        if event.type in PROOFS:
            return _prove(attempt, events[index:], now)
        if event.type in BREAKS:
            return Failed(verdict_of(attempt, event, now), close=True)
        if not attempt.hold(event.raw):
            return Failed(Verdict(Outcome.MALFORMED, "too much before the first content"), close=True)
        if event.type == "message_start":
            attempt.usage.event(event.type, event.data)
    return None


def _prove(attempt: Attempt, events: list[AnswerEvent], now: Instant) -> Begun:
    assert attempt.reader is not None, "only a stream is proven by an event"
    out = [attempt.commit(now)]
    broken = None
    for event in events:
        if _ends(event):
            broken = Broken(verdict_of(attempt, event, now), event.raw)
            break
        _note(attempt, event)
        out.append(event.raw)
    tail = attempt.reader.commit()
    if broken is None:
        out.append(tail)
    return Begun(attempt.passed(b"".join(out)), broken)


def relay(attempt: Attempt, data: bytes, now: Instant) -> tuple[bytes, Broken | None]:
    """Take bytes of an answer that has begun: what the client gets now, and whether it broke. The hot path."""
    assert attempt.reader is not None, "only a stream is relayed"
    out, notable = attempt.reader.relay(data)
    if out:
        attempt.passed(out)
        attempt.usage.relayed(out)
    for event in notable:
        if _ends(event):
            if not attempt.stopped:
                return out, Broken(verdict_of(attempt, event, now), event.raw)
        else:
            _note(attempt, event)
    return out, None


def _ends(event: AnswerEvent) -> bool:
    """Whether *event* ends an answer that has begun; a malformed one that goes out as it came is the client's."""
    return event.type in BREAKS and not (event.type == "malformed" and event.raw)


def _note(attempt: Attempt, event: AnswerEvent) -> None:
    attempt.usage.event(event.type, event.data)
    attempt.stopped |= event.type == "message_stop"


def verdict_of(attempt: Attempt, event: AnswerEvent, now: Instant) -> Verdict:
    """Judge an event that ends an attempt."""
    if event.type == "malformed":
        return Verdict(Outcome.MALFORMED, event.name)
    return failures.classify_event(attempt.backend.kind, event.type, event.name, event.data, now)


def end(attempt: Attempt, event: AttemptEnded, now: Instant, *, streaming: bool, opened: bool) -> Progress:
    """The attempt's I/O is over."""
    if attempt.reader is None:
        if attempt.status is None:
            failure = event.failure or Failure.RESET_BEFORE_HEAD
            return Failed(failures.classify_failure(failure, event.detail, answered=False))
        return judge(attempt, event.failure, now, streaming=streaming, opened=opened)
    if attempt.stopped:
        return Completed()
    missing = "ended without message_stop" if attempt.committed else "ended before any content"
    detail = event.detail or attempt.reader.end() or missing
    verdict = failures.classify_failure(event.failure or Failure.CUT, detail, answered=True)
    return Broken(verdict) if attempt.committed else Failed(verdict)


def judge(attempt: Attempt, failure: Failure | None, now: Instant, *, streaming: bool, opened: bool) -> Whole | Failed:
    """Decide over a body that is judged whole."""
    assert attempt.status is not None, "a body comes after its head"
    body = attempt.whole()
    kind = attempt.backend.kind
    verdict = failures.classify(kind, attempt.surface, attempt.status, attempt.headers, body, now)
    if verdict.outcome is not Outcome.SUCCESS:
        return Failed(verdict)
    if failure is not None:
        return Failed(failures.classify_failure(failure, "the body was cut", answered=True))
    if streaming and (kind is Kind.BEDROCK or opened):
        # A 200 that is no stream: something on the way rewrote it. Relaying it as an answer would
        # make the client repeat the turn without streaming, billed twice (bedrock.md 3).
        return Failed(Verdict(Outcome.MALFORMED, "the answer is not a stream"))
    if not failures.is_json(body):
        return Failed(Verdict(Outcome.CUT, "the body is not one JSON object"))
    return Whole(body)
