"""Which Claude models the simulated Bedrock has, under which ids, and what each of them can (wire/bedrock.md 5.1).

Written from the wire facts alone; the product has a table of its own, and the two must agree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from claude_failover.drill.script import Refusal

ALL = ("global", "us", "eu", "jp", "apac", "au", "us-gov")


@dataclass(frozen=True, slots=True)
class Model:
    """One foundation model."""

    id: str
    """The FM id, ``anthropic.claude-…``."""
    version: tuple[int, int]
    """Generation, comparable: ``(4, 5)``, ``(5, 0)``, ``(5, 5)``."""
    family: str
    prefixes: tuple[str, ...]
    """Inference profiles that exist: ``global`` …"""
    max_output: int = 128_000
    context: int = 1_000_000

    @property
    def arn_versioned(self) -> bool:
        """Whether the id ends like ``-v1`` or ``-v1:0``: the older way."""
        return "-v1" in self.id

    @property
    def claude_id(self) -> str:
        """What an answer calls it."""
        return self.id.removeprefix("anthropic.").removesuffix(":0").removesuffix("-v1")


def _model(name: str, version: tuple[int, int], prefixes: tuple[str, ...], *limits: int) -> Model:
    return Model(f"anthropic.claude-{name}", version, name.partition("-")[0], prefixes, *limits)


MODELS: Mapping[str, Model] = {
    model.id: model
    for model in (
        _model("fable-5-2", (5, 2), ("global", "us", "eu")),
        _model("fable-5-1", (5, 1), ("global", "us", "eu", "us-gov")),
        _model("fable-5", (5, 0), ("global", "us", "eu", "apac", "au")),
        _model("mythos-5-2", (5, 2), ("global", "us")),
        _model("mythos-5-1", (5, 1), ("global", "us")),
        _model("mythos-5", (5, 0), ("global", "us", "apac", "au")),
        _model("opus-5-5", (5, 5), ALL),
        _model("opus-5", (5, 0), ALL),
        _model("opus-4-8", (4, 8), ALL),
        _model("opus-4-7", (4, 7), ("global", "us", "eu", "jp", "apac", "au")),
        _model("opus-4-6-v1", (4, 6), ("global", "us", "eu", "jp", "apac", "au")),
        _model("opus-4-5-20251101-v1:0", (4, 5), ("global", "us", "eu"), 64_000, 200_000),
        _model("opus-4-1-20250805-v1:0", (4, 1), ("us", "eu"), 32_000, 200_000),
        _model("sonnet-5-5", (5, 5), ALL),
        _model("sonnet-5", (5, 0), ALL),
        _model("sonnet-4-6", (4, 6), ("global", "us", "eu", "jp", "apac", "au"), 64_000),
        _model("sonnet-4-5-20250929-v1:0", (4, 5), ("global", "us", "eu", "jp", "au", "us-gov"), 64_000, 200_000),
        _model("sonnet-4-20250514-v1:0", (4, 0), ("global", "us", "eu", "apac"), 64_000, 200_000),
        _model("haiku-5-5", (5, 5), ALL),
        _model("haiku-4-5-20251001-v1:0", (4, 5), ALL, 64_000, 200_000),
    )
}

MANTLE_ALIASES = {"anthropic.claude-haiku-4-5": "anthropic.claude-haiku-4-5-20251001-v1:0"}
"""Mantle's own spelling (wire/bedrock.md 5.1)."""

MANTLE_LINEUP = frozenset(fm_id for fm_id, model in MODELS.items() if model.version >= (4, 7)) | frozenset(
    MANTLE_ALIASES
)

GEOGRAPHY: Mapping[str, tuple[str, ...]] = {
    "us": ("us-east-", "us-west-", "ca-central-1"),
    "eu": ("eu-",),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
    "apac": ("ap-",),
    "us-gov": ("us-gov-",),
}
"""Profile prefix -> regions from which it can be called (wire/bedrock.md 5.2); ``global`` from everywhere."""

INVALID_ID = "The provided model identifier is invalid."


def on_demand_refused(model_id: str) -> str:
    """The text for a bare FM id (wire/bedrock.md 4.4)."""
    return (
        f"Invocation of model ID {model_id} with on-demand throughput isn’t supported. "  # noqa: RUF001 - AWS's own apostrophe
        "Retry your request with the ID or ARN of an inference profile that contains this model."
    )


def validation(message: str) -> Refusal:
    """AWS's 400."""
    return Refusal(400, "ValidationException", message, shape="aws")


def on_runtime(
    model_id: str, region: str, applications: Mapping[str, str], on_demand: Collection[str]
) -> Model | Refusal:
    """Which model an id names on bedrock-runtime.

    Args:
        model_id: Decoded.
        region: The endpoint's.
        applications: ARNs of application inference profiles -> FM id.
        on_demand: FM ids that this region serves without a profile.
    """
    if model_id in applications:
        return MODELS[applications[model_id]]
    plain = model_id
    if plain.startswith("arn:"):
        owner, _, resource = plain.partition(":inference-profile/")
        if not resource or f":bedrock:{region}:" not in f"{owner}:":
            return validation(INVALID_ID)
        plain = resource
    if plain in MODELS:
        return MODELS[plain] if plain in on_demand else validation(on_demand_refused(plain))
    prefix, _, fm_id = plain.partition(".")
    model = MODELS.get(fm_id)
    if model is None or prefix not in model.prefixes or not callable_from(prefix, region):
        return validation(INVALID_ID)
    return model


def callable_from(prefix: str, region: str) -> bool:
    """Whether a profile of this geography may be called from a region."""
    return prefix == "global" or region.startswith(GEOGRAPHY[prefix])


def on_mantle(model_id: str) -> Model | Refusal:
    """Which model an id names on bedrock-mantle: FM ids only, and a line-up of its own."""
    if model_id in MANTLE_LINEUP:
        return MODELS[MANTLE_ALIASES.get(model_id, model_id)]
    return Refusal(404, "not_found_error", f"The model '{model_id}' does not exist", shape="anthropic")


def path_model(segment: str) -> str:
    """A path segment as the id that it spells."""
    return unquote(segment)
