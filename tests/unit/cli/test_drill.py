"""The drill command's words; the drill itself is an integration test."""

from __future__ import annotations

import json

import pytest

from claude_failover.cli.app import main
from claude_failover.drill.scenarios import ALL


def test_the_list_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "--list", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["schema_version"] == 1
    assert [entry["name"] for entry in tree["scenarios"]] == list(ALL)


def test_one_scenario_can_be_looked_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "--list", "outage"]) == 0
    assert capsys.readouterr().out.split() == [
        "scenario", "what", "breaks", "outage", "the", "Claude", "API", "refuses", "connections",
    ]  # fmt: skip


def test_a_wrong_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "nonsense"]) == 2
    assert "claude-failover drill --list" in capsys.readouterr().err
