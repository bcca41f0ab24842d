"""Claude Code as people use it: on a terminal, started by ``claude-failover run``, left with Ctrl-C.

A shell on a pseudo-terminal starts it, and looks at the terminal's settings and the exit code afterwards.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest

from claude_failover.drill import claude_faults
from claude_failover.drill.claude_api import API_KEY
from claude_failover.drill.script import Seen, Step, long_stream, text
from tests.real.clients import ClaudeCode
from tests.real.keyboard import READY, ask, seated, seed
from tests.real.stage import Stage, daemon_environment, scene

pytestmark = pytest.mark.timeout(120)

SPOKEN = "Rescued-by-Bedrock"
"""One word: a terminal program draws the spaces between words by moving its cursor."""


@contextmanager
def terminal(stage: Stage, client: ClaudeCode) -> Iterator[pexpect.spawn]:
    """A shell on a terminal of its own that runs claude through us and says how it went."""
    programs = stage.home / "bin"
    programs.mkdir()
    (programs / "claude").symlink_to(client.program)
    environment = {
        **stage.base_environment,
        **daemon_environment(stage),
        "PATH": f"{programs}:{stage.base_environment['PATH']}",
        "ANTHROPIC_API_KEY": API_KEY,
    }
    told = 'stty -g; "$0" -m claude_failover run; echo "left with $?"; stty -g'
    with seated(stage, "/bin/sh", ["-c", told, sys.executable], environment, 30) as shell:
        yield shell


def leave(shell: pexpect.spawn) -> None:
    """Press Ctrl-C until claude is gone: it wants to be told twice within a second."""
    for _ in range(8):
        shell.sendcontrol("c")
        if shell.expect(["left with ", "again to exit", pexpect.TIMEOUT], timeout=1.5) == 0:
            return
    raise AssertionError("Ctrl-C did not end claude")


ON_BY_DEFAULT = frozenset({"7", "25"})
"""Lines wrap, the cursor shows."""


def left_changed(shown: str) -> set[str]:
    """Terminal modes that are not what they were: bracketed paste, mouse, alternate screen, hidden cursor."""
    state: dict[str, str] = {}
    for modes, what in re.findall(r"\x1b\[\?([\d;]+)([hl])", shown):
        state |= dict.fromkeys(modes.split(";"), what)
    return {mode for mode, what in state.items() if (what == "h") is not (mode in ON_BY_DEFAULT)}


async def test_a_person_is_answered_through_a_failover_and_gets_the_terminal_back(newest: ClaudeCode) -> None:
    def answer(request: Seen) -> Step:
        return long_stream(400, gap=0.05) if b"Count" in request.body else text(SPOKEN)

    async with scene(claude_faults.plan_limit()) as stage:
        stage.bedrock.script.always(answer)
        seed(stage)

        def sit() -> str:
            with terminal(stage, newest) as shell:
                shell.logfile_read = shown = io.StringIO()
                shell.expect(r"([0-9a-f:]{20,})\r\n")
                before = shell.match[1]
                shell.expect(READY)
                ask(shell, "Say hello")
                shell.expect(SPOKEN)
                shell.expect(READY)
                # The next answer is interrupted in its middle.
                ask(shell, "Count slowly")
                shell.expect("w00003")
                shell.sendcontrol("c")
                shell.expect("(?i)interrupted")
                leave(shell)
                shell.expect(r"(\d+)\r\n([0-9a-f:]{20,})\r\n")
                assert shell.match[1] == "0", "the exit code is claude's own"
                assert shell.match[2] == before, "the terminal is as it was"
                shell.expect(pexpect.EOF)
                return shown.getvalue()

        drawn = await asyncio.to_thread(sit)
        assert left_changed(drawn) == set()
        await stage.bedrock.until(lambda: stage.bedrock.gone == 1)
        assert stage.bedrock.refusals == []
        lines = await stage.exchanges(2)
        assert "client_gone" in {line["outcome"] for line in lines}
        assert next(line["tried"][0] for line in lines if line["failed_over"]) == "claude:plan_limit"
