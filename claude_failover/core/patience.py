"""Patience: until when an attempt is waited for, and what it means that nothing came.

Silence is measured while we listen: a client that reads slowly makes us deaf, not the backend dumb
(:meth:`Attempt.listen <claude_failover.core.attempt.Attempt.listen>`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from claude_failover.core import reading, reply
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import Failure
from claude_failover.core.counsel import Counsel
from claude_failover.core.decision import RequestFacts, Try
from claude_failover.core.settings import Timeouts
from claude_failover.core.types import Instant, Monotonic, Outcome, Seconds, Verdict

ERROR_BODY_WAIT: Final = Seconds(10.0)
"""From its head, how long the body of an error may take; its status alone is enough to decide after that."""

AFTER_STOP: Final = Seconds(5.0)
"""Silence after ``message_stop`` that ends a stream whose backend forgets to end the response."""

NON_STREAMING_FIRST_BYTE: Final = Seconds(600.0)
"""A non-streaming answer sends no head before it is complete; the client's own limit is 600 s (API_TIMEOUT_MS)."""

_PLANS: Final = frozenset({Outcome.PLAN_LIMIT, Outcome.FAMILY_LIMIT})

WAIT_SHARE: Final = 2 / 3
"""Of ``hold_max`` what waits may use: the rest is for the answer to the attempt that follows the last one."""


def until(attempt: Attempt, limits: Timeouts, *, streaming: bool) -> Monotonic:
    """When to give the attempt up if nothing more comes of it.

    Args:
        attempt: Still open.
        limits: Of the configuration.
        streaming: Whether the client asked for a stream.
    """
    if attempt.committed:
        return Monotonic(attempt.heard + (AFTER_STOP if attempt.stopped else limits.stream_idle))
    if attempt.status is None:
        first_byte = limits.first_byte if streaming else max(limits.first_byte, NON_STREAMING_FIRST_BYTE)
        return Monotonic(attempt.opened.monotonic + first_byte)
    if reading.is_error(attempt):
        return Monotonic(attempt.answered + ERROR_BODY_WAIT)
    if attempt.streams:
        return Monotonic(attempt.opened.monotonic + limits.first_content)
    return Monotonic(attempt.heard + limits.stream_idle)


def exhausted(attempt: Attempt, now: Instant, *, streaming: bool, opened: bool) -> reading.Progress:
    """What it means that the time is over; whoever asks closes the attempt.

    Args:
        attempt: Whose time is over.
        now: Both clocks.
        streaming: Whether the client asked for a stream.
        opened: Whether the client has got the head of a stream already.
    """
    if attempt.committed:
        if attempt.stopped:
            return reading.Completed()
        return reading.Broken(Verdict(Outcome.STALLED, "silent in mid-stream"), close=False)
    if reading.is_error(attempt):
        return reading.judge(attempt, Failure.CUT, now, streaming=streaming, opened=opened)
    what = "no response headers" if attempt.status is None else "no content"
    waited = round(now.monotonic - attempt.opened.monotonic)
    return reading.Failed(Verdict(Outcome.SILENT, f"{what} within {waited} s"))


def for_waits(counsel: Counsel, known: RequestFacts, tries: Sequence[Try], now: Instant, *, may_tell: bool) -> float:
    """How many seconds of a request may go by in waits, in all.

    With the plan's own limit at hand no longer than its status can still be told: inside an opened
    response Claude Code takes it for something to try again, for minutes (measured with 2.1.330).

    Args:
        counsel: Its memory of limits, and ``hold_max``.
        known: The request's facts.
        tries: What it has behind it.
        now: Both clocks.
        may_tell: Whether the client asked for a stream and has got nothing of it yet.
    """
    if not may_tell:
        return float("inf")
    met = bool(tries) and any(one.verdict.outcome in _PLANS for one in tries)
    if met or reply.remembered(counsel, known, now) is not None:
        return counsel.settings.stream.hold_max * WAIT_SHARE
    return float("inf")
