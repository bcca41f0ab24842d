"""What must hold for every request, whatever it carries."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from itertools import pairwise
from typing import Any

import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core import betas
from claude_failover.core.commands import ClientRequest, Translated, Untranslatable
from claude_failover.core.draft import REWRITES_MAX
from claude_failover.core.models import Catalog, Target
from claude_failover.core.refusals import Remedy
from claude_failover.core.repair import Denials
from claude_failover.core.request import peek
from claude_failover.core.settings import Backend
from claude_failover.core.translate import to_bedrock
from claude_failover.core.types import BackendName, Epoch, Instant, Kind, Monotonic, Outcome, Surface, Verdict

TABLE = yaml.safe_load((files("claude_failover") / "data" / "models.yaml").read_text("utf-8"))
CATALOG = Catalog.build(TABLE, {})
BEDROCK = Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1", max_output_tokens=48_000)
NOW = Instant(Epoch(1_800_000_000.0), Monotonic(5.0))
CANARY = "canary-4711"

MODELS = st.sampled_from([*TABLE["models"], "claude-nova-6"])
SURFACES = st.sampled_from(list(Surface))
BETA_NAMES = [
    *(rule.name for rule in betas.BETAS),
    *betas.RENAMED,
    "oauth-2025-04-20",
    "prompt-caching-scope-2026-01-05",
    "per-turn-control-2026-07-01",
    "brand-new-2027-01-01",
]
BETA_LISTS = st.lists(st.sampled_from(BETA_NAMES), max_size=12)
ALLOWED_BETAS = {rule.name for rule in betas.BETAS}
HEADERS = {
    "content-type",
    "accept",
    "accept-encoding",
    "anthropic-version",
    "anthropic-beta",
    "x-amzn-bedrock-accept",
}

KEYS = st.sampled_from(
    [
        *("model", "max_tokens", "system", "messages", "tools", "tool_choice", "metadata", "thinking", "stream"),
        *("context_management", "output_config", "safeguards", "cache_control", "diagnostics", "edits", "effort"),
        *("role", "content", "type", "text", "source", "signature", "budget_tokens", "display", "block_binding"),
        *("name", "input_schema", "custom", "defer_loading", "eager_input_streaming", "strict", "ttl", "scope"),
        *("user_id", "format", "tool_name", "id"),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 200_000)
    | st.sampled_from(
        [
            *("user", "assistant", "system", "text", "thinking", "tool_use", "tool_result", "tool_reference", "custom"),
            *("ephemeral", "adaptive", "enabled", "updates", "max", "low", "fallback", "document", "compaction"),
            *("clear_thinking_20251015", "compact_20260112", "memory_20250818", "1h", "é😀"),
        ]
    )
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=30
)
ANY_BODY = st.dictionaries(KEYS, JSON, max_size=8)

MARKS = st.sampled_from(
    [{}, {"cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}, {"cache_control": {"type": "x"}}]
)


def marked(block: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return MARKS.map(lambda mark: block | mark)


TEXT = st.sampled_from(["a", "bb", ""]).map(lambda words: {"type": "text", "text": words}).flatmap(marked)
THOUGHT = st.sampled_from(
    [
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "thinking", "thinking": "x"},
        {"type": "fallback"},
    ]
)
REFERENCE = {"type": "tool_reference", "tool_name": "mcp__x"}
CHANGES = st.sampled_from([{"type": "tool_addition", "tool": {"name": "x"}}, {"type": "text", "text": "note"}])
CONTENT = st.just("hello") | st.lists(TEXT, min_size=1, max_size=2)


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A conversation as Claude Code leads it: questions, tool loops, thinking, system messages in between."""
    messages: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 4))):
        messages.append({"role": "user", "content": draw(CONTENT)})
        messages += draw(notes())
        for call in range(draw(st.integers(0, 2))):
            name = f"toolu_{len(messages)}_{call}"
            thoughts = draw(st.lists(THOUGHT, max_size=1))
            use = {"type": "tool_use", "id": name, "name": "T", "input": {"a": 1}, "caller": {"type": "direct"}}
            messages.append({"role": "assistant", "content": [*thoughts, use]})
            found = draw(st.sampled_from(["ok", [REFERENCE], [{"type": "text", "text": "r"}]]))
            result = {"type": "tool_result", "tool_use_id": name, "content": found}
            messages.append({"role": "user", "content": [result]})
            messages += draw(notes())
        messages.append({"role": "assistant", "content": draw(st.lists(THOUGHT | TEXT, min_size=1, max_size=2))})
    messages.append({"role": "user", "content": "and now?"})
    return messages


