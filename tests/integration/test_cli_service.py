"""service with stand-ins for systemctl, and what systemd itself says of the unit."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control_fakes import here, short_directory

SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$HOME/calls"
case "$2" in
  is-enabled) echo enabled ;;
  is-active) echo active ;;
  "$REFUSE") echo "no bus" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        for name, text in (
            ("systemctl", SYSTEMCTL),
            ("loginctl", "#!/bin/sh\necho no\n"),
            ("claude-failover", "#!/bin/sh\n"),
        ):
            program = directory / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        yield directory


def run(home: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return here("service", *words, home=home, PATH=f"{home}/bin:/usr/bin:/bin", **more)


def unit_of(home: Path) -> Path:
    return home / ".config/systemd/user/claude-failover.service"


def test_install_writes_the_unit_enables_and_starts_it(home: Path) -> None:
    done = run(home, "install", AWS_PROFILE="work", ANTHROPIC_API_KEY="sk-ant-worth-nothing")
    assert done.returncode == 0
    text = unit_of(home).read_text()
    assert f"ExecStart={home}/bin/claude-failover start --foreground" in text
    assert "Environment=AWS_PROFILE=work" in text
    assert "sk-ant" not in text + done.stderr + done.stdout
    assert "ANTHROPIC_API_KEY of this shell was left out" in done.stderr
    assert "loginctl enable-linger" in done.stderr
    assert (home / "calls").read_text().splitlines()[:2] == [
        "--user daemon-reload",
        "--user enable --now claude-failover.service",
    ]


def test_print_installs_nothing(home: Path) -> None:
    done = run(home, "install", "--print")
    assert "[Service]" in done.stdout
    assert not unit_of(home).exists()


def test_what_systemd_refuses_is_passed_on(home: Path) -> None:
    done = run(home, "install", REFUSE="enable")
    assert done.returncode == 1
    assert "failed: no bus" in done.stderr
    assert "journalctl --user -u claude-failover.service" in done.stderr


def test_status_follows_what_is_the_case(home: Path) -> None:
    before = run(home, "status")
    run(home, "install")
    after = run(home, "status", "--json")
    changed = run(home, "status", AWS_PROFILE="other")
    assert (before.returncode, "not installed" in before.stdout) == (1, True)
    found = json.loads(after.stdout)
    assert (found["installed"], found["current"], found["enabled"], found["active"]) == (True, True, True, "active")
    assert (found["lingers"], found["pid"], after.returncode) == (False, 0, 3)
    assert "not what this version and shell would write" in changed.stdout


def test_uninstall_removes_the_unit_and_can_be_repeated(home: Path) -> None:
    run(home, "install")
    done = run(home, "uninstall")
    assert (done.returncode, unit_of(home).exists()) == (0, False)
    assert "--user disable --now claude-failover.service" in (home / "calls").read_text()
    assert "not installed" in run(home, "uninstall").stderr


def test_without_a_service_manager_it_says_so(home: Path) -> None:
    (home / "bin/systemctl").unlink()
    done = here("service", "install", home=home, PATH=f"{home}/bin")
    assert done.returncode == 1
    assert "no such service manager" in done.stderr


@pytest.mark.parametrize("program", ["systemd-analyze"] if shutil.which("systemd-analyze") else [])
def test_systemd_finds_nothing_wrong_with_the_unit(home: Path, program: str) -> None:
    run(home, "install", AWS_PROFILE='my "work" 100%')
    done = subprocess.run(
        [program, "--user", "verify", str(unit_of(home))],
        capture_output=True, text=True, check=False,
        env={"PATH": os.defpath, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def systemd() -> Iterator[tuple[socket.socket, dict[str, str]]]:
    with short_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(directory / "notify"))
        channel.settimeout(40)
        yield channel, {"NOTIFY_SOCKET": str(directory / "notify")}
