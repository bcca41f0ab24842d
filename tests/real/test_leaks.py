"""No credential crosses over: what the real client sent with, and what reached either side, read to the last byte.

Every scene of these tests is read like this when it ends; here it is done on purpose, over both legs, all surfaces and
both credentials, and the reader itself is shown to see what it is there to see.
"""

from __future__ import annotations

import aiohttp
import pytest

from claude_failover.core.types import Surface
from claude_failover.drill import claude_faults
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.claude_api import API_KEY, OAUTH_TOKEN
from claude_failover.drill.script import text, tool_call
from tests.fakes import claude_headers, messages_body
from tests.real.clients import ClaudeCode
from tests.real.stage import leaks, scene

pytestmark = pytest.mark.timeout(120)

ECHO = tool_call("Bash", {"command": "echo made-by-a-tool", "description": "Print a line"})
TOOLS = ("--allowedTools", "Bash", "--permission-mode", "bypassPermissions")
SECRETS = (API_KEY, OAUTH_TOKEN, ACCESS_KEY, SECRET_KEY)


@pytest.mark.parametrize("oauth", [False, True], ids=["api-key", "oauth"])
@pytest.mark.parametrize("surface", list(Surface))
async def test_nothing_crosses_over(newest: ClaudeCode, surface: Surface, oauth: bool) -> None:
    mantle = surface is Surface.MANTLE
    limit = claude_faults.plan_limit()
    async with scene(ECHO, limit, bedrock=[ECHO, text("Done.")], surface=surface, mantle=mantle) as stage:
        assert (await stage.ask(newest, "Run the command", *TOOLS, oauth=oauth)).good() == "Done."
        # Both legs were used, so that there is something to find.
        assert len(stage.claude.requests) >= 2
        assert len(stage.bedrock.requests) >= 2
        assert stage.bedrock.refusals == []
        assert leaks(stage) == []
        kept = [file for file in (stage.home / "cf").rglob("*") if file.is_file()]
        assert {file.name for file in kept} >= {"daemon.log", "client.key"}
        for file in kept:
            written = file.read_bytes()
            assert not [secret for secret in SECRETS if secret.encode() in written], file.name
            assert b"made-by-a-tool" not in written, f"{file.name} holds what was said"


async def test_the_reader_sees_what_crosses_over() -> None:
    async with scene(daemon=False) as stage, aiohttp.ClientSession() as session:
        stage.key = "made-up-client-key"
        to_bedrock, to_claude = f"{stage.bedrock.url}/anthropic/v1/messages", f"{stage.claude.url}/v1/messages"
        for url, headers, body in (
            (to_bedrock, claude_headers(), b"{}"),
            (to_bedrock, {"x-app": "cli"}, b"{}"),
            (to_bedrock, {}, API_KEY.encode()),
            (to_bedrock, {"x-odd": stage.key}, b"{}"),
            (to_claude, claude_headers() | {"x-amz-date": "20261122T000000Z"}, messages_body()),
            (to_claude, claude_headers(), messages_body(SECRET_KEY)),
            (to_claude, claude_headers() | {"x-odd": ACCESS_KEY}, messages_body()),
            (to_claude, claude_headers() | {"x-claude-failover-force": "bedrock"}, messages_body()),
        ):
            stage.claude.requests.clear()
            stage.bedrock.requests.clear()
            stage.claude.violations.clear()
            stage.bedrock.violations.clear()
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()
            found = leaks(stage)
            assert found, (url, sorted(headers))
            assert not [secret for secret in (*SECRETS, stage.key) if any(secret in line for line in found)]
        stage.forgiven = True
