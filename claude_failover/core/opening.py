"""Opening an attempt: from the policy's choice of a backend to the request that goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from claude_failover.core import facts, translate
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import ClientRequest, OpenAttempt, Untranslatable, UpstreamRequest
from claude_failover.core.counsel import Counsel
from claude_failover.core.models import Unmapped
from claude_failover.core.policy import Go, RequestFacts, Try
from claude_failover.core.request import Peek
from claude_failover.core.settings import Backend
from claude_failover.core.types import BackendName, Instant, Kind, Surface


def open_attempt(
    go: Go,
    request: ClientRequest,
    peek: Peek,
    known: RequestFacts,
    counsel: Counsel,
    *,
    paid: Mapping[BackendName, bool],
    tries: Sequence[Try],
    index: int,
    now: Instant,
) -> Attempt | str:
    """Build the attempt that *go* asks for; a sentence instead if it cannot be, such as what translation finds.

    To the primary the client's bytes go as they came. For Bedrock they are translated, anew for
    every attempt: what a refusal has taught in between is in force at once.
    """
    backend = facts.backend_named(counsel.settings, go.backend)
    if backend is None:
        return "it was configured after this request began"
    if backend.kind is Kind.BEDROCK:
        attempt = _to_bedrock(backend, go, request, peek, known, counsel, tries, index, now)
    else:
        attempt = _to_primary(backend, go, request, peek, known, tries, index, now)
    if not isinstance(attempt, str):
        attempt.paid = paid.get(backend.name, False)
    return attempt


def _command(
    backend: Backend,
    go: Go,
    out: UpstreamRequest,
    tries: Sequence[Try],
    index: int,
    surface: Surface | None = None,
) -> OpenAttempt:
    skews = [
        one.verdict.clock_skew for one in tries if one.backend == go.backend and one.verdict.clock_skew is not None
    ]
    return OpenAttempt(
        attempt=index,
        backend=backend.name,
        kind=backend.kind,
        request=out,
        surface=surface,
        fresh=go.fresh,
        refresh_credentials=go.refresh_credentials,
        clock_skew=skews[-1] if skews else None,
    )


def _to_primary(
    backend: Backend,
    go: Go,
    request: ClientRequest,
    peek: Peek,
    known: RequestFacts,
    tries: Sequence[Try],
    index: int,
    now: Instant,
) -> Attempt:
    out = UpstreamRequest("POST", request.target, request.headers, request.body, streaming=peek.stream)
    command = _command(backend, go, out, tries, index)
    return Attempt(
        index,
        backend,
        known.model,
        peek.model,
        go.reason,
        go.permit,
        now,
        command,
        stored=facts.uses_stored(backend, peek),
        heard=now.monotonic,
    )


def _to_bedrock(
    backend: Backend,
    go: Go,
    request: ClientRequest,
    peek: Peek,
    known: RequestFacts,
    counsel: Counsel,
    tries: Sequence[Try],
    index: int,
    now: Instant,
) -> Attempt | str:
    target = counsel.catalog.resolve(known.model, backend)
    if isinstance(target, Unmapped):
        return target.why
    surface = counsel.denials.surface(target, now)
    made = translate.to_bedrock(request, peek, target, surface, backend, counsel.denials)
    if isinstance(made, Untranslatable):
        return made.why
    command = _command(backend, go, made.request, tries, index, surface)
    unknown = made.extra.get("unknown_betas", "")
    return Attempt(
        index,
        backend,
        known.model,
        made.upstream_model,
        go.reason,
        go.permit,
        now,
        command,
        surface=surface,
        translated=made,
        target=target,
        news=counsel.memory.first_met(unknown.split(",")) if unknown else (),
        heard=now.monotonic,
    )
