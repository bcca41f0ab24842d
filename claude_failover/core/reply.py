"""What the client is told when no backend's answer can be: heads, errors of our own, the choice between errors.

Every message names the daemon and the fix, because Claude Code shows it to a person whose
screen otherwise only says ``127.0.0.1`` (claude.md 3.6).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from claude_failover.core import error_body, failures, headers
from claude_failover.core.counsel import Counsel, ErrorAnswer
from claude_failover.core.decision import REFUSED_ONLY_THERE
from claude_failover.core.members import at_hand
from claude_failover.core.policy import RequestFacts, Stop, Try
from claude_failover.core.settings import Backend
from claude_failover.core.spend import Refusal
from claude_failover.core.types import BackendName, Headers, Instant, Kind, Outcome, Reason, Seconds, Verdict

SSE_HEAD: Final[Headers] = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
)
"""The head of a stream that we open ourselves, or that Bedrock's answer becomes."""

PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
"""As the Claude API sends it; Bedrock sends none (claude.md 1.5)."""

REQUEST_ID_HEADERS: Final = ("request-id", "x-amzn-requestid")


@at_hand
class Telling(StrEnum):
    """How a client learns that a stream which it has begun to show will not be completed."""

    ABORT = "abort"
    """Close the connection without the chunked end."""
    ERROR_EVENT = "error_event"
    """An SSE ``error`` event, then a proper end of the response."""


def telling_for(agent: str) -> Telling:
    """Choose what loses the user least, by the client's ``user-agent``; measured, see docs/after-the-commit.md.

    Claude Code 2.1.330 repeats the turn as a stream after an aborted connection, and as one whole
    answer, in front of a still screen, after an error event; 2.1.197 makes no difference. Other
    clients (the SDKs) raise a typed error on the event and only a transport error on the abort.
    """
    return Telling.ABORT if agent.startswith("claude-cli/") else Telling.ERROR_EVENT


def stamp(backend: BackendName | None, attempts: int, reason: Reason | None, exchange: str) -> Headers:
    """Our own response headers: who answered, after how many attempts, why, and the id for ``explain``."""
    who: Headers = () if backend is None else (("x-claude-failover-backend", backend),)
    why: Headers = () if reason is None else (("x-claude-failover-reason", reason.value),)
    count = ("x-claude-failover-attempts", str(attempts))
    return (*who, count, ("x-claude-failover-request-id", exchange), *why)


def answer_head(kind: Kind, upstream: Headers, *, streaming: bool) -> Headers:
    """The head of a backend's good answer, without our stamp.

    The primary's own, whole. Bedrock's is built from nothing but its request id: a unified
    rate-limit header there would tell Claude Code something about a plan that Bedrock does not
    know (claude.md 3.3).
    """
    if kind is Kind.ANTHROPIC:
        return headers.to_client(upstream, whole=not streaming)
    head = SSE_HEAD if streaming else (("content-type", "application/json"),)
    ids = tuple(("request-id", value) for name, value in upstream if name.lower() in REQUEST_ID_HEADERS)
    return (*head, *ids[:1])


def request_id(upstream: Headers) -> str | None:
    """The upstream's own id of the request, bounded."""
    for name in REQUEST_ID_HEADERS:
        value = headers.get(upstream, name)
        if value:
            return value[:128]
    return None


_RANK: Final = {
    Outcome.PLAN_LIMIT: 0,
    Outcome.FAMILY_LIMIT: 0,
    Outcome.THROTTLED: 0,
    Outcome.TRANSIENT_LIMIT: 1,
    Outcome.BILLING: 1,
    Outcome.OVERLOADED: 2,
    Outcome.SERVER_ERROR: 3,
}


