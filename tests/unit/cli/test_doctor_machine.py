"""What the checks of the machine make of files and limits."""

from __future__ import annotations

import resource
from collections import namedtuple
from pathlib import Path

import pytest

from claude_failover.cli.diagnosis import Level, Patient
from claude_failover.cli.doctor_machine import check_files, check_machine, odd_pth, site_directories
from claude_failover.cli.invocation import Invocation

CODE = "import os; os.getpid()\n"

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patient:
    monkeypatch.setenv("CLAUDE_FAILOVER_HOME", str(tmp_path / "cf"))
    return Patient(Invocation(), {}, tmp_path, tmp_path)


def test_a_pth_file_with_code_is_odd_unless_it_is_a_well_known_one(tmp_path: Path) -> None:
    (tmp_path / "litellm_init.pth").write_text(CODE)
    (tmp_path / "distutils-precedence.pth").write_text(CODE)
    (tmp_path / "paths.pth").write_text("/some/where\n# import nothing\n")
    assert list(odd_pth([tmp_path])) == [(tmp_path / "litellm_init.pth", "an unknown file with an import line")]


def test_a_well_known_pth_file_that_is_far_too_large_is_odd(tmp_path: Path) -> None:
    (tmp_path / "_virtualenv.pth").write_text(CODE + "#" * 34_628)
    assert [why for _, why in odd_pth([tmp_path])] == ["34651 bytes of code, far more than such a file needs"]


def test_the_interpreters_own_places_are_looked_at() -> None:
    assert any(place.name == "site-packages" for place in site_directories())


@pytest.mark.parametrize(
    ("free", "level"), [(10_000_000, Level.FAILED), (200_000_000, Level.WARNING), (2_000_000_000, Level.GOOD)]
)
def test_a_full_disk_is_told_before_anything_is_lost(
    free: int, level: Level, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(4_000_000_000, 0, free))
    assert [one.level for one in check_files(patient) if one.check == "files.disk"] == [level]


@pytest.mark.parametrize(
    ("hard", "level"), [(256, Level.WARNING), (65_536, Level.GOOD), (resource.RLIM_INFINITY, Level.GOOD)]
)
def test_few_descriptors_are_few_streams(
    hard: int, level: Level, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, hard))
    found = next(one for one in check_machine(patient) if one.check == "machine.files")
    assert found.level is level


@pytest.mark.parametrize(
    ("skew", "level", "says"),
    [
        (2.0, Level.GOOD, "agrees with AWS's"),
        (-45.0, Level.WARNING, "45 s off"),
        (900.0, Level.FAILED, "15 min behind AWS's"),
        (-900.0, Level.FAILED, "15 min ahead of AWS's"),
    ],
)
def test_a_clock_is_judged_by_the_servers(skew: float, level: Level, says: str, patient: Patient) -> None:
    patient.known = {"claude": 0.1, "AWS": skew}
    found = next(one for one in check_machine(patient) if one.check == "machine.clock")
    assert found.level is level
    assert says in found.title
