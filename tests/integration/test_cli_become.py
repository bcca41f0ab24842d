"""run, with a program named claude that tells what it got."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from claude_failover.config_paths import find_paths
from claude_failover.control.api import StopRequest
from claude_failover.control.client import ControlClient
from tests.cli_homes import home_with_a_claude, install_claude, path_with, paths_of
from tests.control_fakes import FakeDaemon, clean_environment, cli, cli_async, sample_status, serving


@pytest.fixture
def home() -> Iterator[Path]:
    with home_with_a_claude() as directory:
        yield directory


async def run(home: Path, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    async with serving(FakeDaemon(), paths_of(home).socket):
        return await cli_async("run", *words, home=home, stdin=stdin, **{"PATH": path_with(home), **more})


async def test_claude_gets_its_words_its_input_and_our_variables(home: Path) -> None:
    done = await run(home, "-p", "say hi", "--model", "opus", stdin="more")
    got = json.loads(done.stdout)
    assert got["argv"] == ["-p", "say hi", "--model", "opus"]
    assert got["stdin"] == "more"
    assert got["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8484"
    assert got["env"]["ANTHROPIC_CUSTOM_HEADERS"] == "x-claude-failover-key: thekey"
    assert got["env"]["CLAUDE_FAILOVER"] == "1"
    assert "ANTHROPIC_AUTH_TOKEN" not in got["env"]
    assert (done.returncode, done.stderr) == (0, "")


async def test_words_after_two_dashes_are_claudes_even_if_they_look_like_ours(home: Path) -> None:
    done = await run(home, "--", "--help", "--backend", "x", "--", "y")
    assert json.loads(done.stdout)["argv"] == ["--help", "--backend", "x", "--", "y"]


async def test_options_of_ours_come_first_and_are_not_passed_on(home: Path) -> None:
    done = await run(home, "--backend", "bedrock", "--budget", "5", "-p", "hi", "--backend", "kept")
    got = json.loads(done.stdout)
    assert got["argv"] == ["-p", "hi", "--backend", "kept"]
    assert "x-claude-failover-force: bedrock" in got["env"]["ANTHROPIC_CUSTOM_HEADERS"]
    assert "x-claude-failover-budget: 5" in got["env"]["ANTHROPIC_CUSTOM_HEADERS"]


@pytest.mark.parametrize("code", ["0", "3", "125"])
async def test_the_exit_code_is_claudes(home: Path, code: str) -> None:
    assert (await run(home, EXIT_WITH=code)).returncode == int(code)


async def test_a_signal_that_ends_claude_ends_us_the_same_way(home: Path) -> None:
    assert (await run(home, "--", "--die")).returncode == -signal.SIGTERM


async def test_claude_takes_our_place_as_a_process(home: Path) -> None:
    async with serving(FakeDaemon(), paths_of(home).socket):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "claude_failover", "run",
            env=clean_environment(home, PATH=path_with(home)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
    assert json.loads(output)["pid"] == process.pid


async def test_claude_does_not_inherit_the_signals_that_python_ignores(home: Path) -> None:
    install_claude(home / "bin", "#!/bin/sh\nexec grep SigIgn /proc/self/status\n")
    ignored = int((await run(home)).stdout.split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))
    assert not ignored & (1 << (signal.SIGXFSZ - 1))


async def test_the_users_headers_and_proxy_exceptions_stay(home: Path) -> None:
    got = json.loads((await run(home, ANTHROPIC_CUSTOM_HEADERS="X-Team: blue", NO_PROXY="corp")).stdout)["env"]
    assert got["ANTHROPIC_CUSTOM_HEADERS"] == "X-Team: blue\nx-claude-failover-key: thekey"
    assert got["NO_PROXY"] == "corp,127.0.0.1"


async def test_another_gateway_in_the_shell_is_replaced_and_said_to_be(home: Path) -> None:
    done = await run(home, ANTHROPIC_BASE_URL="https://user:worth-nothing@gateway.example")
    assert json.loads(done.stdout)["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8484"
    assert "ANTHROPIC_BASE_URL of this shell is not used" in done.stderr
    assert "worth-nothing" not in done.stderr


async def test_run_inside_run_changes_nothing(home: Path) -> None:
    once = json.loads((await run(home, ANTHROPIC_CUSTOM_HEADERS="X-Team: blue")).stdout)["env"]
    twice = json.loads((await run(home, **once)).stdout)["env"]
    assert twice == once


async def test_an_unknown_backend_is_our_failure(home: Path) -> None:
    done = await run(home, "--backend", "nowhere")
    assert done.returncode == 125
    assert "one of claude, bedrock" in done.stderr


async def test_a_word_of_ours_without_its_value_is_our_failure(home: Path) -> None:
    done = await run(home, "--backend")
    assert (done.returncode, done.stdout) == (125, "")


@pytest.mark.parametrize("name", ["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"])
async def test_an_environment_that_would_bypass_us_is_refused(home: Path, name: str) -> None:
    done = await run(home, **{name: "1"})
    assert (done.returncode, done.stdout) == (125, "")
    assert f"{name}: sends Claude Code to that cloud directly" in done.stderr
    assert f"hint: unset {name}" in done.stderr


async def test_settings_that_would_bypass_us_are_refused_and_named(home: Path) -> None:
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text('{"env": {"ANTHROPIC_BASE_URL": "https://elsewhere.example"}}')
    done = await run(home)
    assert done.returncode == 125
    assert f"{home}/.claude/settings.json: env.ANTHROPIC_BASE_URL" in done.stderr


async def test_a_project_setting_counts_too(home: Path) -> None:
    (home / "project/.claude").mkdir(parents=True)
    (home / "project/.claude/settings.json").write_text('{"env": {"ANTHROPIC_API_KEY": "sk-ant-worth-nothing"}}')
    done = await run(home, PWD=str(home / "project"))
    assert done.returncode == 125
    assert "sk-ant" not in done.stderr


async def test_without_claude_it_says_how_to_get_it(home: Path) -> None:
    (home / "bin/claude").unlink()
    done = await run(home)
    assert done.returncode == 125
    assert "claude is not installed" in done.stderr


@pytest.mark.parametrize("place", [".local/bin", ".claude/local", ".npm-global/bin"])
async def test_claude_is_found_where_its_installers_put_it(home: Path, place: str) -> None:
    (home / "bin/claude").rename(install_claude(home / place).parent / "claude")
    assert (await run(home)).returncode == 0


async def test_a_wrapper_around_ourselves_is_passed_over(home: Path) -> None:
    wrapper = install_claude(home / "wrap", '#!/bin/sh\nexec claude-failover run -- "$@"\n')
    done = await run(home, PATH=f"{wrapper.parent}:{path_with(home)}")
    assert json.loads(done.stdout)["argv"] == []


async def test_what_cannot_be_executed_is_our_failure(home: Path) -> None:
    install_claude(home / "bin", "#!/nonexistent/interpreter\n")
    done = await run(home)
    assert done.returncode == 125
    assert "cannot be run" in done.stderr


async def test_a_key_that_cannot_be_read_is_our_failure(home: Path) -> None:
    find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")}).client_key.unlink()
    done = await run(home)
    assert done.returncode == 125
    assert "client key" in done.stderr


async def test_a_daemon_that_asks_for_no_key_gets_none(home: Path) -> None:
    async with serving(FakeDaemon(sample_status(client_key_required=False)), paths_of(home).socket):
        done = await cli_async("run", home=home, PATH=path_with(home))
    assert "ANTHROPIC_CUSTOM_HEADERS" not in json.loads(done.stdout)["env"]


def broken_config(home: Path) -> str:
    config = home / "broken.yaml"
    config.write_text("backends: 7\n")
    config.chmod(0o600)
    return str(config)


def test_direct_if_down_runs_claude_as_it_would_be_without_us(home: Path) -> None:
    done = cli(
        "run", "--direct-if-down", "-p", "x", home=home,
        PATH=path_with(home), CLAUDE_FAILOVER_CONFIG=broken_config(home), CLAUDE_FAILOVER="1",
        ANTHROPIC_BASE_URL="http://127.0.0.1:8484", ANTHROPIC_CUSTOM_HEADERS="X-Team: blue\nx-claude-failover-key: old",
    )  # fmt: skip
    got = json.loads(done.stdout)
    assert got["argv"] == ["-p", "x"]
    assert "ANTHROPIC_BASE_URL" not in got["env"]
    assert got["env"]["ANTHROPIC_CUSTOM_HEADERS"] == "X-Team: blue"
    assert "running claude without it" in done.stderr


def test_without_it_a_daemon_that_does_not_start_is_our_failure(home: Path) -> None:
    done = cli("run", "-p", "x", home=home, PATH=path_with(home), CLAUDE_FAILOVER_CONFIG=broken_config(home))
    assert (done.returncode, done.stdout) == (125, "")


INTERACTIVE = """#!{python} -P
import os, signal, sys
signal.signal(signal.SIGINT, lambda number, frame: print("interrupted", flush=True))
print("tty", [os.isatty(n) for n in range(3)], os.get_terminal_size().columns, flush=True)
signal.signal(signal.SIGWINCH, lambda number, frame: print("resized", os.get_terminal_size().columns, flush=True))
for line in sys.stdin:
    if line.strip() == "exit":
        sys.exit(42)
    print("you said", line.strip(), flush=True)
"""


def test_an_interactive_claude_has_the_terminal_and_its_signals(home: Path) -> None:
    install_claude(home / "bin", INTERACTIVE.format(python=sys.executable))
    paths = find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")})
    daemon = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.control_fakes", "--ready-fd", "2"],
        env=clean_environment(home), stderr=subprocess.PIPE,
    )  # fmt: skip
    assert daemon.stderr is not None
    assert b"ready" in daemon.stderr.readline()
    terminal = pexpect.spawn(
        sys.executable, ["-P", "-m", "claude_failover", "run"], env=clean_environment(home, PATH=path_with(home)),
        cwd=str(home), encoding="utf-8", timeout=40, dimensions=(24, 90),
    )  # fmt: skip
    terminal.expect_exact("tty [True, True, True] 90")
    terminal.sendline("hello")
    terminal.expect_exact("you said hello")
    terminal.sendintr()
    terminal.expect_exact("interrupted")
    terminal.setwinsize(30, 70)
    terminal.expect_exact("resized 70")
    terminal.sendline("exit")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (terminal.exitstatus, terminal.signalstatus) == (42, None)
    ControlClient(paths.socket).stop(StopRequest(now=True))
    daemon.communicate(timeout=40)
