"""What Bedrock refuses against our tables: mended unseen, learned, shown, and remembered by the next daemon.

A real daemon process, a Claude API that is used up, and a simulated Bedrock that is stricter than the tables say.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from claude_failover.drill import bedrock_faults
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.bedrock_check import Permits
from claude_failover.drill.claude_faults import plan_limit
from claude_failover.drill.script import Seen, Step, text
from tests.control_fakes import short_directory
from tests.daemons import Home, Running, at
from tests.fakes import messages_body, said, simulated_bedrock, simulated_claude

INTERLEAVED = "interleaved-thinking-2025-05-14"
COUNTED = "thinking-token-count-2026-05-13"
SESSION, ANOTHER = {"x-claude-code-session-id": "s-1"}, {"x-claude-code-session-id": "s-2"}


@pytest.fixture
def home() -> Iterator[Home]:
    with short_directory() as directory:
        yield at(directory)


@dataclass
class Scene:
    """A home whose Claude API only ever says that the plan is used up."""

    home: Home
    bedrock: SimulatedBedrock

    async def cost(self, daemon: Running, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> int:
        """How many requests at Bedrock one good answer took."""
        before = self.bedrock.count
        reply = await daemon.post(body, headers=headers)
        assert reply.status == 200, reply.body
        assert said(reply.body).startswith(("Simulated Bedrock", "rescued"))
        return self.bedrock.count - before

    async def learned(self, daemon: Running) -> list[tuple[str, str, str]]:
        """Surface, model and lesson of everything that ``models`` shows; ``status`` counts them."""
        models = await daemon.ask(lambda client: client.models())
        assert (await daemon.status()).learned == len(models.learned)
        assert all(one.backend == "bedrock" and one.until is not None for one in models.learned)
        return [(one.surface, one.model, one.what) for one in models.learned]


@asynccontextmanager
async def scene(home: Home) -> AsyncIterator[Scene]:
    async with simulated_claude() as claude, simulated_bedrock() as bedrock:
        claude.script.always(plan_limit())
        home.configure(
            "listen: {port: 0}\nalerts: {desktop: false}\nbackends:\n"
            f"- {{name: claude, kind: anthropic, base_url: '{claude.url}'}}\n"
            f"- {{name: bedrock, kind: bedrock, region: us-east-1, endpoint_url: '{bedrock.url}'}}\n"
        )
        yield Scene(home, bedrock)


def picky(refuses: Callable[[Seen], bool], refusal: Step) -> Callable[[Seen], Step]:
    """A Bedrock that refuses some requests and answers the others."""
    return lambda seen: refusal if refuses(seen) else text("rescued")


def body_of(seen: Seen) -> dict[str, Any]:
    body = json.loads(seen.body)
    assert isinstance(body, dict)
    return body


@pytest.mark.parametrize(
    ("permits", "lesson"),
    [
        (Permits(denied_paths=("metadata",)), "path metadata"),
        (Permits(denied_betas=frozenset({INTERLEAVED})), f"beta {INTERLEAVED}"),
    ],
    ids=["a field", "a beta"],
)
async def test_what_is_refused_is_mended_once_and_by_the_next_daemon_not_sent_at_all(
    home: Home, permits: Permits, lesson: str
) -> None:
    body = messages_body(metadata={"user_id": "me"})
    betas = {"anthropic-beta": f"oauth-2025-04-20,{INTERLEAVED}"}
    async with scene(home) as scene_:
        scene_.bedrock.permits = permits
        async with home.running() as daemon:
            assert await scene_.learned(daemon) == []
            assert await scene_.cost(daemon, body, betas) == 2
            assert await scene_.learned(daemon) == [("messages", "claude-opus-5-5", lesson)]
            assert await scene_.cost(daemon, body, betas) == 1
            assert await scene_.cost(daemon, messages_body(model="claude-sonnet-5-5", metadata={"user_id": "me"}),
                                     betas) == 2, "another model has its own lessons"  # fmt: skip
        async with home.running() as daemon:
            assert await scene_.cost(daemon, body, betas) == 1
            assert len(await scene_.learned(daemon)) == 2


async def test_an_unnamed_beta_costs_one_repair_and_all_that_can_be_done_without(home: Home) -> None:
    betas = {"anthropic-beta": f"oauth-2025-04-20,{INTERLEAVED},{COUNTED}"}
    async with scene(home) as scene_, home.running() as daemon:
        named = INTERLEAVED.encode()
        scene_.bedrock.script.always(
            picky(lambda seen: named in seen.body or INTERLEAVED in (seen.header("anthropic-beta") or ""),
                  bedrock_faults.invalid_beta("anthropic"))
        )  # fmt: skip
        assert await scene_.cost(daemon, headers=betas) == 2
        assert await scene_.cost(daemon, headers=betas) == 1
        learned = await scene_.learned(daemon)
        assert {what for _, _, what in learned} == {f"beta {INTERLEAVED}", f"beta {COUNTED}"}


async def test_a_surface_that_is_missing_is_left_for_the_other_and_that_is_remembered(home: Home) -> None:
    async with scene(home) as scene_:
        scene_.bedrock.script.always(picky(lambda seen: seen.path == "/anthropic/v1/messages", bedrock_faults.coral()))
        async with home.running() as daemon:
            assert await scene_.cost(daemon) == 2
            assert await scene_.cost(daemon) == 1
            assert await scene_.cost(daemon, messages_body(model="claude-sonnet-5-5")) == 1, "missing for every model"
            assert await scene_.learned(daemon) == [("messages", "*", "surface")]
        async with home.running() as daemon:
            assert await scene_.cost(daemon) == 1
        paths = [seen.path.rpartition("/")[2] for seen in scene_.bedrock.requests]
        assert paths == ["messages", *["invoke-with-response-stream"] * 4]


@pytest.mark.parametrize(
    "refusal", [bedrock_faults.on_demand(), bedrock_faults.invalid_id()], ids=["on-demand throughput", "invalid"]
)
async def test_an_id_that_is_refused_is_spelt_the_next_way_and_that_is_remembered(home: Home, refusal: Step) -> None:
    async with scene(home) as scene_:
        scene_.bedrock.script.always(picky(lambda seen: body_of(seen)["model"].startswith("global."), refusal))
        async with home.running() as daemon:
            assert await scene_.cost(daemon) == 2
        async with home.running() as daemon:
            assert await scene_.cost(daemon) == 1
            lesson = "id global.anthropic.claude-opus-5-5"
            assert await scene_.learned(daemon) == [("messages", "claude-opus-5-5", lesson)]
        assert [body_of(seen)["model"] for seen in scene_.bedrock.requests] == [
            "global.anthropic.claude-opus-5-5",
            "us.anthropic.claude-opus-5-5",
            "us.anthropic.claude-opus-5-5",
        ]


THOUGHT = {"type": "thinking", "thinking": "", "signature": "c2lnbmF0dXJl"}
HISTORY = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "Hello."}]},
    {"role": "user", "content": "and now?"},
]


@pytest.mark.parametrize(
    "refusal",
    [bedrock_faults.bound_signature(), bedrock_faults.missing_signature()],
    ids=["bound to another conversation", "field required"],
)
async def test_thinking_that_is_refused_goes_for_that_conversation_and_is_not_sent_again(
    home: Home, refusal: Step
) -> None:
    body = messages_body(messages=HISTORY, thinking={"type": "adaptive"}, model="claude-opus-4-8")

    def thinks(seen: Seen) -> bool:
        return b'"signature"' in seen.body

    async with scene(home) as scene_:
        scene_.bedrock.script.always(picky(thinks, refusal))
        async with home.running() as daemon:
            assert await scene_.cost(daemon, body, SESSION) == 2
            assert await scene_.cost(daemon, body, SESSION) == 1
            assert thinks(scene_.bedrock.requests[0])
            assert not thinks(scene_.bedrock.requests[1])
            assert body_of(scene_.bedrock.requests[1])["messages"][1]["content"] == [{"type": "text", "text": "Hello."}]
        async with home.running() as daemon:
            assert await scene_.cost(daemon, body, SESSION) == 1
            assert await scene_.cost(daemon, body, ANOTHER) == 2, "another conversation's thinking is fine so far"


async def test_where_blocks_are_bound_bedrock_is_first_asked_to_drop_them_itself(home: Home) -> None:
    body = messages_body(messages=HISTORY, thinking={"type": "adaptive"})
    async with scene(home) as scene_, home.running() as daemon:
        scene_.bedrock.script.always(
            picky(lambda seen: b"drop_block" not in seen.body, bedrock_faults.bound_signature())
        )
        assert await scene_.cost(daemon, body, SESSION) <= 2
        last = body_of(scene_.bedrock.requests[-1])
        assert last["thinking"]["block_binding"] == {"prefix_mismatch_behavior": "drop_block"}
        assert THOUGHT in last["messages"][1]["content"]


@pytest.mark.parametrize(
    "refusal",
    [
        bedrock_faults.extra_input("messages"),
        bedrock_faults.extra_input("messages", shape="aws"),
        bedrock_faults.aws(400, "ValidationException", "The provided request is not valid"),
        bedrock_faults.unsupported_tool(),
        bedrock_faults.data_retention(),
    ],
    ids=["extra input", "extra input of aws", "not valid", "unsupported tool", "data retention"],
)
async def test_a_refusal_that_only_bedrock_has_never_reaches_the_client(home: Home, refusal: Step) -> None:
    async with scene(home) as scene_, home.running() as daemon:
        scene_.bedrock.script.always(refusal)
        for _ in range(2):
            reply = await daemon.post()
            error = json.loads(reply.body)["error"]
            assert (reply.status, error["type"]) == (429, "rate_limit_error"), "the Claude API's own answer"
            assert reply.headers["anthropic-ratelimit-unified-status"] == "rejected"
            assert "bedrock" not in reply.body.decode().lower()


async def test_a_beta_that_nobody_knows_is_left_out_and_logged_once(home: Home) -> None:
    betas = {"anthropic-beta": "oauth-2025-04-20,telepathy-2031-01-01"}
    async with scene(home) as scene_, home.running() as daemon:
        await daemon.post()  # From here on the limit is known, and the Claude API is not asked.
        for _ in range(2):
            assert await scene_.cost(daemon, headers=betas) == 1
    assert all("telepathy" not in (seen.header("anthropic-beta") or "") for seen in scene_.bedrock.requests)
    told = [event for event in home.events() if event["event"] == "beta.dropped"]
    assert [(event["beta"], event["backend"]) for event in told] == [("telepathy-2031-01-01", "bedrock")]


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}]},
        {"messages": [{"role": "user", "content": "quota"}], "max_tokens": 1},
    ],
    ids=["server tool", "image by URL", "file by id", "quota probe"],
)
async def test_what_only_the_claude_api_can_serve_keeps_its_answer_and_bedrock_is_not_asked(
    home: Home, fields: dict[str, Any]
) -> None:
    async with scene(home) as scene_, home.running() as daemon:
        for _ in range(2):
            reply = await daemon.post(messages_body(**fields))
            assert (reply.status, json.loads(reply.body)["error"]["type"]) == (429, "rate_limit_error")
            assert reply.headers["anthropic-ratelimit-unified-status"] == "rejected"
        assert scene_.bedrock.count == 0
