"""env and shell-init, as shells take them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.config_paths import find_paths
from tests.control_fakes import FakeDaemon, cli, cli_async, serving, short_directory

CLAUDE = """#!{python} -P
import json, os, signal, sys
names = ("ANTHROPIC", "CLAUDE", "NO_PROXY", "no_proxy", "ENABLE")
print(json.dumps({{
    "argv": sys.argv[1:],
    "pid": os.getpid(),
    "stdin": sys.stdin.read(),
    "env": {{name: value for name, value in os.environ.items() if name.startswith(names)}},
}}), flush=True)
if "--die" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
sys.exit(int(os.environ.get("EXIT_WITH", "0")))
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        paths = find_paths(environ={"CLAUDE_FAILOVER_HOME": str(directory / "cf")})
        paths.prepare()
        paths.client_key.write_text("thekey\n")
        (directory / "bin").mkdir()
        install(directory / "bin")
        yield directory


def install(place: Path, text: str = CLAUDE.format(python=sys.executable)) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / "claude").write_text(text)
    (place / "claude").chmod(0o755)
    return place / "claude"


def socket_of(home: Path) -> Path:
    return find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")}).socket


def path_with(home: Path) -> str:
    return f"{home}/bin:/usr/bin:/bin"


async def run(home: Path, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    async with serving(FakeDaemon(), socket_of(home)):
        return await cli_async("run", *words, home=home, stdin=stdin, **{"PATH": path_with(home), **more})


def bash(script: str, **environ: str) -> str:
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environ).stdout


async def test_env_is_eval_safe_and_complete(home: Path) -> None:
    async with serving(FakeDaemon(), socket_of(home)):
        done = await cli_async("env", "--shell", "bash", home=home)
    script = f"{done.stdout}\nprintenv ANTHROPIC_BASE_URL ANTHROPIC_CUSTOM_HEADERS CLAUDE_FAILOVER"
    assert bash(script, PATH=os.defpath) == "http://127.0.0.1:8484\nx-claude-failover-key: thekey\n1\n"


async def test_env_takes_the_login_shells_syntax(home: Path) -> None:
    async with serving(FakeDaemon(), socket_of(home)):
        done = await cli_async("env", home=home, SHELL="/usr/bin/fish")
    assert done.stdout.startswith("set -gx ANTHROPIC_BASE_URL ")


async def test_env_warns_of_what_would_bypass_us_on_stderr(home: Path) -> None:
    async with serving(FakeDaemon(), socket_of(home)):
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
