"""A second opinion on our simulator's signatures: the AWS SDK for JavaScript.

Every signed request of the other tests is signed once more like this (tests/signature_hooks.py); here are the targets
and headers that none of them has, and what was touched on the way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence

import aiohttp
import pytest
import yarl
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.script import Seen
from claude_failover.drill.sigv4 import Credential, signature
from tests.fakes import messages_body, simulated_bedrock
from tests.smithy import Signer, question

TOKEN = "made-up/session+token=="

TARGETS = [
    "/anthropic/v1/messages",
    "/anthropic/v1/messages?beta=true",
    "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke-with-response-stream",
    "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
    "/model/arn:aws:bedrock:us-east-1:000000000000:inference-profile%2Fglobal.anthropic.claude-opus-5-5/invoke",
    "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A000000000000%3Aapplication-inference-profile%2Fabc/invoke",
]


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    signer = Signer()
    yield signer
    signer.close()


def parts(request: Seen) -> tuple[str, str, str]:
    """Scope, signed headers and signature of a request's authorization."""
    match = re.search(
        r"Credential=[^/]+/(\S+), SignedHeaders=(\S+), Signature=(\w+)", request.header("authorization") or ""
    )
    assert match is not None
    scope, signed, given = match.groups()
    return scope, signed, given


def by_smithy(signer: Signer, requests: Sequence[Seen]) -> list[str]:
    """The signatures that smithy makes for requests that arrived."""
    return signer.sign([question(request, SECRET_KEY, *parts(request)[:2]) for request in requests])


async def captured(
    service: str = "bedrock", token: str | None = None, more: dict[str, str] | None = None
) -> list[Seen]:
    """Requests signed by botocore, sent by aiohttp, as the simulator received them."""
    async with (
        simulated_bedrock(strict=False, mantle=service == "bedrock-mantle") as bedrock,
        aiohttp.ClientSession() as session,
    ):
        bedrock.account.credentials[ACCESS_KEY] = Credential(ACCESS_KEY, SECRET_KEY, token)
        for target in TARGETS:
            url, body = bedrock.url + target, messages_body("Grüße " * 50, model="global.anthropic.claude-opus-5-5")
            request = AWSRequest("POST", url, data=body, headers={"content-type": "application/json", **(more or {})})
            SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY, token), service, "us-east-1").add_auth(request)
            headers = dict(request.headers.items())
            async with session.post(yarl.URL(url, encoded=True), data=body, headers=headers) as response:
                assert response.status != 403, await response.read()
        return list(bedrock.requests)


@pytest.mark.parametrize(
    ("service", "token", "more"),
    [
        ("bedrock", None, {}),
        ("bedrock", TOKEN, {}),
        ("bedrock-mantle", None, {}),
        ("bedrock", None, {"accept": "application/vnd.amazon.eventstream", "x-amzn-bedrock-service-tier": "flex"}),
        ("bedrock", None, {"x-amz-meta": "a   b"}),
    ],
    ids=["plain", "session token", "mantle", "more headers", "spaces"],
)
async def test_three_signers_agree_on_what_arrived(
    signer: Signer, service: str, token: str | None, more: dict[str, str]
) -> None:
    requests = await captured(service, token, more)
    theirs = await asyncio.to_thread(by_smithy, signer, requests)
    for request, smithy in zip(requests, theirs, strict=True):
        scope, signed, botocore = parts(request)
        assert smithy == botocore == signature(request, SECRET_KEY, scope, signed), request.target


async def test_three_signers_agree_on_what_was_touched(signer: Signer) -> None:
    requests = await captured()
    touched = [
        Seen(
            seen.number,
            seen.method,
            seen.target.replace("%3A", ":").replace("?beta=true", "?beta=false"),
            seen.headers,
            seen.body + b" ",
            1,
            0.0,
        )
        for seen in requests
    ]
    theirs = await asyncio.to_thread(by_smithy, signer, touched)
    for request, smithy in zip(touched, theirs, strict=True):
        scope, signed, botocore = parts(request)
        assert smithy == signature(request, SECRET_KEY, scope, signed) != botocore
