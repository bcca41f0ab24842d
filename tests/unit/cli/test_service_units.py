"""The service definitions."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

from claude_failover.cli import service_units as units

COMMAND = ["/home/me/.local/bin/claude-failover", "start", "--foreground"]


def lines(environ: dict[str, str] | None = None, command: list[str] | None = None) -> list[str]:
    return units.systemd_unit(command or COMMAND, environ or {}).splitlines()


def test_the_unit_runs_the_program_in_the_foreground_and_is_told_when_it_is_ready() -> None:
    unit = lines()
    assert "ExecStart=/home/me/.local/bin/claude-failover start --foreground" in unit
    assert "Type=notify" in unit
    assert "WatchdogSec=30" in unit
    assert "WantedBy=default.target" in unit


def test_a_wrong_configuration_is_not_restarted_and_a_crash_is() -> None:
    unit = lines()
    assert "Restart=on-failure" in unit
    assert "RestartPreventExitStatus=2" in unit


def test_what_the_shell_knows_goes_into_the_unit() -> None:
    assert "Environment=AWS_PROFILE=work" in lines({"AWS_PROFILE": "work"})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("my work", 'Environment="A=my work"'),
        ('q"q', 'Environment="A=q\\"q"'),
        ("100%h", "Environment=A=100%%h"),
        ("a$b", "Environment=A=a$b"),
        ("a;b", 'Environment="A=a;b"'),
        ("back\\slash", 'Environment="A=back\\\\slash"'),
    ],
)
def test_values_are_text_and_nothing_else(value: str, written: str) -> None:
    assert written in lines({"A": value})


def test_a_dollar_in_the_command_is_text() -> None:
    assert "ExecStart=/opt/a$$b/claude-failover" in lines(command=["/opt/a$b/claude-failover"])


def test_secrets_are_never_kept_and_always_named() -> None:
    environ = dict.fromkeys(units.SECRET, "s3cret") | {"AWS_PROFILE": "work", "HTTPS_PROXY": "http://me:pw@proxy:1"}
    assert units.kept(environ) == {"AWS_PROFILE": "work"}
    assert units.left_out(environ) == [*units.SECRET, "HTTPS_PROXY"]


def test_a_proxy_without_a_password_is_kept() -> None:
    assert units.kept({"HTTPS_PROXY": "http://proxy:1", "AWS_REGION": ""}) == {"HTTPS_PROXY": "http://proxy:1"}
    assert units.left_out({"HTTPS_PROXY": "http://proxy:1"}) == []


def test_a_value_of_two_lines_is_not_written() -> None:
    assert units.kept({"AWS_PROFILE": "a\nExecStart=/bin/evil"}) == {}


def test_the_agent_says_the_same_to_launchd() -> None:
    agent = plistlib.loads(units.launchd_agent(COMMAND, {"AWS_PROFILE": "my work"}, Path("/log")))
    assert agent["ProgramArguments"] == COMMAND
    assert agent["EnvironmentVariables"] == {"AWS_PROFILE": "my work"}
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["StandardErrorPath"] == "/log/boot.log"
    assert agent["Umask"] == 0o077
