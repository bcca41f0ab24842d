"""The command line as a subprocess, against a daemon that answers from a script."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover import __version__
from claude_failover.config_paths import find_paths, make_private_directory
from claude_failover.control import api
from claude_failover.control.status import Health
from claude_failover.errors import ConfigError
from tests.control_fakes import (
    NOW,
    FakeDaemon,
    clean_environment,
    cli,
    cli_async,
    sample_status,
    serving,
    short_directory,
)


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture
def socket(home: Path) -> Path:
    path = find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")}).socket
    make_private_directory(path.parent)
    return path


def test_version_is_the_packages(home: Path) -> None:
    done = cli("--version", home=home)
    assert (done.returncode, done.stdout) == (0, f"claude-failover {__version__}\n")


def test_no_command_shows_the_commands(home: Path) -> None:
    done = cli(home=home)
    assert done.returncode == 2
    for name in ("start", "status", "run", "force-backend", "logs"):
        assert name in done.stdout


def test_help_teaches_example_and_exit_codes(home: Path) -> None:
    done = cli("--help", home=home)
    assert done.returncode == 0
    assert "Exit codes:" in done.stdout
    assert "Example: claude-failover stop --drain 5" in cli("stop", "--help", home=home).stdout


def test_help_fits_eighty_columns(home: Path) -> None:
    done = cli("run", "--help", home=home, COLUMNS="80")
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_an_unknown_command_is_a_usage_error_with_a_hint(home: Path) -> None:
    done = cli("sttus", home=home)
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
    done = cli(*words, home=home)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no daemon answers on" in done.stderr
    assert "hint: claude-failover start" in done.stderr


async def test_status_draws_a_screen_without_escapes_for_a_pipe(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async("status", home=home)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "Failed over: bedrock answers until 12:18 (in 1 h 12 min): the 5-hour window is used up" in done.stdout
    assert done.stderr == ""


async def test_status_json_has_a_schema_version_and_what_is_computed(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async("status", "--json", home=home)
    tree = json.loads(done.stdout)
    assert (tree["schema_version"], tree["health"], tree["exit_code"], tree["uptime_s"]) == (
        1,
        "failed_over",
        4,
        10800.0,
    )


@pytest.mark.parametrize(("health", "code"), [(Health.PROTECTED, 0), (Health.FAILED_OVER, 4), (Health.SPEND_LIMIT, 5)])
async def test_check_speaks_by_its_exit_code(home: Path, socket: Path, health: Health, code: int) -> None:
    async with serving(FakeDaemon(sample_status(health=health)), socket):
        assert (await cli_async("status", "--check", "--short", home=home)).returncode == code


async def test_short_is_one_line(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async("status", "--short", home=home)
    assert done.stdout == "failed_over · bedrock · until 12:18 · $1.82/$20\n"


async def test_watch_goes_with_none_of_the_others(home: Path) -> None:
    done = await cli_async("status", "--watch", "--json", home=home)
    assert done.returncode == 2


async def test_another_release_is_warned_about_on_stderr_only(
    home: Path, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_failover.control.server.__version__", "9.9.9")
    async with serving(FakeDaemon(), socket):
        done = await cli_async("status", "--short", home=home)
    assert "9.9.9" in done.stderr
    assert "9.9.9" not in done.stdout


@pytest.mark.parametrize("name", ["force-backend", "force"])
async def test_force_says_until_when(home: Path, socket: Path, name: str) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, socket):
        done = await cli_async(name, "bedrock", "--for", "30m", "--model", "claude-opus-5", home=home)
    assert done.returncode == 0
    assert daemon.asked[0] == (api.ForceRequest("bedrock", "claude-opus-5", 1800.0), daemon.asked[0][1])  # type: ignore[index]
    assert "forced to bedrock for claude-opus-5 until" in done.stderr


async def test_auto_ends_the_override(home: Path, socket: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, socket):
        done = await cli_async("force", "auto", home=home)
        odd = await cli_async("force", "auto", "--for", "1h", home=home)
    assert (done.returncode, done.stderr) == (0, "automatic again\n")
    assert odd.returncode == 2


async def test_an_unknown_backend_is_a_usage_error_that_names_the_known(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async("force", "nowhere", home=home)
    assert done.returncode == 2
    assert "no backend 'nowhere'" in done.stderr
    assert "one of claude, bedrock" in done.stderr


async def test_force_json_is_data(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async("force", "bedrock", "--for", "60", "--json", home=home)
    assert json.loads(done.stdout)["override"] == {"backend": "bedrock", "model": None, "until": NOW + 60}


async def test_a_duration_that_is_none_is_a_usage_error(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async("force", "bedrock", "--for", "soon", home=home)
    assert done.returncode == 2
    assert "--for: 'soon' is not a duration" in done.stderr


async def test_reload_says_what_changed_and_what_needs_a_restart(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async("reload", home=home)
    assert done.returncode == 0
    assert "cost_tracking.daily_limit" in done.stderr
    assert "takes effect with `claude-failover restart`: listen.port" in done.stderr


async def test_a_refused_configuration_exits_with_two(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(fails=ConfigError("config.yaml:3: no", hint="claude-failover config check")), socket):
        done = await cli_async("reload", home=home)
    assert done.returncode == 2
    assert done.stderr == "error: config.yaml:3: no\n\nhint: claude-failover config check\n"


async def test_explain_tells_the_story(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await cli_async("explain", "last", home=home)
        data = await cli_async("explain", "cfr_7", "--json", home=home)
        unknown = await cli_async("explain", "cfr_unknown", home=home)
    assert "served with 200, answered by bedrock, failed over" in done.stdout
    assert json.loads(data.stdout)["exchange"]["exchange"] == "cfr_7"
    assert unknown.returncode == 1
    assert "cfr_unknown" in unknown.stderr


async def test_models_lists_and_refreshes(home: Path, socket: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, socket):
        done = await cli_async("models", "--refresh", home=home, COLUMNS="140")
        data = await cli_async("models", "--json", home=home)
    assert "global.anthropic.claude-opus-5" in done.stdout
    assert json.loads(data.stdout)["entries"][1]["upstream_id"] == ""
    assert daemon.asked == [("models", True), ("models", False)]


async def test_the_statusline_never_fails(home: Path, socket: Path) -> None:
    off = await cli_async("statusline", home=home, stdin='{"model": {}}')
    async with serving(FakeDaemon(), socket):
        on = await cli_async("statusline", home=home, stdin='{"model": {}}')
    assert (off.returncode, off.stdout, off.stderr) == (0, "failover: off\n", "")
    assert (on.returncode, on.stdout, on.stderr) == (0, "Bedrock until 12:18 · $1.82/$20\n", "")


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


def test_models_without_a_daemon_are_the_built_in_table_with_the_configuration(home: Path) -> None:
    make_private_directory(home / "cf")
    config = home / "cf/config.yaml"
    config.write_text(
        "models: {claude-opus-5-5: us.anthropic.claude-opus-5-5}\n"
        "backends:\n  - {name: claude, kind: anthropic}\n  - {name: east, kind: bedrock, region: us-east-1}\n"
    )
    config.chmod(0o600)
    done = cli("models", "--json", home=home)
    assert done.returncode == 0, done.stderr
    (found,) = [one for one in json.loads(done.stdout)["entries"] if one["claude_id"] == "claude-opus-5-5"]
    assert (found["backend"], found["upstream_id"], found["source"]) == (
        "east",
        "us.anthropic.claude-opus-5-5",
        "config",
    )
    assert "no daemon runs" in done.stderr
    assert cli("models", "--refresh", home=home).returncode == 3


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
