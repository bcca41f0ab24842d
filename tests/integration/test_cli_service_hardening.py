"""service install --hardened: what systemd says of the sandboxed unit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control_fakes import cli, short_directory

ANALYZE = [path for path in [shutil.which("systemd-analyze")] if path]


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        for name in ("systemctl", "loginctl", "claude-failover"):
            program = directory / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
        yield directory


def install(home: Path, *words: str) -> Path:
    done = cli("service", "install", *words, home=home, PATH=f"{home}/bin:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    return home / ".config/systemd/user/claude-failover.service"


def analyze(program: str, *words: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.defpath, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, env=environment, timeout=50)


@pytest.mark.parametrize("program", ANALYZE)
def test_systemd_finds_nothing_wrong_with_it_and_little_exposed(home: Path, program: str) -> None:
    unit = install(home, "--hardened")
    verified = analyze(program, "--user", "verify", str(unit), home=home)
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = analyze(program, "security", "--offline=true", "--no-pager", str(unit), home=home)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", judged.stdout)
    assert found is not None, judged.stdout + judged.stderr
    assert float(found[1]) <= 2.5


@pytest.mark.parametrize("words", [[], ["--hardened"]], ids=["usual", "hardened"])
def test_the_kernel_may_be_asked_whose_connection_it_is(home: Path, words: list[str]) -> None:
    """Without netlink other users of the machine could no longer be told apart, and nobody would notice."""
    allowed = next(line for line in install(home, *words).read_text().splitlines() if "RestrictAddressFamilies" in line)
    assert set(allowed.partition("=")[2].split()) == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}


def test_its_places_are_made_so_that_they_can_be_made_writable(home: Path) -> None:
    text = install(home, "--hardened").read_text()
    assert f"ReadWritePaths={home}/cf/state\n" in text
    assert (home / "cf/state").is_dir()
    assert (home / "cf/log").is_dir()


def test_both_variants_are_up_to_date(home: Path) -> None:
    for words in ([], ["--hardened"]):
        install(home, *words)
        done = cli("service", "status", "--json", home=home, PATH=f"{home}/bin:/usr/bin:/bin")
        assert json.loads(done.stdout)["current"] is True
