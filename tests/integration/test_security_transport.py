"""A Claude API whose identity is in doubt, seen through the whole daemon: nothing is sent to it, and it is loud."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from claude_failover.control.api import ForceRequest
from claude_failover.control.status import Severity
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.client import Turn, ask
from claude_failover.drill.process import DaemonProcess, settings
from tests.control_fakes import short_directory
from tests.fakes import simulated_bedrock
from tests.integration.test_upstream_tls import Signed, serving, signed


@contextlib.asynccontextmanager
async def between(
    folder: Path, authority: Signed, port: int, pins: list[str]
) -> AsyncIterator[tuple[DaemonProcess, SimulatedBedrock, Callable[[list[str]], dict[str, Any]]]]:
    """The daemon between a TLS server and a simulated Bedrock; and how its settings look with other pins."""
    authority.write(folder / "ca.pem")

    def told(pinned: list[str]) -> dict[str, Any]:
        found = settings(f"https://127.0.0.1:{port}", bedrock.url)
        found["backends"][0]["pinned_spki"] = pinned
        return found

    with short_directory() as home:
        async with (
            simulated_bedrock() as bedrock,
            DaemonProcess(home, told(pins), more={"SSL_CERT_FILE": str(folder / "ca.pem")}) as daemon,
        ):
            yield daemon, bedrock, told


def audited(daemon: DaemonProcess, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, daemon.paths.audit.read_text("utf-8").splitlines())
    return [line for line in lines if line["event"] == name]


@pytest.fixture
def authority() -> Signed:
    return signed("Test Authority")


async def test_a_key_that_is_not_pinned_is_loud_and_gets_nothing(tmp_path: Path, authority: Signed) -> None:
    """Failing over is not silent: critical in the log, in the audit and in ``status``, until somebody looks."""
    identity, other = signed("127.0.0.1", authority), signed("127.0.0.1", authority)
    async with (
        serving(tmp_path, identity) as place,
        between(tmp_path, authority, place.port, [other.pin]) as (daemon, bedrock, told),
        aiohttp.ClientSession() as session,
    ):
        for _ in range(3):
            answer = await ask(session, daemon.address, daemon.key, Turn())
            assert (answer.whole, answer.backend) == (True, "bedrock")
        assert place.heads == []
        assert bedrock.count == 3
        status = daemon.control.status()
        [notice] = [notice for notice in status.needs_you if "claude" in notice.title]
        assert notice.severity is Severity.CRITICAL
        assert identity.pin in notice.title
        # Somebody looks and asks for it to be tried again: its key is compared again, and is still wrong.
        daemon.control.reload()
        assert "claude" not in " ".join(notice.title for notice in daemon.control.status().needs_you)
        daemon.control.force(ForceRequest("claude"))
        answer = await ask(session, daemon.address, daemon.key, Turn())
        daemon.control.force(ForceRequest(None))
        assert (answer.whole, place.heads) == (False, [])
        assert [notice for notice in daemon.control.status().needs_you if identity.pin in notice.title]
        # The pins rotate: the new one is added, and no restart is needed.
        (daemon.home / "config.yaml").write_text(json.dumps(told([other.pin, identity.pin])), "utf-8")
        daemon.control.reload()
        lines = {"x-claude-failover-key": daemon.key, "authorization": "Bearer sk-ant-oat01-worth-nothing"}
        async with session.get(f"{daemon.address}/v1/models", headers=lines) as response:
            assert (response.status, await response.text()) == (200, "ok")
        assert len(place.heads) == 1
        await daemon.stop()
        blocked = audited(daemon, "backend.blocked")
        assert [(one["level"], one["backend"]) for one in blocked] == [("critical", "claude")] * 2
        [looked] = [one for one in audited(daemon, "control.commanded") if one["command"] == "acknowledge"]
        assert (looked["backend"], looked["uid"]) == ("claude", os.getuid())
        assert audited(daemon, "failover.happened")
        assert audited(daemon, "config.reloaded")


@pytest.mark.parametrize("doubt", ["expired", "another name", "another authority", "TLS 1.2"])
async def test_a_certificate_in_doubt_gets_nothing_either(tmp_path: Path, authority: Signed, doubt: str) -> None:
    identity = {
        "expired": lambda: signed("127.0.0.1", authority, days=-1),
        "another name": lambda: signed("localhost.example", authority),
        "another authority": lambda: signed("127.0.0.1", signed("Another Authority")),
        "TLS 1.2": lambda: signed("127.0.0.1", authority),
    }[doubt]()
    versions = {"maximum": ssl.TLSVersion.TLSv1_2} if doubt == "TLS 1.2" else {}
    async with (
        serving(tmp_path, identity, **versions) as place,
        between(tmp_path, authority, place.port, []) as (daemon, bedrock, _),
        aiohttp.ClientSession() as session,
    ):
        answer = await ask(session, daemon.address, daemon.key, Turn())
        assert (answer.whole, answer.backend) == (True, "bedrock")
        async with session.get(f"{daemon.address}/v1/models", headers=Turn().lines(daemon.key)) as response:
            assert response.status == 502
        assert place.heads == []
        assert bedrock.count == 1
        await daemon.stop()
        # asyncio's server hangs up on a client that wants TLS 1.3, without the alert that would tell why.
        levels = [blocked["level"] for blocked in audited(daemon, "backend.blocked")]
        assert levels == ([] if doubt == "TLS 1.2" else ["critical"])
