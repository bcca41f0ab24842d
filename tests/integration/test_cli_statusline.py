"""The status line as Claude Code runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli_homes import private_socket
from tests.control_fakes import (
    FakeDaemon,
    cli_async,
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


async def test_the_statusline_never_fails(home: Path, socket: Path) -> None:
    off = await cli_async("statusline", home=home, stdin='{"model": {}}')
    async with serving(FakeDaemon(), socket):
        on = await cli_async("statusline", home=home, stdin='{"model": {}}')
    assert (off.returncode, off.stdout, off.stderr) == (0, "failover: off\n", "")
    assert (on.returncode, on.stdout, on.stderr) == (0, "Bedrock until 12:18 · $1.82/$20\n", "")
