"""The drill's daemon: what it is told, and what of the person who runs the drill it never gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from claude_failover.drill import process


def test_nothing_of_the_user_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTPS_PROXY", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("PATH", "/somewhere")
    found = process.environment(Path("/tmp/drill"), {"MORE": "yes"})
    assert "theirs" not in found.values()
    assert (found["PATH"], found["HOME"], found["MORE"]) == ("/somewhere", "/tmp/drill", "yes")
    assert found["AWS_EC2_METADATA_DISABLED"] == "true"


def test_settings_are_merged_key_by_key_and_lists_replaced() -> None:
    over = {"timeouts": {"connect": 1}, "cost_tracking": {"daily_limit": 1}, "backends": []}
    config = process.settings("http://127.0.0.1:1", "http://127.0.0.1:2", over)
    assert config["timeouts"] == {"connect": 1}
    assert config["cost_tracking"] == {"timezone": "UTC", "daily_limit": 1}
    assert config["backends"] == []


def test_a_drill_never_notifies_the_desktop_and_never_takes_the_usual_port() -> None:
    config = process.settings("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert (config["alerts"], config["listen"]) == ({"desktop": False}, {"port": 0})
