"""The fire drill as people run it: a command, real daemons, every scenario as it must be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from claude_failover.drill import fire
from claude_failover.drill.process import DaemonProcess, settings
from claude_failover.drill.scenarios import ALL
from claude_failover.drill.script import Refusal
from claude_failover.errors import FailoverError
from tests.control_fakes import cli, short_directory

COVERED = ("plan-limit", "outage", "cut-late", "invoke-whole", "both-limited", "spend-limit")
"""One of each kind; `make run` and the chaos tests go through all."""


def test_the_drill_rescues_and_says_so_in_json() -> None:
    with short_directory() as home:
        done = cli("drill", "--json", *COVERED, home=home, PATH="/usr/bin:/bin")
        assert not (home / "cf").exists(), "a drill touches nothing of the user's"
    tree = json.loads(done.stdout)
    assert [result["problem"] for result in tree["results"]] == [""] * len(COVERED)
    assert (done.returncode, tree["schema_version"], tree["expected"], done.stderr) == (0, 1, True, "")
    assert {result["name"]: result["rescued"] for result in tree["results"]} == {
        "plan-limit": True, "outage": True, "cut-late": True, "invoke-whole": True, "both-limited": False,
        "spend-limit": False,
    }  # fmt: skip


async def test_a_drill_that_is_not_rescued_says_why() -> None:
    """Bedrock breaks off too, which no scenario of the table does."""
    hopeless = replace(ALL["outage"], bedrock_always=Refusal(403, "AccessDeniedException", "No.", shape="aws"))
    report = await fire.drill([hopeless])
    assert not report.expected
    (result,) = report.results
    assert (result.rescued, result.problem, result.rescue_s) == (False, "no whole answer", None)


async def test_an_attempt_too_many_is_a_failure() -> None:
    wrong = replace(ALL["plan-limit"], attempts=(1, 2))
    (result,) = (await fire.drill([wrong])).results
    assert result.rescued
    assert result.problem == "1 at Claude and 1 at Bedrock, not 1 at Claude and 2 at Bedrock"


async def test_a_daemon_that_cannot_start_is_a_result_not_a_crash() -> None:
    broken = replace(ALL["plan-limit"], settings={"nonsense": True})
    (result,) = (await fire.drill([broken])).results
    assert result.problem.startswith("the daemon did not start: ")


async def test_a_daemon_process_says_what_it_said_when_it_dies(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, settings("http://127.0.0.1:1", "http://127.0.0.1:1"), arguments=("--nonsense",))
    with pytest.raises(FailoverError, match="unrecognized arguments: --nonsense"):
        await daemon.start()
    await daemon.kill()
