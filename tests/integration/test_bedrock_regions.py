"""Two regions of Bedrock behind a Claude API that is used up: what one throttles for a model the other answers.

A real daemon process and two simulated Bedrocks, each of which takes only signatures for its own region.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from claude_failover.clock import SystemClock
from claude_failover.control.status import ModelState, State
from claude_failover.core.limits import next_utc_midnight
from claude_failover.drill import bedrock_faults
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.claude_faults import plan_limit
from claude_failover.drill.script import Seen, Step, text
from tests.control_fakes import short_directory
from tests.daemons import Home, Running, at
from tests.fakes import messages_body, said, simulated_bedrock, simulated_claude

OPUS, SONNET = "claude-opus-5-5", "claude-sonnet-5-5"


@pytest.fixture
def home() -> Iterator[Home]:
    with short_directory() as directory:
        yield at(directory)


@dataclass
class Scene:
    """Where each request went."""

    us: SimulatedBedrock
    eu: SimulatedBedrock

    async def ask(self, daemon: Running, model: str) -> str:
        reply = await daemon.post(messages_body(model=model))
        assert reply.status == 200, reply.body
        assert reply.headers["x-claude-failover-backend"] == said(reply.body)
        return said(reply.body)

    def asked(self, bedrock: SimulatedBedrock, model: str) -> int:
        return sum(model in seen.body.decode() for seen in bedrock.requests)


@asynccontextmanager
async def scene(home: Home, refusal: Step, more: str = "") -> AsyncIterator[Scene]:
    """us-east-1 refuses Opus and nothing else; Europe answers everything."""

    def in_us(seen: Seen) -> Step:
        return refusal if OPUS in seen.body.decode() else text("bedrock-us")

    async with (
        simulated_claude() as claude,
        simulated_bedrock() as us,
        simulated_bedrock(region="eu-central-1") as eu,
    ):
        claude.script.always(plan_limit())
        us.script.always(in_us)
        eu.script.always(text("bedrock-eu"))
        home.configure(
            "listen: {port: 0}\nalerts: {desktop: false}\nbackends:\n"
            f"- {{name: claude, kind: anthropic, base_url: '{claude.url}'}}\n"
            f"- {{name: bedrock-us, kind: bedrock, region: us-east-1, endpoint_url: '{us.url}'{more}}}\n"
            f"- {{name: bedrock-eu, kind: bedrock, region: eu-central-1, scope: eu, endpoint_url: '{eu.url}'}}\n"
        )
        yield Scene(us, eu)


async def opus_in_us(daemon: Running) -> ModelState:
    """What the daemon shows of Opus in us-east-1."""
    status = await daemon.status()
    backend = next(one for one in status.backends if one.name == "bedrock-us")
    assert backend.state is State.READY, "one model's quota is not the backend's"
    return next(one for one in backend.models if one.model == OPUS)


@pytest.mark.parametrize("kind", ["day", "tokens"])
async def test_a_quota_of_one_model_in_one_region_moves_that_model_there_only(home: Home, kind: str) -> None:
    async with scene(home, bedrock_faults.throttled(kind)) as both, home.running() as daemon:
        assert await both.ask(daemon, OPUS) == "bedrock-eu"
        first = both.asked(both.us, OPUS)
        assert await both.ask(daemon, SONNET) == "bedrock-us"
        if kind == "day":
            assert await both.ask(daemon, OPUS) == "bedrock-eu"
            assert both.asked(both.us, OPUS) == first == 1, "nobody asks again before midnight"
            before = SystemClock().now().wall
            shown = await opus_in_us(daemon)
            assert shown.state is State.COOLDOWN
            assert shown.until is not None
            assert round(shown.until) in {round(next_utc_midnight(now)) for now in (before, SystemClock().now().wall)}
        profiles = [json.loads(seen.body)["model"] for seen in both.eu.requests]
        assert set(profiles) == {f"eu.anthropic.{OPUS}"}, "and stays in its geography"


async def test_a_days_quota_is_still_used_up_after_a_restart(home: Home) -> None:
    async with scene(home, bedrock_faults.throttled("day")) as both:
        async with home.running() as daemon:
            assert await both.ask(daemon, OPUS) == "bedrock-eu"
        async with home.running() as daemon:
            assert await both.ask(daemon, OPUS) == "bedrock-eu"
            assert await both.ask(daemon, SONNET) == "bedrock-us"
        assert both.asked(both.us, OPUS) == 1


async def test_a_model_that_is_denied_in_one_region_is_answered_by_the_other(home: Home) -> None:
    async with scene(home, bedrock_faults.access_denied()) as both, home.running() as daemon:
        assert await both.ask(daemon, OPUS) == "bedrock-eu"
        assert await both.ask(daemon, OPUS) == "bedrock-eu"
        assert await both.ask(daemon, SONNET) == "bedrock-us"
        assert both.asked(both.us, OPUS) == 1


async def test_each_backend_has_its_own_ceiling_for_answers(home: Home) -> None:
    async with (
        scene(home, bedrock_faults.throttled("day"), ", max_output_tokens: 500") as both,
        home.running() as daemon,
    ):
        assert await both.ask(daemon, SONNET) == "bedrock-us"
        assert await both.ask(daemon, OPUS) == "bedrock-eu"
        assert [json.loads(seen.body)["max_tokens"] for seen in both.us.requests] == [500, 500]
        assert [json.loads(seen.body)["max_tokens"] for seen in both.eu.requests] == [1024]


async def test_a_question_for_the_claude_api_alone_does_not_stop_a_daemon_that_has_only_bedrock(home: Home) -> None:
    probe = {"model": SONNET, "max_tokens": 1, "messages": [{"role": "user", "content": "quota"}]}
    async with simulated_bedrock() as bedrock:
        home.configure(
            "listen: {port: 0}\nalerts: {desktop: false}\nbackends:\n"
            f"- {{name: bedrock, kind: bedrock, region: us-east-1, endpoint_url: '{bedrock.url}'}}\n"
        )
        async with home.running() as daemon:
            refused = await daemon.post(json.dumps(probe).encode())
            assert (refused.status, json.loads(refused.body)["error"]["type"]) == (529, "overloaded_error")
            assert (await daemon.post(messages_body(model=SONNET))).status == 200
        assert len(bedrock.requests) == 1
