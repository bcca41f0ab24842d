"""Reading one attempt's answer: from bytes and ends to what they mean for the exchange.

Three ways of reading, chosen at the head: a stream of events (held until one proves an answer, then
relayed as it comes), and a body that is judged whole: every error, and a non-streaming answer.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from claude_failover.core import answer, failures, headers
from claude_failover.core.answer import AnswerEvent
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import AttemptEnded, Failure, HeadReceived
from claude_failover.core.types import Instant, Kind, Outcome, Verdict

PROOFS: Final = frozenset({"content_block_delta", "content_block_stop", "message_delta"})
"""Events that prove an answer. ``message_start``, ``ping`` and ``content_block_start`` prove nothing:
overloads arrive after them inside a 200 (claude.md 4). The last two begin to end answers that have no delta:
a redacted block, an empty turn."""

CONTENT_FIRST: Final = frozenset({*PROOFS, "content_block_start", "message_stop"})
"""Events that are out of order without a ``message_start`` before them."""

BREAKS: Final = frozenset({"error", "exception", "malformed"})
"""Events that end an attempt."""

ERROR_BODY_MAX: Final = 1024 * 1024
"""Bytes kept of an error's body; Anthropic's and AWS's are a few hundred."""

WHOLE_BODY_MAX: Final = 64 * 1024 * 1024
"""Bytes of a non-streaming answer; 128k output tokens are under 1 MiB."""


@final
class Begun(msgspec.Struct, frozen=True, gc=False):
    """The commit: these bytes are the answer's first."""

    data: bytes
    broken: Broken | None = None
    """What ended it at once."""


@final
class Whole(msgspec.Struct, frozen=True, gc=False):
    """The commit of an answer that is complete: this is all of it."""

    body: bytes


@final
class Failed(msgspec.Struct, frozen=True, gc=False):
    """It failed before the commit, so another backend may try."""

    verdict: Verdict
    close: bool = False
    """Whether its connection is still open."""


@final
class Broken(msgspec.Struct, frozen=True, gc=False):
    """It broke after the commit."""

    verdict: Verdict
    told: bytes = b""
    """The upstream's own error event, if it said so itself."""
    close: bool = True
    """Whether its connection is still open."""


@final
class Completed(msgspec.Struct, frozen=True, gc=False):
    """A stream has come to its proper end."""


Progress = Begun | Whole | Failed | Broken | Completed | None
"""``None``: nothing to do yet."""


def begin(attempt: Attempt, event: HeadReceived, now: Instant, *, streaming: bool) -> None:
    """Note the head, and choose how the body is read.

    Args:
        attempt: Whose.
        event: The head.
        now: Both clocks.
        streaming: Whether the client asked for a stream. If it cannot be told (a compressed body), the Claude
            API's answer says it.
    """
    attempt.receive_head(event, now)
    encoding = headers.get(event.headers, "content-encoding")
    if encoding and encoding.strip().lower() != "identity":
        return  # we asked for none: events cannot be told in it, and what looks like one is not to be believed
    if 200 <= event.status < 300 and (streaming or attempt.backend.kind is Kind.ANTHROPIC):
        content_type = headers.get(event.headers, "content-type") or ""
        attempt.reader = answer.reader(attempt.backend.kind, attempt.surface, content_type)


def is_error(attempt: Attempt) -> bool:
    """Whether the head said that this will be no answer."""
    return attempt.status is not None and not 200 <= attempt.status < 300


def take(attempt: Attempt, data: bytes, now: Instant, streaming: bool, *, opened: bool) -> Progress:
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
    events = attempt.reader.feed(data, PROOFS)
    for index, event in enumerate(events):
        if event.type in PROOFS and attempt.started:
            return _prove(attempt, events[index:], now)
        verdict = _hold(attempt, event, now)
        if verdict is not None:
            return Failed(verdict, close=True)
    return None


