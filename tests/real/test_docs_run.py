"""What the pages tell people to type is typed: line by line, page by page, as a reader would, in a throw-away HOME.

Behind the lines is a real daemon between simulated backends that has just failed over, so that there is something to
tell. A line is executed here, and has to work, or it stands in :data:`NOT_HERE` with the reason; one that begins with
a program that is neither ours nor stood in for is not tried on this machine, it fails. Whether a command's options
exist is checked in ``tests/integration/test_docs_commands.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from claude_failover.control.status import Health
from claude_failover.drill import claude_faults
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.bedrock_access import API_KEY as BEDROCK_KEY
from claude_failover.drill.claude_api import OAUTH_TOKEN
from tests.control_fakes import clean_environment, short_directory
from tests.daemons import BOTH, Home, at
from tests.fakes import simulated_bedrock, simulated_claude
from tests.real.clients import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^( *)```(?:console|bash|sh|shell)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)

PATIENCE = 20.0
"""Seconds for a line."""

NOT_HERE: Mapping[str, str] = {
    "make run": "starts a daemon in the HOME of whoever runs it; its parts are executed here and by test_install",
    "make test": "is what runs the tests",
    "pipx install .": "needs pipx and the package index; test_install builds the wheel and installs it",
    ".venv/bin/python -m pip install -U -e '.[dev]'": "changes the environment that runs the tests; needs the index",
    ".venv/bin/python -m pip freeze --exclude-editable": "follows the line before it; nothing of ours",
    "aws configure sso --profile work": "needs an AWS account, a browser and the AWS CLI",
    "aws sso login --profile work": "needs an AWS account, a browser and the AWS CLI",
    "claude setup-token": "needs a Claude account and a browser",
    "claude-failover service install": "changes the machine's services; tests/integration/test_cli_service does it",
    "claude-failover service uninstall": "changes the machine's services; tests/integration/test_cli_service does it",
    "dbus-run-session -- bash": "a shell for a person; test_keyring runs a Secret Service in such a session",
    "gnome-keyring-daemon --unlock --components=secrets": "needs the session before it; test_keyring does it",
}
"""Lines that are not executed, and why."""

TYPED_IN: Mapping[str, str] = {
    "claude-failover token set anthropic": OAUTH_TOKEN,
    "claude-failover token set anthropic --store file": OAUTH_TOKEN,
    "claude-failover token set bedrock": BEDROCK_KEY,
}
"""What the person answers."""

ADDED: Mapping[str, str] = {
    "claude-failover token set anthropic": "--store file",
    "claude-failover token set bedrock": "--store file",
    "pass show anthropic/oauth | claude-failover token set anthropic": "--store file",
    "pass show bedrock | claude-failover token set bedrock": "--store file",
    "claude-failover doctor --online": "--yes",
}
"""What stands for what the sandbox lacks: a keyring to keep a secret in, a person who agrees."""

FIRST: Mapping[str, str] = {"claude-failover config init": 'rm "$CLAUDE_FAILOVER_HOME/config.yaml"'}
"""What has to be so for a line: somebody who begins has no configuration yet."""

GOES_ON = frozenset(
    {
        "claude-failover status --watch",
        "claude-failover logs -f",
        "claude-failover logs -f --level warning",
    }
)
"""Lines that a person ends with Ctrl-C, here after their first words."""

CODES: Mapping[str, frozenset[int]] = {
    "claude-failover status --check": frozenset({4}),
}
"""Exit codes that are not 0 and right: it has failed over."""

LONGER: Mapping[str, float] = {"claude-failover drill": 70.0}
"""Seconds for a line that plays every scenario."""

KEPT = ("export ", "eval ")
"""Lines that change the shell in which the rest of their block is typed."""

STAND_INS: Mapping[str, str] = {
    "claude": 'test -n "$ANTHROPIC_BASE_URL" && echo "claude $*"',
    "pass": f'case "$*" in *bedrock*) echo {BEDROCK_KEY};; *) echo {OAUTH_TOKEN};; esac',
}
"""Programs of others that a line needs, as far as it needs them."""

HARMLESS = frozenset({"claude-failover", "export", "eval", *STAND_INS})
"""What a line that is executed may begin with, and what stands behind its pipes."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a reader types."""

    text: str
    before: tuple[str, ...] = ()
    """What its shell was told in the same block."""
    remark: str = ""
    """What stands behind it."""


def typed(page: Path) -> Iterator[Line]:
    """The lines of a page in order, without their remarks."""
    for _, block in FENCED.findall(page.read_text("utf-8")):
        before: tuple[str, ...] = ()
        for raw in block.splitlines():
            if not raw.strip() or raw.strip().startswith("#"):
                continue
            text, _, remark = (
                part.strip()
                for part in re.sub(r"\s+#\s", "\n", raw.strip().removeprefix("$ "), count=1).partition("\n")
            )
            yield Line(text, before, remark)
            if text.startswith(KEPT):
                before = (*before, text)


