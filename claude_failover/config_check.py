"""What single keys cannot know: values that contradict each other, and those that may not be meant.

Rule: a contradiction is an error that points to what the user wrote, never to a default of ours;
where only our default stands against a value of theirs, the default gives way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from claude_failover.config_draft import Draft, Origin
from claude_failover.config_rules import is_loopback
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import Kind

_ALERT_SHARE: Final = 0.8
"""The default alert threshold, as a share of the daily limit."""

_BANNER_AFTER: Final = 20.0
"""Seconds of silence after which Claude Code shows that it waits (claude.md 4)."""

_SCOPE_REGIONS: Final = {
    "us": ("us-", "ca-"),
    "eu": ("eu-", "eusc-"),
    "jp": ("ap-northeast-",),
    "au": ("ap-southeast-",),
    "apac": ("ap-",),
    "us-gov": ("us-gov-",),
}
"""Where inference profiles of a scope can be called from (bedrock.md 5.2)."""


def check(draft: Draft, settings: Settings) -> Settings:
    """Complain to *draft* about contradictions; returns the settings with defaults that gave way."""
    settings = _money(draft, settings)
    _listen(draft, settings)
    _breaker(draft, settings)
    if not any(problem.text.startswith("backends") for problem in draft.problems):
        _fallbacks(draft, settings)
    for backend in settings.backends:
        _backend(draft, settings, backend)
    _warnings(draft, settings)
    return settings


def _money(draft: Draft, settings: Settings) -> Settings:
    money = settings.cost_tracking
    limit, alert = "cost_tracking.daily_limit", "cost_tracking.alert_threshold"
    if (
        money.daily_limit is not None
        and money.alert_threshold is not None
        and money.alert_threshold > money.daily_limit
    ):
        if alert in draft.origins:
            draft.blame(
                f"{alert} ({money.alert_threshold:g}) is above daily_limit ({money.daily_limit:g})", limit, alert
            )
        else:
            draft.origins[alert] = Origin(f"default ({_ALERT_SHARE:.0%} of daily_limit)")
            money = replace(money, alert_threshold=_ALERT_SHARE * money.daily_limit)
    if not money.enabled and (limit in draft.origins or alert in draft.origins):
        draft.warn("cost_tracking.enabled is false: no limit and no alert is kept", "cost_tracking.enabled")
    return replace(settings, cost_tracking=money)


def _listen(draft: Draft, settings: Settings) -> None:
    listen = settings.listen
    if is_loopback(listen.host):
        return
    if not listen.allow_remote:
        draft.blame(
            f'listen.host "{listen.host}" is not loopback: whoever reaches it can spend your money;'
            " set listen.allow_remote: true if that is meant",
            "listen.host",
        )
    elif listen.client_key != "required":
        draft.blame("listen.client_key must be required where listen.host is not loopback", "listen.client_key")
    else:
        draft.warn(
            "listen.host: traffic of other machines comes in unencrypted, the client key included", "listen.host"
        )


def _breaker(draft: Draft, settings: Settings) -> None:
    breaker = settings.circuit_breaker
    if breaker.open_for > breaker.max_open_for:
        draft.blame(
            f"circuit_breaker.open_for ({breaker.open_for:g}) is above max_open_for ({breaker.max_open_for:g})",
            "circuit_breaker.max_open_for",
            "circuit_breaker.open_for",
        )


def _fallbacks(draft: Draft, settings: Settings) -> None:
    names = [str(backend.name) for backend in settings.backends]
    for model, chain in settings.fallbacks.items():
        for name in chain:
            if name not in names:
                draft.blame(
                    f'fallbacks: unknown backend "{name}" (allowed: {", ".join(names[1:])})', f"fallbacks.{model}"
                )
            elif name == names[0]:
                draft.blame(f'fallbacks: "{name}" is the primary; name those that come after it', f"fallbacks.{model}")


def _backend(draft: Draft, settings: Settings, backend: Backend) -> None:
    name = f"backends.{backend.name}"
    if backend.kind is Kind.BEDROCK:
        regions = _SCOPE_REGIONS.get(backend.scope)
        region = backend.region or ""
        if region and regions and not region.startswith(regions):
            draft.warn(f"{name}: scope {backend.scope} has no profiles in region {region}", f"{name}.region")
        return
    url = urlsplit(backend.base_url)
    own = {"localhost", "127.0.0.1", "::1", settings.listen.host}
    if settings.listen.port and url.port == settings.listen.port and url.hostname in own:
        draft.blame(f"{name}.base_url is our own port: requests would go round in a circle", f"{name}.base_url")
    if backend.tls_min_version == "1.2":
        draft.warn(f"{name}: TLS 1.2 is accepted; the Claude API speaks 1.3", f"{name}.tls_min_version")
    if len(backend.pinned_spki) == 1:
        draft.warn(
            f"{name}: one pin and no second: when that key is replaced, nothing gets through", f"{name}.pinned_spki"
        )


def _warnings(draft: Draft, settings: Settings) -> None:
    if all(backend.kind is not Kind.ANTHROPIC for backend in settings.backends):
        draft.warn("backends: none of kind anthropic; everything but /v1/messages will be refused", "backends")
    if len(settings.backends) == 1:
        draft.warn("backends: only one; there is nowhere to fail over to", f"backends.{settings.primary.name}.name")
    timeouts = settings.timeouts
    if timeouts.first_content < timeouts.first_byte:
        draft.warn(
            f"timeouts.first_content ({timeouts.first_content:g}) ends before first_byte ({timeouts.first_byte:g})",
            "timeouts.first_content",
        )
    if settings.stream.ping_interval > _BANNER_AFTER:
        draft.warn(
            f"stream.ping_interval: Claude Code shows that it waits after {_BANNER_AFTER:g} seconds of silence",
            "stream.ping_interval",
        )
