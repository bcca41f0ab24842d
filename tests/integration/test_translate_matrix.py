"""Every feature x surface x model through translation into the simulated Bedrock: taken, or kept at the primary.

The outcome is also the table in ``docs/bedrock.md``. After a change of the rules write it again with
``CLAUDE_FAILOVER_WRITE_DOCS=1 pytest tests/integration/test_translate_matrix.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from claude_failover.core.commands import ClientRequest, Translated, Untranslatable
from claude_failover.core.failures import classify
from claude_failover.core.models import Catalog, Target
from claude_failover.core.repair import Denials
from claude_failover.core.request import peek
from claude_failover.core.settings import Backend
from claude_failover.core.translate import to_bedrock
from claude_failover.core.types import BackendName, Epoch, Headers, Instant, Kind, Monotonic, Outcome, Surface
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.bedrock_access import API_KEY
from claude_failover.drill.bedrock_check import Permits
from claude_failover.drill.playback import Reply
from claude_failover.drill.script import Seen
from tests.bedrock_features import EVERYTHING, FEATURES, HELLO, Feature

DOCUMENT = Path(__file__).parents[2] / "docs" / "bedrock.md"
TABLE = yaml.safe_load((files("claude_failover") / "data" / "models.yaml").read_text("utf-8"))
CATALOG = Catalog.build(TABLE, {})
NOW = Instant(Epoch(1_800_000_000.0), Monotonic(5.0))


def backend(surface: Surface) -> Backend:
    return Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1", surface=surface.value)


def target(model: str, surface: Surface) -> Target:
    found = CATALOG.resolve(model, backend(surface))
    assert isinstance(found, Target)
    return found


def translate(
    feature: Feature, model: str, surface: Surface, denials: Denials | None = None
) -> Translated | Untranslatable:
    body = {"model": model, "max_tokens": 4096, "messages": [HELLO]} | feature.body
    headers = (("anthropic-beta", ",".join(feature.betas)), *feature.headers)
    request = ClientRequest("cfr_1", "/v1/messages?beta=true", headers, json.dumps(body).encode())
    return to_bedrock(request, peek(request), target(model, surface), surface, backend(surface), denials or Denials())


async def judge(surface: Surface, made: Translated, permits: Permits | None = None) -> tuple[int, Headers, bytes]:
    """What the simulated Bedrock says."""
    bedrock = SimulatedBedrock(mantle=surface is Surface.MANTLE)
    bedrock.permits = permits or Permits(old_models_on_messages=True)
    headers = (*made.request.headers, ("authorization", f"Bearer {API_KEY}"))
    seen = Seen(1, made.request.method, made.request.target, headers, made.request.body, 1, 0.0)
    reply = await bedrock.answer(seen)
    assert isinstance(reply, Reply)
    assert not bedrock.violations
    return reply.status, reply.headers, b"".join(part.data for part in reply.parts)


def served() -> Iterator[tuple[str, Surface]]:
    """Every model on every surface that could have it; the simulator knows no preview."""
    for model, row in TABLE["models"].items():
        if model != "claude-mythos-preview":
            yield model, Surface.MESSAGES
            yield model, Surface.INVOKE
            if "mantle" in row or "surfaces" not in row:
                yield model, Surface.MANTLE


ROUTES = list(served())


@pytest.mark.parametrize(("model", "surface"), ROUTES, ids=[f"{model}-{surface}" for model, surface in ROUTES])
async def test_every_feature_is_taken_or_stays_at_the_primary(model: str, surface: Surface) -> None:
    refused = {}
    for feature in FEATURES:
        made = translate(feature, model, surface)
        if isinstance(made, Translated):
            status, _, data = await judge(surface, made)
            if status != 200:
                refused[feature.name] = data
    assert not refused


FIRST_DAY = [
    ("claude-opus-5-5", Surface.MESSAGES),
    ("claude-fable-5-1", Surface.INVOKE),
    ("claude-opus-5", Surface.MANTLE),
]


async def mended(feature: Feature, model: str, surface: Surface, permits: Permits) -> list[str]:
    """Translate, be refused, learn, translate again; what was learned on the way to being taken."""
    denials, data = Denials(), b""
    learned: list[str] = []
    for _ in range(3):
        made = translate(feature, model, surface, denials)
        assert isinstance(made, Translated)
        status, headers, data = await judge(surface, made, permits)
        if status == 200:
            return learned
        verdict = classify(Kind.BEDROCK, surface, status, headers, data, NOW)
        assert verdict.outcome is Outcome.REPAIRABLE, data
        repair = denials.propose(status, data, verdict, made, target(model, surface), surface, NOW)
        assert repair is not None, data
        learned += [transition.detail for transition in denials.learn(repair, NOW)]
    raise AssertionError(data)


@pytest.mark.parametrize(("model", "surface"), FIRST_DAY)
async def test_a_beta_that_is_refused_against_the_table_costs_at_most_two_repairs(model: str, surface: Surface) -> None:
    made = translate(EVERYTHING, model, surface)
    assert isinstance(made, Translated)
    for beta in made.extra["betas"].split(","):
        learned = await mended(EVERYTHING, model, surface, Permits(denied_betas=frozenset({beta})))
        assert any(beta in lesson for lesson in learned)


@pytest.mark.parametrize(("model", "surface"), FIRST_DAY)
@pytest.mark.parametrize("path", ["context_management", "output_config", "metadata", "safeguards"])
async def test_a_field_that_is_refused_against_the_table_costs_one_repair(
    path: str, model: str, surface: Surface
) -> None:
    (lesson,) = await mended(EVERYTHING, model, surface, Permits(denied_paths=(path,)))
    assert lesson == f"{surface.value}: path {path}: refused by name"


COLUMNS = {
    "Fable 5.x": "claude-fable-5-2",
    "Opus 5.5": "claude-opus-5-5",
    "Sonnet 5.5": "claude-sonnet-5-5",
    "Haiku 5.5": "claude-haiku-5-5",
    "Opus 5": "claude-opus-5",
    "Sonnet 5": "claude-sonnet-5",
    "Opus 4.8": "claude-opus-4-8",
    "Opus 4.7": "claude-opus-4-7",
    "4.6": "claude-sonnet-4-6",
    "4.5": "claude-sonnet-4-5-20250929",
    "Haiku 4.5": "claude-haiku-4-5-20251001",
    "Opus 4.1": "claude-opus-4-1-20250805",
}


def cell(feature: Feature, model: str, surface: Surface) -> str:
    if (model, surface) not in ROUTES:
        return ""
    made = translate(feature, model, surface)
    if isinstance(made, Untranslatable):
        return "stays"
    actions = [change.action for change in made.rewrites if feature.watch and change.path.startswith(feature.watch)]
    for action in ("dropped", "converted", "renamed", "clamped", "hashed"):
        if action in actions:
            return action
    return "sent"


def matrix() -> str:
    lines = []
    for surface in Surface:
        columns = {name: model for name, model in COLUMNS.items() if (model, surface) in ROUTES}
        if surface is Surface.MESSAGES:
            columns = {name: model for name, model in columns.items() if "surfaces" not in TABLE["models"][model]}
        lines += [
            f"### Surface `{surface.value}`",
            "",
            f"| feature | {' | '.join(columns)} |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for feature in FEATURES:
            cells = " | ".join(cell(feature, model, surface) for model in columns.values())
            lines.append(f"| {feature.name} | {cells} |")
        lines.append("")
    return "\n".join(lines)


def models() -> str:
    lines = [
        "| Claude id | foundation model at Bedrock | profiles | surfaces | max. output | context |",
        "|---" * 6 + "|",
    ]
    for name, row in TABLE["models"].items():
        found = CATALOG.resolve(name, Backend(BackendName("bedrock"), Kind.BEDROCK))
        assert isinstance(found, Target)
        profiles = ", ".join(row["prefixes"]) or "not published"
        caps = found.capabilities
        lines.append(
            f"| {name} | {row['bedrock']} | {profiles} | {', '.join(found.surfaces)} "
            f"| {caps.max_output:,} | {caps.context:,} |"
        )
    return "\n".join([*lines, ""])


def generated(document: str) -> str:
    """The document with its two tables written anew."""
    for name, text in (("models", models()), ("matrix", matrix())):
        begin, end = f"<!-- {name}: generated -->\n", f"<!-- {name}: end -->"
        before, _, rest = document.partition(begin)
        assert rest, f"docs/bedrock.md has no place for {name}"
        document = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return document


def test_the_document_shows_what_the_code_does() -> None:
    document = DOCUMENT.read_text("utf-8")
    if os.environ.get("CLAUDE_FAILOVER_WRITE_DOCS"):
        DOCUMENT.write_text(generated(document), "utf-8")
    assert DOCUMENT.read_text("utf-8") == generated(document), "CLAUDE_FAILOVER_WRITE_DOCS=1 writes the tables again"
