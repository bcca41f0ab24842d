from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.redaction import MASK, forms, redact

CANARY = "c4N4ry-c4N4ry-c4N4ry"

LEAKS = [
    # reliability-security.md 2.6; every line holds a canary that must be gone.
    f"sk-ant-api03-{CANARY}",
    f"token sk-ant-oat01-{CANARY} is expired",
    f"sk-ant-ort01-{CANARY}",
    f"Authorization: Bearer {CANARY}",
    f"authorization : {CANARY}",
    f"proxy-authorization: Basic {CANARY}",
    f'"x-api-key": "{CANARY}"',
    f"b'x-api-key: {CANARY}\\x00'",
    f"'x-claude-failover-key': '{CANARY}'",
    f"x-amz-security-token:{CANARY}",
    f"Cookie: session={CANARY}",
    f"set-cookie={CANARY}; Path=/",
    f"Bearer {CANARY}",
    f"https://x/?X-Amz-Signature={CANARY}&X-Amz-Credential={CANARY}",
    f"Signature={CANARY}",
    f"AWS4-HMAC-SHA256 Credential=x/y, SignedHeaders=host, Signature={CANARY}",
    f'{{"secretAccessKey":"{CANARY}","sessionToken":"{CANARY}"}}',
    f"aws_secret_access_key = {CANARY}",
    f'"accessToken": "{CANARY}"',
    f"refresh_token={CANARY}",
    f"client_secret='{CANARY}'",
    f"api_key={CANARY}",
    f"password: {CANARY}",
    f"ABSKQmVkcm9ja0FQSUtleS{CANARY}",
    f"bedrock-api-key-{CANARY}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{CANARY}",
    f"eyJhbGciOiJIUzI1NiJ9.{CANARY}.{CANARY}",
]


@pytest.mark.parametrize("text", LEAKS)
def test_what_looks_like_a_secret_is_taken_out(text: str) -> None:
    cleaned = redact(text)
    assert CANARY not in cleaned
    assert MASK in cleaned
    assert redact(cleaned) == cleaned


@pytest.mark.parametrize(
    "key", ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "AROAIOSFODNN7EXAMPLE", "AIDAIOSFODNN7EXAMPLE"]
)
def test_ids_of_aws_keys_are_taken_out(key: str) -> None:
    assert redact(f"key {key}.") == f"key {MASK}."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "session limit used up",
        "messages.3.content.0.thinking.signature: Field required",
        "max_tokens: 128000 > 64000",
        "req_011CSHoEeqs5C35K2UUqR7Fy",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5-5",
        "the authorization of the user is missing",
        "the token was refreshed",
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_a_known_secret_is_found_in_every_spelling() -> None:
    secret = 'sEcr3t/"+va lue~é'
    data = secret.encode()
    spelt = [
        secret,
        json.dumps({"a": secret}),
        json.dumps({"a": secret}, ensure_ascii=False),
        quote(secret, safe=""),
        data.hex(),
        data.hex().upper(),
        *(
            base64.b64encode(b"user"[:length] + b":" + data + tail).decode()
            for length in range(4)
            for tail in (b"", b"xy")
        ),
        *(base64.urlsafe_b64encode(b"user"[:length] + data).decode() for length in range(4)),
    ]
    needles = forms(secret)
    for text in spelt:
        assert any(needle in text for needle in needles), text


def test_a_value_too_short_to_tell_from_a_word_is_not_looked_for() -> None:
    assert forms("secret") == frozenset()


@settings(max_examples=200)
@given(st.text(max_size=400))
def test_redacting_never_raises_and_twice_is_as_good_as_once(text: str) -> None:
    cleaned = redact(text)
    assert redact(cleaned) == cleaned


@settings(max_examples=100)
@given(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=80),
    st.binary(max_size=7),
    st.binary(max_size=7),
)
def test_base64_hides_no_secret_wherever_it_begins(secret: str, before: bytes, after: bytes) -> None:
    text = base64.b64encode(before + secret.encode() + after).decode()
    assert any(needle in text for needle in forms(secret))
