from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from claude_failover.core import gate
from claude_failover.credentials.client_key import ClientKey
from claude_failover.errors import CredentialError


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "client_key"
    old = os.umask(0)
    try:
        made = ClientKey.load_or_create(path)
    finally:
        os.umask(old)
    key = path.read_text().strip()
    assert key.startswith("cfk_")
    assert len(key) == 4 + 43  # 32 bytes in URL-safe Base64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ClientKey.load_or_create(path).digest == made.digest
    assert made.matches(key)
    assert made.digest == gate.digest(key)
    assert key not in repr(made)


def test_two_keys_are_different(tmp_path: Path) -> None:
    assert ClientKey.load_or_create(tmp_path / "a").digest != ClientKey.load_or_create(tmp_path / "b").digest


@pytest.mark.parametrize("shown", ["", "cfk_", "é", "\udc80", "x" * 10_000])
def test_what_is_not_the_key_does_not_match_whatever_it_is(shown: str) -> None:
    assert not ClientKey("cfk_0123456789012345").matches(shown)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "client_key"
    ClientKey.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(CredentialError, match=f"mode {mode:04o}"):
        ClientKey.load_or_create(path)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40, b"two words that are long enough\n"])
def test_a_file_that_holds_no_key_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "client_key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CredentialError, match="holds no client key"):
        ClientKey.load_or_create(path)
    assert path.read_bytes() == content


def test_a_link_and_a_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("cfk_01234567890123456789\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CredentialError, match="cannot be read"):
        ClientKey.load_or_create(tmp_path / "link")
    with pytest.raises(CredentialError, match="is not in a file of this user's"):
        ClientKey.load_or_create(tmp_path / "folder")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="cannot be written"):
        ClientKey.load_or_create(tmp_path / "absent" / "client_key")