def most_useful(errors: Sequence[ErrorAnswer]) -> ErrorAnswer | None:
    """Choose among errors of one kind of backend: the limit with the shortest wait first.

    Then an overload, then other failures; of equals the first, in the order in which they came.
    """

    def key(answer: ErrorAnswer) -> tuple[int, float]:
        until = answer.verdict.until
        return (_RANK.get(answer.verdict.outcome, 4), until if until is not None else math.inf)

    return min(errors, key=key, default=None)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The answer to a request that nobody could serve."""

    status: int
    headers: Headers
    body: bytes
    backend: BackendName | None = None
    """Whose words they are; ``None`` = ours."""
    reason: Reason | None = None
    outcome: str = "passed_error"
    """As in :class:`~claude_failover.core.types.ExchangeRecord`."""

    def event(self) -> bytes:
        """The same, for a response that has been opened as a stream."""
        told = error_body.read(self.body)
        return failures.error_event(told.type or "api_error", told.message or f"HTTP {self.status}")


JSON_HEAD: Final[Headers] = (("content-type", "application/json"),)

_STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Of the Claude API (claude.md 3.1)."""


def in_band(verdict: Verdict) -> tuple[int, Headers, bytes]:
    """An error that came inside a 200, in the form that it would have had as a status."""
    error_type = verdict.error_type if verdict.error_type in _STATUS else "api_error"
    return _STATUS[error_type], JSON_HEAD, failures.error_body(error_type, verdict.detail)


def broken_off(backend: Backend, verdict: Verdict, told: bytes) -> bytes:
    """The event that ends a stream which broke: the Claude API's own word if it said one, else ours."""
    if told and backend.kind is Kind.ANTHROPIC:
        return told
    error_type = verdict.error_type if verdict.error_type in _STATUS else "api_error"
    message = f"claude-failover: {backend.name} broke off: {verdict.detail or verdict.outcome.value}"
    return failures.error_event(error_type, message)


_PASSED: Final = frozenset({Outcome.CLIENT_ERROR, Outcome.ENTITLEMENT, Outcome.TOO_LONG})
"""Ends that are the client's to mend, by their wording."""

_SHOWN: Final = frozenset(
    {
        Outcome.THROTTLED,
        Outcome.OVERLOADED,
        Outcome.SERVER_ERROR,
        Outcome.TRANSIENT_LIMIT,
        Outcome.CUT,
        Outcome.CLIENT_ERROR,
    }
)
"""Errors of Bedrock that mean the same as the Claude API's own; the rest is about AWS and for ``status`` to tell."""


def choose(
    stop: Stop,
    errors: Sequence[ErrorAnswer],
    tries: Sequence[Try],
    counsel: Counsel,
    facts: RequestFacts,
    now: Instant,
) -> Chosen:
    """Choose what to tell the client when nobody could serve the request.

    In this order: our own word about the spend limit; what the client must mend, if that was the last word;
    the Claude API's own errors, the most useful first; being offline; a limit of the Claude API's that still
    holds, as it was told before; an error of Bedrock's in Anthropic's shape; our own.
    """
    kinds = {backend.name: backend.kind for backend in counsel.settings.backends}
    if stop.spend is not None:
        return _over_limit(stop.spend, now, facts.exchange)
    theirs = _of_the_client(errors, kinds) or most_useful(
        [error for error in errors if kinds[error.backend] is Kind.ANTHROPIC]
    )
    if theirs is not None:
        return _told(theirs, kinds[theirs.backend])
    if stop.offline:
        message = "neither the Claude API nor Bedrock can be reached: check this machine's network connection"
        return _own(503, "api_error", message, facts.exchange)
    told_before = remembered(counsel, facts, now)
    if told_before is not None:
        return _up_to_date(_told(told_before, Kind.ANTHROPIC), told_before, now)
    foreign = most_useful([error for error in errors if _may_be_shown(error.verdict)])
    return _told(foreign, Kind.BEDROCK) if foreign is not None else _nobody(stop, tries, kinds, facts.exchange)


def _of_the_client(errors: Sequence[ErrorAnswer], kinds: Mapping[BackendName, Kind]) -> ErrorAnswer | None:
    """What the client must mend, if that was the last word; of Bedrock's only that the prompt is too long."""
    last = errors[-1] if errors else None
    if last is None or last.verdict.outcome not in _PASSED:
        return None
    said_by_claude = kinds[last.backend] is Kind.ANTHROPIC
    return last if said_by_claude or last.verdict.outcome is Outcome.TOO_LONG else None


