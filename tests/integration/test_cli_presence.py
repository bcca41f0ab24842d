"""Stopping the real daemon while a request runs."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from claude_failover.control import claim
from claude_failover.control.client import ControlClient
from tests.cli_homes import configure, home_of_a_daemon, paths_of
from tests.control_fakes import clean_environment, cli


@pytest.fixture
def home() -> Iterator[Path]:
    with home_of_a_daemon() as directory:
        yield directory


def test_a_daemon_whose_socket_was_removed_can_still_be_stopped(home: Path) -> None:
    configure(home)
    cli("start", home=home)
    paths_of(home).socket.unlink()
    assert "does not answer yet" in cli("start", home=home).stderr
    assert cli("stop", home=home).returncode == 0
    assert claim.holder(paths_of(home).lock) is None


@pytest.fixture
def busy(home: Path) -> Iterator[Path]:
    """A daemon with one request in flight, to a backend that has taken it and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = configure(home, upstream=silent.getsockname()[1])
        assert cli("start", home=home).returncode == 0
        key = paths_of(home).client_key.read_text().strip()
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=50)
        body = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        headers = {
            "content-type": "application/json",
            "x-claude-failover-key": key,
            "x-api-key": "sk-ant-worth-nothing",
        }
        client.request("POST", "/v1/messages", json.dumps(body), headers)
        upstream, _ = silent.accept()
        assert ControlClient(paths_of(home).socket).ping().streams == 1
        yield home
        upstream.close()
        client.close()


def test_now_does_not_wait_for_it(busy: Path) -> None:
    began = time.perf_counter()
    assert cli("stop", "--now", home=busy).returncode == 0
    assert time.perf_counter() - began < 25  # the drain would last for 30


def test_the_drain_has_an_end(busy: Path) -> None:
    began = time.perf_counter()
    assert cli("stop", "--drain", "1", home=busy).returncode == 0
    assert 1 <= time.perf_counter() - began < 25


def test_a_second_interrupt_cuts_it_off(busy: Path) -> None:
    terminal = pexpect.spawn(
        sys.executable, ["-P", "-m", "claude_failover", "stop", "--drain", "45"], env=clean_environment(busy),
        cwd=str(busy), encoding="utf-8", timeout=40,
    )  # fmt: skip
    terminal.expect("waiting for 1 stream …")
    terminal.sendintr()
    terminal.expect("stopped")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert claim.holder(paths_of(busy).lock) is None


def test_a_restart_waits_for_what_runs_and_brings_up_another(busy: Path) -> None:
    before = claim.holder(paths_of(busy).lock)
    terminal = pexpect.spawn(
        sys.executable, ["-P", "-m", "claude_failover", "restart", "--drain", "3"], env=clean_environment(busy),
        cwd=str(busy), encoding="utf-8", timeout=40,
    )  # fmt: skip
    terminal.expect("waiting for 1 stream …")
    terminal.expect(r"claude-failover runs: pid (\d+)")
    after = int(terminal.match[1])
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert before != after == claim.holder(paths_of(busy).lock)


def test_a_restart_into_a_wrong_configuration_stops_nothing(busy: Path) -> None:
    before = claim.holder(paths_of(busy).lock)
    (busy / "cf/config.yaml").write_text("nonsense: 1\n")
    done = cli("restart", home=busy)
    assert (done.returncode, "nonsense" in done.stderr) == (2, True)
    assert claim.holder(paths_of(busy).lock) == before
