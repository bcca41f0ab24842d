"""Bedrock's control plane, as far as discovery needs it: profiles and foundation models (wire/bedrock.md 5.4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from claude_failover.drill.bedrock_models import MODELS, callable_from
from claude_failover.drill.script import Seen

ACCOUNT = "000000000000"


def answer(
    request: Seen, region: str, applications: Mapping[str, str], denied: Collection[str]
) -> dict[str, Any] | None:
    """The listing that a GET asks for; ``None`` if it asks for nothing of ours."""
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    if request.path == "/foundation-models":
        return {"modelSummaries": [_model(fm_id, region) for fm_id in MODELS]}
    if request.path == "/inference-profiles":
        wanted = query.get("type", "SYSTEM_DEFINED")
        listed = profiles(region, denied) if wanted == "SYSTEM_DEFINED" else _applications(applications, region)
        return _page(listed, int(query.get("maxResults", "1000")), int(query.get("nextToken", "0")))
    if request.path.startswith("/inference-profiles/"):
        name = unquote(request.path.removeprefix("/inference-profiles/"))
        both = (*profiles(region, denied), *_applications(applications, region))
        return next((one for one in both if name in (one["inferenceProfileId"], one["inferenceProfileArn"])), None)
    return None


def profiles(region: str, denied: Collection[str]) -> list[dict[str, Any]]:
    """The system-defined profiles that can be called from a region."""
    return [
        {
            "inferenceProfileName": f"{prefix} {model.claude_id}",
            "inferenceProfileId": f"{prefix}.{fm_id}",
            "inferenceProfileArn": f"arn:aws:bedrock:{region}:{ACCOUNT}:inference-profile/{prefix}.{fm_id}",
            "status": "ACTIVE",
            "type": "SYSTEM_DEFINED",
            "models": [{"modelArn": f"arn:aws:bedrock:{region}::foundation-model/{fm_id}"}],
        }
        for fm_id, model in MODELS.items()
        if fm_id not in denied
        for prefix in model.prefixes
        if callable_from(prefix, region)
    ]


def _applications(applications: Mapping[str, str], region: str) -> list[dict[str, Any]]:
    return [
        {
            "inferenceProfileName": "application",
            "inferenceProfileId": arn.rpartition("/")[2],
            "inferenceProfileArn": arn,
            "status": "ACTIVE",
            "type": "APPLICATION",
            "models": [{"modelArn": f"arn:aws:bedrock:{region}::foundation-model/{fm_id}"}],
        }
        for arn, fm_id in applications.items()
    ]


def _page(listed: list[dict[str, Any]], size: int, start: int) -> dict[str, Any]:
    page: dict[str, Any] = {"inferenceProfileSummaries": listed[start : start + size]}
    if start + size < len(listed):
        page["nextToken"] = str(start + size)
    return page


def _model(fm_id: str, region: str) -> dict[str, Any]:
    return {
        "modelArn": f"arn:aws:bedrock:{region}::foundation-model/{fm_id}",
        "modelId": fm_id,
        "modelName": MODELS[fm_id].claude_id,
        "providerName": "Anthropic",
        "inferenceTypesSupported": ["INFERENCE_PROFILE"],
        "responseStreamingSupported": True,
        "modelLifecycle": {"status": "ACTIVE"},
    }
