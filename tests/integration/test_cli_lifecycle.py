"""start, stop, restart and reload with the real daemon: every outcome is a clear one."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.cli.spawn import wait_until_gone
from claude_failover.clock import SystemClock
from claude_failover.control import claim
from claude_failover.control.client import ControlClient
from claude_failover.core.types import Seconds
from tests.cli_homes import configure, free_port, home_of_a_daemon, paths_of
from tests.control_fakes import clean_environment, cli


@pytest.fixture
def home() -> Iterator[Path]:
    with home_of_a_daemon() as directory:
        yield directory


def pid_of(home: Path) -> int:
    return ControlClient(paths_of(home).socket).ping().pid


def test_start_answers_on_socket_and_port_and_stop_ends_it(home: Path) -> None:
    port = configure(home)
    started = cli("start", home=home)
    assert (started.returncode, started.stdout) == (0, "")
    assert f"claude-failover runs: pid {pid_of(home)}, http://127.0.0.1:{port}" in started.stderr
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()
    stopped = cli("stop", home=home)
    assert (stopped.returncode, stopped.stderr) == (0, "stopped\n")
    assert claim.holder(paths_of(home).lock) is None
    assert not paths_of(home).socket.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_second_start_says_so_and_is_no_failure(home: Path) -> None:
    configure(home)
    cli("start", home=home)
    again = cli("start", home=home)
    assert again.returncode == 0
    assert f"already running, pid {pid_of(home)}" in again.stderr


def test_ten_starts_at_once_bring_up_one_daemon(home: Path) -> None:
    configure(home)
    starts = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "claude_failover", "start"],
            env=clean_environment(home), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(6)
    ]  # fmt: skip
    said = [start.communicate(timeout=50)[1] for start in starts]
    assert [start.returncode for start in starts] == [0] * 6
    assert sum("claude-failover runs" in text for text in said) == 1
    assert sum("already running" in text for text in said) == 5


def test_a_stale_pid_and_socket_are_in_nobodys_way(home: Path) -> None:
    configure(home)
    cli("start", home=home)
    os.kill(pid_of(home), signal.SIGKILL)
    assert wait_until_gone(paths_of(home), SystemClock(), Seconds(40), lambda: None)
    assert paths_of(home).socket.exists()
    assert cli("status", "--short", home=home).returncode == 3
    assert cli("start", home=home).returncode == 0


def test_a_taken_port_is_named_with_its_owner(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = configure(home, taken.getsockname()[1])
        done = cli("start", home=home)
    assert done.returncode not in {0, 3}
    assert str(port) in done.stderr
    assert str(os.getpid()) in done.stderr
    assert claim.holder(paths_of(home).lock) is None


def test_a_wrong_configuration_names_file_line_and_key(home: Path) -> None:
    configure(home, more="timeouts: {conect: 5}\n")
    done = cli("start", home=home)
    assert done.returncode == 2
    assert "config.yaml:4" in done.stderr
    assert "conect" in done.stderr


def test_a_chosen_configuration_that_is_not_there_is_an_error(home: Path) -> None:
    done = cli("--config", str(home / "absent.yaml"), "start", home=home)
    assert done.returncode == 2
    assert "absent.yaml" in done.stderr


def test_no_bedrock_at_all_is_a_clear_outcome(home: Path) -> None:
    configure(home)
    assert cli("start", home=home).returncode == 0
    status = cli("status", "--check", home=home)
    assert status.returncode == 4
    assert "Not protected: claude answers, but nobody could take over" in status.stdout


def test_no_aws_credentials_is_a_clear_outcome(home: Path) -> None:
    configure(home, more="  - {name: bedrock, kind: bedrock, region: us-east-1}\n")
    started = cli("start", home=home)
    assert started.returncode == 0
    assert "bedrock" in started.stderr
    tree = json.loads(cli("status", "--json", home=home).stdout)
    assert tree["health"] == "unprotected"
    assert [one["usable"] for one in tree["backends"]] == [True, False]
    assert tree["needs_you"]


def test_nothing_configured_works_and_says_what_is_missing_in_few_lines(home: Path) -> None:
    done = cli("start", home=home, CLAUDE_FAILOVER_LISTEN_PORT=str(free_port()))
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) <= 6
    assert "bedrock" in done.stderr


def test_stop_without_a_daemon_exits_with_three(home: Path) -> None:
    assert cli("stop", home=home).returncode == 3


def test_restart_brings_up_another_process_and_starts_one_where_none_was(home: Path) -> None:
    configure(home)
    assert cli("restart", home=home).returncode == 0
    before = pid_of(home)
    done = cli("restart", "--drain", "0", home=home)
    assert done.returncode == 0
    assert pid_of(home) != before


def test_reload_takes_a_new_value_and_refuses_a_wrong_one(home: Path) -> None:
    port = configure(home)
    started = cli("start", home=home)
    assert started.returncode == 0, started.stderr
    configure(home, port, more="cost_tracking: {daily_limit: 7.5}\n")
    done = cli("reload", home=home)
    assert done.returncode == 0, done.stderr
    assert "cost_tracking.daily_limit" in done.stderr
    configure(home, port, more="cost_tracking: {daily_limit: lots}\n")
    refused = cli("reload", home=home)
    assert refused.returncode == 2
    assert "config.yaml:4" in refused.stderr
    status = json.loads(cli("status", "--json", home=home).stdout)
    assert status["spend"]["limit_usd"] == 7.5
    assert status["config_error"]


def test_foreground_stays_and_ends_with_a_signal(home: Path) -> None:
    configure(home)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "claude_failover", "start", "--foreground"],
        env=clean_environment(home), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    client = ControlClient(paths_of(home).socket, patience=Seconds(40))
    assert client.ping().pid == process.pid
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=40)
    assert process.returncode == 0
    assert "daemon.started" in said


def test_foreground_of_a_second_daemon_says_who_runs(home: Path) -> None:
    configure(home)
    cli("start", home=home)
    done = cli("start", "--foreground", home=home)
    assert done.returncode == 0
    assert f"already running, pid {pid_of(home)}" in done.stderr


def test_under_systemd_readiness_is_reported_when_the_port_answers(home: Path) -> None:
    configure(home)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(home / "notify"))
        systemd.settimeout(40)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "claude_failover", "start", "--foreground"],
            env=clean_environment(home, NOTIFY_SOCKET=str(home / "notify"), WATCHDOG_USEC="600000"),
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert systemd.recv(1000).startswith(b"READY=1\nSTATUS=http://127.0.0.1:")
        assert systemd.recv(1000) == b"WATCHDOG=1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


def test_what_happened_is_in_the_log_and_who_did_it_in_the_audit_log(home: Path) -> None:
    configure(home)
    cli("start", home=home)
    cli("force", "claude", "--for", "1m", home=home)
    cli("stop", home=home)
    log = cli("logs", "--json", home=home).stdout.splitlines()
    assert "daemon.started" in {json.loads(line)["event"] for line in log}
    audit = cli("logs", "--audit", home=home)
    assert audit.returncode == 0
    assert "override" in audit.stdout


def test_run_starts_the_daemon_and_becomes_claude(home: Path) -> None:
    port = configure(home)
    claude = home / "bin/claude"
    claude.parent.mkdir()
    claude.write_text('#!/bin/sh\necho "$ANTHROPIC_BASE_URL $ANTHROPIC_CUSTOM_HEADERS"\nexit 7\n')
    claude.chmod(0o755)
    done = cli("run", "-p", "hi", home=home, PATH=f"{home}/bin:/usr/bin:/bin")
    key = paths_of(home).client_key.read_text().strip()
    assert (done.returncode, done.stdout) == (7, f"http://127.0.0.1:{port} x-claude-failover-key: {key}\n")
    assert pid_of(home)


def test_an_ephemeral_daemon_goes_with_the_claude_that_brought_it(home: Path) -> None:
    configure(home)
    claude = home / "bin/claude"
    claude.parent.mkdir()
    claude.write_text("#!/bin/sh\nexit 0\n")
    claude.chmod(0o755)
    done = cli("run", "--ephemeral", home=home, PATH=f"{home}/bin:/usr/bin:/bin")
    assert done.returncode == 0
    assert wait_until_gone(paths_of(home), SystemClock(), Seconds(40), lambda: None)


def test_a_daemon_that_was_there_before_outlives_an_ephemeral_run(home: Path) -> None:
    configure(home)
    cli("start", home=home)
    before = pid_of(home)
    claude = home / "bin/claude"
    claude.parent.mkdir()
    claude.write_text("#!/bin/sh\nexit 0\n")
    claude.chmod(0o755)
    cli("run", "--ephemeral", home=home, PATH=f"{home}/bin:/usr/bin:/bin")
    assert pid_of(home) == before
