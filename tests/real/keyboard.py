"""Claude Code on a terminal with a person at the keyboard, as far as a test can be one.

The HOME is seeded so far that Claude Code asks none of its first-time questions.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pexpect

from claude_failover.drill.claude_api import API_KEY
from tests.real.clients import NEWEST
from tests.real.stage import Stage

READY = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
"""Stands before the line to type in."""


def seed(stage: Stage) -> None:
    """What Claude Code remembers of a person who has used it here before (wire/bedrock.md 7)."""
    project = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    remembered = {
        "hasCompletedOnboarding": True,
        "lastOnboardingVersion": NEWEST,
        "theme": "dark",
        "numStartups": 3,
        "customApiKeyResponses": {"approved": [API_KEY[-20:]], "rejected": []},
        "projects": {str(stage.home / "work"): project},
    }
    (stage.home / ".claude.json").write_text(json.dumps(remembered), "utf-8")


def ask(shell: pexpect.spawn, words: str) -> None:
    """Type and press return, as two things: typed in one piece it would be taken for a paste."""
    shell.send(words)
    shell.expect(words.rpartition(" ")[2])
    shell.send("\r")


@contextmanager
def seated(
    stage: Stage, program: str, words: Sequence[str], environment: Mapping[str, str], patience: float
) -> Iterator[pexpect.spawn]:
    """Start a program on a terminal of its own; afterwards it is gone for certain.

    It is this test's own and its work is done by then; ``close`` alone waits politely, and fails on a busy machine.
    """
    shell = pexpect.spawn(
        program, list(words),
        env=dict(environment) | {"TERM": "xterm-256color"}, cwd=str(stage.home / "work"),
        dimensions=(40, 120), encoding="utf-8", timeout=patience,
    )  # fmt: skip
    try:
        yield shell
    finally:
        shell.kill(signal.SIGKILL)
        shell.wait()
        shell.close()
