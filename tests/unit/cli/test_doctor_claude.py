"""Which processes are claudes, as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from claude_failover.cli.doctor_claude import running_claudes


def process(proc: Path, pid: int, words: list[str], **variables: str) -> None:
    place = proc / str(pid)
    place.mkdir()
    (place / "cmdline").write_text("\0".join([*words, ""]))
    (place / "environ").write_text("\0".join(f"{name}={value}" for name, value in variables.items()))


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        (["claude"], True),
        (["/home/me/.local/bin/claude", "-p", "hello"], True),
        (["node", "/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js"], True),
        (["/usr/bin/node", "/usr/local/bin/claude", "--resume"], True),
        (["vim", "claude"], False),
        (["node", "server.js"], False),
        (["claude-failover", "start"], False),
        ([], False),
    ],
)
def test_a_claude_is_known_by_its_command_line(tmp_path: Path, words: list[str], is_one: bool) -> None:
    process(tmp_path, 42, words, ANTHROPIC_BASE_URL="http://127.0.0.1:8484", HOME="/")
    assert list(running_claudes(tmp_path)) == ([(42, "http://127.0.0.1:8484")] if is_one else [])


def test_what_has_gone_or_is_no_process_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "self").mkdir()
    process(tmp_path, 8, ["claude"])
    assert list(running_claudes(tmp_path)) == [(8, "")]
    assert list(running_claudes(tmp_path / "absent")) == []
