"""What survives a restart besides the ledger: cooldowns, orders, lessons and counts, in one private JSON file.

Rule: a file that cannot be read is set aside and never in the way of a start; one that cannot be written is said,
and tried again with the next change. Nothing in it is a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from claude_failover import events
from claude_failover.config import write_private

VERSION: Final = 1


class StateFile:
    """``state.json``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.error = ""
        """Why it could not be written last time; empty = it could."""
        self._turn = asyncio.Lock()

    def load(self) -> Mapping[str, Any]:
        """Read it; empty if there is none, or none that can be used."""
        try:
            state = msgspec.json.decode(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._set_aside(type(error).__name__)
        if not isinstance(state, dict) or state.get("version") != VERSION:
            return self._set_aside("it is of another version")
        return state

    def _set_aside(self, why: str) -> Mapping[str, Any]:
        aside = self._path.with_suffix(".unreadable.json")
        with contextlib.suppress(OSError):
            self._path.rename(aside)
        events.emit("ledger.failed", what="state", error=f"state.json was set aside as {aside.name}: {why}")
        return {}

    async def keep(self, tell: Callable[[], Mapping[str, Any]]) -> None:
        """Save what *tell* says, once all that began before is written.

        A thread that writes goes on when whoever waits for it is cancelled, as upkeep is at the daemon's end: without
        turns it could put an older state over the last one.
        """
        await asyncio.shield(self._keep(tell))

    async def _keep(self, tell: Callable[[], Mapping[str, Any]]) -> None:
        async with self._turn:
            await asyncio.to_thread(self.save, tell())

    def save(self, state: Mapping[str, Any]) -> None:
        """Write it, whole or not at all. Blocks; a failure is said once, until it works again."""
        try:
            write_private(self._path, msgspec.json.encode({"version": VERSION, **state}))
        except OSError as error:
            if not self.error:
                events.emit("ledger.failed", what="state", error=f"state.json: {error.strerror}")
            self.error = error.strerror or type(error).__name__
        else:
            self.error = ""
