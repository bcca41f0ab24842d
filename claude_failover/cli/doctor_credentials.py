"""doctor: what requests are sent with, as far as can be known without asking anybody over the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from claude_failover.cli import doctor_quota
from claude_failover.cli.diagnosis import Finding, Patient, failed, good, note, warning
from claude_failover.cli.durations import spell
from claude_failover.cli.tokens import box_of, survey
from claude_failover.core.bedrock_ids import geographies
from claude_failover.core.models import Catalog, Target
from claude_failover.core.settings import Backend
from claude_failover.core.types import Kind
from claude_failover.credentials.aws import AwsProvider
from claude_failover.credentials.aws_chain import AwsKeys
from claude_failover.credentials.kept import KeptTokens
from claude_failover.daemon.tables import read_table
from claude_failover.errors import ConfigError, CredentialError
from claude_failover.upstream import endpoints

SOON: Final = 3600.0
"""Seconds: what ends earlier is worth a warning if nothing will renew it."""

NO_REGION: Final = "export AWS_DEFAULT_REGION=us-east-1, or region = us-east-1 in that profile of ~/.aws/config"
"""botocore asks STS and SSO in the region that it finds itself, and does not know ``AWS_REGION`` (bedrock.md 6.1)."""


async def check_token(patient: Patient) -> list[Finding]:
    """Which Anthropic credential wins, and whether one is needed."""
    kept = KeptTokens(box_of(patient.invocation), patient.invocation.clock)
    found = await survey(patient.invocation, patient.settings, kept)
    needs = [one.name for one in patient.settings.backends if one.kind is Kind.ANTHROPIC and one.credential == "stored"]
    listed: list[Finding] = []
    winner = next((one for one in found if one["wins"]), None)
    for one in found:
        if one["problem"] and one["hint"]:
            listed.append(warning("token.source", f"{one['source']}: {one['problem']}", one["hint"]))
        if one["wins"] and one["warning"]:
            listed.append(warning("token.source", f"{one['source']}: {one['warning']}", "claude-failover token status"))
    if winner is not None:
        where = "" if winner["where"] == winner["source"] else f" ({winner['where']})"
        left = None if winner["expires"] is None else winner["expires"] - patient.invocation.clock.now().wall
        until = "" if left is None else f", for another {spell(left)}"
        listed.append(
            good(
                "token.stored",
                f"{winner['kind']} of {winner['source']}{where}{until}; used for requests that bring none of their own",
            )
        )
    elif needs:
        listed.append(
            failed(
                "token.stored",
                f"{', '.join(needs)} uses the stored token, and there is none",
                "claude-failover token set anthropic",
            )
        )
    else:
        listed.append(note("token.stored", "none is stored: requests go out with the credential that claude brings"))
    return listed


def bedrocks(patient: Patient) -> list[Backend]:
    """The Bedrock backends."""
    return [one for one in patient.settings.backends if one.kind is Kind.BEDROCK]


def provider_of(patient: Patient, backend: Backend) -> AwsProvider:
    """What the daemon would sign with, in this shell's environment."""
    kept = KeptTokens(box_of(patient.invocation), patient.invocation.clock)
    return AwsProvider(backend.profile, backend.region, patient.environ, patient.invocation.clock, store=kept)


async def check_aws(patient: Patient) -> list[Finding]:
    """Credentials, expiry, region, endpoint, models and quota of each Bedrock backend."""
    backends = bedrocks(patient)
    if not backends:
        return [
            warning(
                "aws.backend", "no Bedrock backend is configured: nobody could take over", "claude-failover config init"
            )
        ]
    listed: list[Finding] = []
    for backend in backends:
        provider = provider_of(patient, backend)
        keys = await _credentials(patient, backend, provider, listed)
        region = await _region(backend, provider, listed)
        if region:
            _endpoint(patient, backend, region, listed)
            _models(patient, backend, region, listed)
        if keys is not None and region:
            listed += doctor_quota.check(patient, backend, region, targets(patient, backend, region))
        if keys is not None and region:
            patient.regions[backend.name] = region
    _daemons_view(patient, listed)
    return listed


