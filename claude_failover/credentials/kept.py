"""Our own store as a source of tokens: read lazily, refreshed ahead of the end.

Rule: requests go on with the old token while a new one is got; only without a valid one do they
wait. One refresh at a time: within the process by one future, between processes by the box's lock,
and whoever gets the lock looks first whether another has done it. The new pair is stored before
the old is given up; if that fails it is used from memory, and storing is tried again. A failure is
said, and tried again with growing pauses; a refresh token that was revoked is not tried again until
somebody stores another.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from claude_failover import events
from claude_failover.clock import Clock, SystemClock
from claude_failover.core.types import Seconds
from claude_failover.credentials.box import Box
from claude_failover.credentials.entry import ANTHROPIC, BEDROCK, Entry
from claude_failover.credentials.redeem import LIMIT, Redeemed, RefreshFailed, redeem
from claude_failover.credentials.secret import Secret
from claude_failover.credentials.threads import in_thread
from claude_failover.credentials.token import StoredToken
from claude_failover.errors import CredentialError

AHEAD: Final = 300.0
"""Seconds before its end at which a token is refreshed."""

LAST_MOMENT: Final = 10.0
"""A token that ends sooner is not sent any more if a refresh may bring another."""

READ_LIMIT: Final = 10.0
"""Seconds that a keyring may take: it may be asking somebody to unlock it."""

AGAIN_LIMIT: Final = 0.5
"""Seconds that it may take once somebody has given it up: each request would else wait for the whole limit anew."""

FIRST_PAUSE: Final = Seconds(30.0)
LONGEST_PAUSE: Final = Seconds(600.0)

FORCED_EVERY: Final = 60.0
"""Seconds between two refreshes because a token was refused before its end."""

SET_HINT: Final = "claude-failover token set anthropic"


Exchange = Callable[[Secret], Redeemed]


@dataclass(slots=True)
class _Outcome:
    """What a refresh brought."""

    entry: Entry | None
    """``None``: somebody has cleared it meanwhile."""
    mark: tuple[object, ...]
    """The box's when it was written, with nobody else writing; empty: somebody wrote since it was read."""
    unsaved: str = ""
    """Why the new pair could not be stored."""
    replaces: Secret | None = None
    """The token that the box holds until it can be."""


@dataclass(slots=True)
class _Reading:
    """The box being read, for all who want to know now."""

    future: asyncio.Future[dict[str, Entry | None]]
    mark: tuple[object, ...]
    """The box's, and how many refreshes had ended, when it began: what it finds may be older than later ones."""
    refreshes: int
    number: int
    limit: float
    """Seconds that it is waited for."""


