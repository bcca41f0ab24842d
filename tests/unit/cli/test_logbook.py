"""The log, shown. Over real files and rotation: integration/test_cli_logs.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from claude_failover.cli.invocation import Invocation
from claude_failover.cli.logbook import show_logs
from claude_failover.errors import FailoverError, UsageError


@pytest.fixture
def invocation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invocation:
    monkeypatch.setenv("CLAUDE_FAILOVER_HOME", str(tmp_path))
    found = Invocation()
    found.paths.log_dir.mkdir()
    return found


def test_the_last_lines_are_shown(invocation: Invocation, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f'{{"ts":"2026-11-18T11:06:40Z","level":"info","event":"e","n":{number}}}' for number in range(60)]
    invocation.paths.log.write_text("".join(f"{line}\n" for line in lines))
    assert show_logs(invocation) == 0
    assert len(capsys.readouterr().out.splitlines()) == 50
    assert show_logs(invocation, count=2, json=True) == 0
    assert capsys.readouterr().out.splitlines() == lines[-2:]


def test_what_cannot_be_read_is_an_error_of_ours(invocation: Invocation) -> None:
    invocation.paths.log.mkdir()
    with pytest.raises(FailoverError, match="cannot be read: Is a directory") as raised:
        show_logs(invocation)
    assert raised.value.hint == f"ls -l {invocation.paths.log}"
    with pytest.raises(UsageError, match="'loud' is not known"):
        show_logs(invocation, level="loud")
