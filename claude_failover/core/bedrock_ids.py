"""Bedrock's names for a model: foundation-model ids, inference profiles, ARNs.

An inference profile's id is a prefix (how far AWS may route the request) and the foundation model's id:
``global.anthropic.claude-opus-5-5``. Most current models can only be called through a profile; which profiles
exist differs per model and region, so an id is tried in several forms.

Source: wire/bedrock.md 5.1-5.3; the ARN form of application profiles: 5.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

PREFIXES: Final = ("global", "us", "eu", "jp", "au", "apac", "us-gov")
"""Every profile prefix; also the values of a backend's ``scope``, with ``none``."""

_SHAPE = re.compile(r"^(?:(global|us|eu|jp|au|apac|us-gov)\.)?(anthropic\.claude-[A-Za-z0-9._:-]+)$")
_ARN = re.compile(
    r"^arn:aws[a-z-]*:bedrock:[a-z0-9-]*:\d*:(foundation-model|inference-profile|application-inference-profile"
    r"|provisioned-model|custom-model-deployment)/([A-Za-z0-9._:/-]+)$"
)
_VERSION = re.compile(r"-v\d+(?::\d+(?::\w+)?)?$")


def is_bedrock_id(model: str) -> bool:
    """Whether *model* is already one of Bedrock's: a foundation model, a profile, an ARN."""
    return _SHAPE.match(model) is not None or _ARN.match(model) is not None


def is_opaque(model: str) -> bool:
    """Whether *model* is an ARN that does not say which model is behind it."""
    match = _ARN.match(model)
    return match is not None and match[1] not in {"foundation-model", "inference-profile"}


def foundation_id(model: str) -> str | None:
    """The foundation model's id inside a Bedrock id; ``None`` for an opaque ARN or anything else."""
    arn = _ARN.match(model)
    match = _SHAPE.match(arn[2] if arn else model)
    return match[2] if match else None


def claude_spelling(fm_id: str) -> str:
    """A foundation model's id in Claude's spelling: without ``anthropic.`` and ``-v1:0``."""
    return _VERSION.sub("", fm_id.removeprefix("anthropic."))


def scope_of(model: str) -> str:
    """How far the id lets AWS route, which decides its price: a prefix, or ``none`` (in-region, or not known)."""
    arn = _ARN.match(model)
    match = _SHAPE.match(arn[2] if arn else model)
    return (match[1] if match else None) or "none"


def geographies(region: str | None) -> tuple[str, ...]:
    """Profile prefixes that stay in the geography of *region*, narrowest first; empty where there is none.

    Source: wire/bedrock.md 5.2. Tokyo lists ``jp.`` for models that have no ``apac.``, hence two of them.
    """
    if region is None:
        return ()
    for start, prefixes in _GEOGRAPHIES:
        if region.startswith(start):
            return prefixes
    return ()


_GEOGRAPHIES: Final = (
    ("us-gov-", ("us-gov",)),
    ("us-", ("us",)),
    ("ca-", ("us",)),
    ("eu-", ("eu",)),
    ("ap-northeast-1", ("jp", "apac")),
    ("ap-northeast-3", ("jp", "apac")),
    ("ap-southeast-2", ("au", "apac")),
    ("ap-southeast-4", ("au", "apac")),
    ("ap-", ("apac",)),
)


def forms(fm_id: str, scope: str, region: str | None, known: Iterable[str]) -> tuple[str, ...]:
    """The ids under which to call *fm_id*, best first.

    ``scope`` is the owner's word on where data may go. ``global`` allows everything, so narrower profiles
    follow it; a geography allows itself and what lies inside it; ``none`` allows only the region. Forms that
    *known* lists come first, for the list is a hint and the service decides.
    """
    geo = geographies(region)
    match scope:
        case "none":
            prefixes: tuple[str, ...] = ("none",)
        case "global":
            prefixes = ("global", *geo, "none")
        case "apac":
            prefixes = ("apac", *(narrow for narrow in geo if narrow in {"jp", "au"}), "none")
        case _:
            prefixes = (scope, "none")
    listed = set(known)
    ordered = sorted(dict.fromkeys(prefixes), key=lambda prefix: prefix not in listed) if listed else prefixes
    return tuple(fm_id if prefix == "none" else f"{prefix}.{fm_id}" for prefix in ordered)
