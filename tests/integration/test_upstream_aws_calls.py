"""The small questions to AWS against a simulated account: signatures, refusals, clocks, dead ends."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import pytest

from claude_failover.clock import Clock, SystemClock
from claude_failover.core.types import Epoch, Instant
from claude_failover.credentials.aws_chain import AwsKeys
from claude_failover.credentials.secret import Secret
from claude_failover.drill.bedrock_access import ACCESS_KEY, API_KEY, SECRET_KEY
from claude_failover.errors import CredentialError
from claude_failover.upstream.aws_calls import AwsCalls, skew_of, sts_origin
from tests.aws_account import ARN, SimulatedAccount

KEYS = AwsKeys("env", ACCESS_KEY, Secret(SECRET_KEY))
OPUS = "anthropic.claude-opus-5-5"
OLD = "anthropic.claude-sonnet-4-5-20250929-v1:0"


@dataclass
class Shifted:
    """A machine whose clock is off."""

    by: float

    def now(self) -> Instant:
        now = SystemClock().now()
        return Instant(Epoch(now.wall + self.by), now.monotonic)


def calls(account: SimulatedAccount, keys: AwsKeys = KEYS, clock: Clock | None = None) -> AwsCalls:
    return AwsCalls(keys, "us-east-1", {"sts": account.url, "bedrock": account.url}, {}, clock)


async def test_sts_says_who_we_are() -> None:
    async with SimulatedAccount() as account:
        asker = calls(account)
        found = await asker.identity()
        await asker.close()
    assert (found.account, found.arn) == ("000000000000", ARN)
    assert found.said.skew is not None
    assert abs(found.said.skew) < 5
    assert not account.violations


async def test_a_refused_key_is_named_by_its_code_and_nothing_else() -> None:
    async with SimulatedAccount() as account:
        asker = calls(account, AwsKeys("env", ACCESS_KEY, Secret("another/worth/nothing")))
        found = await asker.identity()
        await asker.close()
    assert (found.said.problem, found.arn) == ("InvalidSignature", "")
    assert "quoting" not in found.said.problem


async def test_a_wrong_clock_is_corrected_by_the_refusals_date() -> None:
    async with SimulatedAccount() as account:
        asker = calls(account, clock=Shifted(-1800))
        found = await asker.identity()
        await asker.close()
    assert found.arn == ARN
    assert account.asked == ["GetCallerIdentity", "GetCallerIdentity"]
    assert found.said.skew is not None
    assert 1790 < found.said.skew < 1810


async def test_an_api_key_is_not_shown_to_sts() -> None:
    async with SimulatedAccount() as account:
        asker = calls(account, AwsKeys("env", api_key=Secret(API_KEY)))
        found = await asker.identity()
        assert not found.said.good
        assert account.count == 0
        assert (await asker.availability(OPUS)).missing == ""
        await asker.close()


@pytest.mark.parametrize("model", [OPUS, OLD])
async def test_what_is_missing_for_a_model_is_said(model: str) -> None:
    async with SimulatedAccount() as account:
        asker = calls(account)
        there = await asker.availability(model)
        account.not_agreed.add(model)
        not_agreed = await asker.availability(model)
        account.not_agreed.clear()
        account.denied.add(model)
        not_requested = await asker.availability(model)
        account.tells_access = False
        not_told = await asker.availability(model)
        await asker.close()
    assert (there.said.good, there.missing) == (True, "")
    assert not_agreed.missing == "its agreement is not accepted"
    assert not_requested.missing == "access was not requested"
    assert (not_told.said.good, not_told.said.problem) == (False, "AccessDeniedException")
    assert [unquote(one) for one in account.asked] == [model] * 4


async def test_nobody_there_is_a_sentence() -> None:
    async with SimulatedAccount() as account:
        url = account.url
    asker = AwsCalls(KEYS, "us-east-1", {"sts": url}, {})
    found = await asker.identity()
    await asker.close()
    assert found.said.status == 0
    assert "AWS (sts)" in found.said.problem


def test_a_region_that_is_none_is_refused() -> None:
    with pytest.raises(CredentialError, match="is no AWS region"):
        AwsCalls(KEYS, "x@evil.example/", {}, {})
    with pytest.raises(CredentialError, match="is no AWS region"):
        sts_origin("x@evil.example/", {})


@pytest.mark.parametrize(
    ("region", "environ", "origin"),
    [
        ("us-east-1", {}, "https://sts.us-east-1.amazonaws.com"),
        ("us-gov-west-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://sts-fips.us-gov-west-1.amazonaws.com"),
        ("eusc-de-east-1", {}, "https://sts.eusc-de-east-1.amazonaws.eu"),
        ("us-east-1", {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1/", "AWS_ENDPOINT_URL": "x"}, "http://127.0.0.1:1"),
        ("us-east-1", {"AWS_ENDPOINT_URL": "http://127.0.0.1:2"}, "http://127.0.0.1:2"),
    ],
)
def test_where_sts_is(region: str, environ: dict[str, str], origin: str) -> None:
    assert sts_origin(region, environ) == origin


def test_a_clock_is_compared_by_the_date() -> None:
    assert skew_of("Thu, 01 Jan 1970 00:01:00 GMT", Epoch(50.0)) == 10.0
    assert skew_of("", Epoch(50.0)) is None
    assert skew_of("yesterday", Epoch(50.0)) is None
