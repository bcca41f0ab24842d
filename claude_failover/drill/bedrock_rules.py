"""What the simulated Bedrock refuses, per surface and model, in the real service's words (wire/bedrock.md 2, 4.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from claude_failover.core.types import Surface
from claude_failover.drill.bedrock_models import Model, validation
from claude_failover.drill.script import Refusal, Seen


@dataclass(slots=True)
class Permits:
    """Where this deployment is less strict than the default."""

    betas: frozenset[str] = frozenset()
    """Values accepted on every surface and model."""
    old_models_on_messages: bool = False
    """Whether the Messages surface serves models with ``-v1`` ids: not established (wire/bedrock.md 1.1)."""


def too_large(surface: Surface) -> Refusal:
    """The body is over the limit."""
    del surface
    return Refusal(413, "RequestEntityTooLargeException", "Request body is too large.", shape="aws")


def parse(request: Seen, surface: Surface) -> dict[str, Any] | Refusal:
    """Read the body."""
    del surface
    try:
        body = json.loads(request.body)
    except ValueError:
        return validation("Malformed input request, please reformat your input and try again.")
    if not isinstance(body, dict):
        return validation("Malformed input request, please reformat your input and try again.")
    return body


def check(surface: Surface, model: Model, request: Seen, body: Mapping[str, Any], permits: Permits) -> Refusal | None:
    """The first rule that a request breaks."""
    del model, request, permits
    if surface is Surface.INVOKE:
        for name in ("model", "stream"):
            if name in body:
                return validation(f"{name}: Extra inputs are not permitted")
        if body.get("anthropic_version") != "bedrock-2023-05-31":
            return validation("anthropic_version: Field required")
    return None