def notes() -> st.SearchStrategy[list[dict[str, Any]]]:
    content = st.just("note") | st.lists(CHANGES, min_size=1, max_size=2)
    note = content.map(lambda words: {"role": "system", "content": words, "output_config": {"effort": "high"}})
    return st.lists(note, max_size=2)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "m", "max_tokens": draw(st.integers(1, 130_000)), "messages": draw(turns())}
    extras: dict[str, Any] = {
        "system": [{"type": "text", "text": "You", "cache_control": {"type": "ephemeral", "scope": "global"}}],
        "tools": [{"name": "T", "input_schema": {"type": "object"}, "defer_loading": True, "strict": True}],
        "thinking": draw(
            st.sampled_from(
                [
                    {"type": "adaptive", "display": "updates"},
                    {"type": "enabled", "budget_tokens": 31_999},
                    {"type": "disabled"},
                ]
            )
        ),
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}, {"type": "clear_tool_uses_20250919"}]},
        "output_config": {"effort": "max", "format": {}},
        "metadata": {"user_id": '{"device_id":"d"}'},
        "safeguards": [{"type": "x"}],
        "diagnostics": {},
        "stream": True,
    }
    for key in draw(st.lists(st.sampled_from(sorted(extras)), unique=True)):
        body[key] = extras[key]
    return body


def target(model: str) -> Target:
    found = CATALOG.resolve(model, BEDROCK)
    assert isinstance(found, Target)
    return found


def ask(
    body: dict[str, Any], model: str, surface: Surface, asked: list[str], denials: Denials | None = None
) -> Translated | Untranslatable:
    headers = (
        ("anthropic-beta", ",".join(asked)),
        ("authorization", f"Bearer {CANARY}"),
        ("x-api-key", CANARY),
        ("user-agent", CANARY),
        ("x-claude-code-session-id", "s1"),
    )
    request = ClientRequest("cfr_1", f"/v1/messages?beta=true&{CANARY}", headers, msgspec.json.encode(body))
    return to_bedrock(request, peek(request), target(model), surface, BEDROCK, denials or Denials())


@given(ANY_BODY | bodies(), MODELS, SURFACES, BETA_LISTS)
@settings(max_examples=60)
def test_nothing_raises_and_equal_requests_become_equal_bytes(
    body: dict[str, Any], model: str, surface: Surface, asked: list[str]
) -> None:
    once, again = ask(body, model, surface, asked), ask(body, model, surface, asked)
    assert once == again
    assert isinstance(once, Untranslatable) or len(once.rewrites) <= REWRITES_MAX + 1


def sent_betas(result: Translated) -> list[str]:
    body = msgspec.json.decode(result.request.body)
    header = dict(result.request.headers).get("anthropic-beta", "")
    return [*body.get("anthropic_beta", []), *(header.split(",") if header else [])]


@given(ANY_BODY | bodies(), MODELS, SURFACES, BETA_LISTS)
@settings(max_examples=60)
def test_no_unlisted_beta_no_header_and_no_credential_of_the_client_leaves(
    body: dict[str, Any], model: str, surface: Surface, asked: list[str]
) -> None:
    result = ask(body, model, surface, asked)
    if isinstance(result, Translated):
        assert set(sent_betas(result)) <= ALLOWED_BETAS
        assert {name for name, _ in result.request.headers} <= HEADERS
        assert CANARY not in repr(result)
        assert not (surface is Surface.INVOKE and "anthropic-beta" in dict(result.request.headers))


