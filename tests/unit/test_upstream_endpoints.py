from __future__ import annotations

import pytest

from claude_failover.errors import ConfigError, CredentialError
from claude_failover.upstream.endpoints import MANTLE, RUNTIME, by_rule, checked_region, configured


@pytest.mark.parametrize(
    ("region", "service", "environ", "origin"),
    [
        ("us-east-1", RUNTIME, {}, "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ("us-gov-west-1", RUNTIME, {}, "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("eusc-de-east-1", RUNTIME, {}, "https://bedrock-runtime.eusc-de-east-1.amazonaws.eu"),
        (
            "us-west-2",
            RUNTIME,
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            "https://bedrock-runtime-fips.us-west-2.amazonaws.com",
        ),
        ("us-west-2", RUNTIME, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://bedrock-runtime.us-west-2.api.aws"),
        ("us-west-2", MANTLE, {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://bedrock-mantle.us-west-2.api.aws"),
    ],
)
def test_the_public_endpoint_follows_from_region_and_service(
    region: str, service: str, environ: dict[str, str], origin: str
) -> None:
    assert by_rule(region, service, environ) == origin


@pytest.mark.parametrize("region", ["", "x@evil.example/", "us-east-1.evil", "US-EAST-1", "us-east-1\n", "global"])
def test_what_is_no_region_never_becomes_a_host(region: str) -> None:
    with pytest.raises(CredentialError, match="is no AWS region"):
        checked_region(region)


EVERYTHING = {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://runtime/", "AWS_ENDPOINT_URL": "https://all"}


@pytest.mark.parametrize(
    ("setting", "service", "environ", "found"),
    [
        ("https://mine/bedrock/", RUNTIME, EVERYTHING, "https://mine/bedrock"),
        (None, RUNTIME, EVERYTHING, "https://runtime"),
        (None, MANTLE, EVERYTHING, "https://all"),
        (None, RUNTIME, EVERYTHING | {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "True"}, None),
        (None, RUNTIME, {}, None),
    ],
)
def test_a_setting_wins_over_the_environment(
    setting: str | None, service: str, environ: dict[str, str], found: str | None
) -> None:
    assert configured(setting, service, environ) == found


def test_an_endpoint_that_cannot_be_used_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^endpoint_url: 'bedrock\.local' is no URL"):
        configured("bedrock.local", RUNTIME, {})
    with pytest.raises(ConfigError, match=r"^AWS_ENDPOINT_URL: a custom endpoint and AWS_USE_FIPS_ENDPOINT"):
        configured(None, RUNTIME, {"AWS_ENDPOINT_URL": "https://x", "AWS_USE_FIPS_ENDPOINT": "true"})
