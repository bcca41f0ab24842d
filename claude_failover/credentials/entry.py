"""What is kept under one name in the keyring or in the file that stands for it, and how it is read from a person.

Rule: a login with its refresh token is kept only if it was made for us. Claude Code's own file may
be pasted whole; its refresh token is left out, because it works once and is Claude Code's.
"""

from __future__ import annotations

from typing import Final

import msgspec

from claude_failover.core.request import UNREADABLE
from claude_failover.core.types import Epoch
from claude_failover.credentials import shapes
from claude_failover.credentials.claude_login import parse_login
from claude_failover.credentials.secret import Secret
from claude_failover.errors import CredentialError

ANTHROPIC: Final = "anthropic"
BEDROCK: Final = "bedrock"
ITEMS: Final = (ANTHROPIC, BEDROCK)

_BEDROCK_PREFIXES: Final = ("ABSK", "bedrock-api-key-")


class _Stored(msgspec.Struct, omit_defaults=True):
    """As it is written: JSON in one keyring item."""

    kind: str
    access: str
    refresh: str | None = None
    expires: float | None = None


class _Pasted(msgspec.Struct):
    """A token endpoint's answer (RFC 6749, 5.1), or the same with an absolute end."""

    access_token: str
    refresh_token: str | None = None
    expires_in: float | None = None
    expires_at: float | None = None


class Entry:
    """One kept credential; its values are secrets from here on."""

    __slots__ = ("access", "expires", "kind", "refresh")

    def __init__(self, kind: str, access: Secret, refresh: Secret | None = None, expires: Epoch | None = None) -> None:
        self.kind = kind
        self.access = access
        self.refresh = refresh
        self.expires = expires

    def dump(self) -> str:
        """The text to keep. A secret."""
        refresh = self.refresh.reveal() if self.refresh is not None else None
        return msgspec.json.encode(_Stored(self.kind, self.access.reveal(), refresh, self.expires)).decode()

    @classmethod
    def load(cls, text: str, where: str) -> Entry:
        """Read what :meth:`dump` wrote.

        Raises:
            CredentialError: Somebody else wrote it.
        """
        try:
            stored = msgspec.json.decode(text, type=_Stored)
        except UNREADABLE as error:
            raise CredentialError(f"{where}: does not hold what we wrote", hint="claude-failover token set") from error
        expires = None if stored.expires is None else Epoch(stored.expires)
        return cls(stored.kind, Secret(stored.access), Secret(stored.refresh) if stored.refresh else None, expires)

    def __repr__(self) -> str:
        return f"Entry({self.kind!r}, expires={self.expires!r})"


def parse(item: str, text: str, now: Epoch) -> Entry:
    """Read what a person typed or piped: a token, or JSON of a token endpoint, or Claude Code's credentials.

    Raises:
        CredentialError: It is no such thing, or of no use; says what it is instead.
    """
    text = text.strip()
    if item == BEDROCK:
        return _bedrock(text)
    if not text.startswith("{"):
        return _entry(_Pasted(text), now)
    if '"claudeAiOauth"' in text:
        token = parse_login(text.encode("utf-8", "surrogateescape"), "what was given", now)
        if token is None:
            raise CredentialError("what was given: nobody is logged in there", hint="claude, then /login")
        return Entry(token.kind, token.secret, None, token.expires)
    try:
        return _entry(msgspec.json.decode(text, type=_Pasted), now)
    except UNREADABLE as error:
        raise CredentialError("what was given is JSON, but without an access_token") from error


def _entry(pasted: _Pasted, now: Epoch) -> Entry:
    access = Secret(pasted.access_token)
    shape = shapes.shape_of(access)
    if shape.problem:
        raise CredentialError(f"what was given {shape.problem}")
    expires = pasted.expires_at if pasted.expires_in is None else now + pasted.expires_in
    if expires is not None and expires <= now and not pasted.refresh_token:
        raise CredentialError("what was given has expired")
    refresh = Secret(pasted.refresh_token) if pasted.refresh_token else None
    return Entry(shape.kind, access, refresh, None if expires is None else Epoch(expires))


def _bedrock(text: str) -> Entry:
    if not text.startswith(_BEDROCK_PREFIXES) or not text.isascii() or any(character.isspace() for character in text):
        raise CredentialError(
            "what was given is no Bedrock API key: those begin with ABSK or bedrock-api-key-",
            hint="AWS console, Bedrock, API keys",
        )
    return Entry(shapes.API_KEY, Secret(text))
