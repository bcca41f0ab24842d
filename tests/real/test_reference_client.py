"""The real Claude Code in its own Bedrock mode against our simulated Bedrock: the simulation is not made to fit us.

And for the same prompt, what Claude Code sends to Bedrock by itself against what our translation of its ordinary
request sends: every difference is in docs/reference-client.md, with its reason, or the test fails.
"""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager

import pytest

from claude_failover.core.types import Surface
from claude_failover.drill import claude_faults
from claude_failover.drill.script import Seen, Step, text, tool_call
from tests.fakes import aws_environment
from tests.real.captures import paths
from tests.real.clients import ROOT, ClaudeCode
from tests.real.stage import Stage, scene

pytestmark = pytest.mark.timeout(120)

DOCUMENT = ROOT / "docs" / "reference-client.md"
TOOLS = ("--allowedTools", "Bash", "--permission-mode", "bypassPermissions")

CONNECTION = frozenset({"accept", "accept-encoding", "authorization", "connection", "content-length", "content-type",
                        "host", "user-agent", "x-amz-content-sha256", "x-amz-date"})  # fmt: skip
"""Headers of HTTP and of the signature."""


def alone(*steps: Step, mantle: bool = False) -> AbstractAsyncContextManager[Stage]:
    """A scene without us: Claude Code and Bedrock only."""
    return scene(bedrock=steps, daemon=False, mantle=mantle)


async def by_itself(stage: Stage, client: ClaudeCode, *words: str, prompt: str = "Say hello") -> str:
    """Ask Claude Code in its own Bedrock mode."""
    if stage.bedrock.mantle:
        mode = {
            "CLAUDE_CODE_USE_MANTLE": "1",
            "ANTHROPIC_BEDROCK_MANTLE_BASE_URL": f"{stage.bedrock.url}/anthropic",
        }
    else:
        mode = {"CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BEDROCK_BASE_URL": stage.bedrock.url}
    environment = {**stage.base_environment, **aws_environment(), "NO_PROXY": "127.0.0.1", **mode}
    answer = (await stage.ask(client, prompt, *words, environment=environment)).good()
    assert stage.bedrock.refusals == []
    # It is its own client there, and names itself: the only rule of the simulation that is about us.
    assert all("client's" in violation for violation in stage.bedrock.violations)
    stage.bedrock.violations.clear()
    stage.forgiven = True
    return answer


@pytest.mark.parametrize("mantle", [False, True], ids=["invoke", "mantle"])
async def test_the_simulated_bedrock_serves_claude_codes_own_bedrock_mode(newest: ClaudeCode, mantle: bool) -> None:
    call = tool_call("Bash", {"command": "echo made-by-a-tool", "description": "Print a line"})

    def turn(request: Seen) -> Step:
        """Only main turns have tools; what comes before are Claude Code's one-token looks at which models there are."""
        body = json.loads(request.body)
        spoken = [message["role"] for message in body["messages"]]
        return call if body.get("tools") and "assistant" not in spoken else text("Bedrock says hello.")

    async with alone(mantle=mantle) as stage:
        stage.bedrock.script.always(turn)
        assert await by_itself(stage, newest, *TOOLS, prompt="Run the command") == "Bedrock says hello."
        assert "made-by-a-tool" in stage.bedrock.requests[-1].body.decode()


def differences(reference: Seen, ours: Seen) -> set[tuple[str, str]]:
    """What only one of the two sends, and who."""
    found = set()
    for mine, theirs, who in ((parts(ours), parts(reference), "ours"), (parts(reference), parts(ours), "Claude Code")):
        found |= {(part, who) for part in mine - theirs}
    return found


def parts(request: Seen) -> set[str]:
    """Paths of the body, betas, and headers."""
    body = json.loads(request.body)
    betas = {f"header beta `{value}`" for value in (request.header("anthropic-beta") or "").split(",") if value}
    betas |= {f"body beta `{value}`" for value in body.pop("anthropic_beta", [])}
    body.pop("model", None)
    names = {name.lower() for name, _ in request.headers} - CONNECTION - {"anthropic-beta"}
    headers = {"header `x-stainless-*`" if name.startswith("x-stainless") else f"header `{name}`" for name in names}
    return {f"`{path}`" for path in paths(body)} | betas | headers


def documented(surface: Surface) -> set[tuple[str, str]]:
    """The table of one surface in the document."""
    section = DOCUMENT.read_text("utf-8").partition(f"## On `{surface}`")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert all(len(row) == 3 and row[2].strip() for row in rows), "every difference has its reason"
    return {(row[0].strip(), row[1].strip()) for row in rows}


@pytest.mark.parametrize("surface", [Surface.INVOKE, Surface.MANTLE])
async def test_every_difference_to_the_reference_is_explained(newest: ClaudeCode, surface: Surface) -> None:
    mantle = surface is Surface.MANTLE
    async with alone(mantle=mantle) as stage:
        await by_itself(stage, newest)
        reference = stage.bedrock.requests[-1]
    async with scene(claude_faults.plan_limit(), surface=surface, mantle=mantle) as stage:
        (await stage.ask(newest, "Say hello")).good()
        ours = stage.bedrock.requests[-1]
    assert differences(reference, ours) == documented(surface)
