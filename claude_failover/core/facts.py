"""The facts of a request that the policy decides on, gathered once and kept current."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec import structs

from claude_failover.core import headers
from claude_failover.core.bounds import PromptBound, prompt_bound
from claude_failover.core.commands import ClientRequest
from claude_failover.core.counsel import Counsel
from claude_failover.core.limits import family_of
from claude_failover.core.models import Unmapped
from claude_failover.core.policy import RequestFacts
from claude_failover.core.prices import NUSD_PER_USD, scope_of
from claude_failover.core.request import Peek
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Headers, Instant, Kind, Seconds

MAX_SESSION_BUDGET: Final = Decimal(1_000_000)
"""US dollars; more is a slip of the keyboard."""

CLIENT_PATIENCE: Final = Seconds(600.0)
"""API_TIMEOUT_MS of Claude Code (claude.md 1.8); a shorter ``x-stainless-timeout`` of the request wins."""

PATIENCE_MARGIN: Final = Seconds(30.0)
"""Left of the client's patience for the answer itself."""


class Estimates(Mapping[BackendName, int]):
    """The worst case at each backend that costs us money; worked out when it is asked for.

    A healthy primary's requests never ask, and looking through a body costs as much as parsing it.
    """

    def __init__(
        self,
        backends: Mapping[BackendName, Backend],
        body: bytes,
        work_out: Callable[[Backend, PromptBound], int],
    ) -> None:
        self._backends = backends
        self._body = body
        self._work_out = work_out
        self._bound: PromptBound | None = None
        self._known: dict[BackendName, int] = {}

    def __getitem__(self, name: BackendName) -> int:
        if name not in self._known:
            backend = self._backends[name]
            self._bound = self._bound or prompt_bound(self._body)
            self._known[name] = self._work_out(backend, self._bound)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        # The inherited one works the amount out to see whether there is one.
        return name in self._backends

    def free(self) -> None:
        """Let go of the request's body: nothing is asked after the commit."""
        self._body = b""
        self._backends = {name: self._backends[name] for name in self._known} if self._known else {}

    def __iter__(self) -> Iterator[BackendName]:
        return iter(self._backends)

    def __len__(self) -> int:
        return len(self._backends)


def gather(request: ClientRequest, peek: Peek, counsel: Counsel, paid: Mapping[BackendName, bool]) -> RequestFacts:
    """Collect what does not change while the request lives."""
    settings = counsel.settings
    model = counsel.catalog.normalise(peek.model)
    unservable: dict[BackendName, str] = {}
    spending: dict[BackendName, Backend] = {}
    for backend in settings.backends:
        if backend.kind is Kind.BEDROCK:
            target = counsel.catalog.resolve(model, backend)
            if isinstance(target, Unmapped):
                unservable[backend.name] = target.why
        if settings.cost_tracking.enabled and paid.get(backend.name, False) and _ours_to_spend(backend, peek):
            spending[backend.name] = backend
    name = peek.said.get(headers.FORCE)
    named = None if name is None else backend_named(settings, BackendName(name))
    return RequestFacts(
        exchange=request.id,
        model=model,
        family=family_of(model),
        session=peek.session,
        agent=peek.agent,
        in_tool_loop=peek.in_tool_loop,
        forced=None if named is None else named.name,
        stays=peek.stays if peek.valid else "not a Messages request",
        unservable=unservable,
        estimates=Estimates(spending, request.body, lambda one, bound: _worst_case(counsel, one, model, peek, bound)),
        patience=_patience(peek.said.get("x-stainless-timeout")),
        session_limit_nusd=_amount(peek.said.get(headers.BUDGET)),
    )


def session_budget(lines: Headers) -> int | None:
    """The session's own limit for paid backends, in nano-USD, from ``x-claude-failover-budget`` (US dollars).

    Raises:
        ValueError: It is no amount of money.
    """
    return _amount(headers.get(lines, headers.BUDGET))


def _amount(said: str | None) -> int | None:
    if said is None:
        return None
    try:
        amount = Decimal(said.strip()[:40])
    except InvalidOperation as error:
        raise ValueError("no amount of US dollars") from error
    if not amount.is_finite() or not 0 <= amount <= MAX_SESSION_BUDGET:
        raise ValueError("no amount of US dollars")
    return int(amount * NUSD_PER_USD)


def uses_stored(backend: Backend, peek: Peek) -> bool:
    """Whether this request goes to that Claude API with a token of ours."""
    if backend.kind is not Kind.ANTHROPIC or backend.credential == "client":
        return False
    return backend.credential == "stored" or not peek.own_credential


def _ours_to_spend(backend: Backend, peek: Peek) -> bool:
    """Whether we decide to spend there: the client's own API key is the client's own business."""
    return backend.kind is Kind.BEDROCK or uses_stored(backend, peek)


def _worst_case(counsel: Counsel, backend: Backend, model: str, peek: Peek, bound: PromptBound) -> int:
    scope = "global"
    if backend.kind is Kind.BEDROCK:
        target = counsel.catalog.resolve(model, backend)
        scope = backend.scope if isinstance(target, Unmapped) else scope_of(target.bedrock_id, backend.scope)
    ceilings = [limit for limit in (peek.max_tokens, backend.max_output_tokens) if limit is not None]
    most = min(ceilings, default=None)
    return counsel.prices.worst_case(model, backend.kind, scope, bound.tokens, most, hour_cache=bound.hour_cache)


def _patience(said: str | None) -> Seconds:
    try:
        seconds = float(said) if said else CLIENT_PATIENCE
    except ValueError:
        seconds = CLIENT_PATIENCE
    if not 0 < seconds <= CLIENT_PATIENCE:
        seconds = CLIENT_PATIENCE
    return Seconds(max(0.0, seconds - PATIENCE_MARGIN))


def free(facts: RequestFacts) -> None:
    """Let go of the request's body."""
    if type(facts.estimates) is Estimates:
        facts.estimates.free()


def at(facts: RequestFacts, started: Instant, now: Instant, most: float = float("inf")) -> RequestFacts:
    """The same facts with what is left of the client's patience, of *most* seconds since *started* at the most."""
    left = max(0.0, min(facts.patience, most) - (now.monotonic - started.monotonic))
    if left == facts.patience:
        return facts  # as at every start
    return structs.replace(facts, patience=Seconds(left))


def cannot_serve(facts: RequestFacts, backend: BackendName, why: str) -> RequestFacts:
    """The same facts, knowing that *backend* cannot take this request."""
    return structs.replace(facts, unservable={**facts.unservable, backend: why})


def backend_named(settings: Settings, name: BackendName) -> Backend | None:
    """The backend of that name; ``None`` after a reload that this request did not see."""
    for backend in settings.backends:
        if backend.name == name:
            return backend
    return None
