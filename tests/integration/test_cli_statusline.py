"""The status line as Claude Code runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.cli import glance
from claude_failover.core.types import Seconds
from tests.cli_homes import private_socket
from tests.control_fakes import (
    FakeDaemon,
    cli_async,
    here_async,
    serving,
    short_directory,
)


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture
def socket(home: Path) -> Path:
    return private_socket(home)


async def test_the_statusline_never_fails(home: Path, socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    off = await cli_async("statusline", home=home, stdin='{"model": {}}')
    # Half a second is little for a fake daemon in a process that does other things too; so it is asked from here.
    monkeypatch.setattr(glance, "PATIENCE", Seconds(30.0))
    async with serving(FakeDaemon(), socket):
        on = await here_async("statusline", home=home)
    assert (off.returncode, off.stdout, off.stderr) == (0, "failover: off\n", "")
    assert (on.returncode, on.stdout, on.stderr) == (0, "Bedrock until 12:18 · $1.82/$20\n", "")
