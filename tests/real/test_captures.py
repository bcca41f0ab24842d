"""Everything that the real Claude Code sends is something that Bedrock takes, on every surface, streaming and not.

The captures are taken here, from the binary, headless and on a terminal: every situation of wire/bedrock.md 2.0 that
is this client's is provoked, none is made up. Their shapes (``shapes.json``) tell when a new client sends something
new.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files

import pytest
import yaml

from claude_failover.core import betas
from claude_failover.core.commands import ClientRequest, Translated, Untranslatable
from claude_failover.core.models import Catalog, Target
from claude_failover.core.repair import Denials
from claude_failover.core.request import peek
from claude_failover.core.settings import Backend
from claude_failover.core.translate import to_bedrock
from claude_failover.core.types import BackendName, Kind, Surface
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.bedrock_access import API_KEY
from claude_failover.drill.bedrock_models import MODELS
from claude_failover.drill.playback import Reply
from claude_failover.drill.script import Seen
from tests.real.captures import SHAPES, SITUATIONS, Capture, capture_all, shape_of, summary
from tests.real.clients import ClaudeCode

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

CATALOG = Catalog.build(yaml.safe_load((files("claude_failover") / "data" / "models.yaml").read_text("utf-8")), {})

STAYING = {"web search": "web_search", "interactive, auto mode, oauth": "quota probe"}
"""Situations one request of which only the Claude API can serve, and the word for why."""


@pytest.fixture(scope="module")
def taken() -> list[Capture]:
    """Filled by the first test, read by the others."""
    return []


async def test_the_client_sends_what_it_did(newest: ClaudeCode, taken: list[Capture]) -> None:
    """A difference is news about the client: renew with ``python -m tests.real.captures --write`` and read the diff."""
    taken += await capture_all(newest)
    assert json.loads(summary(newest, taken)) == json.loads(SHAPES.read_text("utf-8"))


def exists(capture: Capture, surface: str) -> bool:
    """Whether the model can be called there at all: ids with a version are InvokeModel's alone."""
    model = CATALOG.normalise(str(capture.body["model"]))
    named = next(one for one in MODELS.values() if one.claude_id == model)
    return surface in ("auto", Surface.INVOKE) or not named.arn_versioned


def translated(capture: Capture, surface: str, *, streaming: bool) -> tuple[Surface, Translated] | str:
    """A capture as it would go to Bedrock, or why it would not."""
    body = capture.body
    body.pop("stream", None)
    data = json.dumps(body | ({"stream": True} if streaming else {})).encode()
    request = ClientRequest("cfr_1", capture.request.target, capture.request.headers, data)
    backend = Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1", surface=surface)
    target = CATALOG.resolve(str(body["model"]), backend)
    if not isinstance(target, Target):
        return f"no such model: {target.why}"
    made = to_bedrock(request, peek(request), target, target.surfaces[0], backend, Denials())
    if isinstance(made, Untranslatable):
        return f"stays: {made.why}"
    assert isinstance(made, Translated)
    return target.surfaces[0], made


async def sent(capture: Capture, surface: str, *, streaming: bool) -> str:
    """What becomes of a capture: empty if the simulated Bedrock serves it, else who says no, and why."""
    found = translated(capture, surface, streaming=streaming)
    if isinstance(found, str):
        return found
    on, made = found
    bedrock = SimulatedBedrock(mantle=on is Surface.MANTLE)
    headers = (*made.request.headers, ("authorization", f"Bearer {API_KEY}"))
    reply = await bedrock.answer(Seen(1, "POST", made.request.target, headers, made.request.body, 1, 0.0))
    assert isinstance(reply, Reply)
    assert bedrock.violations == []
    return "" if reply.status == 200 else f"{reply.status}: {b''.join(part.data for part in reply.parts).decode()}"


async def refused(captures: Iterable[Capture], surface: str, *, streaming: bool) -> dict[tuple[str, int], str]:
    """What Bedrock does not get or does not take, but for what is known to stay."""
    found = {}
    for one in (one for one in captures if exists(one, surface)):
        outcome = await sent(one, surface, streaming=streaming)
        staying = STAYING.get(one.situation)
        if outcome and not (staying and outcome.startswith("stays") and staying in outcome):
            found[one.situation, one.number] = outcome
    return found


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "whole"])
@pytest.mark.parametrize("surface", ["auto", *Surface])
async def test_bedrock_takes_everything_that_claude_code_sends(
    taken: list[Capture], surface: str, streaming: bool
) -> None:
    assert taken, "the captures are taken by the first test of this module"
    assert await refused(taken, surface, streaming=streaming) == {}


OLDER = (
    "opus", "sonnet", "haiku", "opus 4.6", "haiku 4.5", "oauth", "first-party host", "one-hour cache",
    "structured answer", "tool", "thinking and tool", "image", "pdf", "subagent", "tool search", "web search",
    "interactive", "interactive, auto mode", "interactive, auto mode, oauth",
)  # fmt: skip
"""Situations in which an older client is looked at: it has no newest models to name."""


async def test_what_an_older_client_sends_is_known_and_taken_too(older: ClaudeCode) -> None:
    """Nobody updates at once; its betas and fields are others."""
    captures = await capture_all(older, OLDER)
    assert {one.situation for one in captures} == set(OLDER)
    assert betas.unknown(tuple(beta for one in captures for beta in shape_of(one)["betas"])) == ()
    for surface in ("auto", *Surface):
        for streaming in (True, False):
            assert await refused(captures, surface, streaming=streaming) == {}


AUTO_MODE = {"dangerous-tool-use-2026-09-03", "thinking-display-updates-2026-08-18", "afk-mode-2026-01-31"}


@pytest.mark.parametrize("surface", list(Surface))
async def test_the_check_of_dangerous_tools_goes_to_bedrock_with_auto_mode(
    taken: list[Capture], surface: Surface
) -> None:
    """Bedrock would take the turn without it as well, and the client would run unchecked what it had asked about."""
    turns = [one for one in taken if "safeguards" in one.body]
    assert {one.situation for one in turns} == {name for name in SITUATIONS if "auto mode" in name}
    for one in turns:
        found = translated(one, surface, streaming=True)
        assert not isinstance(found, str), found
        body, headers = json.loads(found[1].request.body), dict(found[1].request.headers)
        asked = body.get("anthropic_beta") or headers["anthropic-beta"].split(",")
        assert set(asked) >= AUTO_MODE, one.situation
        assert body["safeguards"] == one.body["safeguards"]
        assert body["thinking"]["display"] == "updates"


async def test_a_title_is_asked_for_beside_the_first_turn(taken: list[Capture]) -> None:
    """The side query: a schema for the answer, no tools; its own beta only on a host that counts as Anthropic's."""
    titles = [one for one in taken if one.body.get("tools") == [] and "format" in one.body.get("output_config", {})]
    assert {one.situation for one in titles} == {name for name in SITUATIONS if name.startswith("interactive")}
    marked = {one.situation for one in titles if "claude-code-side-query-2026-09-29" in shape_of(one)["betas"]}
    assert marked == {"interactive, auto mode, first-party host"}
