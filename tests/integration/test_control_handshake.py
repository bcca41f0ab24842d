"""A daemon's first word over a pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from claude_failover.clock import SystemClock
from claude_failover.control import handshake
from claude_failover.control.api import encode
from claude_failover.core.types import Seconds
from claude_failover.errors import (
    AlreadyRunning,
    ConfigError,
    ControlError,
    CredentialError,
    DaemonFailed,
    FailoverError,
    LedgerError,
    UsageError,
)

LONG = Seconds(40.0)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def hear(reading: int, patience: Seconds = LONG) -> handshake.Word | None:
    return handshake.hear(reading, SystemClock(), patience)


def test_ready_arrives_with_pid_address_and_notes(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    handshake.tell_ready(writing, pid=7, address="http://127.0.0.1:1", notes=("claude: ready",))
    assert hear(reading) == handshake.Word(True, 7, "http://127.0.0.1:1", notes=("claude: ready",))
    assert os.read(reading, 1) == b""  # closed: nothing holds the pipe open


@pytest.mark.parametrize("kind", [AlreadyRunning, ConfigError, CredentialError, DaemonFailed, LedgerError, UsageError])
def test_a_reason_arrives_as_itself(pipe: tuple[int, int], kind: type[FailoverError]) -> None:
    reading, writing = pipe
    handshake.tell_failed(writing, kind("port 8484 is taken", hint="lsof -i :8484"))
    word = hear(reading)
    assert word is not None
    error = handshake.error_of(word)
    assert (type(error), str(error), error.hint) == (kind, "port 8484 is taken", "lsof -i :8484")
    assert error.exit_code == kind.exit_code


def test_another_kind_keeps_its_exit_code(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    other = ControlError("odd")
    other.exit_code = 9
    handshake.tell_failed(writing, other)
    word = hear(reading)
    assert word is not None
    assert handshake.error_of(word).exit_code == 9


def test_a_daemon_that_dies_without_a_word_is_not_waited_for(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(writing)
    assert hear(reading) is None


def test_half_a_line_and_the_end_is_no_word(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b'{"ready": true')
    os.close(writing)
    assert hear(reading) is None


def test_a_line_may_come_in_pieces(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    line = encode(handshake.Word(ready=True, pid=7)) + b"\n"
    os.write(writing, line[:5])
    threading.Timer(0.05, handshake._tell_line, (writing, line[5:])).start()
    assert hear(reading) == handshake.Word(ready=True, pid=7)


def test_silence_ends_with_the_patience(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    waited: list[int] = []
    with pytest.raises(DaemonFailed, match="did not get ready within 1 s"):
        handshake.hear(reading, SystemClock(), Seconds(0.6), lambda: waited.append(1))
    assert waited
    os.close(writing)


@pytest.mark.parametrize("line", [b"hello\n", b'{"ready": "yes"}\n'])
def test_another_programs_line_is_not_taken_for_ours(pipe: tuple[int, int], line: bytes) -> None:
    reading, writing = pipe
    os.write(writing, line)
    os.close(writing)
    with pytest.raises(DaemonFailed, match="not our daemon"):
        hear(reading)


def test_endless_talk_is_not_taken_for_ours(pipe: tuple[int, int]) -> None:
    reading, writing = pipe

    def talk() -> None:
        for _ in range(3):
            os.write(writing, b"x" * 40_000)
        os.close(writing)

    talking = threading.Thread(target=talk)
    talking.start()
    with pytest.raises(DaemonFailed, match="does not speak the handshake"):
        hear(reading)
    while os.read(reading, 65536):
        pass
    talking.join()


def test_a_daemon_outlives_whoever_started_it() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    handshake.tell_ready(writing, pid=1, address="")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing)
