from __future__ import annotations

import os
from pathlib import Path

import pytest

from claude_failover.credentials.files import Read, read_secret_file, refuse_loose
from claude_failover.errors import CredentialError


def secret_file(tmp_path: Path, mode: int = 0o600) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"value")
    path.chmod(mode)
    return path


def test_a_file_of_ours_alone_is_read(tmp_path: Path) -> None:
    assert read_secret_file(secret_file(tmp_path), "the secret") == Read(b"value")


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert read_secret_file(tmp_path / "absent", "the secret") is None
    assert read_secret_file(secret_file(tmp_path) / "below", "the secret") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_says_so_and_may_be_refused(mode: int, tmp_path: Path) -> None:
    path = secret_file(tmp_path, mode)
    read = read_secret_file(path, "the secret")
    assert read == Read(b"value", f"{mode:04o}")
    with pytest.raises(CredentialError, match=f"other users can read the secret \\(mode {mode:04o}\\)"):
        refuse_loose(path, "the secret", read)


def test_a_link_is_followed_only_where_that_is_wanted(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(secret_file(tmp_path))
    assert read_secret_file(link, "the secret", follow=True) == Read(b"value")
    with pytest.raises(CredentialError, match="cannot be read"):
        read_secret_file(link, "the secret")


def test_a_pipe_is_no_file_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CredentialError, match="not in a file of this user's"):
        read_secret_file(tmp_path / "pipe", "the secret")


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret_file(tmp_path)
    somebody = os.geteuid() + 1
    monkeypatch.setattr("claude_failover.credentials.files.os.geteuid", lambda: somebody)
    with pytest.raises(CredentialError, match="not in a file of this user's"):
        read_secret_file(path, "the secret")
