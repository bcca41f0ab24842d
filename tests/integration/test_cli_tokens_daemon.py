"""token set and clear while the daemon runs: it notices by itself, and no request is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from claude_failover.config_paths import find_paths
from claude_failover.control.client import ControlClient
from claude_failover.drill.bedrock_access import API_KEY as BEDROCK_KEY
from claude_failover.drill.claude_api import OAUTH_TOKEN
from claude_failover.drill.claude_faults import plan_limit
from tests.control_fakes import cli_async, short_directory
from tests.fakes import messages_body, simulated_bedrock, simulated_claude


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


async def ask(address: str, key: str) -> tuple[int, str]:
    """A request with our client key and no credential of its own."""
    headers = {"x-claude-failover-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{address}/v1/messages", data=messages_body(), headers=headers) as response,
    ):
        await response.read()
        return response.status, response.headers.get("x-claude-failover-backend", "")


async def test_what_is_kept_is_used_from_the_next_request_on_and_forgotten_when_cleared(home: Path) -> None:
    paths = find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")})
    async with simulated_claude() as claude, simulated_bedrock() as bedrock:
        (home / "cf").mkdir(mode=0o700)
        paths.config_file.write_text(
            f"listen: {{port: 0}}\nbackends:\n- {{name: claude, kind: anthropic, base_url: '{claude.url}'}}\n"
            f"- {{name: bedrock, kind: bedrock, region: us-east-1, endpoint_url: '{bedrock.url}'}}\n"
            "alerts: {desktop: false}\n"
        )
        started = await cli_async("start", home=home)
        try:
            assert started.returncode == 0, started.stderr
            status = await asyncio.to_thread(ControlClient(paths.socket).status)
            key = paths.client_key.read_text().strip()
            before = await ask(status.listen, key)
            await cli_async("token", "set", "--store", "file", home=home, stdin=OAUTH_TOKEN)
            kept = await ask(status.listen, key)
            claude.script.always(plan_limit())
            limited = await ask(status.listen, key)
            await cli_async("token", "set", "bedrock", "--store", "file", home=home, stdin=BEDROCK_KEY)
            async with asyncio.timeout(30):
                while (rescued := await ask(status.listen, key))[0] != 200:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.25)
            authorized = bedrock.requests[-1].header("authorization")
            shown = await cli_async("token", "status", home=home)
            await cli_async("token", "clear", "bedrock", home=home)
            await cli_async("token", "clear", home=home)
            after = await ask(status.listen, key)
        finally:
            await cli_async("stop", "--now", home=home)
    assert before[0] >= 400
    assert kept == (200, "claude")
    assert limited[0] == 429
    assert rescued == (200, "bedrock")
    assert authorized == f"Bearer {BEDROCK_KEY}"
    assert "* keyring  login token" in shown.stdout
    assert after[0] != 200