class KeptTokens:
    """What is kept under ``anthropic`` and ``bedrock``.

    Args:
        box: Where it is kept.
        clock: The daemon's.
        exchange: Redeems a refresh token; blocks. ``None``: look only, never refresh.
    """

    def __init__(self, box: Box, clock: Clock | None = None, exchange: Exchange | None = redeem) -> None:
        self._box = box
        self._clock = clock or SystemClock()
        self._exchange = exchange
        self._mark: tuple[object, ...] | None = None
        self._entries: dict[str, Entry | None] = {}
        self._where = ""
        self._reading: _Reading | None = None
        self._readings = 0
        self._taken = 0
        self._refreshing: asyncio.Future[_Outcome] | None = None
        self._failed: RefreshFailed | None = None
        self._again_at = float("-inf")
        self._pause = FIRST_PAUSE
        self._forced_at = float("-inf")
        self._unsaved = ""
        self._replaces: Secret | None = None
        self._refreshes = 0

    async def bedrock_key(self) -> Secret | None:
        """The Bedrock API key, if one is kept.

        Raises:
            CredentialError: There is one, and it cannot be got.
        """
        await self._read(again=False)
        entry = self._entries.get(BEDROCK)
        return None if entry is None else entry.access

    async def token(self, *, refused: Collection[object] = ()) -> StoredToken | None:
        """See :class:`claude_failover.credentials.token.Kept`.

        Raises:
            CredentialError: There is a token, and it cannot be used.
        """
        await self._read(again=bool(refused))
        entry = self._entries.get(ANTHROPIC)
        if entry is None:
            return None
        await self._keep_fresh(entry, refused=entry.access in refused)
        entry = self._entries.get(ANTHROPIC)
        if entry is None:
            return None  # cleared while it was being refreshed
        if entry.expires is not None and entry.expires <= self._clock.now().wall:
            why = f": {self._failed}" if self._failed is not None else ""
            raise CredentialError(f"the login in {self._where} has expired{why}", hint=SET_HINT)
        return self._stored(entry)

    def last(self) -> StoredToken | None:
        """What is known without asking anybody."""
        entry = self._entries.get(ANTHROPIC)
        return None if entry is None else self._stored(entry)

    async def close(self) -> None:
        """Let a refresh that has begun store what it gets: afterwards nobody else could."""
        if self._refreshing is not None:
            await asyncio.wait({self._refreshing}, timeout=LIMIT)

    def _stored(self, entry: Entry) -> StoredToken:
        warning = self._unsaved or (f"refresh failed: {self._failed}" if self._failed is not None else "")
        return StoredToken(entry.access, entry.kind, self._where, entry.expires, warning)

    # --- reading

    async def _read(self, *, again: bool) -> None:
        """Read the box if it has changed. A pair that could not be stored stays: the box holds the old one."""
        mark = self._box.mark()
        if not mark:
            self._entries, self._mark = {}, mark
            return
        if (mark == self._mark and not again) or (self._unsaved and mark == self._mark):
            return
        reading = self._reading
        # One that nobody waited for to its end may have been read an hour ago.
        if reading is None or reading.future.done() or (reading.mark, reading.refreshes) != (mark, self._refreshes):
            self._readings += 1
            future = in_thread(self._read_all, "keyring")
            reading = self._reading = _Reading(future, mark, self._refreshes, self._readings, READ_LIMIT)
        try:
            async with asyncio.timeout(reading.limit):
                found = await asyncio.shield(reading.future)
        except TimeoutError as error:
            reading.limit = min(reading.limit, AGAIN_LIMIT)
            raise CredentialError(
                f"the keyring did not answer within {READ_LIMIT:.0f} s", hint="unlock it, or " + SET_HINT
            ) from error
        finally:
            if reading.future.done() and self._reading is reading:
                self._reading = None
        if reading.refreshes != self._refreshes or reading.number < self._taken:
            return  # a refresh, or a later reading, that ended meanwhile knows better
        self._taken = reading.number
        if self._replaces is not None and (old := found.get(ANTHROPIC)) is not None and old.access == self._replaces:
            found = {**found, ANTHROPIC: self._entries.get(ANTHROPIC)}  # it was another item that changed
        elif mark != self._mark or not _same(found.get(ANTHROPIC), self._entries.get(ANTHROPIC)):
            # Another login, which a daemon with a directory of its own may have put into the keyring that both use.
            self._failed, self._again_at, self._pause = None, float("-inf"), FIRST_PAUSE
            self._unsaved, self._replaces = "", None
        self._entries, self._mark = found, mark

    def _read_all(self) -> dict[str, Entry | None]:
        self._where = self._box.where(ANTHROPIC)
        return {item: self._box.read(item) for item in self._box.stores()}

    # --- refreshing

    async def _keep_fresh(self, entry: Entry, *, refused: bool) -> None:
        """Begin a refresh when it is time; wait for it only without a token that can be used."""
        if entry.refresh is None or self._exchange is None:
            return
        now = self._clock.now()
        left = float("inf") if entry.expires is None else entry.expires - now.wall
        revoked = self._failed is not None and self._failed.final
        forced = refused and not revoked and now.monotonic - self._forced_at >= FORCED_EVERY
        due = left <= AHEAD or bool(self._unsaved)
        if forced:
            self._forced_at = now.monotonic
        if self._refreshing is None and (forced or (due and now.monotonic >= self._again_at)):
            self._begin(entry, self._exchange)
        if self._refreshing is not None and (refused or left <= LAST_MOMENT):
            # What it raises is remembered by _refreshed; whether the old token still does is the caller's question.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LIMIT):
                    await asyncio.shield(self._refreshing)

    def _begin(self, entry: Entry, exchange: Exchange) -> None:
        # From the endpoint's answer until it is stored the new pair exists nowhere else, and the old one works no
        # more: a process that ends in between would lose the login. So it may not, a command of one second included.
        work = functools.partial(self._refresh, entry, exchange, self._mark, self._replaces)
        self._refreshing = in_thread(work, "token-refresh", finish=True, then=self._refreshed)

    def _refresh(
        self, entry: Entry, exchange: Exchange, known: tuple[object, ...] | None, replaces: Secret | None
    ) -> _Outcome:
        """Get a new pair, or find that somebody has; in a thread, under the lock of all processes."""
        with self._box.locked():
            changed = self._box.mark() != known
            kept = self._box.read(ANTHROPIC)
            if kept is None or kept.access != (entry.access if replaces is None else replaces):
                # While we waited for the lock another process was faster, or its owner stored or cleared a login.
                return _Outcome(kept, () if changed else self._box.mark())
            new = entry
            if replaces is None:
                if kept.refresh is None:
                    raise RefreshFailed("the refresh token is gone", final=True)
                got = exchange(kept.refresh)
                new = Entry(kept.kind, got.access, got.refresh or kept.refresh, got.expires)
            outcome = _Outcome(new, ())
            try:
                self._box.replace(ANTHROPIC, new)
            except CredentialError as error:
                outcome.unsaved = f"the refreshed login could not be stored: {error}"
                outcome.replaces = kept.access
            outcome.mark = () if changed else self._box.mark()
            return outcome

    def _refreshed(self, future: asyncio.Future[_Outcome]) -> None:
        self._refreshing = None
        now = self._clock.now().monotonic
        error = future.exception()
        if error is None:
            outcome = future.result()
            self._refreshes += 1
            self._entries[ANTHROPIC] = outcome.entry
            self._mark = outcome.mark
            self._failed, self._unsaved, self._replaces = None, outcome.unsaved, outcome.replaces
            self._again_at = now + FIRST_PAUSE if outcome.unsaved else float("-inf")
            self._pause = FIRST_PAUSE
            if outcome.entry is not None:
                events.emit("credential.refreshed", source=self._where, expires=outcome.entry.expires)
            if outcome.unsaved:
                events.emit("credential.failed", source=self._where, reason=outcome.unsaved, hint=SET_HINT)
            return
        self._failed = error if isinstance(error, RefreshFailed) else RefreshFailed(_brief(error))
        self._again_at = float("inf") if self._failed.final else now + self._pause
        self._pause = Seconds(min(self._pause * 2, LONGEST_PAUSE))
        events.emit("credential.failed", source=self._where, reason=str(self._failed), hint=SET_HINT)


def _same(one: Entry | None, other: Entry | None) -> bool:
    return one is other or (one is not None and other is not None and one.access == other.access)


def _brief(error: BaseException) -> str:
    return str(error) if isinstance(error, CredentialError) else type(error).__name__
