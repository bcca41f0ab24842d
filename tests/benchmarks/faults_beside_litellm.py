"""The drill's faults, beside LiteLLM's proxy: what the same client sees of both. Writes docs/faults-beside-litellm.md.

LiteLLM is the newest from PyPI, in an environment of its own (``.tools/litellm``, made on the first run), with
fallbacks, retries and cooldowns as its documentation sets them. One proxy serves every scenario, each under a
model name of its own with its own two deployments, so that one's cooldown is not the next one's.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from claude_failover.drill import fire
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.claude_api import API_KEY, SimulatedClaude
from claude_failover.drill.client import MODEL, Told, converse
from claude_failover.drill.fire import Result, saw
from claude_failover.drill.scenarios import ALL, HEALTHY, IMPATIENT, Scenario
from claude_failover.drill.script import Script

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".tools" / "litellm"
DOCUMENT = ROOT / "docs" / "faults-beside-litellm.md"

MASTER_KEY = "sk-drill-and-worth-nothing"

LEFT_OUT = {"invoke", "invoke-whole", "spend-limit", "expired-token"}
"""About our own surfaces, our own money, our own credentials."""

WARM_UP = Scenario("warm-up", "nothing")

PATIENCE = 30.0

HEAD = """\
# The same faults, beside LiteLLM's proxy

{version}, `fallbacks` from the Claude API to Bedrock, `num_retries: 1`, `allowed_fails: 0`, `cooldown_time: 300`; its
`/v1/messages`, with a Claude Code-like client, between the same simulated backends as `claude-failover drill`.
Reproduce with `python tests/benchmarks/faults_beside_litellm.py`.

Attempts are at the Claude API + at Bedrock. "repeated" is the client: Claude Code 2.1.330 repeats a turn whose
stream was aborted (streaming), and one whose stream ended in an error event (without streaming; 2.1.197 shows the error
and stops). A time is from the request until the first content of the whole answer. An API key pays for LiteLLM's
requests here: it does not carry the client's own login.

Where times differ by design: claude-failover asks the Claude API once more after an overload or an error
(`retry_policy`), because a prompt cache is lost by leaving; LiteLLM, with one deployment in its group, does not wait.

| what breaks | claude-failover: the client saw | time | attempts | LiteLLM: the client saw | time | attempts |
|---|---|---|---|---|---|---|
"""


@dataclass
class Stand:
    """One scenario's backends, and the name under which LiteLLM knows them."""

    scenario: Scenario
    claude: SimulatedClaude
    bedrock: SimulatedBedrock

    @property
    def model(self) -> str:
        return f"drill-{self.scenario.name}"

    def deployments(self) -> list[dict[str, Any]]:
        impatient = {"timeout": 1, "stream_timeout": 1} if self.scenario.settings is IMPATIENT else {}
        return [
            {"model_name": self.model, "litellm_params": {
                "model": f"anthropic/{MODEL}", "api_base": self.claude.url, "api_key": API_KEY, **impatient,
            }},
            {"model_name": f"{self.model}-bedrock", "litellm_params": {
                "model": f"bedrock/invoke/global.anthropic.{MODEL}", "aws_region_name": "us-east-1",
                "aws_bedrock_runtime_endpoint": self.bedrock.url,
                "aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY,
            }},
        ]  # fmt: skip


def install() -> str:
    """Make the environment if it is not there; returns LiteLLM's version."""
    python = HOME / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "litellm[proxy]"], check=True)
    code = "from importlib.metadata import version; print(version('litellm'))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return f"LiteLLM {done.stdout.strip()}"


def configuration(stands: list[Stand]) -> dict[str, Any]:
    """Fallbacks, retries and cooldowns, from its page on reliability."""
    return {
        "model_list": [deployment for stand in stands for deployment in stand.deployments()],
        "router_settings": {
            "fallbacks": [{stand.model: [f"{stand.model}-bedrock"]} for stand in stands],
            "num_retries": 1,
            "allowed_fails": 0,
            "cooldown_time": 300,
        },
        "litellm_settings": {"telemetry": False, "drop_params": True},
        "general_settings": {"master_key": MASTER_KEY},
    }


async def beside(scenarios: list[Scenario]) -> dict[str, Result]:
    """Play every scenario through LiteLLM, one after the other."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="litellm-")))
        stands = []
        for scenario in (WARM_UP, *scenarios):
            claude = await stack.enter_async_context(SimulatedClaude())
            bedrock = await stack.enter_async_context(SimulatedBedrock())
            claude.script = Script(*scenario.claude, default=scenario.claude_always or HEALTHY)
            bedrock.script = Script(*scenario.bedrock, default=scenario.bedrock_always or HEALTHY)
            if scenario.outage:
                await stack.enter_async_context(claude.refusing())
            stands.append(Stand(scenario, claude, bedrock))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        config = folder / "config.yaml"
        config.write_text(json.dumps(configuration(stands)), "utf-8")
        environment = {
            "PATH": f"{HOME / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*",
        }  # fmt: skip
        with (folder / "out.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - started once
                [str(HOME / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        address = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(trust_env=False) as session:
            await ready(session, address, folder / "out.log")
            await play(stands[0], session, address)  # its first request costs it seconds, whatever comes of it
            return {stand.scenario.name: await play(stand, session, address) for stand in stands[1:]}


async def ready(session: aiohttp.ClientSession, address: str, log: Path) -> None:
    """Wait until it answers."""
    for _ in range(120):
        try:
            async with session.get(f"{address}/health/liveliness") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.5)
    raise TimeoutError(log.read_text("utf-8", "replace")[-3000:])  # noqa: ASYNC240 - the end of it all


async def play(stand: Stand, session: aiohttp.ClientSession, address: str) -> Result:
    """One scenario."""
    heard: list[list[Told]] = []
    history: list[Any] = []
    for turn in stand.scenario.turns:
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        if not turn.text and not any(block["type"] == "tool_use" for block in history[-1]["content"]):
            break  # the tool call never came
        asked = replace(fire.continued(turn, history), model=stand.model, headers=headers)
        heard.append(await converse(session, address, "", asked, PATIENCE))
        history = fire.remember(asked, heard[-1][-1])
    rescued = len(heard) == len(stand.scenario.turns) and all(turn[-1].whole for turn in heard)
    told = "; then ".join(saw(turn) for turn in fire.telling(heard))
    rescue = fire.rescue(heard) if rescued else None
    return Result(stand.scenario.name, stand.scenario.title, told, rescue, stand.claude.count, stand.bedrock.count,
                  rescued, rescued)  # fmt: skip


def cell(result: Result) -> str:
    """Three columns."""
    seen = " ".join(result.saw.split()).replace("|", "/")
    seen = seen if len(seen) <= 110 else f"{seen[:109]}…"
    time = "-" if result.rescue_s is None else f"{result.rescue_s:.2f} s"
    return f"{seen} | {time} | {result.claude_attempts} + {result.bedrock_attempts}"


async def main() -> None:
    version = install()
    scenarios = [scenario for scenario in ALL.values() if scenario.name not in LEFT_OUT]
    ours = {result.name: result for result in (await fire.drill(scenarios)).results}
    theirs = await beside(scenarios)
    lines = [f"| {one.title} | {cell(ours[one.name])} | {cell(theirs[one.name])} |" for one in scenarios]
    count = [sum(result.rescued for result in results.values()) for results in (ours, theirs)]
    end = f"\n\nA whole answer in the end: {count[0]} and {count[1]} of {len(scenarios)}.\n"
    text = HEAD.format(version=version) + "\n".join(lines) + end
    DOCUMENT.write_text(text, "utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    asyncio.run(main())
