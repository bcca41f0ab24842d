"""What the real Claude Code sends, situation by situation: taken from the binary, kept as shapes without its text.

``python -m tests.real.captures --write`` renews ``tests/real/shapes.json``: keys, types, betas, header names. The
bodies themselves never leave memory; they hold Anthropic's prompts.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from claude_failover.drill.script import Answer, Seen, Step, Thinking, ToolUse, text, tool_call
from tests.real.clients import NEWEST, ClaudeCode, installed
from tests.real.keyboard import READY, ask, seated, seed
from tests.real.stage import Stage, scene

SHAPES = Path(__file__).parent / "shapes.json"

AT_ONCE = 4

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
PDF = (
    b"%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)
"""One pixel and one empty page."""

SHELL = {"command": "echo x", "description": "Print a line"}
FREELY = ("--permission-mode", "bypassPermissions", "--allowedTools", "Bash,Read,Agent,WebSearch,ToolSearch")


@dataclass(frozen=True, slots=True)
class Situation:
    """One way to run claude."""

    steps: tuple[Step, ...] = ()
    words: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    oauth: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)
    typed: int = 0
    """On a terminal, until so many requests were sent; 0: headless."""


def _model(name: str) -> Situation:
    return Situation(words=("--model", name))


def _tool(*steps: Step, **files: bytes) -> Situation:
    named = {name.replace("_", "."): data for name, data in files.items()}
    return Situation(steps, FREELY, files=named)


NO_WAY_OUT = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
}
"""The title counts as nonessential; allowing it allows telemetry too, which finds a proxy where nobody listens."""


def _typed(requests: int, *words: str, oauth: bool = False, **more: str) -> Situation:
    return Situation(words=words, environment=NO_WAY_OUT | more, oauth=oauth, typed=requests)


SITUATIONS: Mapping[str, Situation] = {
    "opus": _model("opus"),
    "sonnet": _model("sonnet"),
    "haiku": _model("haiku"),
    "fable": _model("fable"),
    "opus[1m]": _model("opus[1m]"),
    "opus 4.8": _model("claude-opus-4-8"),
    "opus 4.6": _model("claude-opus-4-6"),
    "opus 4.5": _model("claude-opus-4-5"),
    "sonnet 4.5": _model("claude-sonnet-4-5"),
    "haiku 4.5": _model("claude-haiku-4-5"),
    "oauth": Situation(oauth=True),
    "first-party host": Situation(environment={"_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL": "1"}, oauth=True),
    "no experimental betas": Situation(environment={"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1"}),
    "one-hour cache": Situation(environment={"ENABLE_PROMPT_CACHING_1H": "1"}),
    "structured answer": Situation(
        words=("--json-schema", '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}')
    ),
    "tool": _tool(tool_call("Bash", SHELL), tool_call("Bash", SHELL)),
    "thinking and tool": _tool(Answer(blocks=(Thinking("Hm."), ToolUse("Bash", SHELL)))),
    "two tools at once": _tool(Answer(blocks=(ToolUse("Bash", SHELL), ToolUse("Bash", SHELL)))),
    "failing tool": _tool(tool_call("Bash", {"command": "false", "description": "Fail"})),
    "image": _tool(tool_call("Read", {"file_path": "a.png"}), a_png=PNG),
    "pdf": _tool(tool_call("Read", {"file_path": "a.pdf"}), a_pdf=PDF),
    "subagent": _tool(
        tool_call("Agent", {"description": "Greet", "prompt": "Say hello", "subagent_type": "general-purpose"})
    ),
    "tool search": _tool(tool_call("ToolSearch", {"query": "select:WebFetch", "max_results": 5})),
    "web search": _tool(tool_call("WebSearch", {"query": "anything at all"})),
    "interactive": _typed(2, "--permission-mode", "default"),
    "interactive, auto mode": _typed(2, "--permission-mode", "auto"),
    "interactive, auto mode, oauth": _typed(3, "--permission-mode", "auto", oauth=True),
    "interactive, auto mode, first-party host": _typed(
        2, "--permission-mode", "auto", _CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL="1"
    ),
}
"""The table of wire/bedrock.md 2.0, but for what other builds send.

Beside the turn, an interactive run asks for a title (the side query) and, with a login, first for what is left of the
plan (the quota probe).
"""


SPOKEN = "Greetings"
"""One word, for a terminal program draws the spaces between words by moving its cursor."""

STARTING = 60.0
"""Seconds; a client that takes the host for Anthropic's asks the proxy that is not there for 20 of them."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One request of one situation."""

    situation: str
    number: int
    request: Seen

    @property
    def body(self) -> dict[str, Any]:
        """The body as JSON."""
        found = json.loads(self.request.body)
        assert isinstance(found, dict)
        return found


