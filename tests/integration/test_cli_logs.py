"""logs as a subprocess: what is chosen, for people and for programs, and following."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control_fakes import clean_environment, here, short_directory


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        (directory / "cf/log").mkdir(parents=True)
        yield directory


def write(home: Path, *names: str, level: str = "info", log: str = "daemon.log") -> None:
    with (home / "cf/log" / log).open("a") as file:
        for name in names:
            file.write(json.dumps({"ts": "2026-11-18T11:06:40.000Z", "level": level, "event": name}) + "\n")


def test_the_last_lines_are_shown_for_people(home: Path) -> None:
    write(home, *(f"event.{number}" for number in range(60)))
    done = here("logs", home=home)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 50
    assert done.stdout.splitlines()[-1] == "11-18 11:06:40.000 info     event.59"
    assert len(here("logs", "-n", "3", home=home).stdout.splitlines()) == 3


def test_json_is_the_file_as_it_is(home: Path) -> None:
    write(home, "a", "b")
    assert here("logs", "--json", home=home).stdout == (home / "cf/log/daemon.log").read_text()


def test_level_and_time_choose(home: Path) -> None:
    write(home, "quiet")
    write(home, "loud", level="error")
    assert "quiet" not in here("logs", "--level", "warning", home=home).stdout
    assert "loud" in here("logs", "--since", "2026-11-18", home=home).stdout
    assert here("logs", "--since", "2026-11-19", home=home).stdout == ""


def test_the_audit_log_is_another_file(home: Path) -> None:
    write(home, "override.set", log="audit.log")
    assert "override.set" in here("logs", "--audit", home=home).stdout


def test_no_log_is_said_to_be_none(home: Path) -> None:
    done = here("logs", home=home)
    assert (done.returncode, done.stdout) == (0, "")
    assert "no daemon has run" in done.stderr


@pytest.mark.parametrize("words", [("--level", "loud"), ("--since", "whenever"), ("-n", "-3")], ids=" ".join)
def test_what_cannot_be_chosen_is_a_usage_error(home: Path, words: tuple[str, ...]) -> None:
    assert here("logs", *words, home=home).returncode == 2


def test_following_shows_what_is_there_and_what_comes_over_a_rotation(home: Path) -> None:
    write(home, "old")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "claude_failover", "logs", "-f"],
        env=clean_environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().split()[-1] == "old"
    write(home, "before")
    log = home / "cf/log/daemon.log"
    log.rename(log.with_name("daemon.log.1"))
    write(home, "after")
    assert [process.stdout.readline().split()[-1] for _ in range(2)] == ["before", "after"]
    process.terminate()
    process.communicate(timeout=40)
