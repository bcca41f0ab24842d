"""The verifier takes what botocore signs and refuses everything that was touched afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY, by_key
from claude_failover.drill.script import Refusal, Seen
from claude_failover.drill.sigv4 import Credential, canonical_path, canonical_query, verify

HOST = "bedrock-runtime.us-east-1.amazonaws.com"
KNOWN = by_key(Credential(ACCESS_KEY, SECRET_KEY))
SESSION = by_key(Credential(ACCESS_KEY, SECRET_KEY, "made/up+token=="))

TARGETS = [
    "/anthropic/v1/messages",
    "/anthropic/v1/messages?beta=true",
    "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke-with-response-stream",
    "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
    "/model/arn:aws:bedrock:us-east-1:000000000000:inference-profile%2Fglobal.anthropic.claude-opus-5-5/invoke",
    "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A000000000000%3Aapplication-inference-profile%2Fabc/invoke",
    "/inference-profiles?type=SYSTEM_DEFINED&maxResults=1000",
]


def signed(
    target: str = "/anthropic/v1/messages", body: bytes = b'{"a":1}', service: str = "bedrock", token: str | None = None
) -> Seen:
    """A request as botocore signs it, as the server sees it."""
    request = AWSRequest(
        "POST", f"https://{HOST}{target}", data=body, headers={"content-type": "application/json", "accept": "*/*"}
    )
    SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY, token), service, "us-east-1").add_auth(request)
    headers = (("Host", HOST), *((name, str(value)) for name, value in request.headers.items()))
    return Seen(1, "POST", target, headers, body, 1, 0.0)


def moment(request: Seen) -> float:
    """When it was signed."""
    stamp = request.header("x-amz-date")
    assert stamp is not None
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def judged(request: Seen, *, late: float = 0.0, region: str = "us-east-1", service: str = "bedrock") -> Refusal | None:
    return verify(request, KNOWN, region, service, moment(request) + late)


def with_header(request: Seen, name: str, value: str) -> Seen:
    kept = tuple(pair for pair in request.headers if pair[0].lower() != name)
    return replace(request, headers=(*kept, (name, value)))


@pytest.mark.parametrize("target", TARGETS)
def test_what_botocore_signs_is_accepted(target: str) -> None:
    assert judged(signed(target)) is None


def test_the_signing_name_of_mantle_is_its_own() -> None:
    assert judged(signed(service="bedrock-mantle"), service="bedrock-mantle") is None
    refusal = judged(signed(service="bedrock-mantle"))
    assert refusal is not None
    assert refusal.message == "Credential should be scoped to correct service: 'bedrock'."


def test_a_session_token_must_be_the_one_of_its_key() -> None:
    request = signed(token="made/up+token==")
    now = moment(request)
    assert verify(request, SESSION, "us-east-1", "bedrock", now) is None
    for refused in (judged(request), verify(signed(), SESSION, "us-east-1", "bedrock", now)):
        assert refused is not None
        assert refused.error_type == "UnrecognizedClientException"


def test_an_expired_session_is_called_expired() -> None:
    request = signed(token="t")
    known = by_key(Credential(ACCESS_KEY, SECRET_KEY, "t", expires=moment(request)))
    refusal = verify(request, known, "us-east-1", "bedrock", moment(request))
    assert refusal is not None
    assert refusal.message == "The security token included in the request is expired"


@pytest.mark.parametrize(
    "touched",
    [
        lambda request: replace(request, body=b'{"a":2}'),
        lambda request: replace(request, method="PUT"),
        lambda request: replace(request, target="/anthropic/v1/messages?beta=true"),
        lambda request: with_header(request, "host", "elsewhere.example"),
        lambda request: with_header(request, "content-type", "text/plain"),
        lambda request: with_header(request, "accept", "application/json"),
    ],
    ids=["body", "method", "query", "host", "content-type", "accept"],
)
def test_whatever_was_signed_may_not_be_touched(touched: object) -> None:
    assert callable(touched)
    refusal = judged(touched(signed()))
    assert refusal is not None
    assert refusal.error_type == "InvalidSignatureException"
    assert refusal.message.startswith("The request signature we calculated does not match")


def test_a_colon_is_not_its_escape() -> None:
    """An aiohttp URL that was normalised after signing fails here as it does at AWS (wire/bedrock.md 2.1)."""
    request = signed("/model/x-v1%3A0/invoke")
    assert judged(replace(request, target="/model/x-v1:0/invoke")) is not None


def test_headers_of_aws_must_be_signed_and_their_hash_true() -> None:
    unsigned = judged(with_header(signed(), "x-amz-meta", "1"))
    assert unsigned is not None
    assert unsigned.message.endswith("not signed: x-amz-meta")
    request = signed()
    lying = with_header(request, "x-amz-content-sha256", "0" * 64)
    assert judged(lying) is not None


@pytest.mark.parametrize(("late", "wording"), [(301.0, "Signature expired: "), (-301.0, "Signature not yet current: ")])
def test_five_minutes_of_skew_are_the_most(late: float, wording: str) -> None:
    assert judged(signed(), late=late * 300 / 301) is None
    refusal = judged(signed(), late=late)
    assert refusal is not None
    assert refusal.message.startswith(wording)
    assert "5 min." in refusal.message


def test_another_region_is_refused() -> None:
    refusal = judged(signed(), region="eu-west-1")
    assert refusal is not None
    assert "valid region" in refusal.message


@pytest.mark.parametrize("authorization", ["AWS4-HMAC-SHA256 Credential=x", "AWS4-HMAC-SHA256", "Basic eA=="])
def test_half_an_authorization_is_incomplete(authorization: str) -> None:
    refusal = judged(with_header(signed(), "authorization", authorization))
    assert refusal is not None
    assert refusal.error_type == "IncompleteSignatureException"


def test_an_unknown_key_is_not_recognised() -> None:
    request = signed()
    refusal = verify(request, {}, "us-east-1", "bedrock", moment(request))
    assert refusal is not None
    assert refusal.error_type == "UnrecognizedClientException"


def test_each_segment_of_the_wire_path_is_encoded_once_more() -> None:
    assert canonical_path("/model/a-v1:0/invoke") == "/model/a-v1%3A0/invoke"
    assert canonical_path("/model/a-v1%3A0/invoke") == "/model/a-v1%253A0/invoke"
    assert canonical_path("/a//b/../c/./d/") == "/a/c/d/"
    assert canonical_path("/") == "/"


def test_a_query_is_decoded_encoded_and_sorted() -> None:
    assert canonical_query("b=2&a=x%2fy&a=~") == "a=x%2Fy&a=~&b=2"
    assert canonical_query("flag") == "flag="


def test_a_credential_never_shows_its_secret() -> None:
    assert SECRET_KEY not in repr(Credential(ACCESS_KEY, SECRET_KEY, "token"))
