"""Who did what, on record: every act on the real daemon leaves its line in the audit log, in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp

from claude_failover.control.api import ForceRequest
from claude_failover.drill import claude_faults
from claude_failover.drill.client import Turn, ask
from claude_failover.drill.process import DaemonProcess, environment, settings
from tests.control_fakes import short_directory
from tests.fakes import simulated_bedrock, simulated_claude

STORED = "sk-ant-api03-" + "made-up-and-worth-nothing-0042"


def typed(home: Path, *words: str, stdin: str = "") -> str:
    """What the command line prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "claude_failover", *words],
        env=environment(home), input=stdin, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout


async def test_every_act_is_on_record(tmp_path: Path) -> None:
    with short_directory() as home:
        async with (
            simulated_claude(claude_faults.plan_limit()) as claude,
            simulated_bedrock() as bedrock,
            aiohttp.ClientSession() as session,
        ):
            config = settings(claude.url, bedrock.url)
            async with DaemonProcess(home, config) as daemon:
                assert (await ask(session, daemon.address, daemon.key, Turn())).backend == "bedrock"
                assert (await ask(session, daemon.address, "a wrong key", Turn())).status == 401
                for _ in range(150):
                    lines = {"x-api-key": "another wrong key"}
                    async with session.get(f"{daemon.address}/metrics", headers=lines) as response:
                        assert response.status == 401
                daemon.control.force(ForceRequest("bedrock"))
                daemon.control.force(ForceRequest(None))
                daemon.control.reload()
                (home / "config.yaml").write_text(json.dumps({**config, "unheard_of": 1}), "utf-8")
                daemon.signal(signal.SIGHUP)
                await asyncio.to_thread(typed, home, "token", "set", "--store", "file", stdin=STORED)
                await asyncio.to_thread(typed, home, "token", "clear")
                (home / "config.yaml").write_text(json.dumps(config), "utf-8")
                await daemon.stop()
                shown = await asyncio.to_thread(typed, home, "logs", "--audit", "--json", "-n", "1000")
            kept = daemon.paths.audit.read_text("utf-8").splitlines()
    assert daemon.key not in shown
    assert STORED not in shown
    found = [json.loads(line) for line in kept]
    assert shown.count('"event"') == len(found)

    def of(name: str, **fields: Any) -> int:
        return sum(
            one["event"] == name and all(one.get(key) == value for key, value in fields.items()) for one in found
        )

    me = os.getuid()
    assert (found[0]["event"], found[-1]["event"]) == ("daemon.started", "daemon.stopped")
    assert of("failover.happened", backend="bedrock", reason="plan_limit") == 1
    assert of("client.refused", why="key", burst=105) == 1
    assert 1 <= of("client.refused", why="key") <= 12
    assert of("override.set", backend="bedrock", uid=me, pid=os.getpid()) == 1
    assert of("override.set", backend="auto", uid=me) == 1
    assert of("control.commanded", command="reload", uid=me) == 1
    assert of("config.reloaded") == 1
    assert of("config.refused") == 1
    assert of("token.changed", action="set", uid=me) == 1
    assert of("token.changed", action="clear", uid=me) == 1
    assert [one["ts"] for one in found] == sorted(one["ts"] for one in found)
