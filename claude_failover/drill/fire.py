"""The fire drill: real daemons between simulated backends, scenario by scenario.

Daemons start together and only then is anything measured, a group at a time, so that times are the
daemon's own and not those of a machine that is busy starting Python.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

from claude_failover.drill import process
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.claude_api import SimulatedClaude
from claude_failover.drill.client import REPEAT_AFTER, Told, Turn, converse
from claude_failover.drill.process import DaemonProcess
from claude_failover.drill.scenarios import ALL, HEALTHY, SLOW, Scenario
from claude_failover.drill.script import Script
from claude_failover.errors import FailoverError, UsageError

SCHEMA_VERSION: Final = 1
"""Of ``drill --json``."""

GROUP: Final = 14
"""Scenarios at a time; each has a process of about 60 MB."""

PATIENCE: Final = 20.0
"""Seconds that a request of the drill may take; the slowest of them needs four."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one scenario went."""

    name: str
    title: str
    saw: str
    """What the client saw, in one sentence."""
    rescue_s: float | None
    """From the request until the first content of the answer that was complete. The simulators answer at once, so
    all of it was added by the fault and by what it takes to get over it."""
    claude_attempts: int
    bedrock_attempts: int
    rescued: bool
    """Whether every turn got a whole answer."""
    expected: bool
    """Whether it went as it must."""
    problem: str = ""
    """What did not."""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole drill; the shape of ``--json``."""

    schema_version: int
    expected: bool
    """Whether every scenario went as it must: the exit code."""
    seconds: float
    results: tuple[Result, ...]


def choose(names: Sequence[str]) -> tuple[Scenario, ...]:
    """The scenarios of these names, all of them if none is named.

    Raises:
        UsageError: There is none of a name.
    """
    for name in names:
        if name not in ALL:
            raise UsageError(f"no scenario is called {name}", hint="claude-failover drill --list")
    return tuple(scenario for name, scenario in ALL.items() if not names or name in names)


async def drill(
    scenarios: Iterable[Scenario],
    done: Callable[[Result], None] = lambda _: None,
    *,
    more: Mapping[str, str] | None = None,
) -> Report:
    """Run scenarios and say how they went.

    Args:
        scenarios: Which.
        done: Told each result as soon as it is there.
        more: Variables for the daemons' environment.
    """
    began = asyncio.get_running_loop().time()
    order = list(scenarios)
    waiting = sorted(order, key=lambda scenario: scenario.name not in SLOW)
    results: dict[str, Result] = {}
    starts = asyncio.Semaphore(max(2, os.cpu_count() or 2))
    with tempfile.TemporaryDirectory(prefix="cf-drill-", dir=short_directory()) as folder:
        while waiting:
            group, waiting = waiting[:GROUP], waiting[GROUP:]
            async with AsyncExitStack() as stack:
                stages = [Stage(scenario, Path(folder) / scenario.name, more) for scenario in group]
                await asyncio.gather(*(stage.set_up(stack, starts) for stage in stages))
                for result in await asyncio.gather(*(stage.play() for stage in stages)):
                    results[result.name] = result
                    done(result)
                await asyncio.gather(*(stage.clear() for stage in stages))
    ended = asyncio.get_running_loop().time()
    told = tuple(results[scenario.name] for scenario in order)
    return Report(SCHEMA_VERSION, all(result.expected for result in told), ended - began, told)


def short_directory() -> str:
    """Where temporary things go; a control socket's path must fit into about 100 bytes."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 40 else "/tmp"  # noqa: S108 - mkdtemp makes it ours alone


