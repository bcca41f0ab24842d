"""Stored Anthropic tokens: for requests that bring no credential of their own.

Rule: the first source that has a token that can be used, in the configured order. A source whose
token cannot be used (expired, malformed, unreadable) is passed over, and what is wrong with it is
kept for ``status``; only when no source has one does it become the error. Nothing is probed over
the network. Sources are looked at again when their files change, and at once when a token was
refused.

Order within ``env`` as in product.md 5; Claude Code's own precedence differs (claude.md 1.6), but a
daemon has no approval prompt to ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from claude_failover import events
from claude_failover.clock import Clock, SystemClock
from claude_failover.credentials import claude_login, shapes
from claude_failover.credentials.secret import Secret
from claude_failover.credentials.threads import in_thread
from claude_failover.credentials.token import Kept, StoredToken
from claude_failover.credentials.view import CredentialView, of_error
from claude_failover.errors import CredentialError

VARIABLES: Final = {
    "CLAUDE_CODE_OAUTH_TOKEN": shapes.BEARER,
    "ANTHROPIC_AUTH_TOKEN": shapes.BEARER,
    "ANTHROPIC_API_KEY": shapes.API_KEY,
}
"""In order, and what a value of unknown shape is taken for."""

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the files."""

KEYCHAIN_EVERY: Final = 60.0
"""Seconds between two questions to macOS's keychain, unless a token was refused: each starts a process."""

_NONE_HINT: Final = "claude-failover token set anthropic, or log in with claude"


