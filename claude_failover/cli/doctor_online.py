"""doctor --online: who AWS says we are, what the account may use, and whether Bedrock takes what Claude Code sends.

Rule: what costs money is counted at its worst and said before; a model that AWS says is not
available is not asked. Nothing is sent with an Anthropic credential: the Claude API gets one
``HEAD /`` without any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from claude_failover.cli import doctor_quota
from claude_failover.cli.diagnosis import Finding, Patient, failed, good, note, warning
from claude_failover.cli.doctor_credentials import provider_of, targets, usable
from claude_failover.cli.doctor_probe import EVERYTHING, Probe, Result, fullest, send, smallest
from claude_failover.core.bedrock_ids import foundation_id
from claude_failover.core.models import Catalog, Target
from claude_failover.core.prices import NUSD_PER_USD, PriceTable
from claude_failover.core.repair import Denials
from claude_failover.core.settings import Backend
from claude_failover.core.types import Kind, Outcome
from claude_failover.credentials.aws import AwsProvider
from claude_failover.daemon import discovery
from claude_failover.daemon.tables import read_table
from claude_failover.errors import ConfigError, ControlError, CredentialError
from claude_failover.upstream.aws_calls import Availability, AwsCalls, sts_origin
from claude_failover.upstream.bedrock import BedrockUpstream
from claude_failover.upstream.reach import reach

AT_ONCE: Final = 4
"""Requests in flight: quick, and far below any quota."""

USED: Final = ("opus", "sonnet", "haiku")
"""Aliases of what Claude Code uses unless told otherwise: without these a failover fails."""

BY_INVITATION: Final = ("mythos",)
"""Families that AWS offers to some accounts only (wire/bedrock.md 5.1)."""

_ACCESS: Final = "AWS console, Bedrock, Model access (and the Anthropic use-case form); see docs/aws.md"

_FIXES: Final = {
    Outcome.DENIED: _ACCESS,
    Outcome.CREDENTIALS: "aws sts get-caller-identity; is the policy of docs/aws.md attached?",
    Outcome.UNREACHABLE: "check the network, proxies and endpoint_url",
    Outcome.TLS_FAILED: "behind a company's proxy: export AWS_CA_BUNDLE=FILE",
    Outcome.SILENT: "try again; see docs/troubleshooting.md",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be sent."""

    requests: int
    nusd: int
    """At the most, in nano-dollars."""
    text: str


def probes(patient: Patient, backend: Backend) -> list[Probe]:
    """One small request per mapped model, and one with everything."""
    found = targets(patient, backend, backend.region or "")
    listed = [Probe(backend, target, smallest(target.claude_model)) for target in found]
    first = _used(patient)[0]
    full = next((one for one in found if one.claude_model == first), found[0] if found else None)
    if full is not None:
        listed.append(Probe(backend, full, fullest(full.claude_model), EVERYTHING))
    return listed


def _used(patient: Patient) -> list[str]:
    catalog = Catalog.build(read_table("models"), patient.settings.models)
    return [catalog.normalise(alias) for alias in USED]


def plan(patient: Patient) -> Plan:
    """Count what would be sent, and what it costs at the most."""
    prices = PriceTable.build(read_table("prices"))
    listed = [probe for backend in usable(patient) for probe in probes(patient, backend)]
    if not listed:
        return Plan(0, 0, "nothing paid is sent: no Bedrock backend has a credential and a region")
    most = sum(
        prices.worst_case(
            one.target.claude_model, Kind.BEDROCK, one.backend.scope, len(one.body), 2048 if one.betas else 1
        )
        for one in listed
    )
    return Plan(
        len(listed),
        most,
        f"--online sends {len(listed)} small requests to Bedrock. They cost ${most / NUSD_PER_USD:.2f} at the most,\n"
        "usually a few cents, are paid by your AWS account, and are not in our ledger.",
    )


async def check(patient: Patient, tick: Callable[[], None], *, paid: bool) -> list[Finding]:
    """Ask; *paid*: also send what costs money."""
    listed: list[Finding] = []
    if paid:
        await _reach_primaries(patient, listed)
    for backend in usable(patient):
        provider, region = provider_of(patient, backend), backend.region or ""
        try:
            keys = await provider.get()
            calls = AwsCalls(keys, region, _origins(patient, backend), patient.environ, patient.invocation.clock)
        except CredentialError as error:
            listed.append(failed("online.identity", f"{backend.name}: {error}", error.hint or "aws configure"))
            continue
        async with AsyncExitStack() as stack:
            stack.push_async_callback(calls.close)
            await _identity(patient, backend, calls, listed)
            if paid:
                await _models(patient, backend, calls, provider, listed, tick)
    return listed


def _origins(patient: Patient, backend: Backend) -> dict[str, str]:
    """Where to ask. Who named an endpoint for Bedrock only is not taken to the public STS behind his back."""
    region, environ = backend.region or "", patient.environ
    origins = {"bedrock": discovery.origin(backend, region, environ)}
    if backend.endpoint_url is None or environ.get("AWS_ENDPOINT_URL_STS") or environ.get("AWS_ENDPOINT_URL"):
        origins["sts"] = sts_origin(region, environ)
    return origins


