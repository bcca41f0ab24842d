"""force-backend against a daemon that answers from a script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.control import api
from tests.cli_homes import private_socket
from tests.control_fakes import (
    NOW,
    FakeDaemon,
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


@pytest.mark.parametrize("name", ["force-backend", "force"])
async def test_force_says_until_when(home: Path, socket: Path, name: str) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, socket):
        done = await here_async(name, "bedrock", "--for", "30m", "--model", "claude-opus-5", home=home)
    assert done.returncode == 0
    assert daemon.asked[0] == (api.ForceRequest("bedrock", "claude-opus-5", 1800.0), daemon.asked[0][1])  # type: ignore[index]
    assert "forced to bedrock for claude-opus-5 until" in done.stderr


async def test_auto_ends_the_override(home: Path, socket: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, socket):
        done = await here_async("force", "auto", home=home)
        odd = await here_async("force", "auto", "--for", "1h", home=home)
    assert (done.returncode, done.stderr) == (0, "automatic again\n")
    assert odd.returncode == 2


async def test_an_unknown_backend_is_a_usage_error_that_names_the_known(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await here_async("force", "nowhere", home=home)
    assert done.returncode == 2
    assert "no backend 'nowhere'" in done.stderr
    assert "one of claude, bedrock" in done.stderr


async def test_force_json_is_data(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await here_async("force", "bedrock", "--for", "60", "--json", home=home)
    assert json.loads(done.stdout)["override"] == {"backend": "bedrock", "model": None, "until": NOW + 60}


async def test_a_duration_that_is_none_is_a_usage_error(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await here_async("force", "bedrock", "--for", "soon", home=home)
    assert done.returncode == 2
    assert "--for: 'soon' is not a duration" in done.stderr
