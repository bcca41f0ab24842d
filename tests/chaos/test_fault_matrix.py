"""Every fault x {streaming, not} x {before, after the commit}: what the client sees, how soon, with how many attempts.

The outcome is ``docs/fault-matrix.md``. After a change of the policy write it again with
``CLAUDE_FAILOVER_WRITE_DOCS=1 pytest tests/chaos/test_fault_matrix.py``. Times are compared as classes, and only
upwards with room: the machine that checks may be busy.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from claude_failover.drill import bedrock_faults, claude_faults, fire
from claude_failover.drill.client import Turn
from claude_failover.drill.fire import Result
from claude_failover.drill.scenarios import HASTY, IMPATIENT, Scenario
from claude_failover.drill.script import (
    FOREVER,
    Answer,
    Cut,
    Drop,
    Garbage,
    How,
    Stall,
    Step,
    Wire,
    cut,
    in_band,
    silent,
    stalled,
    unfinished,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "fault-matrix.md"

STREAM, WHOLE = Turn(), Turn(stream=False)

CLASSES = ((0.3, "at once"), (1.2, "within 1.2 s"), (4.0, "within 4 s"), (60.0, "within a minute"))
"""Seconds to rescue, as the document tells them."""


def half(how: How) -> Answer:
    """A body that is no stream, half of it sent."""
    return Answer(wire=Wire(cut=Cut("first", how, 150)))


REFUSALS: Mapping[str, Step] = {
    "plan limit: 5 hours or 7 days used up": claude_faults.plan_limit(),
    "limit of the model's family": claude_faults.family_limit(),
    "429 with `retry-after: 7`": claude_faults.throttle(7),
    "429 with `retry-after: 1`": claude_faults.throttle(1),
    "429 that says nothing": claude_faults.bare_limit(),
    "spend cap or credits used up": claude_faults.billing(),
    "529 overloaded": claude_faults.overloaded(),
    "500": claude_faults.server_error(500),
    "503, a page of the edge's": claude_faults.server_error(503),
}

PASSED: Mapping[str, Step] = {
    "extra usage needed for 1M context": claude_faults.entitlement(),
    "400": claude_faults.client_error(400),
    "401": claude_faults.client_error(401),
    "403": claude_faults.client_error(403),
    "404": claude_faults.client_error(404),
    "413": claude_faults.client_error(413),
    "prompt is too long": claude_faults.too_long(),
}

BROKEN: Mapping[str, tuple[Step | None, Step | None, Step | None, Step | None]] = {
    "connection refused": (None, None, None, None),
    "connection reset": (Drop(), cut("content"), Drop(), half(How.RESET)),
    "connection closed": (Drop(How.FIN), cut("content", How.FIN), Drop(How.FIN), half(How.FIN)),
    "HTTP ends well, the answer does not": (
        cut("start", How.END), unfinished(), Answer(wire=Wire(body=b"")), Answer(wire=Wire(body=b'{"type":"mess')),
    ),
    "not HTTP, not an answer": (
        Garbage(), Answer(wire=Wire(corrupt="content")), Garbage(), Answer(wire=Wire(body=b"<html>Sign in</html>")),
    ),
    "silence": (silent(), stalled("content"), None, Answer(wire=Wire(stall=Stall("first", FOREVER, 150)))),
    "silence after the headers": (stalled("start"), None, None, None),
    "overloaded, inside a 200": (in_band("start"), in_band("content"), None, None),
}  # fmt: skip
"""Streaming before and after the commit, not streaming before the headers and in the middle of the body."""

LIMITED = claude_faults.plan_limit()

BEDROCK: Mapping[str, tuple[Step, bool]] = {
    "throttled": (bedrock_faults.throttled(), True),
    "throttled, once": (bedrock_faults.throttled(), False),
    "503, once": (bedrock_faults.unavailable(), False),
    "exception frame, once": (bedrock_faults.exception_frame(), False),
    "a field or beta refused": (bedrock_faults.extra_input("metadata"), False),
    "session token expired": (bedrock_faults.expired_token(), False),
    "no access to the model": (bedrock_faults.access_denied(), True),
    "prompt is too long": (bedrock_faults.too_long(), True),
    "cut after the commit": (cut("content"), False),
}
"""While the Claude API is limited: the fault, and whether it goes on."""

SECTIONS = ("limits", "passed", "broken", "bedrock")

Cell = tuple[str, str, str, Scenario]
"""Fault, request, when, and how it is played."""


def cells(section: str) -> list[Cell]:
    """What a section is made of."""
    found: list[Cell] = []

    def add(fault: str, turn: Turn, when: str, **more: object) -> None:
        name = f"{section}-{len(found)}"
        kind = "streaming" if turn.stream else "whole"
        found.append((fault, kind, when, Scenario(name, fault, turns=(turn,), **more)))  # type: ignore[arg-type]

    if section in {"limits", "passed"}:
        for fault, step in (REFUSALS if section == "limits" else PASSED).items():
            for turn in (STREAM, WHOLE):
                add(fault, turn, "before", claude_always=step)
    elif section == "broken":
        for fault, (before, after, start, middle) in BROKEN.items():
            outage = (before, after, start, middle) == (None,) * 4
            for turn, when, played in (
                (STREAM, "before", before), (STREAM, "after", after), (WHOLE, "before", start),
                (WHOLE, "in mid-body", middle),
            ):  # fmt: skip
                if played is not None:
                    add(fault, turn, when, claude_always=played, settings=IMPATIENT)
                elif outage and when == "before":
                    add(fault, turn, when, outage=True)
    else:
        for fault, (step, goes_on) in BEDROCK.items():
            when = "after" if fault.endswith("after the commit") else "before"
            surface = "invoke" if "frame" in fault else "auto"
            steps = {"bedrock_always": step} if goes_on else {"bedrock": (step,)}
            for turn in (STREAM, WHOLE)[: 1 if when == "after" or surface == "invoke" else 2]:
                settings = HASTY if goes_on else {}
                add(fault, turn, when, claude_always=LIMITED, surface=surface, settings=settings, **steps)
    return found


def class_of(seconds: float | None) -> str:
    """A time as the document tells it."""
    if seconds is None:
        return "-"
    return next(name for most, name in CLASSES if seconds < most)


def line(cell: Cell, result: Result) -> str:
    """One line of the table."""
    fault, kind, when, _ = cell
    seen = textwrap.shorten(result.saw, 90, placeholder=" …")
    return (
        f"| {fault} | {kind} | {when} | {seen} | {class_of(result.rescue_s)} | "
        f"{result.claude_attempts} | {result.bedrock_attempts} |"
    )


HEAD = (
    "| fault | request | commit | the client saw | rescue | at Claude | at Bedrock |\n"
    "|---|---|---|---|---|---|---|\n"
)  # fmt: skip


def block(section: str) -> re.Pattern[str]:
    """Where a section's table is in the document."""
    return re.compile(rf"(<!-- {section} -->\n)(.*?)(\n<!-- /{section} -->)", re.DOTALL)


