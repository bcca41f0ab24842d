from __future__ import annotations

import json

import pytest

from claude_failover.core.types import Epoch
from claude_failover.credentials import shapes
from claude_failover.credentials.entry import ANTHROPIC, BEDROCK, Entry, parse
from claude_failover.credentials.secret import Secret
from claude_failover.errors import CredentialError

OAUTH = "sk-ant-oat01-aaaaaaaaaaaaaaaaaaaaaaaa-0001"
NOW = Epoch(1_000.0)


def test_what_is_written_is_what_is_read() -> None:
    for entry in (
        Entry(shapes.LOGIN, Secret(OAUTH), Secret("sk-ant-ort01-x"), Epoch(5.0)),
        Entry(shapes.API_KEY, Secret("sk-ant-api03-x")),
    ):
        again = Entry.load(entry.dump(), "keyring")
        assert (again.kind, again.access, again.refresh, again.expires) == (
            entry.kind,
            entry.access,
            entry.refresh,
            entry.expires,
        )
        assert "sk-ant" not in repr(entry)


def test_what_somebody_else_wrote_is_refused() -> None:
    with pytest.raises(CredentialError, match="anthropic in keyring: does not hold what we wrote"):
        Entry.load("hunter2", "anthropic in keyring")


@pytest.mark.parametrize(
    ("text", "kind", "refresh", "expires"),
    [
        (f" {OAUTH}\n", shapes.LOGIN, None, None),
        ("sk-ant-api03-x", shapes.API_KEY, None, None),
        ("of-a-gateway", shapes.BEARER, None, None),
        (json.dumps({"access_token": OAUTH, "refresh_token": "r", "expires_in": 60}), shapes.LOGIN, "r", 1_060.0),
        (json.dumps({"access_token": OAUTH, "expires_at": 2_000, "scope": "x"}), shapes.LOGIN, None, 2_000.0),
        (json.dumps({"access_token": OAUTH, "refresh_token": "r", "expires_at": 5}), shapes.LOGIN, "r", 5.0),
    ],
)
def test_what_a_person_gives_is_understood(text: str, kind: str, refresh: str | None, expires: float | None) -> None:
    entry = parse(ANTHROPIC, text, NOW)
    assert (entry.kind, entry.expires) == (kind, expires)
    assert (entry.refresh.reveal() if entry.refresh else None) == refresh


def test_claude_code_s_own_refresh_token_is_left_out() -> None:
    """It works once: redeeming it would log Claude Code out."""
    text = json.dumps({"claudeAiOauth": {"accessToken": OAUTH, "refreshToken": "sk-ant-ort01-x", "expiresAt": 2e6}})
    entry = parse(ANTHROPIC, text, NOW)
    assert (entry.access.reveal(), entry.refresh, entry.expires) == (OAUTH, None, 2_000.0)


@pytest.mark.parametrize(
    ("item", "text", "says"),
    [
        (ANTHROPIC, "", "is empty"),
        (ANTHROPIC, "sk-ant-ort01-x", "is a refresh token"),
        (ANTHROPIC, "ABSKx", "token set bedrock"),
        (ANTHROPIC, "{}", "without an access_token"),
        (ANTHROPIC, "{", "without an access_token"),
        (ANTHROPIC, '{"claudeAiOauth": null}', "nobody is logged in"),
        (ANTHROPIC, '{"claudeAiOauth": {"accessToken": "\udcff"}}', "does not parse"),
        (ANTHROPIC, '{"access_token": "\udcff"}', "without an access_token"),
        (ANTHROPIC, '{"x": ' + "[" * 3000 + "]" * 3000 + "}", "without an access_token"),
        (ANTHROPIC, json.dumps({"access_token": OAUTH, "expires_at": 1_000}), "has expired"),
        (BEDROCK, OAUTH, "no Bedrock API key"),
        (BEDROCK, "ABSK a", "no Bedrock API key"),
        (BEDROCK, "ABSKé", "no Bedrock API key"),
    ],
)
def test_what_is_of_no_use_is_refused_with_what_it_is(item: str, text: str, says: str) -> None:
    with pytest.raises(CredentialError, match=says) as caught:
        parse(item, text, NOW)
    assert OAUTH not in str(caught.value)


def test_a_bedrock_key_is_kept_as_it_is() -> None:
    assert parse(BEDROCK, "ABSKabc=\n", NOW).access.reveal() == "ABSKabc="
