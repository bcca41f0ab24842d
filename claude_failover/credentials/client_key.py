"""The client key: what a local client shows so that not every process on this machine can spend the owner's money.

Rule: 32 random bytes, made at the first start, in a file that only its owner can read, from its
first byte on. A file that others can read is refused: whoever could read it may have. Keys are
compared as hashes, over bytes, in constant time (``compare_digest`` on text raises for
non-ASCII: reliability-security.md 2.2).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final, Self

from claude_failover.config_paths import write_private
from claude_failover.credentials.files import read_secret_file, refuse_loose
from claude_failover.errors import CredentialError
from claude_failover.events.live_secrets import LIVE

PREFIX: Final = "cfk_"
"""Tells our key from an Anthropic one, wherever it turns up."""

_MIN_LENGTH: Final = 20
_MAX_BYTES: Final = 4096


class ClientKey:
    """The key's hash; the key itself stays in its file."""

    __slots__ = ("digest",)

    def __init__(self, key: str) -> None:
        LIVE.register(key)
        self.digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()

    def matches(self, shown: str) -> bool:
        """Whether a client showed this key."""
        return hmac.compare_digest(hashlib.sha256(shown.encode("utf-8", "surrogateescape")).digest(), self.digest)

    def __repr__(self) -> str:
        return "ClientKey(…)"

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key; make one if there is no file yet.

        Raises:
            CredentialError: The file is not ours alone, or holds no key. Never overwritten: clients may hold it.
        """
        key = cls._read(path)
        if key is None:
            key = PREFIX + secrets.token_urlsafe(32)
            try:
                write_private(path, f"{key}\n".encode())
            except OSError as error:
                raise CredentialError(f"{path}: the client key cannot be written: {error.strerror}") from error
        return cls(key)

    @staticmethod
    def _read(path: Path) -> str | None:
        read = read_secret_file(path, "the client key")
        if read is None:
            return None
        refuse_loose(path, "the client key", read)
        text = read.data[:_MAX_BYTES].decode("ascii", "replace").strip()
        if len(text) < _MIN_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
            raise CredentialError(f"{path}: holds no client key", hint=f"rm {path}; claude-failover restart")
        return text
