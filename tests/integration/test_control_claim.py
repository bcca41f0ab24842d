"""Lock, probe, unlink, bind: who may be the daemon."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.control import claim
from claude_failover.errors import AlreadyRunning, ConfigError, DaemonFailed
from tests.control_fakes import clean_environment, short_directory

HOLD = """
import sys, time
from pathlib import Path
from claude_failover.control import claim
from claude_failover.errors import AlreadyRunning
try:
    lock = claim.acquire(Path(sys.argv[1]))
except AlreadyRunning as error:
    print("loser", error, flush=True)
else:
    print("winner", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def contender(lock: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(lock.parent),
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=40)


def test_the_lock_names_its_holder_and_goes_with_release(place: Path) -> None:
    lock = claim.acquire(place / "lock")
    assert claim.holder(place / "lock") == os.getpid()
    lock.release()
    assert claim.holder(place / "lock") is None
    assert (place / "lock").exists()
    lock.release()  # a second time is nothing


def test_the_loser_learns_the_winners_pid(place: Path) -> None:
    lock = claim.acquire(place / "lock")
    with pytest.raises(AlreadyRunning, match=f"already running, pid {os.getpid()}") as caught:
        claim.acquire(place / "lock")
    assert caught.value.exit_code == 0
    lock.release()


def test_a_stale_pid_in_the_file_is_no_holder(place: Path) -> None:
    (place / "lock").write_text("1\n")
    assert claim.holder(place / "lock") is None
    claim.acquire(place / "lock").release()


def test_somebody_who_only_looks_is_no_daemon_for_one_that_starts_nor_for_another_who_looks(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "lock").write_text("1\n")
    looking = os.open(place / "lock", os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert claim.holder(place / "lock") is None
    monkeypatch.setattr(claim, "pause", lambda seconds: os.close(looking))
    claim.acquire(place / "lock").release()


def test_no_file_is_no_holder(place: Path) -> None:
    assert claim.holder(place / "lock") is None


def test_a_holder_that_has_not_written_its_pid_is_somebody(place: Path) -> None:
    lock = claim.acquire(place / "lock")
    (place / "lock").write_text("")
    assert claim.holder(place / "lock") == 0
    with pytest.raises(AlreadyRunning, match=r"already running$"):
        claim.acquire(place / "lock")
    lock.release()


def test_the_lock_file_is_private(place: Path) -> None:
    lock = claim.acquire(place / "lock")
    assert stat.S_IMODE((place / "lock").stat().st_mode) == 0o600
    lock.release()


def test_a_link_is_not_followed(place: Path) -> None:
    (place / "lock").symlink_to(place / "elsewhere")
    with pytest.raises(DaemonFailed, match="cannot be opened"):
        claim.acquire(place / "lock")
    assert not (place / "elsewhere").exists()


def test_of_ten_that_start_at_once_one_wins_and_the_losers_name_it(place: Path) -> None:
    contenders = [contender(place / "lock") for _ in range(10)]
    said = [first_line(one) for one in contenders]
    winner = contenders[said.index("winner")]
    for one in contenders:
        finish(one)
    assert sorted(said).count("winner") == 1
    # A loser may look before the winner has written its pid; then it names nobody rather than somebody wrong.
    assert {line for line in said if line != "winner"} <= {
        f"loser already running, pid {winner.pid}",
        "loser already running",
    }


def test_a_killed_holder_frees_the_lock_at_once(place: Path) -> None:
    holder = contender(place / "lock")
    assert first_line(holder) == "winner"
    holder.send_signal(signal.SIGKILL)
    finish(holder)
    claim.acquire(place / "lock").release()


def test_the_socket_is_born_private(place: Path) -> None:
    listener = claim.bind(place / "s")
    assert stat.S_IMODE((place / "s").stat().st_mode) == 0o600
    assert claim.answers(place / "s")
    listener.close()
    claim.unbind(place / "s")
    assert not (place / "s").exists()
    claim.unbind(place / "s")  # already gone is gone


def test_a_socket_that_nobody_answers_on_is_replaced(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place / "s"))
    claim.bind(place / "s").close()


def test_a_socket_that_somebody_answers_on_is_left_alone(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(place / "s"))
        living.listen(1)
        with pytest.raises(AlreadyRunning, match="somebody answers"):
            claim.bind(place / "s")
        assert claim.answers(place / "s")


def test_what_is_no_socket_is_never_deleted(place: Path) -> None:
    (place / "s").write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        claim.bind(place / "s")
    assert (place / "s").read_text() == "precious"


def test_a_path_too_long_for_a_socket_is_said_to_be(place: Path) -> None:
    with pytest.raises(ConfigError, match="too long for a socket") as caught:
        claim.bind(place / ("x" * 100))
    assert "CLAUDE_FAILOVER_HOME" in (caught.value.hint or "")


def test_a_place_that_is_not_there_is_said_to_be(place: Path) -> None:
    with pytest.raises(DaemonFailed, match="control socket cannot be made"):
        claim.bind(place / "nowhere" / "s")


def test_the_umask_is_as_before(place: Path) -> None:
    before = os.umask(0o022)
    claim.bind(place / "s").close()
    assert os.umask(before) == 0o022


def test_a_socket_of_which_nothing_can_be_known_counts_as_answered(place: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(place / "s"))
        assert claim.answers(place / "s")  # EPROTOTYPE: somebody's, and not ours to remove