def flat(result: Translated) -> list[tuple[str, Any]]:
    """The conversation as the model reads it: who says which block, one after the other."""
    flattened = []
    for message in msgspec.json.decode(result.request.body)["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        flattened += [(message["role"], block) for block in blocks]
    return flattened


@given(bodies(), MODELS, SURFACES, BETA_LISTS)
@settings(max_examples=60)
def test_what_a_conversations_beginning_becomes_does_not_depend_on_its_end(
    body: dict[str, Any], model: str, surface: Surface, asked: list[str]
) -> None:
    whole = ask(body, model, surface, asked)
    assert isinstance(whole, Translated)
    messages = body["messages"]
    for end in [index for index, message in enumerate(messages, 1) if message["role"] == "user"]:
        part = ask(body | {"messages": messages[:end]}, model, surface, asked)
        assert isinstance(part, Translated)
        beginning = flat(part)
        assert flat(whole)[: len(beginning)] == beginning


@given(bodies(), MODELS, SURFACES, BETA_LISTS)
@settings(max_examples=60)
def test_roles_stay_valid(body: dict[str, Any], model: str, surface: Surface, asked: list[str]) -> None:
    result = ask(body, model, surface, asked)
    assert isinstance(result, Translated)
    messages = msgspec.json.decode(result.request.body)["messages"]
    roles = [message["role"] for message in messages]
    assert "system" not in roles or target(model).capabilities.system_role
    assert all(one != other or one == "system" for one, other in pairwise(roles))
    for before, after in calls_and_answers(messages):
        assert after[: len(before)] == before


def calls_and_answers(messages: list[dict[str, Any]]) -> Iterator[tuple[list[str], list[Any]]]:
    """Each assistant turn's calls with the ids at the head of the message after it."""
    for index, message in enumerate(messages[:-1]):
        if message["role"] == "assistant":
            following = messages[index + 1]["content"]
            answers = [block.get("tool_use_id") for block in following if isinstance(block, dict)]
            yield [block["id"] for block in message["content"] if block.get("type") == "tool_use"], answers


@given(bodies(), MODELS, st.sampled_from([Surface.MESSAGES, Surface.MANTLE]), BETA_LISTS)
@settings(max_examples=60)
def test_what_was_translated_once_is_not_changed_again(
    body: dict[str, Any], model: str, surface: Surface, asked: list[str]
) -> None:
    once = ask(body, model, surface, asked)
    assert isinstance(once, Translated)
    again = ask(msgspec.json.decode(once.request.body), model, surface, sent_betas(once))
    assert isinstance(again, Translated)
    assert again.request == once.request


REFUSALS = st.sampled_from(
    [
        "invalid beta flag",
        "Unexpected value(s) `tool-search-tool-2025-10-19` for the `anthropic-beta` header.",
        "context_management: Extra inputs are not permitted",
        "tools.0.custom.defer_loading: Extra inputs are not permitted",
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "messages.1.content.0.thinking.signature: Field required",
        "thinking.type.enabled is not supported for this model",
        "adaptive thinking is not supported on this model",
        "thinking.adaptive.display: Input should be 'summarized' or 'omitted'",
        "thinking.adaptive.block_binding: Extra inputs are not permitted",
        "The provided model identifier is invalid.",
        "The maximum tokens you requested exceeds the model limit of 4096.",
        "This model does not support the effort parameter.",
        "messages.1: role 'system' is not supported on this model",
        "Request metadata contains a value that violates the regular expression",
        "com.amazon.coral.service#UnknownOperationException",
    ]
)


@given(bodies(), MODELS, SURFACES, BETA_LISTS, st.lists(REFUSALS, min_size=1, max_size=6))
@settings(max_examples=60)
def test_every_repair_changes_the_request_so_that_repairs_come_to_an_end(
    body: dict[str, Any], model: str, surface: Surface, asked: list[str], refusals: list[str]
) -> None:
    denials, found = Denials(), target(model)
    now = ask(body, model, surface, asked, denials)
    for text in refusals:
        assert isinstance(now, Translated)
        error = msgspec.json.encode({"message": text})
        repair = denials.propose(400, error, Verdict(Outcome.REPAIRABLE), now, found, surface, NOW)
        if repair is None:
            continue
        assert denials.learn(repair, NOW)
        if repair.findings[0].remedy is Remedy.SURFACE:
            assert denials.surface(found, NOW) is not surface or surface not in found.surfaces
            break
        before, now = now, ask(body, model, surface, asked, denials)
        assert isinstance(now, Translated)
        assert now.request != before.request
        assert ask(body, model, surface, asked, denials) == now
