"""Claude Code's own login, and the plan's token file: what lies in ``~/.claude``.

Rule: read only. The refresh token that lies beside the access token is Claude Code's and works
once: redeeming it here would log the user out there (claude.md 2). An expired login is said, and
comes back by itself as soon as Claude Code has refreshed it: the file is read again when it changes.

Source: claude.md 2: ``$CLAUDE_CONFIG_DIR/.credentials.json`` (``claudeAiOauth``, ``expiresAt`` in
milliseconds); on macOS the login keychain's generic password ``Claude Code-credentials``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from claude_failover.core.request import UNREADABLE
from claude_failover.core.types import Epoch
from claude_failover.credentials import shapes
from claude_failover.credentials.files import read_secret_file, refuse_loose
from claude_failover.credentials.secret import Secret
from claude_failover.credentials.token import StoredToken
from claude_failover.errors import CredentialError

KEYCHAIN_LIMIT: Final = 10.0
"""Seconds that macOS may take, a prompt that nobody answers included."""

_REVIVE: Final = "claude"
"""What to type when the login has expired: Claude Code refreshes it at its start."""


class _Login(msgspec.Struct, rename="camel"):
    access_token: str = ""
    expires_at: float | None = None
    scopes: list[str] = []


class _Credentials(msgspec.Struct, rename="camel"):
    claude_ai_oauth: _Login | None = None


def config_dir(environ: Mapping[str, str]) -> Path:
    """Where Claude Code keeps its files."""
    named = environ.get("CLAUDE_CONFIG_DIR")
    return Path(named) if named else Path(environ.get("HOME") or Path.home()) / ".claude"


def parse_login(data: bytes, source: str, now: Epoch) -> StoredToken | None:
    """Read Claude Code's credentials; ``None`` if nobody is logged in.

    Raises:
        CredentialError: They do not parse, or the login is of no use now.
    """
    try:
        login = msgspec.json.decode(data, type=_Credentials).claude_ai_oauth
    except UNREADABLE as error:
        raise CredentialError(f"{source}: does not parse", hint=_REVIVE) from error
    if login is None or not login.access_token:
        return None
    expires = None if login.expires_at is None else Epoch(login.expires_at / 1000)
    if expires is not None and expires <= now:
        raise CredentialError(f"{source}: Claude Code's login has expired", hint=_REVIVE)
    if login.scopes and "user:inference" not in login.scopes:
        raise CredentialError(f"{source}: this login may not send messages", hint="claude, then /login")
    secret = Secret(login.access_token)
    shape = shapes.shape_of(secret)
    if shape.problem:
        raise CredentialError(f"{source}: the token {shape.problem}", hint=_REVIVE)
    return StoredToken(secret, shape.kind, source, expires)


def of_file(environ: Mapping[str, str], now: Epoch) -> StoredToken | None:
    """The login in ``.credentials.json``.

    Raises:
        CredentialError: See :func:`parse_login`.
    """
    path = config_dir(environ) / ".credentials.json"
    read = read_secret_file(path, "Claude Code's login", follow=True)
    token = parse_login(read.data, str(path), now) if read is not None else None
    if token is None or read is None or not read.loose:
        return token
    warning = f"others can read it: chmod 600 {path}"
    return StoredToken(token.secret, token.kind, token.source, token.expires, warning)


def of_token_file(environ: Mapping[str, str]) -> StoredToken | None:
    """The token in the plan's ``~/.claude/token``: nothing but a token, in a file of mode 0600.

    Raises:
        CredentialError: Others can read it, or it is no token.
    """
    path = config_dir(environ) / "token"
    read = read_secret_file(path, "the token")
    if read is None:
        return None
    refuse_loose(path, "the token", read)
    secret = Secret(read.data.decode("utf-8", "replace"))
    shape = shapes.shape_of(secret)
    if shape.problem:
        raise CredentialError(f"{path}: the token {shape.problem}", hint=f"rm {path}")
    return StoredToken(secret, shape.kind, str(path))


def files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """What to look at for changes."""
    return config_dir(environ) / ".credentials.json", config_dir(environ) / "token"


def keychain_service(environ: Mapping[str, str]) -> str:
    """The name of Claude Code's item: with another configuration directory it carries that directory's hash."""
    named = environ.get("CLAUDE_CONFIG_DIR")
    if not named:
        return "Claude Code-credentials"
    return "Claude Code-credentials-" + hashlib.sha256(unicodedata.normalize("NFC", named).encode()).hexdigest()[:8]


def _security(arguments: list[str]) -> bytes | None:
    """Run macOS's ``security``; ``None`` if it has no such item."""
    done = subprocess.run(  # noqa: S603 - a fixed program, no shell
        ["/usr/bin/security", *arguments], capture_output=True, timeout=KEYCHAIN_LIMIT, check=False
    )
    return done.stdout if done.returncode == 0 else None


def of_keychain(
    environ: Mapping[str, str],
    now: Epoch,
    *,
    ask: Callable[[list[str]], bytes | None] = _security,
    platform: str = sys.platform,
) -> StoredToken | None:
    """The login in macOS's keychain. Blocks; elsewhere ``None`` at once.

    Raises:
        CredentialError: The keychain does not answer, or see :func:`parse_login`.
    """
    if platform != "darwin":
        return None
    account = environ.get("USER") or str(os.getuid())
    try:
        found = ask(["find-generic-password", "-s", keychain_service(environ), "-a", account, "-w"])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CredentialError("the macOS keychain does not answer", hint="security unlock-keychain") from error
    return parse_login(found, "the macOS keychain", now) if found else None
