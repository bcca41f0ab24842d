"""What Claude Code does when a stream breaks after it has begun: measured, client by client.

The client talks to the simulated Claude API directly; nothing of ours is between them. ``python -m
tests.real.broken_streams [--write]`` makes the table of docs/after-the-commit.md; the test beside it holds the rest.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from claude_failover.drill.script import Answer, Block, Cut, How, InBand, Mark, Step, Text, Thinking, ToolUse, Wire
from tests.real.clients import NEWEST, OLDER, ROOT, ClaudeCode, installed
from tests.real.stage import Stage, scene

AT_ONCE = 4
"""Clients that run side by side while measuring."""

GAP = 0.15
"""Seconds between two events: a model speaks slowly enough for a client to act on a block before the next one ends."""

CALL = ToolUse("Bash", {"command": "echo ran >> ran", "description": "Note that it ran"})


class Way(StrEnum):
    """How the break is told."""

    EVENT = "error event"
    """An SSE ``error`` event, then the proper end of the response."""
    ABORT = "aborted connection"
    """The connection is closed without the chunked end."""


class Then(StrEnum):
    """What the client does next."""

    REPEATS = "repeats the turn, streaming"
    REPEATS_WHOLE = "repeats the turn, not streaming"
    GOES_ON = "keeps the finished blocks and goes on"
    STOPS = "stops with an error"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream breaks."""

    blocks: tuple[Block, ...]
    at: Mark


PLACES: Mapping[str, Place] = {
    "at the first word": Place((Text("Half of an answer that", 6),), "content"),
    "in the middle of the text": Place((Text("Half of an answer that", 6),), 5),
    "in the text, thinking finished": Place((Thinking("Let me think."), Text("Half of an answer", 6)), 9),
    "in a tool call, text finished": Place((Text("Let me run it.", 2), CALL), 8),
    "in a text, tool call finished": Place((CALL, Text("And then more of it.", 4)), 9),
    "before the last event": Place((Text("Let me run it.", 2), CALL), "delta"),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one client."""

    version: str
    place: str
    way: Way
    then: Then
    after_s: float | None
    """Seconds from the break to the next request."""
    requests: int
    ran: int
    """How often the tool of the broken answer was run."""
    shown: str
    """The last words that the user reads."""
    is_error: bool


def broken(place: Place, way: Way) -> Step:
    """The answer that breaks there."""
    if way is Way.EVENT:
        return Answer(blocks=place.blocks, gap=GAP, error=InBand(place.at))
    return Answer(blocks=place.blocks, gap=GAP, wire=Wire(cut=Cut(place.at, How.FIN)))


async def measure(client: ClaudeCode, name: str, way: Way) -> Measured:
    """Break one stream for one client."""
    async with scene(broken(PLACES[name], way), daemon=False) as stage:
        stage.address = stage.claude.url
        told = await stage.ask(
            client, "Run the command", "--allowedTools", "Bash", "--permission-mode", "bypassPermissions"
        )
        times = [seen.at for seen in stage.claude.requests if seen.path == "/v1/messages"]
        noted = stage.home / "work" / "ran"
        return Measured(
            version=client.version,
            place=name,
            way=way,
            then=_then(stage),
            after_s=max(0.0, times[1] - stage.claude.ended_at[0]) if len(times) > 1 else None,
            requests=len(times),
            ran=len(noted.read_text().split()) if noted.exists() else 0,
            shown=told.text,
            is_error=bool(told.result["is_error"]),
        )


def _then(stage: Stage) -> Then:
    bodies = [json.loads(seen.body) for seen in stage.claude.requests if seen.path == "/v1/messages"]
    if len(bodies) == 1:
        return Then.STOPS
    if len(bodies[1]["messages"]) > len(bodies[0]["messages"]):
        return Then.GOES_ON
    return Then.REPEATS if bodies[1].get("stream") else Then.REPEATS_WHOLE


async def measure_all(clients: Sequence[ClaudeCode]) -> list[Measured]:
    """Every client, place and way, a few side by side."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(client: ClaudeCode, name: str, way: Way) -> Measured:
        async with gate:
            return await measure(client, name, way)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(client, name, way)) for client in clients for name in PLACES for way in Way]
    return [task.result() for task in tasks]


MARKS = ("<!-- measured -->", "<!-- /measured -->")
"""Between these two the table stands in the document."""

DOCUMENT = ROOT / "docs" / "after-the-commit.md"

HEADER = (
    "| client | the stream breaks | told by | Claude Code then | after | tool ran | the user reads |",
    "|---|---|---|---|---|---|---|",
)


def table(rows: Sequence[Measured]) -> str:
    """The rows in Markdown."""
    lines = list(HEADER)
    for row in rows:
        after = "-" if row.after_s is None else f"{row.after_s:.1f} s"
        shown = f"`{row.shown}`" if row.is_error else "the answer"
        lines.append(f"| {row.version} | {row.place} | {row.way} | {row.then} | {after} | {row.ran or '-'} | {shown} |")
    return "\n".join(lines)


def documented() -> list[list[str]]:
    """The cells of the table as it stands in the document."""
    inside = DOCUMENT.read_text("utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in inside.strip().splitlines()[2:]]


def _write(rows: Sequence[Measured]) -> None:
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    DOCUMENT.write_text(f"{before}{MARKS[0]}\n{table(rows)}\n{MARKS[1]}{after}", "utf-8")


if __name__ == "__main__":
    measured = asyncio.run(measure_all([installed(NEWEST), installed(OLDER)]))
    print(table(measured))
    if "--write" in sys.argv:
        _write(measured)