@pytest.mark.parametrize("section", SECTIONS)
async def test_the_matrix_is_as_documented(section: str) -> None:
    planned = cells(section)
    report = await fire.drill([cell[3] for cell in planned])
    results = {result.name: result for result in report.results}
    for result in report.results:
        assert not result.problem.startswith(("a rule was broken", "the daemon did not start")), result
    lines = [line(cell, results[cell[3].name]) for cell in planned]
    text = DOCUMENT.read_text("utf-8")
    if os.environ.get("CLAUDE_FAILOVER_WRITE_DOCS"):
        table = HEAD + "\n".join(lines)
        DOCUMENT.write_text(block(section).sub(lambda match: match[1] + table + match[3], text), "utf-8")
        return
    found = block(section).search(text)
    assert found is not None
    written = found[2].splitlines()[2:]
    assert [untimed(one) for one in lines] == [untimed(one) for one in written]
    slow = [(now, then) for now, then in zip(lines, written, strict=True) if rank(now) > rank(then) + 2]
    assert not slow, slow


def untimed(row: str) -> list[str]:
    """A line without its time."""
    columns = row.split(" | ")
    return [*columns[:4], *columns[5:]]


def rank(row: str) -> int:
    """Which class a line's time is of."""
    names = ["-", *(name for _, name in CLASSES)]
    return names.index(row.split(" | ")[4])
