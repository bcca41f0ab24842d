from __future__ import annotations

from typing import Any

import keyring
import pytest
from keyring.backends import chainer, fail, null
from keyring.errors import InitError, KeyringLocked, NoKeyringError

from claude_failover.credentials.keyrings import FILE_HINT, KeyringVault
from claude_failover.errors import CredentialError


class Memory:
    """A keyring that keeps what it is given, or does not."""

    def __init__(self, *, forgets: bool = False, fails: Exception | None = None) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.forgets = forgets
        self.fails = fails

    def get_password(self, service: str, username: str) -> str | None:
        if self.fails is not None:
            raise self.fails
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if not self.forgets:
            self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


# keyring's classes have no types
NULL: Any = null.Keyring
FAIL: Any = fail.Keyring
CHAIN: Any = chainer.ChainerBackend
TRUSTED = frozenset({f"{Memory.__module__}.Memory"})


def test_what_is_kept_is_read_and_forgotten_again() -> None:
    backend = Memory()
    vault = KeyringVault(backend, TRUSTED)
    assert vault.get("anthropic") is None
    vault.set("anthropic", "value")
    assert backend.kept == {("claude-failover", "anthropic"): "value"}
    assert vault.get("anthropic") == "value"
    assert vault.delete("anthropic") is True
    assert vault.delete("anthropic") is False


@pytest.mark.parametrize("backend", [Memory(), NULL()], ids=["unknown", "null"])
def test_a_backend_that_is_not_known_to_protect_is_refused(backend: object) -> None:
    vault = KeyringVault(backend)
    for action in (vault.get, vault.delete, lambda item: vault.set(item, "value")):
        with pytest.raises(CredentialError, match="does not protect what it holds") as caught:
            action("anthropic")
        assert caught.value.hint == FILE_HINT


def test_no_keyring_at_all_is_said_with_the_way_out() -> None:
    with pytest.raises(CredentialError, match="there is no keyring on this machine") as caught:
        KeyringVault(FAIL()).get("x")
    assert caught.value.hint == "claude-failover token set --store file"


def test_within_a_chain_the_first_that_is_trusted_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    good = Memory()
    monkeypatch.setattr(CHAIN, "backends", [NULL(), good])
    KeyringVault(CHAIN(), TRUSTED).set("anthropic", "value")
    assert good.kept == {("claude-failover", "anthropic"): "value"}


def test_the_library_is_asked_for_its_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Memory()
    monkeypatch.setattr(keyring, "get_keyring", lambda: backend)
    KeyringVault(trusted=TRUSTED).set("anthropic", "value")
    assert len(backend.kept) == 1


def test_writing_that_keeps_nothing_is_found_out() -> None:
    with pytest.raises(CredentialError, match="did not keep what was written"):
        KeyringVault(Memory(forgets=True), TRUSTED).set("anthropic", "value")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KeyringLocked("secret"), "the keyring is locked"),
        (InitError("secret"), "cannot be opened: it is locked, or does not answer"),
        (NoKeyringError("secret"), "there is no keyring"),
        (ConnectionResetError("secret"), "the keyring failed: ConnectionResetError"),
    ],
)
def test_what_a_keyring_raises_is_said_by_its_kind(error: Exception, says: str) -> None:
    with pytest.raises(CredentialError, match=says) as caught:
        KeyringVault(Memory(fails=error), TRUSTED).get("anthropic")
    assert "secret" not in str(caught.value)
