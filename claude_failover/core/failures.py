"""Failures: how an attempt ended, from what the upstream said or how its I/O broke; and errors in Anthropic's shape.

The face of the subject. What a status, its headers and its words mean is decided per kind of backend, in
:mod:`~claude_failover.core.anthropic_errors` and :mod:`~claude_failover.core.bedrock_errors`; bodies are read and
written in :mod:`~claude_failover.core.error_body`. Nothing here raises, whatever came over the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from claude_failover.core import anthropic_errors, bedrock_errors
from claude_failover.core.commands import Failure
from claude_failover.core.error_body import (
    Told,
    error_body,
    error_event,
    exception_name,
    is_json,
    read,
    read_success,
    short,
)
from claude_failover.core.headers import get
from claude_failover.core.types import Headers, Instant, Kind, Outcome, Surface, Verdict

__all__ = [
    "classify",
    "classify_event",
    "classify_failure",
    "error_body",
    "error_event",
    "judge_success",
    "lower",
    "present",
    "short",
]


def lower(headers: Headers) -> dict[str, str]:
    """Index header lines by their name in lower case; of a name that comes twice, the first line counts."""
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.lower(), value)
    return found


def classify(kind: Kind, surface: Surface | None, status: int, headers: Headers, body: bytes, now: Instant) -> Verdict:
    """Judge a response by its status, headers and body.

    Args:
        kind: What sort of backend answered.
        surface: Which API of Bedrock; ``None`` at the Claude API.
        status: Any HTTP status.
        headers: As they came.
        body: Of an error, what was read of it. Of a 2xx, the complete body of a non-streaming answer, or nothing: a
            stream's events are judged by :func:`classify_event`.
        now: Both clocks.

    Returns:
        ``SUCCESS`` only for a 2xx that holds neither an error's shape nor a foreign page.
    """
    del surface  # Errors say themselves which shape they have; a proxy in between may change it.
    if 200 <= status < 300:
        return judge_success(kind, status, headers, body, now)[0]
    index = lower(headers)
    told = read(body)
    if kind is Kind.ANTHROPIC:
        return anthropic_errors.classify(status, index, told, now)
    return bedrock_errors.classify(status, index, _named(index, told), now)


def classify_event(kind: Kind, event_type: str, name: str, data: bytes, now: Instant) -> Verdict:
    """Judge what ends a stream inside a 200: an ``error`` event, an ``exception`` frame, a ``malformed`` piece.

    Args:
        kind: What sort of backend it came from.
        event_type: As in :class:`~claude_failover.core.answer.AnswerEvent`.
        name: Of an exception frame, AWS's name for it; of a malformed piece, what is wrong with it.
        data: The JSON payload.
        now: Both clocks.
    """
    told = read(data)
    if event_type == "malformed":
        return Verdict(Outcome.MALFORMED, short(name) or "bytes that are not the protocol's")
    if event_type == "exception":
        return bedrock_errors.classify_frame(exception_name(name), told, now)
    if not told.says_error:
        return Verdict(Outcome.MALFORMED, "an error event without an error in it")
    if kind is Kind.BEDROCK:
        return bedrock_errors.classify(_EVENT_STATUS, {}, told, now)
    return anthropic_errors.classify_event(told)


_EVENT_STATUS = 500
"""Of an error event of an unknown type."""


def classify_failure(failure: Failure, detail: str, *, answered: bool) -> Verdict:
    """Judge I/O that broke.

    Args:
        failure: The fact.
        detail: One line of the adapter about it.
        answered: Whether response headers had come: after them a broken connection is a cut, whatever broke it.

    Returns:
        A verdict whose ``error_type`` is the failure's name, so that a stale pooled connection can be told from a
        backend that is gone.
    """
    outcome = _FAILURES[failure]
    if answered and outcome in {Outcome.UNREACHABLE, Outcome.TLS_FAILED}:
        outcome = Outcome.CUT
    return Verdict(outcome, short(detail) or failure.value.replace("_", " "), error_type=failure.value)


_FAILURES = {
    Failure.DNS: Outcome.UNREACHABLE,
    Failure.CONNECT: Outcome.UNREACHABLE,
    Failure.RESET_BEFORE_HEAD: Outcome.UNREACHABLE,
    Failure.STALE_CONNECTION: Outcome.UNREACHABLE,
    Failure.CUT: Outcome.CUT,
    Failure.PROTOCOL: Outcome.MALFORMED,
    Failure.TLS: Outcome.TLS_FAILED,
    Failure.PIN: Outcome.PIN_FAILED,
    Failure.CREDENTIALS: Outcome.CREDENTIALS,
    Failure.LOCAL: Outcome.LOCAL,
    Failure.INTERNAL: Outcome.LOCAL,
}


def present(
    kind: Kind, surface: Surface | None, status: int, headers: Headers, body: bytes, verdict: Verdict
) -> tuple[int, Headers, bytes]:
    """Tell a backend's error to the client: the Claude API's as it came, Bedrock's in Anthropic's shape."""
    del surface
    if kind is Kind.ANTHROPIC:
        return status, headers, body
    index = lower(headers)
    return bedrock_errors.present(status, index, _named(index, read(body)), verdict)


def judge_success(kind: Kind, status: int, headers: Headers, body: bytes, now: Instant) -> tuple[Verdict, bool]:
    """Look twice at a 2xx: an error's body, a coral body, a portal's login page are no answers.

    Args:
        kind: As for :func:`classify`, and so are the others.
        status: Of an answer.
        headers: As they came.
        body: All of it.
        now: Both clocks.

    Returns:
        The verdict, and whether the body was found to be one JSON object: it may be large, and is read only once.
    """
    media = (get(headers, "content-type") or "").split(";", 1)[0].strip().lower()
    if media == "text/html":
        return Verdict(Outcome.MALFORMED, f"HTTP {status} with a web page instead of an answer"), False
    if not body or media in {"text/event-stream", "application/vnd.amazon.eventstream"}:
        return Verdict(Outcome.SUCCESS), is_json(body)
    found = read_success(body)
    name = get(headers, "x-amzn-errortype")
    if name or (found is not None and found.says_error):
        index = lower(headers)
        told = _named(index, found or Told())
        if told.says_error:
            if kind is Kind.BEDROCK:
                return bedrock_errors.classify(_EVENT_STATUS, index, told, now), found is not None
            return anthropic_errors.classify_event(told), found is not None
    if media in {"", "application/json"} and found is None:
        return Verdict(Outcome.MALFORMED, f"HTTP {status} with a body that is not JSON"), False
    return Verdict(Outcome.SUCCESS), found is not None


def _named(headers: Mapping[str, str], told: Told) -> Told:
    """Complete *told* with the exception name of ``x-amzn-errortype``, which wins over the body's."""
    name = exception_name(headers.get("x-amzn-errortype", "")) or told.name
    return replace(told, name=name)
