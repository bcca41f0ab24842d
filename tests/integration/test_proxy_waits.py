"""Waits between two attempts: the daemon sleeps, and then goes on."""

from __future__ import annotations

import aiohttp
import pytest

from claude_failover.drill import claude_faults
from claude_failover.drill.script import Drop, Step, text
from tests.fakes import claude_headers, messages_body, said
from tests.real.stage import scene


@pytest.mark.parametrize("trouble", [claude_faults.overloaded(), claude_faults.server_error(), Drop()])
async def test_a_retry_comes_after_its_wait(trouble: Step) -> None:
    """The end of the first attempt is not taken for news over and over while the second is waited for."""
    async with scene(trouble, text("At the second attempt.")) as stage:
        headers = {**claude_headers(), "x-claude-failover-key": stage.key}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
            session.post(f"{stage.address}/v1/messages", data=messages_body(), headers=headers) as response,
        ):
            assert response.status == 200
            assert said(await response.read()) == "At the second attempt."
        assert stage.claude.count == 2