class Stage:
    """One scenario's backends, daemon and client.

    Args:
        scenario: What is played.
        home: The daemon's directory.
        more: Variables for its environment.
    """

    def __init__(self, scenario: Scenario, home: Path, more: Mapping[str, str] | None = None) -> None:
        self.scenario = scenario
        self.claude = SimulatedClaude()
        self.bedrock = SimulatedBedrock()
        self.claude.script = Script(*scenario.claude, default=scenario.claude_always or HEALTHY)
        self.bedrock.script = Script(*scenario.bedrock, default=scenario.bedrock_always or HEALTHY)
        self._home = home
        self._more = more
        self._daemon: DaemonProcess | None = None
        self._failure = ""

    async def set_up(self, stack: AsyncExitStack, starts: asyncio.Semaphore) -> None:
        """Bring up the simulators and the daemon; a failure to start is the scenario's result."""
        await stack.enter_async_context(self.claude)
        await stack.enter_async_context(self.bedrock)
        if self.scenario.outage:
            await stack.enter_async_context(self.claude.refusing())
        config = process.settings(self.claude.url, self.bedrock.url, self.scenario.settings)
        config["backends"][1]["surface"] = self.scenario.surface
        daemon = DaemonProcess(self._home, config, more=self._more)
        stack.push_async_callback(daemon.kill)
        async with starts:
            try:
                await daemon.start()
            except FailoverError as error:
                self._failure = f"the daemon did not start: {error}"
                return
        self._daemon = daemon

    async def play(self) -> Result:
        """Be the client, and judge what it got."""
        if self._daemon is None:
            return self._judge([], self._failure)
        heard: list[list[Told]] = []
        history: list[Mapping[str, Any]] = []
        async with aiohttp.ClientSession(trust_env=False) as session:
            for turn in self.scenario.turns:
                asked = continued(turn, history)
                heard.append(await converse(session, self._daemon.address, self._daemon.key, asked, PATIENCE))
                history = remember(asked, heard[-1][-1])
        return self._judge(heard, self._problem(heard))

    async def clear(self) -> None:
        """Stop the daemon."""
        if self._daemon is not None:
            await self._daemon.stop()

    def _judge(self, heard: list[list[Told]], problem: str) -> Result:
        scenario = self.scenario
        rescued = bool(heard) and all(turn[-1].whole for turn in heard)
        return Result(
            scenario.name, scenario.title, "; then ".join(saw(turn) for turn in telling(heard)), rescue(heard),
            self.claude.count, self.bedrock.count, rescued, not problem, problem,
        )  # fmt: skip

    def _problem(self, heard: list[list[Told]]) -> str:
        """What went otherwise than it must, the gravest first; empty if nothing did."""
        scenario, last = self.scenario, heard[-1][-1]
        attempts = (self.claude.count, self.bedrock.count)
        violations = [*self.claude.violations, *self.bedrock.violations]
        checks = (
            (not violations, f"a rule was broken: {'; '.join(violations)}"),
            (all(turn[-1].whole for turn in heard[:-1]), "an earlier turn was not answered"),
            (not scenario.by or last.whole, "no whole answer"),
            (not scenario.by or last.said.by == scenario.by, f"answered by {last.said.by or 'nobody'}"),
            (bool(scenario.by) or last.honest, "no honest error"),
            (bool(scenario.by) or last.status == scenario.status, f"status {last.status}, not {scenario.status}"),
            (scenario.should_retry in (None, last.headers.get("x-should-retry")), "x-should-retry is wrong"),
            (scenario.broken == (len(heard[-1]) > 1), "the client had to repeat" if not scenario.broken else
             "the first answer did not break off"),
            (attempts == scenario.attempts, f"{_both(attempts)}, not {_both(scenario.attempts)}"),
        )  # fmt: skip
        return next((text for good, text in checks if not good), "")


def _both(attempts: tuple[int, int]) -> str:
    return f"{attempts[0]} at Claude and {attempts[1]} at Bedrock"


def continued(turn: Turn, history: list[Mapping[str, Any]]) -> Turn:
    """The next request of the conversation so far."""
    if turn.text:
        return replace(turn, history=tuple(history))
    call = next(block for block in history[-1]["content"] if block["type"] == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "README.md"}
    return replace(turn, history=(*history, {"role": "user", "content": [result]}))


def remember(turn: Turn, told: Told) -> list[Mapping[str, Any]]:
    """What the next request repeats."""
    asked = [{"role": "user", "content": [{"type": "text", "text": turn.text}]}] if turn.text else []
    return [*turn.history, *asked, {"role": "assistant", "content": list(told.said.blocks)}]


def telling(heard: list[list[Told]]) -> list[list[Told]]:
    """The turns worth telling: without those that went just as the one before."""
    return [turn for number, turn in enumerate(heard) if number == 0 or saw(turn) != saw(heard[number - 1])]


def saw(turn: Sequence[Told]) -> str:
    """What the client saw of one turn."""
    parts = [_saw_once(told) for told in turn]
    return ", repeated: ".join(parts)


def _saw_once(told: Told) -> str:
    said = told.said
    if told.whole:
        what = "a tool call of" if said.stop_reason == "tool_use" else ""
        return f"{what} {said.by.title()}'s{'' if what else ' answer'}".strip()
    if told.status == 0:
        return f"no response ({told.cut})"
    if told.cut:
        return "an answer that broke off"
    if not said.error_type:
        return f"{told.status}, malformed: {'; '.join(said.problems) or 'incomplete'}"
    if said.text:
        return f"an answer that ended in an error ({said.error_type})"
    return f"{told.status} {said.error_type}: {said.error}"


def rescue(heard: list[list[Told]]) -> float | None:
    """The longest of the turns' times until the first content of the answer that was complete."""
    times = []
    for turn in heard:
        last = turn[-1]
        if not last.whole or last.content_s is None:
            return None
        before = sum(told.ended_s + (REPEAT_AFTER if told.cut else 0.0) for told in turn[:-1])
        times.append(last.content_s + before)
    return max(times, default=None)
