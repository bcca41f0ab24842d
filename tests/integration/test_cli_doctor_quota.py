"""doctor about quotas, where Bedrock has throttled: what the daemon met, and what doctor meets itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.drill.bedrock_faults import throttled
from claude_failover.drill.claude_faults import plan_limit
from claude_failover.ledger_query import CostReport
from tests import daemons
from tests.aws_account import SimulatedAccount
from tests.control_fakes import cli_async, short_directory
from tests.fakes import aws_environment, simulated_claude

QUOTA = (
    'Service Quotas, Amazon Bedrock, us-east-1: "Global cross-region model inference tokens per minute for '
    'Anthropic Claude Opus 5.5 …"'
)


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def configure(home: Path, claude: str, bedrock: str) -> None:
    daemons.at(home).configure(
        "listen: {port: 0}\nalerts: {desktop: false}\nbackends:\n"
        f"- {{name: claude, kind: anthropic, base_url: '{claude}'}}\n"
        f"- {{name: bedrock, kind: bedrock, region: us-east-1, endpoint_url: '{bedrock}'}}\n"
    )


async def doctor(home: Path, *words: str, **more: str) -> list[dict[str, str]]:
    done = await cli_async("doctor", "--json", *words, home=home, PATH=os.defpath, **aws_environment(**more))
    assert done.returncode in {0, 1}, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return found


async def test_what_was_throttled_is_told_while_the_daemon_runs_and_after_it(home: Path) -> None:
    async with simulated_claude() as claude, SimulatedAccount() as account:
        claude.script.always(plan_limit())
        account.script.always(throttled("day"))
        configure(home, claude.url, account.url)
        async with daemons.at(home).running() as daemon:
            assert (await daemon.post()).status == 429
            # A question to the ledger writes what was recorded before it.
            await daemon.ask(lambda client: client.costs({"since": "today"}, CostReport))
            attempts = account.count
            running = [one for one in await doctor(home) if one["check"] == "aws.quota"]
        after = [one for one in await doctor(home) if one["check"] == "aws.quota"]
    counted = (
        f"bedrock: {attempts} of the last {attempts} requests for claude-opus-5-5 were throttled (24 hours), "
        f"{attempts} of them by a quota per day"
    )
    assert [one["level"] for one in running] == ["note", "warning", "note"]
    assert running[1]["title"].splitlines() == [
        counted,
        "each reserved 128,000 tokens of output; the longest answer had 0",
    ]
    assert QUOTA in running[1]["fix"].splitlines()
    assert running[2]["title"].startswith("bedrock: the daemon sends none of claude-opus-5-5 for another ")
    assert [one["level"] for one in after] == ["note", "warning"]
    assert after[1] == running[1]


async def test_a_probe_that_is_throttled_names_the_quota_of_its_model(home: Path) -> None:
    async with simulated_claude() as claude, SimulatedAccount() as account:
        account.script.always(throttled("tokens"))
        configure(home, claude.url, account.url)
        found = await doctor(home, "--online", "--yes", AWS_ENDPOINT_URL=account.url)
    opus = next(
        one for one in found if one["check"] == "online.model" and one["title"].startswith("bedrock: claude-opus-5-5:")
    )
    assert opus["level"] == "failed"
    assert "Too many tokens" in opus["title"]
    assert opus["fix"].splitlines()[:2] == ["a quota is used up, or is zero", QUOTA]