def _may_be_shown(verdict: Verdict) -> bool:
    return verdict.outcome in _SHOWN and verdict.error_type != REFUSED_ONLY_THERE


def remembered(counsel: Counsel, facts: RequestFacts, now: Instant) -> ErrorAnswer | None:
    """What the first Claude API that this request could have gone to said last; forced elsewhere, it says nothing."""
    if not counsel.memory.limits:
        return None
    for backend in counsel.settings.backends:
        if backend.kind is Kind.ANTHROPIC and (facts.forced is None or facts.forced == backend.name):
            answer = counsel.memory.recall(backend.name, facts.model, facts.family, now.wall)
            if answer is not None:
                return answer
    return None


def _told(error: ErrorAnswer, kind: Kind) -> Chosen:
    """An upstream's error as the client gets it: the Claude API's byte for byte, Bedrock's in its shape."""
    status, lines, body = failures.present(kind, None, error.status, error.headers, error.body, error.verdict)
    return Chosen(status, headers.to_client(lines, whole=False), body, error.backend)


def _up_to_date(told: Chosen, error: ErrorAnswer, now: Instant) -> Chosen:
    """A remembered limit with what is left of its ``retry-after``."""
    assert error.verdict.until is not None, "only what holds until then is remembered"
    left = str(max(1, math.ceil(error.verdict.until - now.wall)))
    lines = tuple((name, left if name.lower() == "retry-after" else value) for name, value in told.headers)
    return replace(told, headers=lines)


def _nobody(stop: Stop, tries: Sequence[Try], kinds: Mapping[BackendName, Kind], exchange: str) -> Chosen:
    """Nobody said anything that the client could use."""
    last = tries[-1] if tries else None
    if last is not None and all(one.verdict.outcome is Outcome.CREDENTIALS for one in tries):
        # Of several missing logins the Anthropic one is what the client can ask for.
        last = next((one for one in tries if kinds.get(one.backend) is Kind.ANTHROPIC), last)
    detail = f": {last.verdict.detail}" if last is not None and last.verdict.detail else ""
    message = f"no backend can serve this request now ({stop.why}{detail}); see `claude-failover explain {exchange}`"
    if last is not None and all(one.verdict.outcome is Outcome.CREDENTIALS for one in tries):
        # Nothing to wait for: a person must log in. A 401 makes Claude Code ask for the Anthropic login, so only then.
        if kinds.get(last.backend) is Kind.ANTHROPIC:
            return _own(401, "authentication_error", message, exchange)
        return _own(400, "invalid_request_error", message, exchange)
    return _own(529, "overloaded_error", message, exchange, retry_after=stop.retry_after)


def _over_limit(refusal: Refusal, now: Instant, exchange: str) -> Chosen:
    """The one error of ours that Claude Code must show and must not retry. A session's budget never resets."""
    return _own(
        429,
        "rate_limit_error",
        refusal.message.removeprefix("claude-failover: "),
        exchange,
        retry_after=None if refusal.session is not None else Seconds(max(1.0, refusal.resets - now.wall)),
        should_retry=False,
        outcome="refused",
        reason=Reason.SPEND_LIMIT,
    )


def _own(
    status: int,
    error_type: str,
    message: str,
    exchange: str,
    *,
    retry_after: Seconds | None = None,
    should_retry: bool | None = None,
    outcome: str = "passed_error",
    reason: Reason | None = None,
) -> Chosen:
    """An Anthropic-shaped error of our own."""
    lines = [*JSON_HEAD]
    if retry_after is not None:
        lines.append(("retry-after", str(max(1, round(retry_after)))))
    if should_retry is not None:
        lines.append(("x-should-retry", "true" if should_retry else "false"))
    body = failures.error_body(error_type, f"claude-failover: {message}", exchange)
    return Chosen(status, tuple(lines), body, None, reason, outcome)
