"""The command table: help, usage errors, what is imported for what."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover import __version__
from tests.cli_homes import private_socket
from tests.control_fakes import (
    FakeDaemon,
    clean_environment,
    cli_async,
    here,
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


def test_version_is_the_packages(home: Path) -> None:
    done = here("--version", home=home)
    assert (done.returncode, done.stdout) == (0, f"claude-failover {__version__}\n")


def test_no_command_shows_the_commands(home: Path) -> None:
    done = here(home=home)
    assert done.returncode == 2
    for name in ("start", "status", "run", "force-backend", "logs"):
        assert name in done.stdout


def test_help_teaches_example_and_exit_codes(home: Path) -> None:
    done = here("--help", home=home)
    assert done.returncode == 0
    assert "Exit codes:" in done.stdout
    assert "Example: claude-failover stop --drain 5" in here("stop", "--help", home=home).stdout


def test_help_fits_eighty_columns(home: Path) -> None:
    done = here("run", "--help", home=home, COLUMNS="80")
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_an_unknown_command_is_a_usage_error_with_a_hint(home: Path) -> None:
    done = here("sttus", home=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: No such command 'sttus'" in done.stderr
    assert "hint: claude-failover --help" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("status", "--json"),
        ("status", "--check"),
        ("reload",),
        ("stop",),
        ("force", "bedrock"),
        ("explain",),
        ("env",),
    ],
    ids=" ".join,
)
def test_without_a_daemon_every_command_says_so_and_exits_with_three(home: Path, words: tuple[str, ...]) -> None:
    done = here(*words, home=home)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no daemon answers on" in done.stderr
    assert "hint: claude-failover start" in done.stderr


async def test_a_reader_that_goes_away_is_no_drama(home: Path, socket: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    async with serving(FakeDaemon(), socket):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "claude_failover", "status",
            env=clean_environment(home), stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(writing)
        _, talk = await process.communicate()
    assert (process.returncode, talk) == (141, b"")


LIGHT = ("aiohttp", "botocore", "keyring", "prometheus_client", "sqlite3", "yaml")


@pytest.mark.parametrize(
    "words",
    [("status", "--short"), ("statusline",), ("logs",), ("force", "bedrock"), ("status", "--json")],
    ids=" ".join,
)
async def test_what_only_asks_stays_light(home: Path, socket: Path, words: tuple[str, ...]) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async(*words, home=home, PYTHONPROFILEIMPORTTIME="1", COVERAGE_PROCESS_CONFIG="")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "msgspec" in imported
    assert imported.isdisjoint(LIGHT)


@pytest.mark.parametrize("words", [("status", "--short"), ("statusline",)], ids=" ".join)
async def test_a_glance_imports_no_parser(home: Path, socket: Path, words: tuple[str, ...]) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async(*words, home=home, PYTHONPROFILEIMPORTTIME="1", COVERAGE_PROCESS_CONFIG="")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert imported.isdisjoint({"typer", "pydantic", "rich"})
