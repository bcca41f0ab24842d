"""No credential crosses over: what the real client sent with, and what reached either side, read to the last byte.

Every scene of these tests is read like this when it ends; here it is done on purpose, over both legs, all surfaces and
both credentials, and the reader itself is shown to see what it is there to see.
"""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from claude_failover.core.types import Surface
from claude_failover.drill import claude_faults
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.bedrock_access import API_KEY as BEDROCK_KEY
from claude_failover.drill.claude_api import API_KEY, OAUTH_TOKEN
from claude_failover.drill.script import text, tool_call
from tests.control_fakes import cli
from tests.fakes import claude_headers, messages_body
from tests.leak_search import marked
from tests.real.clients import ClaudeCode
from tests.real.stage import leaks, running, scene, written

pytestmark = pytest.mark.timeout(120)

ECHO = tool_call("Bash", {"command": "echo made-by-a-tool", "description": "Print a line"})
TOOLS = ("--allowedTools", "Bash", "--permission-mode", "bypassPermissions")
SHOWN = (("token", "status"), ("status", "--json"), ("explain", "last"), ("logs", "-n", "1000"), ("doctor",))
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


REFRESH = "sk-ant-ort01-" + "made-up-and-worth-nothing-refresh"


async def test_what_is_kept_is_used_on_both_legs_and_read_by_nobody(newest: ClaudeCode) -> None:
    """A login with its refresh token, and a Bedrock API key, in the file that was chosen instead of a keyring."""
    limit = claude_faults.plan_limit()
    async with scene(ECHO, limit, bedrock=[ECHO, text("Done.")], daemon=False) as stage:
        login = json.dumps({"access_token": OAUTH_TOKEN, "refresh_token": REFRESH, "expires_in": 86_400})
        for words, secret in (((), login), (("bedrock",), BEDROCK_KEY)):
            done = await asyncio.to_thread(
                cli, "token", "set", *words, "--store", "file", home=stage.home, stdin=secret
            )
            assert done.returncode == 0, done.stderr
            assert not marked((done.stdout + done.stderr).encode())
        async with running(stage):
            environment = stage.environment() | {"ANTHROPIC_AUTH_TOKEN": stage.key}
            del environment["ANTHROPIC_API_KEY"], environment["ANTHROPIC_CUSTOM_HEADERS"]
            told = await stage.ask(newest, "Run the command", *TOOLS, environment=environment)
            assert told.good() == "Done."
            shown = [await asyncio.to_thread(cli, *words, home=stage.home) for words in SHOWN]
        assert {seen.header("authorization") for seen in stage.claude.requests if seen.method == "POST"} == {
            f"Bearer {OAUTH_TOKEN}"
        }
        assert {seen.header("authorization") for seen in stage.bedrock.requests} == {f"Bearer {BEDROCK_KEY}"}
        assert not marked("".join(done.stdout + done.stderr for done in shown).encode())
        assert "refreshes itself" in shown[0].stdout or "login token" in shown[0].stdout
        secrets = (stage.home / "cf/state/secrets.json").read_text()
        assert all(secret in secrets for secret in (OAUTH_TOKEN, REFRESH, BEDROCK_KEY))
        assert written(stage) == []


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
