"""The second signer of every test: that it is asked, and that it would be heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from claude_failover.drill import sigv4
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.script import Seen
from claude_failover.drill.sigv4 import Credential
from tests.signature_hooks import Register
from tests.smithy import Signer

KNOWN = {ACCESS_KEY: Credential(ACCESS_KEY, SECRET_KEY)}
SCOPE = "20261122/us-east-1/bedrock/aws4_request"
SIGNED = "host;x-amz-date"


def request(signature: str, key: str = ACCESS_KEY, scope: str = SCOPE) -> Seen:
    headers = (
        ("host", "bedrock-runtime.us-east-1.amazonaws.com"),
        ("x-amz-date", "20261122T120000Z"),
        ("authorization", f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={SIGNED}, Signature={signature}"),
    )
    return Seen(1, "POST", "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke", headers, b"{}", 1, 0.0)


def right() -> Seen:
    return request(sigv4.signature(request("0" * 64), SECRET_KEY, SCOPE, SIGNED))


@pytest.fixture
def register() -> Iterator[Register]:
    register = Register(signer=Signer())
    yield register
    assert register.signer is not None
    register.signer.close()


def test_a_right_signature_is_agreed_on(register: Register) -> None:
    register.note(right(), KNOWN, accepted=True)
    assert len(register.judged) == 1
    assert register.disagreements() == []
    assert register.judged == []


def test_a_wrong_one_that_was_accepted_is_found_and_one_that_was_refused_is_not(register: Register) -> None:
    touched = replace(right(), body=b"{} ")
    register.note(touched, KNOWN, accepted=True)
    register.note(touched, KNOWN, accepted=False)
    assert register.disagreements() == [f"POST {touched.target}: accepted, but smithy signs it differently"]


def test_a_verifier_that_computes_something_else_is_found(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = right()
    monkeypatch.setattr(sigv4, "canonical_path", lambda path: path)
    register.note(sent, KNOWN, accepted=False)
    assert register.disagreements() == [f"POST {sent.target}: our verifier and smithy compute different signatures"]


@pytest.mark.parametrize(
    "sent",
    [
        request("0" * 64, key="AKIAUNKNOWN"),
        request("0" * 64, scope="20261121/us-east-1/bedrock/aws4_request"),
        replace(right(), headers=(("authorization", "Bearer ABSK"),)),
    ],
    ids=["an unknown key", "another day", "no signature"],
)
def test_what_nobody_could_sign_is_left_out(sent: Seen) -> None:
    register = Register()
    register.note(sent, KNOWN, accepted=False)
    assert register.disagreements() == []
    assert register.signer is None
