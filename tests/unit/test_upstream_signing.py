from __future__ import annotations

from dataclasses import dataclass

import pytest

from claude_failover.core.types import Epoch, Headers
from claude_failover.credentials.secret import Secret
from claude_failover.drill.script import Seen
from claude_failover.drill.sigv4 import Credential, verify
from claude_failover.upstream import signing

NOW = Epoch(1_795_305_600.0)  # 2026-11-22 00:00 UTC


@dataclass
class Keys:
    access_key: str = "AKIAEXAMPLE"
    secret_key: Secret | None = None
    session_token: Secret | None = None
    api_key: Secret | None = None


def signed(target: str, headers: Headers = (), token: str | None = None, body: bytes = b"{}") -> Headers:
    return signing.sign(
        signing.load(),
        Keys(secret_key=Secret("example/secret"), session_token=Secret(token) if token else None),
        method="POST",
        url=f"https://bedrock-runtime.us-east-1.amazonaws.com{target}",
        headers=headers,
        body_hash=signing.payload_hash(body),
        service="bedrock",
        region="us-east-1",
        now=NOW,
    )


@pytest.mark.parametrize(
    "target",
    [
        "/anthropic/v1/messages",
        "/anthropic/v1/messages?beta=true",
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke",
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
        "/model/arn:aws:bedrock:us-east-1:1:application-inference-profile%2Fx/invoke-with-response-stream",
    ],
)
@pytest.mark.parametrize("token", [None, "session-token"])
def test_another_implementation_comes_to_the_same_signature(target: str, token: str | None) -> None:
    headers: Headers = (("Content-Type", "application/json"), ("x-amzn-bedrock-service-tier", "flex"))
    lines = (("host", "bedrock-runtime.us-east-1.amazonaws.com"), *headers, *signed(target, headers, token))
    seen = Seen(1, "POST", target, lines, b"{}", 1, 0.0)
    known = {"AKIAEXAMPLE": Credential("AKIAEXAMPLE", "example/secret", token)}
    assert verify(seen, known, "us-east-1", "bedrock", NOW) is None
    altered = Seen(1, "POST", target, lines, b"{ }", 1, 0.0)
    assert verify(altered, known, "us-east-1", "bedrock", NOW) is not None


def test_what_a_proxy_may_touch_is_not_signed() -> None:
    lines = dict(signed("/", (("accept", "x"), ("user-agent", "x"), ("content-type", "y"), ("anthropic-beta", "b"))))
    assert "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date," in lines["authorization"]
    assert lines["x-amz-date"] == "20261122T000000Z"


def test_the_secret_itself_is_never_in_what_goes_out() -> None:
    assert "example/secret" not in repr(signed("/"))
