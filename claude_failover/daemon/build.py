"""Building what requests are served with, out of the configuration."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from claude_failover.clock import Clock
from claude_failover.core import headers
from claude_failover.core.counsel import Counsel, Memory
from claude_failover.core.models import Catalog
from claude_failover.core.policy import Policy
from claude_failover.core.prices import PriceTable
from claude_failover.core.repair import Denials
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.spend import SpendBudget, nusd
from claude_failover.core.types import BackendName, Headers, Kind
from claude_failover.credentials.anthropic import AnthropicTokens
from claude_failover.credentials.aws import AwsProvider
from claude_failover.daemon.tables import read_table
from claude_failover.errors import FailoverError
from claude_failover.ledger_days import Zone
from claude_failover.proxy.port import Generation
from claude_failover.upstream import Upstream
from claude_failover.upstream.anthropic import AnthropicUpstream
from claude_failover.upstream.bedrock import BedrockUpstream


@dataclass(slots=True)
class Standing:
    """What outlives a reload: everything that has learned or counted something."""

    policy: Policy
    denials: Denials
    spend: SpendBudget
    memory: Memory
    prices: PriceTable
    tokens: AnthropicTokens
    aws: dict[BackendName, AwsProvider] = field(default_factory=dict)


def stand(settings: Settings, clock: Clock, rng: random.Random, environ: Mapping[str, str]) -> Standing:
    """Build the lasting parts, new."""
    costs = settings.cost_tracking
    zone = Zone.of(costs.timezone)
    limit = nusd(costs.daily_limit) if costs.enabled else None
    spend = SpendBudget(limit, nusd(costs.alert_threshold) if costs.enabled else None, zone.day)
    return Standing(
        policy=Policy(settings, rng, spend),
        denials=Denials(),
        spend=spend,
        memory=Memory(),
        prices=PriceTable.build(read_table("prices")),
        tokens=AnthropicTokens(settings.credentials.sources, environ, clock),
    )


def generate(settings: Settings, standing: Standing, clock: Clock, environ: Mapping[str, str]) -> Generation:
    """Build what one configuration serves with."""
    standing.aws = {
        backend.name: AwsProvider(backend.profile, backend.region, environ, clock=clock)
        for backend in settings.backends
        if backend.kind is Kind.BEDROCK
    }
    upstreams: dict[BackendName, Upstream] = {}
    relay: AnthropicUpstream | None = None
    for backend in settings.backends:
        if backend.kind is Kind.ANTHROPIC:
            adapter = AnthropicUpstream(backend, settings.timeouts, standing.tokens, environ)
            relay = relay or adapter
            upstreams[backend.name] = adapter
        else:
            provider = standing.aws[backend.name]
            upstreams[backend.name] = BedrockUpstream(backend, settings.timeouts, provider, environ, clock)
    counsel = Counsel(
        settings=settings,
        policy=standing.policy,
        catalog=Catalog.build(read_table("models"), settings.models),
        denials=standing.denials,
        prices=standing.prices,
        memory=standing.memory,
    )
    if relay is None:
        relay = AnthropicUpstream(Backend(BackendName("claude"), Kind.ANTHROPIC), settings.timeouts, None, environ)
    return Generation(counsel, upstreams, relay, payer(settings, standing.tokens))


def payer(settings: Settings, tokens: AnthropicTokens) -> Callable[[Headers], Mapping[BackendName, bool]]:
    """Say which backends cost real money: Bedrock always, the Claude API where an API key pays.

    A subscription's requests are notional. The primary with the client's own key is the client's own
    business: it is written down as paid, and the limit does not stop it (see ``facts``).
    """

    def paid(lines: Headers) -> Mapping[BackendName, bool]:
        own = _is_api_key(lines)
        return {
            backend.name: backend.kind is Kind.BEDROCK or _pays(backend, own, tokens) for backend in settings.backends
        }

    return paid


def _pays(backend: Backend, own: bool | None, tokens: AnthropicTokens) -> bool:
    if backend.credential != "stored" and own is not None:
        return own
    return backend.credential != "client" and tokens.is_api_key


def _is_api_key(lines: Headers) -> bool | None:
    """Whether the client brought an API key (true), another credential (false), or none."""
    if headers.get(lines, "x-api-key") is not None:
        return True
    bearer = headers.get(lines, "authorization")
    if bearer is None:
        return None
    return "sk-ant-api" in bearer


def describe(error: FailoverError) -> str:
    """One line of an error, with what to type."""
    return f"{error} ({error.hint})" if error.hint else str(error)
