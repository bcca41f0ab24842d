"""The stock: credentials, regions and listings of models, looked at ahead of need.

Rule: nothing here is waited for by a start or a request. What cannot be had is told by whoever needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from claude_failover.clock import Clock
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Kind
from claude_failover.credentials.aws import AwsProvider
from claude_failover.credentials.entry import ANTHROPIC
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon import discovery
from claude_failover.daemon.build import Standing
from claude_failover.daemon.view import LOOKING
from claude_failover.errors import ControlError, CredentialError
from claude_failover.upstream import Upstream
from claude_failover.upstream.bedrock import BedrockUpstream

LISTINGS: Final = "models.json"
"""In the state directory: what accounts have listed."""


PATIENCE: Final = 2.0
"""Seconds that looking at one credential may take; the search goes on, and the next look hears of it."""


async def look(settings: Settings, standing: Standing, patience: float = PATIENCE) -> dict[BackendName, CredentialView]:
    """What each backend would be asked with, as far as it is known within *patience*."""
    aws = standing.aws  # those of these settings: a reload puts others there
    views = await asyncio.gather(*(_view(backend, standing, aws, patience) for backend in settings.backends))
    return {backend.name: found for backend, found in zip(settings.backends, views, strict=True)}


async def _view(
    backend: Backend, standing: Standing, aws: Mapping[BackendName, AwsProvider], patience: float
) -> CredentialView:
    try:
        async with asyncio.timeout(patience):
            if backend.kind is Kind.BEDROCK:
                return await aws[backend.name].status()
            if backend.credential != "client" and _is_kept(standing):
                return await standing.tokens.look()
    except TimeoutError:
        if backend.kind is Kind.BEDROCK:
            return CredentialView("AWS", LOOKING, region=standing.regions.get(backend.name, ""))
    return standing.tokens.status()


def _is_kept(standing: Standing) -> bool:
    """Whether a keyring has something for us; else it is not asked: it may prompt, and costs memory."""
    try:
        return ANTHROPIC in standing.box.stores()
    except CredentialError:
        return False


def place(settings: Settings, standing: Standing, views: Mapping[BackendName, CredentialView]) -> bool:
    """Note the regions that profiles have told; whether one of them is news."""
    news = False
    for backend in settings.backends:
        found = views.get(backend.name)
        if found is not None and found.region and standing.regions.get(backend.name) != found.region:
            standing.regions[backend.name] = found.region
            news = True
    return news


async def warm(upstreams: Iterable[Upstream]) -> None:
    """Load what a first attempt at Bedrock would wait for."""
    for upstream in upstreams:
        if isinstance(upstream, BedrockUpstream):
            with contextlib.suppress(CredentialError):
                await upstream.warm()


async def discover(
    settings: Settings, standing: Standing, path: Path, clock: Clock, environ: Mapping[str, str]
) -> None:
    """Ask every Bedrock backend's account, keep what it lists on disk, and hand it to the next generation.

    Raises:
        ControlError: At least one did not tell; what the others listed is kept.
    """
    aws = standing.aws  # those of these settings: a reload may put others there while we ask
    found: dict[str, discovery.Listing] = {}
    problems: list[ControlError] = []
    for backend in settings.backends:
        if backend.kind is Kind.BEDROCK:
            try:
                found[backend.name] = await discovery.discover(backend, aws[backend.name], clock, environ)
            except ControlError as problem:
                problems.append(problem)
    listings = {**await asyncio.to_thread(discovery.load, path), **found}
    standing.discovered = discovery.by_backend(listings)
    await asyncio.to_thread(discovery.save, path, listings)
    if problems:
        raise ControlError("; ".join(str(problem) for problem in problems), hint=problems[0].hint)
