"""service with stand-ins for systemctl, what systemd itself says of the unit, and the reports to systemd."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.cli import supervised
from claude_failover.clock import SystemClock
from claude_failover.control import handshake
from claude_failover.core.types import Seconds
from claude_failover.errors import ConfigError, ControlError
from tests.control_fakes import cli, short_directory

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
    return cli("service", *words, home=home, PATH=f"{home}/bin:/usr/bin:/bin", **more)


def unit_of(home: Path) -> Path:
    return home / ".config/systemd/user/claude-failover.service"


def test_install_writes_the_unit_enables_and_starts_it(home: Path) -> None:
    done = run(home, "install", AWS_PROFILE="work", ANTHROPIC_API_KEY="sk-ant-secret")
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
    done = cli("service", "install", home=home, PATH=f"{home}/bin")
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


# --- reports to systemd ------------------------------------------------------------------------------


@pytest.fixture
def systemd() -> Iterator[tuple[socket.socket, dict[str, str]]]:
    with short_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(directory / "notify"))
        channel.settimeout(10)
        yield channel, {"NOTIFY_SOCKET": str(directory / "notify")}


def test_without_systemd_nobody_is_told(tmp_path: Path) -> None:
    assert supervised.supervise({}, tmp_path, SystemClock()) is None
    assert not supervised.notify({}, "READY=1")
    assert not supervised.notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0cf-test-{os.getpid()}")
        assert supervised.notify({"NOTIFY_SOCKET": f"@cf-test-{os.getpid()}"}, "READY=1")
        assert channel.recv(100) == b"READY=1"


def test_ready_is_passed_on_with_the_address(systemd: tuple[socket.socket, dict[str, str]], tmp_path: Path) -> None:
    channel, environ = systemd
    told = supervised.supervise(environ, tmp_path / "control.sock", SystemClock())
    assert told is not None
    handshake.tell_ready(told, pid=os.getpid(), address="http://127.0.0.1:8484")
    assert channel.recv(1000) == b"READY=1\nSTATUS=http://127.0.0.1:8484"


def test_a_reason_goes_to_stderr_for_the_journal(
    systemd: tuple[socket.socket, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    handshake.tell_failed(writing, ConfigError("config.yaml:3: no", hint="claude-failover config check"))
    supervised.report(systemd[1], tmp_path, SystemClock(), reading)
    assert capsys.readouterr().err == "config.yaml:3: no\nhint: claude-failover config check\n"


def test_a_daemon_that_dies_or_babbles_is_not_reported_ready(
    systemd: tuple[socket.socket, dict[str, str]], tmp_path: Path
) -> None:
    for said in (b"", b"babble\n"):
        reading, writing = os.pipe()
        os.write(writing, said)
        os.close(writing)
        supervised.report(systemd[1], tmp_path, SystemClock(), reading)
    systemd[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd[0].recv(10)


@pytest.mark.parametrize(
    ("environ", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_three_times_in_its_period(environ: dict[str, str], period: float | None) -> None:
    found = supervised.watchdog_period(environ, 7)
    assert found == (None if period is None else pytest.approx(period))


def test_a_daemon_that_does_not_answer_is_not_pinged_for(systemd: tuple[socket.socket, dict[str, str]]) -> None:
    channel, environ = systemd
    answers = iter([True, False, True])

    def ask() -> object:
        if not next(answers):
            raise ControlError("the loop hangs")
        return None

    def wait(period: Seconds) -> None:
        assert period == 10.0

    with pytest.raises(StopIteration):
        supervised.ping_for_ever(environ, Seconds(10.0), ask, wait)
    channel.setblocking(False)
    assert [channel.recv(100), channel.recv(100)] == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        channel.recv(100)


def test_pinging_ends_with_systemd() -> None:
    pinging = threading.Thread(
        target=supervised.ping_for_ever, args=({}, Seconds(0.0), lambda: None, lambda period: None), daemon=True
    )
    pinging.start()
    pinging.join(10)
    assert not pinging.is_alive()
