"""What a person sees: screens of a running daemon with some history, in a real terminal (tmux), narrow and wide.

tmux tells a line that was wrapped from one that was written; so a screen that is wider than its terminal is found.
"""

from __future__ import annotations

import asyncio
import itertools
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from claude_failover.drill import claude_faults
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.claude_api import SimulatedClaude
from claude_failover.drill.client import Turn, ask
from claude_failover.drill.process import DaemonProcess, environment, settings
from claude_failover.drill.script import Answer
from tests.control_fakes import short_directory

ROWS = 60
DONE = "that was all"
KEEP = "exec sleep 300"
"""A pane goes with its program; the terminal is taken down by the test."""

_NUMBERS = itertools.count()
"""A server that was told to end may still hold its socket: each has its own."""

pytestmark = pytest.mark.timeout(120)


class Terminal:
    """A tmux server of our own, with one window of so many columns."""

    def __init__(self, folder: Path, columns: int, command: str, environ: dict[str, str]) -> None:
        program = shutil.which("tmux")
        assert program, "tmux is not installed: apt install tmux"
        self.columns = columns
        self._tmux = [program, "-S", str(folder / f"tmux{next(_NUMBERS)}"), "-f", "/dev/null"]
        self._environ = {**environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "SHELL": "/bin/sh"}
        self._run("new-session", "-d", "-x", str(columns), "-y", str(ROWS), f"/bin/sh -c {shlex.quote(command)}")

    def _run(self, *words: str) -> str:
        ran = subprocess.run(
            [*self._tmux, *words], env=self._environ, capture_output=True, text=True, timeout=40, check=True
        )
        return ran.stdout

    def lines(self, *, joined: bool = False) -> list[str]:
        """What is on the screen; *joined*: lines that the terminal had to wrap as the one that they are."""
        text = self._run("capture-pane", "-p", *(["-J"] if joined else []))
        return [line.rstrip() for line in text.splitlines()]

    def type(self, keys: str) -> None:
        self._run("send-keys", keys)

    def close(self) -> None:
        self._run("kill-server")

    async def until(self, holds: Callable[[str], bool]) -> str:
        """The first screen of which that holds."""
        screen = ""
        try:
            async with asyncio.timeout(40):
                while not holds(screen := "\n".join(await asyncio.to_thread(self.lines))):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"this is still on the screen:\n{screen}") from None
        return screen


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@asynccontextmanager
async def history(home: Path) -> AsyncIterator[dict[str, str]]:
    """A daemon that has served, and been rescued from a plan's limit; answers the environment of its user."""
    async with (
        SimulatedClaude(Answer(), Answer(), claude_faults.plan_limit()) as claude,
        SimulatedBedrock() as bedrock,
        DaemonProcess(home / "cf", settings(claude.url, bedrock.url)) as process,
    ):
        async with aiohttp.ClientSession(trust_env=False) as session:
            for number in range(6):
                turn = Turn(text=f"Question {number}", session=f"00000000-0000-4000-8000-{number:012d}")
                assert (await ask(session, process.address, process.key, turn)).whole
        yield {**environment(home / "cf"), "HOME": str(home)}


def fits(terminal: Terminal, screen: str) -> None:
    """Nothing is wrapped, nothing is broken."""
    joined = terminal.lines(joined=True)
    assert [line for line in joined if len(line) > terminal.columns] == []
    assert max(map(len, screen.splitlines())) > 40, "there is something to see"
    for wrong in ("Traceback", "Error", "\x1b", "\ufffd", "None", "nan"):
        assert wrong not in screen


@asynccontextmanager
async def shown(home: Path, columns: int, environ: dict[str, str], *words: str) -> AsyncIterator[Terminal]:
    command = shlex.join([sys.executable, "-P", "-m", "claude_failover", *words])
    after = f"; echo $? {DONE}; {KEEP}"
    terminal = await asyncio.to_thread(Terminal, home, columns, command + after, environ)
    try:
        yield terminal
    finally:
        await asyncio.to_thread(terminal.close)


@pytest.mark.parametrize("columns", [80, 140])
async def test_every_screen_fits_its_terminal(home: Path, columns: int) -> None:
    async with history(home) as environ:
        async with shown(home, columns, environ, "status") as terminal:
            screen = await terminal.until(lambda text: DONE in text)
            fits(terminal, screen)
            for word in ("Failed over", "bedrock", "claude", "plan 5h", "spent today", f"0 {DONE}"):
                assert word in screen, screen
        async with shown(home, columns, environ, "costs") as terminal:
            screen = await terminal.until(lambda text: DONE in text)
            fits(terminal, screen)
            for word in ("today", "spent", "notional", "rescued", f"0 {DONE}"):
                assert word in screen, screen
        async with shown(home, columns, environ, "costs", "--by", "model") as terminal:
            screen = await terminal.until(lambda text: DONE in text)
            fits(terminal, screen)
            assert "claude-opus-5-5" in screen, screen
        async with shown(home, columns, environ, "status", "--watch") as terminal:
            screen = await terminal.until(lambda text: "Failed over" in text)
            fits(terminal, screen)
            for word in ("bedrock", "spent today"):
                assert word in screen, screen
            await asyncio.to_thread(terminal.type, "q")
            assert "Failed over" not in await terminal.until(lambda text: f"0 {DONE}" in text)


async def test_a_line_that_is_too_long_would_be_found(home: Path) -> None:
    terminal = await asyncio.to_thread(
        Terminal, home, 80, f"printf '%0100d\\n' 7; echo {DONE}; {KEEP}", environment(home)
    )
    try:
        screen = await terminal.until(lambda text: DONE in text)
        with pytest.raises(AssertionError):
            fits(terminal, screen)
    finally:
        await asyncio.to_thread(terminal.close)
