"""doctor: what a Bedrock quota has to carry, whether it did of late, and where to see how large it is.

Rule: nothing is asked of AWS. What Claude Code wants is measured, what is lowered is in the configuration, what was
throttled is in our own ledger and in the running daemon; how large the quota is, only AWS knows: its name is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Final

from claude_failover.cli.diagnosis import Finding, Patient, good, note, warning
from claude_failover.cli.durations import spell
from claude_failover.control.status import State
from claude_failover.core.bedrock_ids import is_opaque, scope_of
from claude_failover.core.models import Target
from claude_failover.core.settings import Backend
from claude_failover.core.types import Surface
from claude_failover.errors import LedgerError
from claude_failover.ledger_query import Pressure, read_pressures

SPAN: Final = 86_400.0
"""Seconds of the past that are looked at: the longest quota that Bedrock has is one of a day."""

ASKED: Final[tuple[tuple[tuple[int, int], int], ...]] = (((4, 5), 32_000), ((4, 8), 64_000))
"""What Claude Code asks for as ``max_tokens``, up to and with each generation; measured (tests/real/shapes.json)."""
ASKED_BY_DEFAULT: Final = 128_000
"""The same for later ones, and for what has no number."""

CAPS: Final = (32_000, 64_000)
"""Values of ``max_output_tokens`` that Claude Code itself works with, for older models."""


WIDTH: Final = 100
"""Columns that a list of models fills."""


def asked(target: Target) -> int:
    """How many tokens of output Claude Code asks *target* for."""
    if target.generation is None:
        return ASKED_BY_DEFAULT
    return next((tokens for until, tokens in ASKED if target.generation <= until), ASKED_BY_DEFAULT)


def reserved(target: Target, backend: Backend) -> int:
    """How many tokens of output are taken from the quota when a request starts (wire/bedrock.md 4.3)."""
    bounds = (asked(target), target.capabilities.max_output, backend.max_output_tokens)
    return min(bound for bound in bounds if bound is not None)


def quota_name(target: Target, backend: Backend) -> str:
    """What to search for in Service Quotas; AWS appends ``V1`` or a context length to the names of some models.

    Source: Quotas for the bedrock-runtime and the bedrock-mantle endpoints, and listings of real accounts
    (``Global cross-region model inference tokens per minute for Anthropic Claude Opus 4.8``).
    """
    model = _product(target)
    if backend.surface == Surface.MANTLE:
        return f"Bedrock Mantle input tokens per minute for {model}"
    tokens = f"model inference tokens per minute for Anthropic {model}"
    if is_opaque(target.bedrock_id):
        # A profile of the owner's own counts towards whichever profile it was made from.
        return tokens
    kinds = {"global": "Global cross-region", "none": "On-demand"}
    return f"{kinds.get(scope_of(target.bedrock_id), 'Cross-region')} {tokens}"


def console(region: str) -> str:
    """Where Service Quotas shows them; empty for a partition whose console we do not know."""
    if region.startswith("us-gov-"):
        host = f"{region}.console.amazonaws-us-gov.com"
    elif region.startswith(("cn-", "eusc-")):
        return ""
    else:
        host = f"{region}.console.aws.amazon.com"
    return f"https://{host}/servicequotas/home/services/bedrock/quotas"


def where(target: Target, backend: Backend, region: str) -> str:
    """Say where to see the quota, and to ask for more."""
    address = console(region)
    named = f'Service Quotas, Amazon Bedrock, {region}: "{quota_name(target, backend)} …"'
    return f"{named}\n{address}" if address else named


def check(patient: Patient, backend: Backend, region: str, mapped: Sequence[Target]) -> list[Finding]:
    """What each request to *backend* reserves, what was throttled of late, and what the daemon waits for.

    Args:
        patient: With the running daemon's status, if there is one.
        backend: A Bedrock backend.
        region: The one that it is called in.
        mapped: The models that it can serve.
    """
    now = patient.invocation.clock.now().wall
    listed: list[Finding] = []
    own: list[Pressure] = []
    try:
        found = read_pressures(patient.invocation.paths.ledger, int((now - SPAN) * 1000))
        own = [one for one in found if one.backend == backend.name]
    except LedgerError as error:
        listed.append(note("aws.quota", f"{backend.name}: what was throttled of late is not known: {error}"))
    listed.append(_reservation(backend, region, mapped, own))
    known = {target.claude_model: target for target in mapped}
    listed += [_throttled(backend, region, known.get(one.model), one) for one in own if one.throttled]
    states = patient.status.backends if patient.status is not None else ()
    waits = [model for one in states if one.name == backend.name for model in one.models]
    listed += [
        note(
            "aws.quota",
            f"{backend.name}: the daemon sends none of {one.model} for another {spell(one.until - now)}"
            + (f": {one.why}" if one.why else ""),
        )
        for one in waits
        if one.state is State.COOLDOWN and one.until is not None and one.until > now
    ]
    return listed


def _reservation(backend: Backend, region: str, mapped: Sequence[Target], own: Sequence[Pressure]) -> Finding:
    per_size: dict[int, list[str]] = {}
    for target in mapped:
        per_size.setdefault(reserved(target, backend), []).append(target.claude_model.removeprefix("claude-"))
    sizes = "\n".join(
        fill(f"{size:,} for {', '.join(per_size[size])}", WIDTH, break_on_hyphens=False)
        for size in sorted(per_size, reverse=True)
    )
    rule = (
        "a request takes its prompt and max_tokens from its model's quota of tokens per minute\n"
        "when it starts, and up to five times its output when it ends; max_tokens there"
    )
    cap = backend.max_output_tokens
    if cap is None:
        return note(
            "aws.quota",
            f"{backend.name}: {rule} is\n{sizes}",
            f'max_output_tokens: {CAPS[0]} at the backend in config.yaml, if a quota is small ("Too many tokens");\n'
            f"how large they are: {console(region) or 'Service Quotas, Amazon Bedrock'}",
        )
    if cut := sorted(one.model for one in own if one.longest >= cap):
        return note(
            "aws.quota",
            f"{backend.name}: max_tokens is lowered to {cap:,}, and answers of {', '.join(cut)} were that long in the "
            "last 24 hours: some may have been cut",
            "a larger max_output_tokens at the backend in config.yaml, if the quota carries it",
        )
    return good("aws.quota", f"{backend.name}: max_tokens is lowered to {cap:,}; {rule} is\n{sizes}")


def _throttled(backend: Backend, region: str, target: Target | None, one: Pressure) -> Finding:
    days = f", {one.per_day} of them by a quota per day" if one.per_day else ""
    title = (
        f"{backend.name}: {one.throttled} of the last {one.requests} requests for {one.model} were throttled "
        f"(24 hours){days}"
    )
    if target is None:
        # Somebody took the model out of the table since; its quota is named by nothing that we have.
        return warning("aws.quota", title, f"Service Quotas, Amazon Bedrock, {region}")
    size = reserved(target, backend)
    title += f"\neach reserved {size:,} tokens of output; the longest answer had {one.longest:,}"
    smaller = next((cap for cap in CAPS if one.longest <= cap < size), None)
    advice = (
        [] if smaller is None else [f"max_output_tokens: {smaller} at {backend.name} in config.yaml; or ask for more"]
    )
    if one.per_day:
        advice.append('its quota of "tokens per day" may be 0, as it is for new accounts')
    return warning("aws.quota", title, "\n".join([*advice, where(target, backend, region)]))


def _product(target: Target) -> str:
    """``Claude Opus 5.5``, as Service Quotas writes it."""
    if target.family is None or target.generation is None:
        return target.claude_model
    major, minor = target.generation
    return f"Claude {target.family.title()} {major}" + (f".{minor}" if minor else "")
