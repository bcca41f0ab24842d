from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.types import Epoch
from claude_failover.credentials import claude_login
from claude_failover.errors import CredentialError

OAUTH = "sk-ant-oat01-aaaaaaaaaaaaaaaaaaaaaaaa-0001"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_the_time_of_its_end_is_in_milliseconds() -> None:
    data = json.dumps({"claudeAiOauth": {"accessToken": OAUTH, "expiresAt": 1_778_667_589_158}}).encode()
    token = claude_login.parse_login(data, "a file", Epoch(1_778_667_589.0))
    assert token is not None
    assert (token.expires, token.oauth, token.source) == (1_778_667_589.158, True, "a file")
    with pytest.raises(CredentialError, match="a file: Claude Code's login has expired"):
        claude_login.parse_login(data, "a file", Epoch(1_778_667_590.0))


def test_it_lies_where_claude_code_puts_it() -> None:
    assert claude_login.config_dir({"HOME": "/home/me"}) == Path("/home/me/.claude")
    assert claude_login.config_dir({"HOME": "/home/me", "CLAUDE_CONFIG_DIR": "/etc/c"}) == Path("/etc/c")


def test_the_keychain_item_is_named_for_its_configuration_directory() -> None:
    assert claude_login.keychain_service({}) == "Claude Code-credentials"
    # the first eight digits of what sha256sum says of /tmp/x
    assert claude_login.keychain_service({"CLAUDE_CONFIG_DIR": "/tmp/x"}) == "Claude Code-credentials-2e56aa36"


def test_the_keychain_is_asked_on_macos_only(clock: FakeClock) -> None:
    asked: list[list[str]] = []

    def ask(arguments: list[str]) -> bytes | None:
        asked.append(arguments)
        return json.dumps({"claudeAiOauth": {"accessToken": OAUTH}}).encode()

    wall = clock.now().wall
    assert claude_login.of_keychain({"USER": "me"}, wall, ask=ask, platform="linux") is None
    token = claude_login.of_keychain({"USER": "me"}, wall, ask=ask, platform="darwin")
    assert token is not None
    assert token.source == "the macOS keychain"
    assert asked == [["find-generic-password", "-s", "Claude Code-credentials", "-a", "me", "-w"]]
    assert claude_login.of_keychain({}, wall, ask=lambda _: None, platform="darwin") is None


def test_a_keychain_that_does_not_answer_is_said(clock: FakeClock) -> None:
    def ask(_: list[str]) -> bytes | None:
        raise OSError("no such program")

    with pytest.raises(CredentialError, match="does not answer"):
        claude_login.of_keychain({}, clock.now().wall, ask=ask, platform="darwin")


def test_the_refresh_token_that_lies_beside_it_is_never_read() -> None:
    """It works once: whoever redeems it logs Claude Code out."""
    data = json.dumps({"claudeAiOauth": {"accessToken": OAUTH, "refreshToken": "sk-ant-ort01-claude-codes-own"}})
    token = claude_login.parse_login(data.encode(), "a file", Epoch(0.0))
    assert token is not None
    assert token.secret.reveal() == OAUTH
    assert not any("refresh" in field for field in type(token).__slots__)


def test_a_program_that_is_not_there_or_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = subprocess.CompletedProcess([], 44, b"x")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: found)
    assert claude_login._security(["find-generic-password"]) is None
    found.returncode = 0
    assert claude_login._security(["find-generic-password"]) == b"x"
