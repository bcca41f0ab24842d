"""What systemd is told: ready, and well."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.cli import supervised
from claude_failover.clock import SystemClock
from claude_failover.control import handshake
from claude_failover.core.types import Seconds
from claude_failover.errors import ConfigError, ControlError
from tests.control_fakes import short_directory


@pytest.fixture
def systemd() -> Iterator[tuple[socket.socket, dict[str, str]]]:
    with short_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(directory / "notify"))
        channel.settimeout(40)
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
    pinging.join(40)
    assert not pinging.is_alive()