class AnthropicTokens:
    """The stored tokens.

    Args:
        sources: ``env``, ``keyring``, ``claude``, in the order to ask.
        environ: Variables, and where ``~/.claude`` is.
        clock: The daemon's.
        kept: Our own store, for the source ``keyring``.
    """

    def __init__(
        self,
        sources: Sequence[str] = ("env", "keyring", "claude"),
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
        kept: Kept | None = None,
    ) -> None:
        self._sources = tuple(sources)
        self._reloads = 0
        self._environ = environ
        self._clock = clock or SystemClock()
        self._kept = kept
        self._current: StoredToken | None = None
        self._source = ""
        """Where the last token came from; another place is worth a word in the audit."""
        self._problems: dict[str, CredentialError] = {}
        self._looked = float("-inf")
        self._mark: tuple[object, ...] = ()
        self._glanced = float("-inf")
        self._glance: StoredToken | None = None
        self._keychain: StoredToken | None = None
        self._keychain_asked = float("-inf")
        self._asking: asyncio.Future[StoredToken | None] | None = None

    async def token(self, *, refused: Collection[object] = ()) -> StoredToken:
        """The token to use now.

        Args:
            refused: Secrets that the API has answered 401 to: look everywhere again.

        Raises:
            CredentialError: There is none that can be used; the message says what is wrong with each.
        """
        current = self._current
        if refused or current is None or not self._still_good(current):
            current = await self._search(refused)
        if current is None:
            raise self._nothing()
        return current

    async def look(self) -> CredentialView:
        """Ask every source, the keyring too; the answer is what :meth:`status` says from then on."""
        with contextlib.suppress(CredentialError):
            await self.token()
        return self.status()

    def status(self) -> CredentialView:
        """What is known without asking the keyring: that may prompt, and costs memory that most never need."""
        current = self._current
        if current is None or self._is_over(current):
            current = self._quickly()
        if current is None:
            return of_error("Anthropic", self._nothing())
        warning = current.warning or "; ".join(str(error) for error in self._problems.values())
        return StoredToken(current.secret, current.kind, current.source, current.expires, warning).view()

    @property
    def is_api_key(self) -> bool:
        """Whether the token in use is an API key, whose requests are paid for one by one."""
        current = self._current or self._quickly()
        return current is not None and current.kind == shapes.API_KEY

    def reload(self, sources: Sequence[str]) -> None:
        """Take another order of sources, and look at all of them again."""
        self._sources = tuple(sources)
        self._reloads += 1
        self._looked = self._glanced = self._keychain_asked = float("-inf")
        self._mark = ()
        self._current = None

    # --- looking

    def _is_over(self, token: StoredToken) -> bool:
        return token.expires is not None and token.expires <= self._clock.now().wall

    def _still_good(self, token: StoredToken) -> bool:
        """Whether the last answer still holds: not expired, nothing changed, and the keyring has its say each time."""
        if self._is_over(token) or (self._kept is not None and "keyring" in self._sources):
            return False
        now = self._clock.now().monotonic
        if now - self._looked < LOOK_EVERY:
            return True
        self._looked = now
        return self._mark == self._fingerprint()

    def _fingerprint(self) -> tuple[object, ...]:
        marks: list[object] = [self._keychain_asked + KEYCHAIN_EVERY > self._clock.now().monotonic]
        for path in claude_login.files(self._environ):
            with contextlib.suppress(OSError):
                stat = path.stat()
                marks.append((stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_mode))
        return tuple(marks)

    async def _search(self, refused: Collection[object]) -> StoredToken | None:
        """Ask the sources; again if the configuration changed meanwhile, for what it no longer names is not used."""
        while True:
            reloads = self._reloads
            found, problems = await self._ask(refused)
            if reloads == self._reloads:
                break
        self._looked = self._clock.now().monotonic
        self._mark = self._fingerprint()
        self._note(found, problems)
        return found

    async def _ask(self, refused: Collection[object]) -> tuple[StoredToken | None, dict[str, CredentialError]]:
        """The first that can be used, and what is wrong with those before it."""
        problems: dict[str, CredentialError] = {}
        found: StoredToken | None = None
        for source in self._sources:
            try:
                if source == "keyring":
                    found = await self._kept.token(refused=refused) if self._kept is not None else None
                elif source == "claude":
                    found = await self._of_claude(refused)
                else:
                    found = self._of_environment()
            except CredentialError as error:
                problems[source] = error
            if found is not None:
                break
        return found, problems

    def _note(self, found: StoredToken | None, problems: dict[str, CredentialError]) -> None:
        before, self._current = self._current, found
        for source, error in problems.items():
            if str(self._problems.get(source)) != str(error):
                events.emit("credential.failed", source=source, reason=str(error), hint=error.hint)
        self._problems = problems
        if found is not None and (before is None or before.secret != found.secret):
            events.emit("credential.loaded", source=found.source, kind=found.kind, expires=found.expires)
        if found is not None:
            last, self._source = self._source, found.source
            if last not in {"", found.source}:
                events.emit("credential.moved", was=last, source=found.source)

    def _of_environment(self) -> StoredToken | None:
        for variable, otherwise in VARIABLES.items():
            value = self._environ.get(variable, "").strip()
            if not value:
                continue
            known = self._current
            if known is not None and known.source == variable:
                return known  # the environment does not change while we run
            secret = Secret(value)
            shape = shapes.shape_of(secret, otherwise)
            if shape.problem:
                raise CredentialError(f"{variable}: the token {shape.problem}", hint=f"unset {variable}")
            return StoredToken(secret, shape.kind, variable)
        return None

    async def _of_claude(self, refused: Collection[object]) -> StoredToken | None:
        now = self._clock.now()
        try:
            found = claude_login.of_file(self._environ, now.wall)
        except CredentialError:
            found = await self._of_keychain(refused) or claude_login.of_token_file(self._environ)
            if found is None:
                raise
            return found
        return found or await self._of_keychain(refused) or claude_login.of_token_file(self._environ)

    async def _of_keychain(self, refused: Collection[object]) -> StoredToken | None:
        """Ask now and then, or because what it said last is of no use: once for all who want to know."""
        now = self._clock.now()
        known = self._keychain
        useless = bool(refused) if known is None else self._is_over(known) or known.secret in refused
        if self._asking is None and (useless or now.monotonic - self._keychain_asked >= KEYCHAIN_EVERY):
            self._keychain_asked = now.monotonic
            environ, wall = self._environ, now.wall
            ask = functools.partial(claude_login.of_keychain, environ, wall)
            # Noted when it comes, whoever still waits: else the next who asks, an hour later, would be given it.
            self._asking = in_thread(ask, "keychain", then=self._told)
        if self._asking is not None:
            await asyncio.shield(self._asking)
        return self._keychain

    def _told(self, asked: asyncio.Future[StoredToken | None]) -> None:
        """Note what the keychain said."""
        self._asking = None
        if asked.exception() is None:
            self._keychain = asked.result()

    def _quickly(self) -> StoredToken | None:
        """The first token that can be had without waiting for anybody; read at most once a second."""
        now = self._clock.now().monotonic
        if now - self._glanced >= LOOK_EVERY:
            self._glanced, self._glance = now, self._first()
        return self._glance

    def _first(self) -> StoredToken | None:
        for source in self._sources:
            found: StoredToken | None = None
            with contextlib.suppress(CredentialError):
                if source == "env":
                    found = self._of_environment()
                elif source == "keyring":
                    found = self._kept.last() if self._kept is not None else None
                else:
                    found = self._keychain or claude_login.of_file(self._environ, self._clock.now().wall)
                    found = found or claude_login.of_token_file(self._environ)
            if found is not None and not self._is_over(found):
                return found
        return None

    def _nothing(self) -> CredentialError:
        if not self._problems:
            return CredentialError(f"no Anthropic token is stored ({', '.join(self._sources)})", hint=_NONE_HINT)
        first = next(iter(self._problems.values()))
        return CredentialError(
            "; ".join(str(error) for error in self._problems.values()), hint=first.hint or _NONE_HINT
        )