async def _credentials(
    patient: Patient, backend: Backend, provider: AwsProvider, listed: list[Finding]
) -> AwsKeys | None:
    try:
        keys = await provider.get()
    except CredentialError as error:
        fix = NO_REGION if "NoRegionError" in str(error) else error.hint or "aws configure"
        listed.append(failed("aws.credentials", f"{backend.name}: {error}", fix))
        return None
    tail = f" …{keys.tail}" if keys.tail else ""
    said = f"{backend.name}: {keys.kind}{tail} from {keys.source}"
    if keys.expires is None:
        listed.append(good("aws.credentials", said))
        return keys
    left = keys.expires - patient.invocation.clock.now().wall
    said += f", for another {spell(left)}"
    if keys.api_key is not None and left < SOON:
        listed.append(
            warning("aws.credentials", f"{said}; nothing renews it", "claude-failover token set bedrock (another key)")
        )
    else:
        listed.append(good("aws.credentials", said))
    return keys


async def _region(backend: Backend, provider: AwsProvider, listed: list[Finding]) -> str:
    try:
        region = endpoints.checked_region(await provider.region())
    except CredentialError as error:
        listed.append(failed("aws.region", f"{backend.name}: {error}", error.hint or "export AWS_REGION=us-east-1"))
        return ""
    listed.append(good("aws.region", f"{backend.name}: {region}, scope {backend.scope}"))
    return region


def _endpoint(patient: Patient, backend: Backend, region: str, listed: list[Finding]) -> None:
    service = endpoints.MANTLE if backend.surface == "mantle" else endpoints.RUNTIME
    try:
        origin = endpoints.configured(backend.endpoint_url, service, patient.environ)
    except ConfigError as error:
        listed.append(failed("aws.endpoint", f"{backend.name}: {error}", "claude-failover config check"))
        return
    if origin is None:
        origin = endpoints.by_rule(region, service, patient.environ)
    elif origin.startswith("http://") and "127.0.0.1" not in origin and "localhost" not in origin:
        listed.append(
            warning(
                "aws.endpoint",
                f"{backend.name}: {origin} is not encrypted: prompts are readable on the way",
                "use https:// in endpoint_url",
            )
        )
        return
    listed.append(good("aws.endpoint", f"{backend.name}: {origin}"))


def targets(patient: Patient, backend: Backend, region: str) -> list[Target]:
    """Every model that is mapped for *backend*."""
    catalog = Catalog.build(read_table("models"), patient.settings.models)
    placed = replace(backend, region=region)
    return [entry.target for entry in catalog.entries(placed) if isinstance(entry.target, Target)]


def _models(patient: Patient, backend: Backend, region: str, listed: list[Finding]) -> None:
    if backend.scope not in {"global", "none", *geographies(region)}:
        listed.append(
            failed(
                "aws.models",
                f"{backend.name}: scope {backend.scope} cannot be called from {region}",
                "set scope: global at the backend in config.yaml",
            )
        )
        return
    count = len(targets(patient, backend, region))
    listed.append(
        good("aws.models", f"{backend.name}: {count} models are mapped; whether the account may use them: --online")
    )


def _daemons_view(patient: Patient, listed: list[Finding]) -> None:
    """A service does not have this shell's variables: say it where the two see different things."""
    if patient.status is None:
        return
    broken = {one.check.partition(".")[2] for one in listed if one.level.value == "failed"}
    listed.extend(
        failed(
            "aws.daemon",
            f"{one.name}: works in this shell, but the daemon says: {one.why or one.credential}",
            "claude-failover restart; for a service: claude-failover service install",
        )
        for one in patient.status.backends
        if one.kind == Kind.BEDROCK.value and not one.usable and "credentials" not in broken
    )


def usable(patient: Patient) -> list[Backend]:
    """The Bedrock backends that have a credential and a region, the region filled in."""
    return [replace(one, region=patient.regions[one.name]) for one in bedrocks(patient) if one.name in patient.regions]


def may_ask_who(patient: Patient) -> bool:
    """Whether somebody named an endpoint to ask: then it is asked without ``--online``, as it costs nothing."""
    named = any(patient.environ.get(name) for name in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"))
    return named and bool(usable(patient))