def _hold(attempt: Attempt, event: AnswerEvent, now: Instant) -> Verdict | None:
    """Keep back what proves nothing yet; a verdict if it proves that no answer will come."""
    if event.type in BREAKS:
        return verdict_of(attempt, event, now)
    if event.type in CONTENT_FIRST and not attempt.started:
        # Content without a message around it is not an answer that a client could read.
        return Verdict(Outcome.MALFORMED, f"{event.type} without message_start")
    if event.type == "message_stop":
        return Verdict(Outcome.CUT, "ended without any content")
    if event.type == "message_start":
        attempt.started = True
        attempt.usage.event(event.type, event.data)
    return None if attempt.hold(event.raw) else Verdict(Outcome.MALFORMED, "too much before the first content")


def _prove(attempt: Attempt, events: list[AnswerEvent], now: Instant) -> Begun:
    """Commit: what was held, what came with the proof, and what is there of the next event."""
    assert attempt.reader is not None, "only a stream is proven by an event"
    held = attempt.commit(now)
    good, broken = _note(attempt, events, now)
    out = [held, *[event.raw for event in events[:good]]]
    if good == len(events):
        out.append(attempt.reader.commit())
        rest, notable = attempt.reader.relay(b"")
        out.append(rest)
        broken = _note(attempt, notable, now)[1] if notable else None
    else:
        attempt.deaf = True
    began = b"".join(out)
    attempt.usage.relayed(began, since=len(held))
    return Begun(attempt.passed(began), broken)


def relay(attempt: Attempt, data: bytes, now: Instant) -> tuple[bytes, Broken | None]:
    """Take bytes of an answer that has begun: what the client gets now, and whether it broke. The hot path."""
    assert attempt.reader is not None, "only a stream is relayed"
    if attempt.deaf:
        return b"", None
    out, notable = attempt.reader.relay(data)
    broken = _note(attempt, notable, now)[1] if notable else None
    if out:
        attempt.passed(out)
        attempt.usage.relayed(out)
    return out, broken


def _ends(event: AnswerEvent) -> bool:
    """Whether bad news end an answer that has begun; a malformed event that goes out as it came is the client's."""
    return not (event.type == "malformed" and event.raw)


def _note(attempt: Attempt, events: list[AnswerEvent], now: Instant) -> tuple[int, Broken | None]:
    """Read events of an answer that has begun.

    Returns:
        How many of them are the answer's, and what broke it there. After ``message_stop`` nothing can.
    """
    for index, event in enumerate(events):
        if event.type in BREAKS and _ends(event):
            return index, None if attempt.stopped else Broken(verdict_of(attempt, event, now), event.raw)
        attempt.usage.event(event.type, event.data)
        attempt.stopped |= event.type == "message_stop"
    return len(events), None


def verdict_of(attempt: Attempt, event: AnswerEvent, now: Instant) -> Verdict:
    """Judge an event that ends an attempt."""
    if event.type == "malformed":
        return Verdict(Outcome.MALFORMED, event.name)
    return failures.classify_event(attempt.backend.kind, event.type, event.name, event.data, now)


def end(attempt: Attempt, event: AttemptEnded, now: Instant, streaming: bool, *, opened: bool) -> Progress:
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
    return Broken(verdict, close=False) if attempt.committed else Failed(verdict)


def judge(attempt: Attempt, failure: Failure | None, now: Instant, *, streaming: bool, opened: bool) -> Whole | Failed:
    """Decide over a body that is judged whole."""
    assert attempt.status is not None, "a body comes after its head"
    body = attempt.whole()
    kind = attempt.backend.kind
    is_json = False
    if is_error(attempt):
        verdict = failures.classify(kind, attempt.surface, attempt.status, attempt.headers, body, now)
    else:
        verdict, is_json = failures.judge_success(kind, attempt.status, attempt.headers, body, now)
    if verdict.outcome is not Outcome.SUCCESS:
        return Failed(verdict)
    if failure is not None:
        return Failed(failures.classify_failure(failure, "the body was cut", answered=True))
    if streaming and (kind is Kind.BEDROCK or opened):
        # A 200 that is no stream: something on the way rewrote it. Relaying it as an answer would
        # make the client repeat the turn without streaming, billed twice (bedrock.md 3).
        return Failed(Verdict(Outcome.MALFORMED, "the answer is not a stream"))
    if not is_json:
        return Failed(Verdict(Outcome.CUT, "the body is not one JSON object"))
    attempt.usage.body(body)
    return Whole(body)
