"""The facts of a request that the policy decides on, gathered once and kept current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from claude_failover.core import headers, reply
from claude_failover.core.commands import ClientRequest
from claude_failover.core.counsel import Counsel
from claude_failover.core.models import Unmapped
from claude_failover.core.policy import RequestFacts
from claude_failover.core.request import Peek
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Epoch, Instant, Kind, Outcome, Seconds, Verdict

NEVER: Final = Epoch(0.0)

CLIENT_PATIENCE: Final = Seconds(600.0)
"""API_TIMEOUT_MS of Claude Code (claude.md 1.8); a shorter ``x-stainless-timeout`` of the request wins."""

PATIENCE_MARGIN: Final = Seconds(30.0)
"""Left of the client's patience for the answer itself."""

FAMILIES: Final = ("opus", "sonnet", "haiku", "fable", "mythos")


def gather(request: ClientRequest, peek: Peek, counsel: Counsel, paid: Mapping[BackendName, bool]) -> RequestFacts:
    """Collect what does not change while the request lives."""
    settings = counsel.settings
    model = counsel.catalog.normalise(peek.model)
    unservable: dict[BackendName, str] = {}
    estimates: dict[BackendName, int] = {}
    for backend in settings.backends:
        if backend.kind is Kind.BEDROCK:
            target = counsel.catalog.resolve(model, backend)
            if isinstance(target, Unmapped):
                unservable[backend.name] = target.why
        if paid.get(backend.name, False) and counsel.settings.cost_tracking.enabled:
            estimates[backend.name] = _worst_case(counsel, backend, model, peek)
    name = headers.get(request.headers, headers.FORCE)
    forced = next((backend.name for backend in settings.backends if backend.name == name), None)
    return RequestFacts(
        exchange=request.id,
        model=model,
        family=family_of(model),
        session=peek.session,
        agent=peek.agent,
        in_tool_loop=peek.in_tool_loop,
        forced=forced,
        stays=peek.stays if peek.valid else "not a Messages request",
        unservable=unservable,
        estimates=estimates,
        patience=_patience(request),
    )


def _worst_case(counsel: Counsel, backend: Backend, model: str, peek: Peek) -> int:
    scope = backend.scope if backend.kind is Kind.BEDROCK else "global"
    ceilings = [limit for limit in (peek.max_tokens, backend.max_output_tokens) if limit is not None]
    return counsel.prices.worst_case(model, backend.kind, scope, peek.prompt_bytes, min(ceilings, default=None))


def _patience(request: ClientRequest) -> Seconds:
    said = headers.get(request.headers, "x-stainless-timeout")
    try:
        seconds = float(said) if said else CLIENT_PATIENCE
    except ValueError:
        seconds = CLIENT_PATIENCE
    if not 0 < seconds <= CLIENT_PATIENCE:
        seconds = CLIENT_PATIENCE
    return Seconds(max(0.0, seconds - PATIENCE_MARGIN))


def at(facts: RequestFacts, started: Instant, now: Instant) -> RequestFacts:
    """The same facts with what is left of the client's patience."""
    left = max(0.0, facts.patience - (now.monotonic - started.monotonic))
    return replace(facts, patience=Seconds(left))


def cannot_serve(facts: RequestFacts, backend: BackendName, why: str) -> RequestFacts:
    """The same facts, knowing that *backend* cannot take this request."""
    return replace(facts, unservable={**facts.unservable, backend: why})


def family_of(model: str) -> str | None:
    """The model family that plan limits speak of (claude.md 3.3)."""
    return next((family for family in FAMILIES if family in model), None)


def backend_named(settings: Settings, name: BackendName) -> Backend:
    """The backend of that name; the policy only names configured ones."""
    return next(backend for backend in settings.backends if backend.name == name)


def unrepairable(verdict: Verdict) -> Verdict:
    """A refusal that nothing mends: that backend cannot serve this request, and nobody is to blame."""
    return replace(verdict, outcome=Outcome.CLIENT_ERROR, error_type=reply.REFUSED_ONLY_THERE)
