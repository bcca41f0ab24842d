"""status, explain, models and reload against a daemon that answers from a script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.control.status import Health
from claude_failover.errors import ConfigError
from tests.cli_homes import private_socket
from tests.control_fakes import (
    FakeDaemon,
    here_async,
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
    return private_socket(home)


async def test_status_draws_a_screen_without_escapes_for_a_pipe(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await here_async("status", home=home)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "Failed over: bedrock answers until 12:18 (in 1 h 12 min): the 5-hour window is used up" in done.stdout
    assert done.stderr == ""


async def test_status_json_has_a_schema_version_and_what_is_computed(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await here_async("status", "--json", home=home)
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
        assert (await here_async("status", "--check", "--short", home=home)).returncode == code


async def test_short_is_one_line(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await here_async("status", "--short", home=home)
    assert done.stdout == "failed_over · bedrock · until 12:18 · $1.82/$20\n"


async def test_watch_goes_with_none_of_the_others(home: Path) -> None:
    done = await here_async("status", "--watch", "--json", home=home)
    assert done.returncode == 2


async def test_another_release_is_warned_about_on_stderr_only(
    home: Path, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_failover.control.server.__version__", "9.9.9")
    async with serving(FakeDaemon(), socket):
        done = await here_async("status", "--short", home=home)
    assert "9.9.9" in done.stderr
    assert "9.9.9" not in done.stdout


async def test_reload_says_what_changed_and_what_needs_a_restart(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await here_async("reload", home=home)
    assert done.returncode == 0
    assert "cost_tracking.daily_limit" in done.stderr
    assert "takes effect with `claude-failover restart`: listen.port" in done.stderr


async def test_a_refused_configuration_exits_with_two(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(fails=ConfigError("config.yaml:3: no", hint="claude-failover config check")), socket):
        done = await here_async("reload", home=home)
    assert done.returncode == 2
    assert done.stderr == "error: config.yaml:3: no\n\nhint: claude-failover config check\n"


async def test_explain_tells_the_story(home: Path, socket: Path) -> None:
    async with serving(FakeDaemon(), socket):
        done = await here_async("explain", "last", home=home)
        data = await here_async("explain", "cfr_7", "--json", home=home)
        unknown = await here_async("explain", "cfr_unknown", home=home)
    assert "served with 200, answered by bedrock, failed over" in done.stdout
    assert json.loads(data.stdout)["exchange"]["exchange"] == "cfr_7"
    assert unknown.returncode == 1
    assert "cfr_unknown" in unknown.stderr


async def test_models_lists_and_refreshes(home: Path, socket: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, socket):
        done = await here_async("models", "--refresh", home=home, COLUMNS="140")
        data = await here_async("models", "--json", home=home)
    assert "global.anthropic.claude-opus-5" in done.stdout
    assert json.loads(data.stdout)["entries"][1]["upstream_id"] == ""
    assert daemon.asked == [("models", True), ("models", False)]