async def capture(client: ClaudeCode, name: str) -> list[Capture]:
    """Run one situation straight against the simulated Claude API."""
    situation = SITUATIONS[name]
    async with scene(*situation.steps, daemon=False) as stage:
        stage.address = stage.claude.url
        for file, data in situation.files.items():
            (stage.home / "work" / file).write_bytes(data)
        environment = stage.environment(oauth=situation.oauth, **situation.environment)
        if situation.typed:
            await _type(stage, client, situation, environment)
        else:
            await _print(stage, client, situation, environment)
        # An older client begins with a HEAD / that brings no credential; nothing else may be refused.
        greetings = sum(seen.target == "/" for seen in stage.claude.requests)
        refused = stage.claude.refusals
        assert len(refused) == greetings, (
            f"{name}: what the real client sends is refused by the simulated API: {refused}"
        )
        sent = _answers(stage)
        if situation.typed:
            # The title and the turn race each other; by class, then by length, their order is always the same.
            sent.sort(key=lambda seen: (seen.all("x-claude-code-request-class"), len(seen.body)))
        return [Capture(name, number, seen) for number, seen in enumerate(sent, 1)]


def _answers(stage: Stage) -> list[Seen]:
    return [seen for seen in stage.claude.requests if seen.path == "/v1/messages"]


async def _print(stage: Stage, client: ClaudeCode, situation: Situation, environment: Mapping[str, str]) -> None:
    told = await stage.ask(client, "Say hello", *situation.words, environment=environment)
    assert told.result["type"] == "result", told


async def _type(stage: Stage, client: ClaudeCode, situation: Situation, environment: dict[str, str]) -> None:
    """Ask once on a terminal and wait for the answer and for what else is sent beside it."""
    seed(stage)
    stage.claude.script.always(text(SPOKEN))

    def sit(shell: pexpect.spawn) -> None:
        shell.expect(READY)
        ask(shell, "Say hello to the people of the village")
        shell.expect(SPOKEN)

    with seated(stage, str(client.program), situation.words, environment, STARTING) as shell:
        await asyncio.to_thread(sit, shell)
        await stage.claude.until(lambda: len(_answers(stage)) >= situation.typed, STARTING)


async def capture_all(client: ClaudeCode, names: Iterable[str] = SITUATIONS) -> list[Capture]:
    """Every situation, or those of *names*, a few side by side."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> list[Capture]:
        async with gate:
            return await capture(client, name)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(name)) for name in names]
    return [found for task in tasks for found in task.result()]


# --- shapes ---

OPAQUE = frozenset({"input", "input_schema", "schema", "classifier_context"})
"""What a tool takes is not the API's business.

Neither is what the check of dangerous tools is told about the client: one part of it, on Artifacts, is there only if
the client has finished loading that feature when it sends its first turn, and on a busy machine it has not.
"""

PLAIN = frozenset({"ttl", "scope", "effort", "display", "keep", "media_type"})
"""Keys whose values are words of the API's own."""


def paths(value: Any, at: str = "") -> set[str]:
    """Every path in a body with its type; lists are merged, blocks and messages go by their type or role."""
    if at.rpartition(".")[2] in OPAQUE:
        return {f"{at}: …"}
    if isinstance(value, Mapping):
        sort = value.get("type") or value.get("role")
        here = f"{at}[{sort}]" if isinstance(sort, str) else at
        deeper = [
            paths(item, f"{here}.{name}".lstrip(".")) for name, item in value.items() if name not in ("type", "role")
        ]
        return {here}.union(*deeper) if sort else set().union(*deeper)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return set().union(*(paths(item, at) for item in value)) or {f"{at}: empty"}
    if at.rpartition(".")[2] in PLAIN and isinstance(value, str):
        return {f"{at}: {value}"}
    return {f"{at}: {type(value).__name__}"}


def shape_of(found: Capture) -> dict[str, Any]:
    """What a request is made of."""
    body = found.body
    betas = [value.strip() for line in found.request.all("anthropic-beta") for value in line.split(",")]
    return {
        "model": body.pop("model"),
        "max_tokens": body.pop("max_tokens"),
        "betas": sorted(betas),
        "headers": sorted({name.lower() for name, _ in found.request.headers if name.lower() not in UNSTEADY}),
        "body": sorted(paths(body)),
    }


UNSTEADY = frozenset({"connection", "content-length", "host"})
"""Headers of the connection, not of the request."""


def shapes(captures: Sequence[Capture]) -> dict[str, list[dict[str, Any]]]:
    """Every situation's shapes; equal ones of one situation once."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SITUATIONS}
    for one in captures:
        seen = shape_of(one)
        if seen not in found[one.situation]:
            found[one.situation].append(seen)
    return found


def summary(client: ClaudeCode, captures: Sequence[Capture]) -> str:
    """The shapes as a file."""
    content = {"client": client.version, "situations": shapes(captures)}
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=False) + "\n"


if __name__ == "__main__":
    newest = installed(NEWEST)
    content = summary(newest, asyncio.run(capture_all(newest)))
    if "--write" in sys.argv:
        SHAPES.write_text(content, "utf-8")
    else:
        print(content)