async def _reach_primaries(patient: Patient, listed: list[Finding]) -> None:
    for backend in patient.settings.backends:
        if backend.kind is not Kind.ANTHROPIC:
            continue
        said = await reach(backend, patient.environ, patient.invocation.clock)
        if said.skew is not None:
            patient.known[backend.name] = said.skew
        if said.good:
            listed.append(good("online.primary", f"{backend.name}: {backend.base_url} answers"))
        else:
            listed.append(failed("online.primary", f"{backend.name}: {said.problem}", "check the network and proxies"))


async def _identity(patient: Patient, backend: Backend, calls: AwsCalls, listed: list[Finding]) -> None:
    if "sts" not in _origins(patient, backend):
        listed.append(
            note(
                "online.identity",
                f"{backend.name}: has an endpoint of its own, so the public STS is not asked",
                "export AWS_ENDPOINT_URL_STS=URL",
            )
        )
        return
    found = await calls.identity()
    if found.said.skew is not None:
        patient.known["AWS"] = found.said.skew
    if found.said.good:
        listed.append(good("online.identity", f"{backend.name}: {found.arn}"))
    elif found.said.status == 0:
        listed.append(note("online.identity", f"{backend.name}: {found.said.problem}"))
    else:
        listed.append(
            failed(
                "online.identity",
                f"{backend.name}: AWS refuses these credentials: {found.said.problem}",
                "aws sts get-caller-identity",
            )
        )


async def _models(
    patient: Patient,
    backend: Backend,
    calls: AwsCalls,
    provider: AwsProvider,
    listed: list[Finding],
    tick: Callable[[], None],
) -> None:
    """Ask which models may be used, then try those."""
    try:
        upstream = BedrockUpstream(
            backend, patient.settings.timeouts, provider, patient.environ, patient.invocation.clock
        )
    except ConfigError as error:
        listed.append(failed("online.model", f"{backend.name}: {error}", error.hint or "claude-failover config check"))
        return
    wanted = probes(patient, backend)
    missing = await _missing(patient, backend, calls, provider, [one.target for one in wanted], listed)
    denials = Denials()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(probe: Probe) -> Result:
        async with gate:
            result = await send(probe, upstream, denials, patient.invocation.clock)
            tick()
            return result

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(probe)) for probe in wanted if probe.target.claude_model not in missing]
    finally:
        await upstream.close()
    used = set(_used(patient))
    for model, why in missing.items():
        listed.append(_level(model, used)("online.model", f"{backend.name}: {model}: {why}", _ACCESS))
    listed.extend(_told(task.result(), used) for task in tasks)


async def _missing(
    patient: Patient,
    backend: Backend,
    calls: AwsCalls,
    provider: AwsProvider,
    found: Sequence[Target],
    listed: list[Finding],
) -> dict[str, str]:
    """Which models AWS says cannot be used, and why. A refusal to say is no refusal of the model."""
    missing: dict[str, str] = {}
    try:
        known = set((await discovery.discover(backend, provider, patient.invocation.clock, patient.environ)).ids)
    except ControlError as error:
        listed.append(
            note("online.profiles", str(error), error.hint or "allow bedrock:ListInferenceProfiles (optional)")
        )
        known = set()
    for target in found:
        if known and target.bedrock_id.startswith(_PREFIXED) and not known & set(target.forms):
            missing[target.claude_model] = f"no inference profile {target.bedrock_id} in {backend.region}"
    for target in found:
        fm_id = foundation_id(target.bedrock_id)
        if fm_id is None or target.claude_model in missing:
            continue
        answer: Availability = await calls.availability(fm_id)
        if not answer.said.good:
            listed.append(
                note(
                    "online.access",
                    f"{backend.name}: AWS does not say which models may be used: {answer.said.problem}",
                    "allow bedrock:GetFoundationModelAvailability (optional)",
                )
            )
            break
        if answer.missing:
            missing[target.claude_model] = answer.missing
    return missing


_PREFIXED: Final = ("global.", "us.", "eu.", "jp.", "au.", "apac.", "us-gov.")


def _level(model: str, used: set[str]) -> Callable[[str, str, str], Finding]:
    """How bad it is to lack *model*; most accounts lack what is by invitation only."""
    if model in used:
        return failed
    return note if any(name in model for name in BY_INVITATION) else warning


def _told(result: Result, used: set[str]) -> Finding:
    probe, verdict = result.probe, result.verdict
    check = "online.features" if probe.betas else "online.model"
    what = f"{probe.backend.name}: {probe.target.claude_model}" + (
        " with everything that Claude Code sends" if probe.betas else ""
    )
    if verdict.outcome is Outcome.SUCCESS:
        surface = result.surface.value if result.surface else ""
        mended = f"; taken after: {', '.join(result.repairs)}" if result.repairs else ""
        skewed = "; signed with a corrected clock" if result.skew else ""
        return good(
            check, f"{what}: answers in {result.took:.1f} s as {result.upstream_model} ({surface}){mended}{skewed}"
        )
    fix = _FIXES.get(verdict.outcome, "claude-failover doctor --online again; if it stays: docs/troubleshooting.md")
    if verdict.outcome is Outcome.THROTTLED:
        seen = doctor_quota.where(probe.target, probe.backend, probe.backend.region or "")
        fix = f"a quota is used up, or is zero\n{seen}"
    make = failed if probe.betas else _level(probe.target.claude_model, used)
    return make(check, f"{what}: {verdict.detail or verdict.outcome.value}", fix)
