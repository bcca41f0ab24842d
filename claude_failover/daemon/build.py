"""Building what requests are served with, out of the configuration."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from claude_failover.clock import Clock
from claude_failover.config import Paths, read_prices
from claude_failover.core import headers
from claude_failover.core.counsel import Counsel, Memory
from claude_failover.core.models import Catalog
from claude_failover.core.policy import Policy
from claude_failover.core.prices import PriceTable
from claude_failover.core.repair import Denials
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.spend import SpendBudget
from claude_failover.core.types import BackendName, Headers, Kind
from claude_failover.credentials.anthropic import AnthropicTokens
from claude_failover.credentials.aws import AwsProvider
from claude_failover.credentials.box import Box, shared_lock
from claude_failover.credentials.kept import KeptTokens
from claude_failover.daemon.tables import read_table
from claude_failover.ledger_days import Zone
from claude_failover.proxy.port import Generation
from claude_failover.upstream import Upstream
from claude_failover.upstream.anthropic import AnthropicUpstream
from claude_failover.upstream.bedrock import BedrockUpstream

_API_KEY = "sk-ant-api"
"""How an API key of Anthropic begins, whichever header it comes in (claude.md 1.6)."""


@dataclass(slots=True)
class Standing:
    """What outlives a reload: everything that has learned or counted something."""

    policy: Policy
    denials: Denials
    spend: SpendBudget
    memory: Memory
    prices: PriceTable
    box: Box
    kept: KeptTokens
    tokens: AnthropicTokens
    aws: dict[BackendName, AwsProvider] = field(default_factory=dict)
    asked: dict[BackendName, tuple[str | None, str | None]] = field(default_factory=dict)
    """The profile and the region that each provider was made for."""
    regions: dict[BackendName, str] = field(default_factory=dict)
    """Where each Bedrock backend is, once that is known: the setting, a variable, or the profile's."""
    discovered: Mapping[BackendName, tuple[str, ...]] = field(default_factory=dict)
    """Ids that the account has listed."""


def stand(settings: Settings, paths: Paths, clock: Clock, rng: random.Random, environ: Mapping[str, str]) -> Standing:
    """Build the lasting parts, new.

    Raises:
        ConfigError: The price file or the time zone cannot be used.
    """
    # Limits come with the accounts, which know whether costs are tracked at all.
    spend = SpendBudget(None, None, Zone.of(settings.cost_tracking.timezone).day)
    box = Box(paths.state_dir, shared_lock(environ), clock=clock)
    kept = KeptTokens(box, clock)
    return Standing(
        policy=Policy(settings, rng, spend),
        denials=Denials(),
        spend=spend,
        memory=Memory(),
        prices=price_table(settings),
        box=box,
        kept=kept,
        tokens=AnthropicTokens(settings.credentials.sources, environ, clock, kept),
    )


def price_table(settings: Settings) -> PriceTable:
    """Our prices, with the owner's own over them.

    Raises:
        ConfigError: The owner's file cannot be used.
    """
    file = settings.cost_tracking.price_file
    return PriceTable.build(read_table("prices"), None if file is None else read_prices(file))


def generate(
    settings: Settings, standing: Standing, clock: Clock, environ: Mapping[str, str], *, anew: bool = False
) -> Generation:
    """Build what one configuration serves with; *standing* takes over what belongs to it.

    Args:
        settings: The configuration.
        standing: What outlives it.
        clock: The daemon's.
        environ: For credentials, endpoints and proxies.
        anew: Read the AWS credentials and the price file again, whatever is known of them.

    Raises:
        ConfigError: A setting cannot be used; nothing has changed.
    """
    prices = price_table(settings) if anew else standing.prices
    bedrock = [backend for backend in settings.backends if backend.kind is Kind.BEDROCK]
    asked = {backend.name: (backend.profile, backend.region) for backend in bedrock}
    kept = set() if anew else {name for name in asked if standing.asked.get(name) == asked[name]}
    aws = {
        name: standing.aws[name]
        if name in kept
        else AwsProvider(*asked[name], environ, clock=clock, store=standing.kept)
        for name in asked
    }
    places = {backend.name: told_region(backend, environ) for backend in bedrock}
    known = {name: standing.regions.get(name, "") for name in kept}
    regions = {name: region for name, told in places.items() if (region := told or known.get(name, ""))}
    upstreams: dict[BackendName, Upstream] = {}
    relay: AnthropicUpstream | None = None
    for backend in settings.backends:
        if backend.kind is Kind.ANTHROPIC:
            adapter = AnthropicUpstream(backend, settings.timeouts, standing.tokens, environ)
            relay = relay or adapter
            upstreams[backend.name] = adapter
        else:
            upstreams[backend.name] = BedrockUpstream(backend, settings.timeouts, aws[backend.name], environ, clock)
    counsel = Counsel(
        settings=placed(settings, regions),
        policy=standing.policy,
        catalog=Catalog.build(read_table("models"), settings.models, _ids(standing.discovered.values())),
        denials=standing.denials,
        prices=prices,
        memory=standing.memory,
    )
    if relay is None:
        relay = AnthropicUpstream(Backend(BackendName("claude"), Kind.ANTHROPIC), settings.timeouts, None, environ)
    standing.prices, standing.aws, standing.asked, standing.regions = prices, aws, asked, regions
    return Generation(counsel, upstreams, relay, payer(settings, standing.tokens))


def told_region(backend: Backend, environ: Mapping[str, str]) -> str:
    """The region as far as nobody need be asked for it; empty: the profile must say."""
    return backend.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""


def placed(settings: Settings, regions: Mapping[BackendName, str]) -> Settings:
    """The settings with each Bedrock backend's region filled in: the form of an inference profile depends on it."""
    return replace(
        settings,
        backends=tuple(
            replace(backend, region=regions[backend.name]) if backend.name in regions else backend
            for backend in settings.backends
        ),
    )


def _ids(listed: Iterable[tuple[str, ...]]) -> list[str]:
    return sorted({one for ids in listed for one in ids})


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
    scheme, _, token = bearer.strip().partition(" ")
    return scheme.lower() == "bearer" and token.lstrip().startswith(_API_KEY)
