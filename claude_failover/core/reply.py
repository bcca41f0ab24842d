"""What the client is told when no backend's answer can be: heads, errors of our own, the choice between errors.

Every message names the daemon and the fix, because Claude Code shows it to a person whose
screen otherwise only says ``127.0.0.1`` (claude.md 3.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from claude_failover.core import error_body, failures, headers
from claude_failover.core.commands import ClientRequest
from claude_failover.core.counsel import Counsel, ErrorAnswer
from claude_failover.core.policy import RequestFacts, Stop
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


class Telling(StrEnum):
    """How a client learns that a stream which it has begun to show will not be completed."""

    ABORT = "abort"
    """Close the connection without the chunked end."""
    ERROR_EVENT = "error_event"
    """An SSE ``error`` event, then a proper end of the response."""


def telling_for(client: ClientRequest) -> Telling:
    """Choose what loses the user least, by client; measured, see docs/after-the-commit.md.

    Claude Code repeats the turn, streaming, after an aborted connection in every version
    measured; an error event makes 2.1.330 repeat it without streaming and 2.1.197 show the
    error and stop. Other clients (the SDKs) raise a typed error on the event and only a
    transport error on the abort.
    """
    agent = headers.get(client.headers, "user-agent") or ""
    return Telling.ABORT if agent.startswith("claude-cli/") else Telling.ERROR_EVENT


def stamp(backend: BackendName | None, attempts: int, reason: Reason | None, exchange: str) -> Headers:
    """Our own response headers: who answered, after how many attempts, why, and the id for ``explain``."""
    lines = [("x-claude-failover-attempts", str(attempts)), ("x-claude-failover-request-id", exchange)]
    if backend is not None:
        lines.insert(0, ("x-claude-failover-backend", backend))
    if reason is not None:
        lines.append(("x-claude-failover-reason", reason.value))
    return tuple(lines)


def answer_head(kind: Kind, upstream: Headers, *, streaming: bool) -> Headers:
    """The head of a backend's good answer, without our stamp.

    The primary's own, whole. Bedrock's is built from nothing but its request id: a unified
    rate-limit header there would tell Claude Code something about a plan that Bedrock does not
    know (claude.md 3.3).
    """
    if kind is Kind.ANTHROPIC:
        drop = ("content-length",) if streaming else ()
        return headers.without(headers.to_client(upstream), *drop)
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


def most_useful(errors: Sequence[ErrorAnswer], primary_kinds: frozenset[BackendName]) -> ErrorAnswer | None:
    """Choose among the errors that the backends gave: a primary's limit with the shortest wait first.

    Then its overload, then its other failures; Bedrock's only if nothing else is there.

    Args:
        errors: In the order in which they came.
        primary_kinds: Names of the backends that are the Claude API itself.
    """

    def key(item: tuple[int, ErrorAnswer]) -> tuple[int, int, float, int]:
        order, answer = item
        wait = answer.verdict.until if answer.verdict.until is not None else float("inf")
        foreign = 0 if answer.backend in primary_kinds else 1
        return (foreign, _RANK.get(answer.verdict.outcome, 4), wait, order)

    ranked = sorted(enumerate(errors), key=key)
    return ranked[0][1] if ranked else None


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


def choose(
    stop: Stop, errors: Sequence[ErrorAnswer], counsel: Counsel, facts: RequestFacts, now: Instant, exchange: str
) -> Chosen:
    """Choose what to tell the client when nobody could serve the request.

    In this order: our own word about the spend limit; what the client must mend, from the backend that
    said it last; the Claude API's own errors, the most useful first; a limit of its that still holds, as
    it was told before; being offline; an error of Bedrock's in Anthropic's shape; our own.
    """
    if stop.spend is not None:
        return _over_limit(stop.spend, now, exchange)
    kinds = {backend.name: backend.kind for backend in counsel.settings.backends}
    primaries = frozenset(name for name, kind in kinds.items() if kind is Kind.ANTHROPIC)
    last = errors[-1] if errors else None
    if last is not None and last.verdict.outcome in _PASSED:
        mendable = last.verdict.outcome is Outcome.TOO_LONG or last.backend in primaries
        if mendable or (last.verdict.error_type != REFUSED_ONLY_THERE and not _any_of(errors, primaries)):
            return _told(last, kinds[last.backend])
    own = [error for error in errors if error.backend in primaries]
    chosen = most_useful(own, primaries) or _remembered(counsel, facts, now)
    if chosen is not None:
        return _told(chosen, Kind.ANTHROPIC, now)
    if stop.offline:
        message = "neither the Claude API nor Bedrock can be reached: check this machine's network connection"
        return _own(503, "api_error", message, exchange)
    foreign = most_useful([error for error in errors if error.verdict.outcome in _SHOWN], primaries)
    if foreign is not None:
        return _told(foreign, Kind.BEDROCK, now)
    return _own(
        529,
        "overloaded_error",
        f"no backend can serve this request now ({stop.why}); see `claude-failover explain {exchange}`",
        exchange,
        retry_after=stop.retry_after,
    )


REFUSED_ONLY_THERE: Final = "bedrock_only"
"""``error_type`` of a verdict about what Bedrock alone refuses: such an error never reaches the client."""

_SHOWN: Final = frozenset({Outcome.THROTTLED, Outcome.OVERLOADED, Outcome.SERVER_ERROR, Outcome.TRANSIENT_LIMIT})
"""Errors of Bedrock that mean the same as the Claude API's own; the rest is about AWS and for ``status`` to tell."""


def _any_of(errors: Sequence[ErrorAnswer], names: frozenset[BackendName]) -> bool:
    return any(error.backend in names for error in errors)


def _remembered(counsel: Counsel, facts: RequestFacts, now: Instant) -> ErrorAnswer | None:
    for backend in counsel.settings.backends:
        if backend.kind is Kind.ANTHROPIC:
            answer = counsel.memory.recall(backend.name, facts.model, now.wall)
            if answer is not None:
                return answer
    return None


def _told(error: ErrorAnswer, kind: Kind, now: Instant | None = None) -> Chosen:
    """An upstream's error as the client gets it; of a remembered one, ``retry-after`` is brought up to date."""
    status, lines, body = failures.present(kind, None, error.status, error.headers, error.body, error.verdict)
    lines = headers.without(headers.to_client(lines), "content-length")
    until = error.verdict.until
    if now is not None and until is not None and headers.get(lines, "retry-after") is not None:
        left = str(max(1, round(until - now.wall)))
        lines = (*headers.without(lines, "retry-after"), ("retry-after", left))
    return Chosen(status, lines, body, error.backend, None)


def _over_limit(refusal: Refusal, now: Instant, exchange: str) -> Chosen:
    """The one error of ours that Claude Code must show and must not retry."""
    return _own(
        429,
        "rate_limit_error",
        refusal.message.removeprefix("claude-failover: "),
        exchange,
        retry_after=Seconds(max(1.0, refusal.resets - now.wall)),
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