def unreviewed(line: Line) -> bool:
    """Whether nobody has said what to do with it."""
    starts = {part.split()[0] for part in re.split(r"\|\|?|&&|;|\$\(", line.text) if part.strip()}
    return line.text not in NOT_HERE and not starts - {'"'} <= HARMLESS


def label(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the reader sits: a HOME, and programs."""

    home: Home

    @property
    def programs(self) -> Path:
        return self.home.path / "programs"

    def lay_out(self) -> None:
        """Put there what a reader of the pages has."""
        self.programs.mkdir()
        for name, script in STAND_INS.items():
            program = self.programs / name
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
        aws = self.home.path / ".aws"
        aws.mkdir(mode=0o700)
        (aws / "config").write_text("[profile bedrock-access]\nregion = us-west-2\n")
        secrets = aws / "credentials"
        secrets.write_text(
            f"[bedrock-access]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        )
        secrets.chmod(0o600)

    def environment(self) -> dict[str, str]:
        path = f"{self.programs}:{Path(sys.executable).parent}:{os.defpath}"
        return clean_environment(self.home.path, **self.home.environ, PATH=path, TERM="dumb")

    async def type(self, line: Line) -> str:
        """Type it; what is wrong with what came, empty if nothing is."""
        words = [*line.before, *filter(None, (FIRST.get(line.text),)), f"{line.text} {ADDED.get(line.text, '')}"]
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", "\n".join(words),
            env=self.environment(), cwd=self.home.path, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        first = b""
        try:
            async with asyncio.timeout(LONGER.get(line.text, PATIENCE)):
                if line.text in GOES_ON and process.stdout is not None:
                    first = await process.stdout.readline()
                    if process.returncode is None:
                        os.killpg(process.pid, signal.SIGINT)
                rest, _ = await process.communicate(f"{TYPED_IN.get(line.text, '')}\n".encode())
        except TimeoutError:
            return f"{line.text}: did not end; it began with {first.decode(errors='replace')!r}"
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        said = (first + rest).decode(errors="replace")
        right = CODES.get(line.text, frozenset({130 if line.text in GOES_ON else 0}))
        print(f"$ {line.text}\n{said}[{process.returncode}]")
        return "" if process.returncode in right else f"{line.text}: exit {process.returncode}\n{said}"


@contextlib.asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    """A desk whose daemon has just failed over."""
    with short_directory() as directory:
        async with simulated_claude(claude_faults.plan_limit()) as claude, simulated_bedrock() as bedrock:
            home = at(directory)
            here = Desk(home)
            here.lay_out()
            home.configure(BOTH.format(claude=claude.url, bedrock=bedrock.url) + "alerts: {desktop: false}\n")
            try:
                async with home.running() as daemon:
                    for _ in range(3):
                        assert (await daemon.post()).status == 200
                    assert (await daemon.status()).health is Health.FAILED_OVER
                    yield here
            finally:
                # A line may have started another one after the first was stopped.
                await here.type(Line("claude-failover stop --now"))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", [page for page in PAGES if any(typed(page))], ids=label)
async def test_every_line_of_a_page_works_as_it_is_typed(page: Path) -> None:
    lines = [line for line in typed(page) if line.text not in NOT_HERE]
    assert [line.text for line in lines if unreviewed(line)] == []
    if not lines:
        return
    async with desk() as here:
        assert [problem for line in lines if (problem := await here.type(line))] == []


def test_nothing_is_excused_that_no_page_says() -> None:
    said = {line.text for page in PAGES for line in typed(page)}
    excused = {*NOT_HERE, *TYPED_IN, *ADDED, *FIRST, *GOES_ON, *CODES, *LONGER}
    assert excused - said == set()
    assert len(said - set(NOT_HERE)) > 30


def test_every_stand_in_is_a_program_of_somebody_else() -> None:
    said = {word for page in PAGES for line in typed(page) for word in shlex.split(line.text)}
    assert "claude-failover" not in STAND_INS
    assert set(STAND_INS) <= said


def test_a_line_that_needs_an_account_says_so_where_it_stands() -> None:
    needing = [line for page in PAGES for line in typed(page) if "account" in NOT_HERE.get(line.text, "")]
    assert len(needing) >= 3
    assert [line.text for line in needing if "account" not in line.remark] == []


@pytest.mark.parametrize("text", ["sudo reboot", "claude-failover status && rm -r x", "what a command answered", "> x"])
def test_a_line_that_nobody_has_reviewed_is_not_tried(text: str) -> None:
    assert unreviewed(Line(text))
    assert not unreviewed(Line("pass show x | claude-failover token set bedrock"))
