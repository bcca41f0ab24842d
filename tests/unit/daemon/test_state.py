"""The state file: whole or not at all, and never in the way of a start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from claude_failover import events
from claude_failover.daemon.state import StateFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_what_was_saved_is_loaded(path: Path) -> None:
    StateFile(path).save({"policy": {"cooldowns": [1]}, "denials": {}})
    assert StateFile(path).load()["policy"] == {"cooldowns": [1]}
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_no_state(path: Path) -> None:
    assert StateFile(path).load() == {}


@pytest.mark.parametrize("content", [b"{torn", b"[]", b'{"version": 2}', b"\xff", b"[" * 100_000])
def test_what_cannot_be_used_is_set_aside_and_said(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with events.capture() as said:
        assert StateFile(path).load() == {}
    assert path.with_suffix(".unreadable.json").read_bytes() == content
    assert not path.exists()
    assert [event.name for event in said] == ["ledger.failed"]
    assert "state.unreadable.json" in str(said[0].fields["error"])


def test_a_disk_that_refuses_is_said_once_until_it_works_again(path: Path) -> None:
    state = StateFile(path.parent / "gone" / "state.json")
    with events.capture() as said:
        state.save({})
        state.save({})
    assert state.error == "No such file or directory"
    assert len(said) == 1
    (path.parent / "gone").mkdir()
    state.save({"events": {}})
    assert state.error == ""
    assert json.loads((path.parent / "gone/state.json").read_bytes()) == {"version": 1, "events": {}}
