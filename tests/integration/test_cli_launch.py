"""env and shell-init, as shells take them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli_homes import home_with_a_claude, path_with, paths_of
from tests.control_fakes import FakeDaemon, cli, cli_async, serving


@pytest.fixture
def home() -> Iterator[Path]:
    with home_with_a_claude() as directory:
        yield directory


def bash(script: str, **environ: str) -> str:
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environ).stdout


async def test_env_is_eval_safe_and_complete(home: Path) -> None:
    async with serving(FakeDaemon(), paths_of(home).socket):
        done = await cli_async("env", "--shell", "bash", home=home)
    script = f"{done.stdout}\nprintenv ANTHROPIC_BASE_URL ANTHROPIC_CUSTOM_HEADERS CLAUDE_FAILOVER"
    assert bash(script, PATH=os.defpath) == "http://127.0.0.1:8484\nx-claude-failover-key: thekey\n1\n"


async def test_env_takes_the_login_shells_syntax(home: Path) -> None:
    async with serving(FakeDaemon(), paths_of(home).socket):
        done = await cli_async("env", home=home, SHELL="/usr/bin/fish")
    assert done.stdout.startswith("set -gx ANTHROPIC_BASE_URL ")


async def test_env_warns_of_what_would_bypass_us_on_stderr(home: Path) -> None:
    async with serving(FakeDaemon(), paths_of(home).socket):
        done = await cli_async("env", home=home, CLAUDE_CODE_USE_BEDROCK="1")
    assert "CLAUDE_CODE_USE_BEDROCK" in done.stderr
    assert "CLAUDE_CODE_USE_BEDROCK" not in done.stdout


def test_env_unset_needs_no_daemon(home: Path) -> None:
    done = cli("env", "--unset", "--shell", "bash", home=home, NO_PROXY="corp,127.0.0.1")
    assert done.returncode == 0
    assert "unset ANTHROPIC_BASE_URL;" in done.stdout
    assert "export NO_PROXY='corp';" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_init_defines_claude(home: Path, shell: str) -> None:
    done = cli("shell-init", shell, home=home)
    assert "claude-failover run --" in done.stdout


def test_the_function_hands_words_over_unchanged(home: Path) -> None:
    function = cli("shell-init", "bash", home=home).stdout
    (home / "bin/claude-failover").write_text('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n')
    (home / "bin/claude-failover").chmod(0o755)
    assert bash(f"{function}\nclaude -p 'two words' ''", PATH=path_with(home)) == "[run]\n[--]\n[-p]\n[two words]\n[]\n"


def test_an_unknown_shell_is_a_usage_error(home: Path) -> None:
    assert cli("shell-init", "tcsh", home=home).returncode == 2
