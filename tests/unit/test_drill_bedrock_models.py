"""Ids that the simulated Bedrock knows, and from where."""

from __future__ import annotations

import pytest

from claude_failover.drill.bedrock_models import MODELS, Model, on_mantle, on_runtime

ARN = "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/abc"


def runtime(model_id: str, region: str = "us-east-1") -> str:
    """The FM id that an id names, or the text of its refusal."""
    found = on_runtime(model_id, region, {ARN: "anthropic.claude-opus-5-5"}, {"anthropic.claude-opus-5"})
    return found.id if isinstance(found, Model) else found.message


@pytest.mark.parametrize(
    ("model_id", "region"),
    [
        ("global.anthropic.claude-opus-5-5", "sa-east-1"),
        ("us.anthropic.claude-opus-5-5", "us-west-2"),
        ("us.anthropic.claude-opus-5-5", "ca-central-1"),
        ("eu.anthropic.claude-opus-5-5", "eu-north-1"),
        ("jp.anthropic.claude-opus-5-5", "ap-northeast-1"),
        ("arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.anthropic.claude-opus-5-5", "us-east-1"),
        (ARN, "us-east-1"),
    ],
)
def test_a_profile_names_its_model(model_id: str, region: str) -> None:
    assert runtime(model_id, region) == "anthropic.claude-opus-5-5"


def test_a_bare_id_needs_on_demand_throughput() -> None:
    assert "on-demand throughput isn" in runtime("anthropic.claude-opus-5-5")
    assert runtime("anthropic.claude-opus-5") == "anthropic.claude-opus-5"


@pytest.mark.parametrize(
    ("model_id", "region"),
    [
        ("claude-opus-5-5", "us-east-1"),
        ("global.anthropic.claude-opus-9", "us-east-1"),
        ("global.anthropic.claude-opus-4-6", "us-east-1"),
        ("global.anthropic.claude-opus-4-1-20250805-v1:0", "us-east-1"),
        ("us.anthropic.claude-opus-5-5", "eu-west-1"),
        ("jp.anthropic.claude-opus-5-5", "ap-southeast-2"),
        ("xx.anthropic.claude-opus-5-5", "us-east-1"),
        ("arn:aws:bedrock:eu-west-1:000000000000:inference-profile/eu.anthropic.claude-opus-5-5", "us-east-1"),
        ("arn:aws:bedrock:us-east-1:000000000000:foundation-model/x", "us-east-1"),
        ("", "us-east-1"),
    ],
)
def test_other_ids_are_invalid(model_id: str, region: str) -> None:
    assert runtime(model_id, region) == "The provided model identifier is invalid."


def test_mantle_takes_bare_ids_of_its_line_up_only() -> None:
    found = on_mantle("anthropic.claude-haiku-4-5")
    assert isinstance(found, Model)
    assert found.id == "anthropic.claude-haiku-4-5-20251001-v1:0"
    for model_id in ("global.anthropic.claude-opus-5-5", "anthropic.claude-sonnet-4-5-20250929-v1:0", "x"):
        refused = on_mantle(model_id)
        assert not isinstance(refused, Model)
        assert refused.status == 404


def test_an_answer_calls_a_model_by_its_bare_name() -> None:
    names = {model.claude_id for model in MODELS.values()}
    assert {"claude-opus-5-5", "claude-opus-4-6", "claude-haiku-4-5-20251001"} <= names
