"""The model table without a daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.config_paths import make_private_directory
from tests.control_fakes import (
    here,
    short_directory,
)


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def test_models_without_a_daemon_are_the_built_in_table_with_the_configuration(home: Path) -> None:
    make_private_directory(home / "cf")
    config = home / "cf/config.yaml"
    config.write_text(
        "models: {claude-opus-5-5: us.anthropic.claude-opus-5-5}\n"
        "backends:\n  - {name: claude, kind: anthropic}\n  - {name: east, kind: bedrock, region: us-east-1}\n"
    )
    config.chmod(0o600)
    done = here("models", "--json", home=home)
    assert done.returncode == 0, done.stderr
    (found,) = [one for one in json.loads(done.stdout)["entries"] if one["claude_id"] == "claude-opus-5-5"]
    assert (found["backend"], found["upstream_id"], found["source"]) == (
        "east",
        "us.anthropic.claude-opus-5-5",
        "config",
    )
    assert "no daemon runs" in done.stderr
    assert here("models", "--refresh", home=home).returncode == 3
