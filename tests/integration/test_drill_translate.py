"""Two readings of the same facts agree: whatever translation makes of a request, the simulated Bedrock takes.

The translator's tables and the simulator's were written apart; here they meet, over every model, every surface
and whatever Claude Code may put together. A refusal names what one of them has wrong.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

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
from claude_failover.drill.claude_rules import BETAS
from claude_failover.drill.playback import Reply
from claude_failover.drill.script import Seen

CATALOG = Catalog.build(yaml.safe_load((files("claude_failover") / "data" / "models.yaml").read_text("utf-8")), {})

EPHEMERAL = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
GLOBAL = {"type": "ephemeral", "ttl": "1h", "scope": "global"}
USER_ID = json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "00000000-0000-4000-8000-000000000000"})
ATTRIBUTION = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330; cc_entrypoint=cli;"}
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
THOUGHT = {"type": "thinking", "thinking": "", "signature": "c2lnbmF0dXJl"}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"{name}.", "input_schema": SCHEMA} | more


def call(number: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "Read", "input": {"path": "x"}}


def result(number: int, content: Any = "text", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": content} | more


def system_turn(**more: Any) -> dict[str, Any]:
    return {"role": "system", "content": "The date has changed."} | more


MAIN: dict[str, Any] = {
    "max_tokens": 128_000,
    "stream": True,
    "system": [ATTRIBUTION, {"type": "text", "text": "You are Claude Code.", "cache_control": HOUR}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Look at x.", "cache_control": EPHEMERAL}]},
        system_turn(output_config={"effort": "high"}),
    ],
    "tools": [tool("Read", eager_input_streaming=True), tool("Later", defer_loading=True), tool("Strict", strict=True)],
    "metadata": {"user_id": USER_ID},
    "thinking": {"type": "adaptive", "display": "omitted"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "high"},
}
LOOP: dict[str, Any] = MAIN | {
    "messages": [
        {"role": "user", "content": "Look at x."},
        {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "I look."}, call(1), call(2)]},
        {"role": "user", "content": [
            result(1, [{"type": "text", "text": "x", "cache_control": GLOBAL}, IMAGE]),
            result(2, [{"type": "tool_reference", "tool_name": "Later"}], is_error=False),
            {"type": "text", "text": "Go on."},
        ]},
        system_turn(),
        {"role": "assistant", "content": [THOUGHT, call(3)]},
        {"role": "user", "content": [result(3)]},
        system_turn(output_config={"effort": "low"}, clear_at="turn_end"),
    ],
}  # fmt: skip
AUTO = MAIN | {"safeguards": [{"type": "tool_use"}], "thinking": {"type": "adaptive", "display": "updates"}}
FIRST_PARTY = LOOP | {
    "diagnostics": {"previous_message_id": "msg_1"},
    "speed": "fast",
    "thinking": {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}},
    "cache_control": EPHEMERAL,
    "service_tier": "auto",
    "inference_geo": "us",
}
TITLE: dict[str, Any] = {
    "max_tokens": 32_000,
    "stream": True,
    "messages": [{"role": "user", "content": "Title?"}],
    "tools": [],
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "metadata": {"user_id": USER_ID},
}
BUDGET = MAIN | {
    "max_tokens": 32_000,
    "thinking": {"type": "enabled", "budget_tokens": 31_999, "display": "omitted"},
    "messages": MAIN["messages"][:1],
}
COMPACTING = MAIN | {"context_management": {"edits": [{"type": "compact_20260112"}]}}
WHOLE = {key: value for key, value in LOOP.items() if key != "stream"}
BODIES = {
    "main": MAIN, "loop": LOOP, "auto": AUTO, "first party": FIRST_PARTY, "title": TITLE, "budget": BUDGET,
    "compacting": COMPACTING, "without a stream": WHOLE,
}  # fmt: skip

ALL_BETAS = ", ".join(sorted(BETAS - {"message-threads-2026-08-12"}))


def backend(surface: str) -> Backend:
    return Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1", surface=surface)


def translated(
    body: dict[str, Any], claude_model: str, surface: str, betas: str = ALL_BETAS
) -> tuple[Surface, Translated | Untranslatable]:
    settings_of = backend(surface)
    target = CATALOG.resolve(claude_model, settings_of)
    assert isinstance(target, Target), claude_model
    data = json.dumps({"model": claude_model, **body}).encode()
    headers = (("anthropic-beta", betas), ("authorization", "Bearer sk-ant-oat01-worth-nothing"), ("x-app", "cli"))
    request = ClientRequest("cfr_1", "/v1/messages?beta=true", headers, data)
    used = target.surfaces[0]
    return used, to_bedrock(request, peek(request), target, used, settings_of, Denials())


async def taken(surface: Surface, made: Translated) -> str:
    """Empty if the simulator serves it, else what it says."""
    bedrock = SimulatedBedrock(mantle=surface is Surface.MANTLE)
    headers = (*made.request.headers, ("authorization", f"Bearer {API_KEY}"))
    reply = await bedrock.answer(
        Seen(1, made.request.method, made.request.target, headers, made.request.body, 1, 0.0),
    )
    assert isinstance(reply, Reply)
    if bedrock.violations:
        return "; ".join(bedrock.violations)
    return "" if reply.status == 200 else f"{reply.status} {b''.join(part.data for part in reply.parts).decode()}"


def served_by(surface: str, claude_id: str) -> bool:
    """Whether the model can be called there at all."""
    model = next(model for model in MODELS.values() if model.claude_id == claude_id)
    if surface == "mantle":
        return model.version >= (4, 7)
    return surface != "messages" or not model.arn_versioned


CLAUDE_IDS = sorted(model.claude_id for model in MODELS.values())
ROUTES = [(name, surface) for surface in ("auto", "messages", "invoke", "mantle") for name in CLAUDE_IDS]


@pytest.mark.parametrize(("model", "surface"), [route for route in ROUTES if served_by(route[1], route[0])])
async def test_every_kind_of_request_is_taken_for_every_model(model: str, surface: str) -> None:
    for name, body in BODIES.items():
        used, made = translated(body, model, surface)
        assert isinstance(made, Translated), f"{name}: {made.why}"
        assert not await taken(used, made), name


systems = st.sampled_from(["You are Claude Code.", MAIN["system"], [ATTRIBUTION | {"cache_control": GLOBAL}], None])
options: dict[str, st.SearchStrategy[Any]] = {
    "system": systems,
    "messages": st.sampled_from([MAIN["messages"], LOOP["messages"], MAIN["messages"][:1], TITLE["messages"]]),
    "tools": st.lists(
        st.sampled_from([
            *MAIN["tools"],
            tool("Old", type="custom"),
            {"type": "custom", "custom": tool("Wrapped", defer_loading=True)},
            {"type": "bash_20250124", "name": "bash"},
            {"type": "memory_20250818", "name": "memory"},
            tool("Cached", cache_control=GLOBAL),
            tool("Examples", input_examples=[{"path": "x"}]),
            tool("Callers", allowed_callers=["direct"]),
        ]),
        max_size=4,
        unique_by=lambda item: str(item.get("name", "wrapped")),
    ),
    "thinking": st.sampled_from([
        {"type": "adaptive"}, {"type": "disabled"}, {"type": "enabled", "budget_tokens": 2000},
        AUTO["thinking"], BUDGET["thinking"], FIRST_PARTY["thinking"],
    ]),
    "context_management": st.lists(
        st.sampled_from([
            {"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"},
            {"type": "compact_20260112"}, {"type": "never_heard_of"},
        ]),
        max_size=3,
    ).map(lambda edits: {"edits": edits}),
    "output_config": st.fixed_dictionaries({}, optional={
        "effort": st.sampled_from(["low", "medium", "high", "xhigh", "max"]),
        "format": st.just(TITLE["output_config"]["format"]),
        "task_budget": st.just({"total": 1000}),
    }),
    "metadata": st.sampled_from([{"user_id": USER_ID}, {"user_id": "plain"}, {}]),
    "safeguards": st.just([{"type": "tool_use"}]),
    "diagnostics": st.just({"previous_message_id": "msg_1"}),
    "cache_control": st.sampled_from([EPHEMERAL, HOUR, GLOBAL]),
    "speed": st.just("fast"),
    "stop_sequences": st.just(["stop"]),
    "never_heard_of": st.just({"a": 1}),
}  # fmt: skip


def consistent(body: dict[str, Any]) -> bool:
    """Whether the thinking budget fits; the Claude API refuses the others itself."""
    return bool((body.get("thinking") or {}).get("budget_tokens", 0) < body["max_tokens"])


bodies = st.fixed_dictionaries(
    {"max_tokens": st.sampled_from([1024, 32_000, 128_000]), "messages": options.pop("messages")}, optional=options
).filter(consistent)
some_betas = st.lists(st.sampled_from([*sorted(BETAS), "new-2027-01-01"]), unique=True, max_size=12).map(", ".join)


@settings(max_examples=200, deadline=None)
@given(
    bodies,
    some_betas | st.just(ALL_BETAS),
    st.sampled_from([route for route in ROUTES if served_by(route[1], route[0])]),
)
async def test_whatever_is_put_together_is_taken_or_stays(
    body: dict[str, Any], betas: str, route: tuple[str, str]
) -> None:
    body = {key: value for key, value in body.items() if value is not None}
    used, made = translated(body, *route, betas)
    if isinstance(made, Translated):
        problem = await taken(used, made)
        # More marks than four are the client's own mistake, and the Claude API's to refuse.
        assert not problem or "A maximum of 4 blocks" in problem
