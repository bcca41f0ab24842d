"""Whether the Claude API can be reached, without any credential."""

from __future__ import annotations

from claude_failover.core.settings import Backend
from claude_failover.core.types import BackendName, Kind
from claude_failover.upstream.reach import reach
from tests.fakes import simulated_claude


async def test_any_answer_is_a_good_one_and_no_credential_is_sent() -> None:
    async with simulated_claude() as claude:
        said = await reach(Backend(BackendName("claude"), Kind.ANTHROPIC, base_url=claude.url + "/v1"), {})
        seen = claude.requests[0]
    assert said.good
    assert said.skew is not None
    assert abs(said.skew) < 5
    assert (seen.method, seen.target) == ("HEAD", "/")
    assert seen.header("authorization") is None
    assert seen.header("x-api-key") is None


async def test_nobody_there_is_said_with_host_and_port() -> None:
    async with simulated_claude() as claude:
        url = claude.url
    said = await reach(Backend(BackendName("claude"), Kind.ANTHROPIC, base_url=url), {})
    assert not said.good
    assert url.removeprefix("http://") in said.problem
