from __future__ import annotations

import pytest

from claude_failover.core import bedrock_ids

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "anthropic.claude-opus-5-5"
APPLICATION = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12cd34ef56"


@pytest.mark.parametrize(
    ("model", "fm_id", "scope"),
    [
        (OPUS, OPUS, "none"),
        (f"global.{OPUS}", OPUS, "global"),
        (f"us-gov.{SONNET}", SONNET, "us-gov"),
        (f"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.{SONNET}", SONNET, "eu"),
        (f"arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{SONNET}", SONNET, "none"),
        (APPLICATION, None, "none"),
    ],
)
def test_an_id_says_its_model_and_how_far_it_routes(model: str, fm_id: str | None, scope: str) -> None:
    assert bedrock_ids.is_bedrock_id(model)
    assert bedrock_ids.foundation_id(model) == fm_id
    assert bedrock_ids.scope_of(model) == scope
    assert bedrock_ids.is_opaque(model) is (fm_id is None)


@pytest.mark.parametrize("model", ["claude-opus-5-5", "xx.anthropic.claude-a", "amazon.nova-pro", "arn:aws:s3:::b", ""])
def test_other_ids_are_not_bedrocks(model: str) -> None:
    assert not bedrock_ids.is_bedrock_id(model)
    assert not bedrock_ids.is_opaque(model)
    assert bedrock_ids.foundation_id(model) is None
    assert bedrock_ids.scope_of(model) == "none"


@pytest.mark.parametrize(
    ("fm_id", "spelling"),
    [
        (SONNET, "claude-sonnet-4-5-20250929"),
        ("anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("anthropic.claude-3-haiku-20240307-v1:0:200k", "claude-3-haiku-20240307"),
        (OPUS, "claude-opus-5-5"),
    ],
)
def test_claude_spells_it_without_vendor_and_version(fm_id: str, spelling: str) -> None:
    assert bedrock_ids.claude_spelling(fm_id) == spelling


@pytest.mark.parametrize(
    ("region", "prefixes"),
    [
        (None, ()),
        ("us-east-1", ("us",)),
        ("us-gov-west-1", ("us-gov",)),
        ("ca-central-1", ("us",)),
        ("eu-north-1", ("eu",)),
        ("ap-northeast-1", ("jp", "apac")),
        ("ap-southeast-4", ("au", "apac")),
        ("ap-south-1", ("apac",)),
        ("sa-east-1", ()),
    ],
)
def test_a_region_lies_in_these_geographies(region: str | None, prefixes: tuple[str, ...]) -> None:
    assert bedrock_ids.geographies(region) == prefixes


@pytest.mark.parametrize(
    ("scope", "region", "known", "expected"),
    [
        ("global", "us-east-1", ["global", "us"], ["global.", "us.", ""]),
        ("global", None, [], ["global.", ""]),
        ("global", "ap-northeast-1", [], ["global.", "jp.", "apac.", ""]),
        ("global", "us-east-1", ["us", "eu"], ["us.", "global.", ""]),
        ("eu", "eu-west-1", ["global", "eu"], ["eu.", ""]),
        ("eu", "eu-west-1", ["global"], ["eu.", ""]),
        ("apac", "ap-southeast-2", ["au"], ["au.", "apac.", ""]),
        ("apac", "us-east-1", [], ["apac.", ""]),
        ("none", "us-east-1", ["global", "us"], [""]),
    ],
    ids=str,
)
def test_forms_never_leave_the_scope_and_listed_ones_come_first(
    scope: str, region: str | None, known: list[str], expected: list[str]
) -> None:
    assert bedrock_ids.forms(OPUS, scope, region, known) == tuple(prefix + OPUS for prefix in expected)
