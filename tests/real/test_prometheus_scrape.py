"""A real Prometheus scrapes a real daemon while requests fail over: dashboard and rules find what they ask for.

``test_promtool.py`` shows the files against a page that is filled by hand; here nothing but requests fills it, so a
metric that the daemon never delivers would be found.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from claude_failover.clock import SystemClock
from claude_failover.drill import claude_faults
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.claude_api import SimulatedClaude
from claude_failover.drill.client import Turn, ask
from claude_failover.drill.process import DaemonProcess, settings
from claude_failover.drill.script import Answer, in_band
from claude_failover.monitoring import FILES
from tests.control_fakes import short_directory
from tests.real.test_promtool import concrete, promtool, running, wait_until

NAME = re.compile(r"\b(?:claude_failover|process)_\w+")
SESSION_S = 7200.0
"""How long the simulated AWS keys are good for: the dashboard shows it, and no alert is due yet."""

WINDOW = "20s"
"""For Grafana's intervals: more than everything took so far, so that all of it counts as a rise."""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_bytes((files("claude_failover.monitoring") / name).read_bytes())
    return tmp_path


def queries() -> list[tuple[str, str]]:
    """Of every panel: its title and what it asks."""
    panels = json.loads((files("claude_failover.monitoring") / "dashboard.json").read_text("utf-8"))["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]


def rules() -> list[str]:
    groups = yaml.safe_load((files("claude_failover.monitoring") / "rules.yml").read_text("utf-8"))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


@asynccontextmanager
async def daemon() -> AsyncIterator[tuple[DaemonProcess, SimulatedClaude]]:
    """A daemon between simulators, with AWS keys that end."""
    ends = datetime.fromtimestamp(SystemClock().now().wall + SESSION_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with short_directory() as home:
        async with SimulatedClaude() as claude, SimulatedBedrock() as bedrock:
            config = settings(claude.url, bedrock.url)
            more = {"AWS_CREDENTIAL_EXPIRATION": ends}
            async with DaemonProcess(home / "cf", config, more=more) as process:
                yield process, claude


async def requests(process: DaemonProcess, claude: SimulatedClaude, enough: asyncio.Event) -> None:
    """Good answers, one that breaks, one that is refused; then the plan is used up, and Bedrock answers."""
    claude.script.then(Answer(), in_band("content"), claude_faults.client_error(), Answer(), Answer(), Answer())
    claude.script.default = claude_faults.plan_limit()
    async with aiohttp.ClientSession(trust_env=False) as session:
        asked = 0
        while not enough.is_set():
            # Each a conversation of its own: one that was rescued would stay where it is.
            turn = Turn(text=f"Question {asked}", session=f"00000000-0000-4000-8000-{asked:012d}")
            await ask(session, process.address, process.key, turn)
            async with session.get(f"{process.address}/metrics") as refused:
                assert refused.status == 401
            asked += 1
            await asyncio.sleep(0.7)


async def page(process: DaemonProcess, accept: str = "") -> bytes:
    headers = {"authorization": f"Bearer {process.key}", "accept": accept}
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.get(f"{process.address}/metrics", headers=headers) as answer,
    ):
        assert answer.status == 200
        return await answer.read()


def look(folder: Path) -> dict[str, list[Any]]:
    """Start Prometheus, wait until it has seen the failover, and ask everything that is ever asked."""
    with running(folder) as query:

        def series(expression: str) -> list[Any]:
            found = query("query", query=expression)["result"]
            assert isinstance(found, list)
            return found

        def counted(expression: str, least: float) -> Callable[[], bool]:
            return lambda: any(float(one["value"][1]) >= least for one in series(expression))

        wait_until(counted('claude_failover_requests_total{role="failover"}', 4.0))
        wait_until(counted("claude_failover_cooldown_end_timestamp_seconds", 1.0))
        asked = [expression for _, expression in queries()] + rules()
        names = sorted({name for expression in asked for name in NAME.findall(expression)})
        found = {f"{title}: {expression}": series(windowed(expression)) for title, expression in queries()}
        found |= {name: series(name) for name in names}
        (group,) = query("rules")["groups"]
        found["rules without an error"] = [rule["name"] for rule in group["rules"] if not rule.get("lastError")]
        found["firing"] = [one["labels"]["alertname"] for one in query("alerts")["alerts"]]
        return found


def windowed(expression: str) -> str:
    return concrete(expression).replace("[5s]", f"[{WINDOW}]")


async def test_every_query_has_data_while_a_daemon_fails_over(exported: Path) -> None:
    enough = asyncio.Event()
    async with daemon() as (process, claude), asyncio.TaskGroup() as group:
        configuration = yaml.safe_load((exported / "prometheus.yml").read_text("utf-8"))
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        target = process.address.removeprefix("http://")
        configuration["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        (exported / "prometheus.yml").write_text(yaml.safe_dump(configuration), "utf-8")
        (exported / "client-key").write_text(process.key, "ascii")
        group.create_task(requests(process, claude, enough))
        try:
            found = await asyncio.to_thread(look, exported)
        finally:
            enough.set()
    assert [asked for asked, series in found.items() if not series and asked != "firing"] == []
    assert len(found["rules without an error"]) == len(rules())
    assert not {"ClaudeFailoverDown", "ClaudeFailoverCrashes", "ClaudeFailoverBypass"} & set(found["firing"])
    assert claude.violations == []


async def test_the_page_of_a_daemon_that_failed_over_is_clean(exported: Path) -> None:
    async with daemon() as (process, claude):
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(requests(process, claude, enough))
            while b"claude_failover_failovers_total{" not in (plain := await page(process)):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            enough.set()
        open_metrics = await page(process, "application/openmetrics-text; version=1.0.0")
    assert await asyncio.to_thread(promtool, "check", "metrics", cwd=exported, given=plain) == ""
    assert open_metrics.endswith(b"# EOF\n")
    assert len(plain.splitlines()) < 1_000
