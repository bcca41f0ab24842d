"""One line on a terminal that says what is being waited for; silence elsewhere and for what is quick."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Final, TextIO

from claude_failover.clock import Clock, SystemClock

QUICK: Final = 1.0
"""Seconds that pass before anything is shown."""

EVERY: Final = 0.5
"""Seconds between two changes of the line."""


class Progress:
    """Shows *what* once it has taken longer than :data:`QUICK`, and wipes it at the end."""

    def __init__(self, what: str, *, stream: TextIO | None = None, clock: Clock | None = None) -> None:
        self._what = what
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock or SystemClock()
        self._began = self._clock.now().monotonic
        self._changed = self._began
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def due(self) -> bool:
        """Whether the line may change again."""
        return self._clock.now().monotonic - self._changed >= EVERY

    def tick(self) -> None:
        """Show the line if it is time."""
        if self.due():
            self.say(self._what)

    def say(self, what: str) -> None:
        """Change the line."""
        self._what = what
        now = self._clock.now().monotonic
        self._changed = now
        if now - self._began < QUICK or not self._stream.isatty():
            return
        self._stream.write(f"\r\x1b[K{what} … {now - self._began:.0f} s")
        self._stream.flush()
        self._shown = True


@contextlib.contextmanager
def waiting(what: str, *, stream: TextIO | None = None, clock: Clock | None = None) -> Iterator[None]:
    """Show *what* while the caller is held up by one long question and cannot tick."""
    import threading  # noqa: PLC0415 - not for what is quick

    over = threading.Event()
    with Progress(what, stream=stream, clock=clock) as progress:

        def tell() -> None:
            while not over.wait(EVERY):
                progress.tick()

        teller = threading.Thread(target=tell, name="progress", daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()
