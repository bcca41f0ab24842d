"""monitoring export as a user types it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from claude_failover.monitoring import FILES
from tests.control_fakes import cli


def test_every_file_is_written_as_it_is_in_the_package(tmp_path: Path) -> None:
    target = tmp_path / "deep/down"
    done = cli("monitoring", "export", str(target), home=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [str(target / name) for name in FILES]
    for name in FILES:
        assert (target / name).read_bytes() == resources.files("claude_failover.monitoring").joinpath(name).read_bytes()
    assert str(tmp_path / "cf/state/client.key") in done.stderr


def test_a_file_that_somebody_changed_is_left_alone_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text("groups: []\n")
    refused = cli("monitoring", "export", str(tmp_path), home=tmp_path)
    assert refused.returncode == 2
    assert f"{tmp_path}/rules.yml: there already, and different" in refused.stderr
    assert not (tmp_path / "dashboard.json").exists()
    done = cli("monitoring", "export", str(tmp_path), "--force", "--json", home=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["files"] == [str(tmp_path / name) for name in FILES]
    assert (tmp_path / "rules.yml").read_text() != "groups: []\n"
    again = cli("monitoring", "export", str(tmp_path), home=tmp_path)
    assert again.returncode == 0


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli("monitoring", "export", str(tmp_path / "file"), home=tmp_path)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
