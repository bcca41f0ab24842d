"""Applies the tables of :mod:`~claude_failover.drill.bedrock_rules` to one request.

Every rule is a generator over the texts of what it refuses; the first text of the first rule that has one is
the answer, in the shape that this surface and model use (wire/bedrock.md 4.1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_failover.core.types import Surface
from claude_failover.drill import bedrock_rules as rules
from claude_failover.drill.bedrock_content import conversation, everything_cached
from claude_failover.drill.bedrock_models import Model, validation
from claude_failover.drill.script import Refusal, Seen

Texts = Iterator[str]


@dataclass(slots=True)
class Permits:
    """Where this deployment is less strict than the default."""

    betas: frozenset[str] = frozenset()
    """Values taken on every surface by every model."""
    old_models_on_messages: bool = False
    """Whether the Messages surface serves models with ``-v1`` ids: not established (wire/bedrock.md 1.1)."""
    denied_betas: frozenset[str] = frozenset()
    """Values refused although the table takes them: a new model on its first day."""
    denied_paths: tuple[str, ...] = ()
    """Top-level fields refused although the table takes them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request, ready to be judged."""

    surface: Surface
    model: Model
    body: Mapping[str, Any]
    betas: tuple[str, ...]
    version: str | None
    permits: Permits = field(default_factory=Permits)

    def takes(self, entry: rules.Field) -> bool:
        """Whether a field is allowed here, under the betas that were sent."""
        return entry.taken.by(self.surface, self.model) and (
            not entry.betas or bool(set(entry.betas) & set(self.betas))
        )


def too_large(surface: Surface) -> Refusal:
    """The body is over the limit."""
    if surface is Surface.INVOKE:
        return Refusal(413, "RequestEntityTooLargeException", "Request body is too large.", shape="aws")
    return Refusal(413, "request_too_large", "Request exceeds the maximum size", shape="anthropic")


def parse(request: Seen, surface: Surface) -> dict[str, Any] | Refusal:
    """Read the body."""
    try:
        body = json.loads(request.body)
    except ValueError:
        body = None
    if (request.header("content-type") or "").partition(";")[0].strip() != "application/json":
        body = None
    if isinstance(body, dict):
        return body
    if surface is Surface.INVOKE:
        return validation("Malformed input request, please reformat your input and try again.")
    return Refusal(400, "invalid_request_error", "The request body is not valid JSON", shape="anthropic")


def check(surface: Surface, model: Model, request: Seen, body: Mapping[str, Any], permits: Permits) -> Refusal | None:
    """The first rule that a request breaks."""
    if surface is Surface.MESSAGES and model.arn_versioned and not permits.old_models_on_messages:
        return Refusal(404, "not_found_error", f"model: {model.id}", shape="anthropic")
    sent = [value.strip() for line in request.all("anthropic-beta") for value in line.split(",")]
    listed = body.get("anthropic_beta", []) if surface is Surface.INVOKE else []
    if not isinstance(listed, list) or not all(isinstance(value, str) for value in listed):
        return shaped(surface, model, "anthropic_beta: Input should be a valid list")
    betas = tuple(value for value in (*sent, *listed) if value)
    case = Case(surface, model, body, betas, request.header("anthropic-version"), permits)
    for rule in RULES:
        for text in rule(case):
            return shaped(surface, model, text)
    return None


def shaped(surface: Surface, model: Model, text: str) -> Refusal:
    """A 400 as this surface says it for this model."""
    if text == rules.BAD_METADATA:
        return validation(text)
    if surface is Surface.INVOKE and model.version < (4, 7):
        wrapped = model.version < (4, 5)
        return validation(f"The model returned the following errors: {text}" if wrapped else text)
    return Refusal(400, "invalid_request_error", text, shape="anthropic")


# --- the rules, in the order in which they are applied ---


def the_betas(case: Case) -> Texts:
    """One bad value fails the whole request; InvokeModel does not say which."""
    bad = [
        value
        for value in case.betas
        if value in case.permits.denied_betas
        or not (value in case.permits.betas or rules.BETAS.get(value, rules.Taken()).by(case.surface, case.model))
    ]
    if bad and case.surface is Surface.INVOKE:
        yield rules.INVALID_BETA
    elif bad:
        yield rules.UNEXPECTED_BETA.format(", ".join(f"`{value}`" for value in bad))


def the_version(case: Case) -> Texts:
    """In the body on InvokeModel, in a header elsewhere."""
    if case.surface is Surface.INVOKE:
        version = case.body.get("anthropic_version")
        if version is None:
            yield rules.REQUIRED.format("anthropic_version")
        elif version != rules.VERSION_IN_BODY:
            yield f"anthropic_version: Input should be '{rules.VERSION_IN_BODY}'"
    elif case.version is None:
        yield "anthropic-version: header is required"
    elif case.version not in rules.VERSIONS_IN_HEADER:
        yield f'anthropic-version: "{case.version}" is not a valid version'
    elif case.version == rules.NEW_VERSION and case.model.arn_versioned:
        yield f'anthropic-version: "{case.version}" is not supported by this model'


def top_level(case: Case) -> Texts:
    """Keys that this surface does not know for this model, and those that must be there."""
    for name in case.body:
        entry = rules.FIELDS.get(name)
        if entry is None or name in case.permits.denied_paths or not case.takes(entry):
            yield rules.EXTRA.format(name)
    for name in ("messages", "max_tokens"):
        if name not in case.body:
            yield rules.REQUIRED.format(name)


def limits(case: Case) -> Texts:
    """``max_tokens`` within the model's ceiling, the prompt within its context."""
    wanted = case.body["max_tokens"]
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        yield "max_tokens: Input should be greater than or equal to 1"
    elif wanted > case.model.max_output:
        yield rules.TOO_MANY.format(case.model.max_output)
    long = {"context-1m-2025-08-07"} & set(case.betas)
    if _characters(case.body) // 4 > (1_000_000 if long else case.model.context):
        yield rules.TOO_LONG


def _characters(value: object, key: str = "") -> int:
    """Characters of text in a body; base64 data is counted by nobody."""
    if isinstance(value, str):
        return 0 if key == "data" else len(value)
    if isinstance(value, dict):
        return sum(_characters(item, str(name)) for name, item in value.items())
    if isinstance(value, list):
        return sum(_characters(item) for item in value)
    return 0


def metadata(case: Case) -> Texts:
    """Only ``user_id``, and on the Messages surface only of certain characters."""
    given = case.body.get("metadata")
    if given is None:
        return
    if not isinstance(given, dict):
        yield "metadata: Input should be a valid dictionary"
        return
    for name in given:
        if name != "user_id":
            yield rules.EXTRA.format(f"metadata.{name}")
    user = given.get("user_id")
    if case.surface is Surface.MESSAGES and user is not None and not re.match(rules.USER_ID, str(user)):
        yield rules.BAD_METADATA


def sampling(case: Case) -> Texts:
    """Temperature and its kin are gone from 5.x on."""
    if rules.NO_SAMPLING(case.model):
        for name in rules.SAMPLING:
            if name in case.body:
                yield rules.DEPRECATED.format(name)


def thinking(case: Case) -> Texts:
    """The kind of thinking that the model knows, with the keys that this kind has."""
    given = case.body.get("thinking")
    if given is None:
        return
    kind = str(given.get("type")) if isinstance(given, dict) else ""
    if kind not in rules.THINKING:
        yield "thinking.type: Input should be 'adaptive', 'enabled' or 'disabled'"
        return
    taken, text = rules.THINKING[kind]
    if not taken(case.model):
        yield text
    keys = rules.THINKING_KEYS[kind]
    for name in given:
        if name != "type" and (name not in keys or not case.takes(keys[name])):
            yield rules.EXTRA.format(f"thinking.{kind}.{name}")
    yield from _display(case, kind, given)
    yield from _binding(kind, given)
    if kind == "enabled":
        yield from _budget(case, given)


def _display(case: Case, kind: str, given: Mapping[str, Any]) -> Texts:
    if "display" in given:
        needs = rules.DISPLAYS.get(str(given["display"]))
        if needs is None or (needs and not set(needs) & set(case.betas)):
            yield f"thinking.{kind}.display: Input should be 'summarized' or 'omitted'"


def _binding(kind: str, given: Mapping[str, Any]) -> Texts:
    binding = given.get("block_binding")
    if binding is None:
        return
    if not isinstance(binding, dict):
        yield f"thinking.{kind}.block_binding: Input should be a valid dictionary"
        return
    for name, value in binding.items():
        if name not in rules.BINDING_KEYS:
            yield rules.EXTRA.format(f"thinking.{kind}.block_binding.{name}")
        elif value not in ("error", "drop_block"):
            yield f"thinking.{kind}.block_binding.{name}: Input should be 'error' or 'drop_block'"


def _budget(case: Case, given: Mapping[str, Any]) -> Texts:
    budget = given.get("budget_tokens")
    if not isinstance(budget, int):
        yield rules.REQUIRED.format("thinking.enabled.budget_tokens")
    elif budget < rules.MIN_BUDGET:
        yield f"thinking.enabled.budget_tokens: Input should be greater than or equal to {rules.MIN_BUDGET}"
    elif budget >= case.body["max_tokens"] and "interleaved-thinking-2025-05-14" not in case.betas:
        yield "`max_tokens` must be greater than `thinking.budget_tokens`."


def output_config(case: Case) -> Texts:
    """Effort up to the model's ceiling; no formats on Claude 5; no task budgets."""
    given = case.body.get("output_config")
    if given is None:
        return
    if not isinstance(given, dict):
        yield "output_config: Input should be a valid dictionary"
        return
    for name in given:
        known = name == "effort" or (name == "format" and rules.FORMAT.by(case.surface, case.model))
        if not known:
            yield rules.EXTRA.format(f"output_config.{name}")
    if "effort" in given:
        yield from effort(case.model, given["effort"], "output_config.effort")


def effort(model: Model, level: object, path: str) -> Texts:
    """One level of effort."""
    if not rules.EFFORT(model):
        yield rules.NO_EFFORT
    elif level not in rules.EFFORTS:
        yield f"{path}: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
    elif rules.EFFORT_REFUSED.get(str(level), rules.nothing)(model):
        yield f"{path}: '{level}' is not supported by this model"


def context_management(case: Case) -> Texts:
    """The edits that a surface knows, each with its beta; clearing thoughts needs thoughts."""
    given = case.body.get("context_management")
    if given is None:
        return
    edits = given.get("edits") if isinstance(given, dict) else None
    if not isinstance(edits, list):
        yield rules.REQUIRED.format("context_management.edits")
        return
    thinks = case.body.get("thinking")
    thoughtful = isinstance(thinks, dict) and thinks.get("type") in ("adaptive", "enabled")
    for number, edit in enumerate(edits):
        kind = str(edit.get("type", "")) if isinstance(edit, dict) else ""
        taken, beta = rules.EDITS.get(kind, (rules.Taken(), ""))
        if not taken.by(case.surface, case.model):
            yield rules.EXTRA.format("context_management")
        elif beta not in case.betas:
            yield f"context_management.edits.{number}: `{kind}` requires the `{beta}` beta"
        elif kind == "clear_thinking_20251015" and not thoughtful:
            yield "`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive"


def tools(case: Case) -> Texts:
    """Custom tools without foreign keys, Anthropic's client tools, and no tools that run at Anthropic."""
    given = case.body.get("tools", [])
    if not isinstance(given, list):
        yield "tools: Input should be a valid list"
        return
    for number, tool in enumerate(given):
        kind = str(tool.get("type", "custom")) if isinstance(tool, dict) else ""
        if kind == "custom":
            yield from _custom_tool(case, f"tools.{number}.custom", tool)
        elif kind not in rules.TYPED_TOOLS:
            yield rules.UNSUPPORTED_TOOL[case.surface].format(kind)
        elif not case.takes(rules.TYPED_TOOLS[kind]):
            yield rules.WRONG_TOOL_TYPE.format(case.model.claude_id, kind)
    choice = case.body.get("tool_choice")
    forced = isinstance(choice, dict) and choice.get("type") in ("any", "tool")
    if forced and rules.FORCED_TOOL_REFUSED(case.model):
        yield rules.FORCED_TOOL


def _custom_tool(case: Case, path: str, tool: Mapping[str, Any]) -> Texts:
    for name in ("name", "input_schema"):
        if name not in tool:
            yield rules.REQUIRED.format(f"{path}.{name}")
    for name in tool:
        entry = rules.TOOL_KEYS.get(name)
        if entry is None or not case.takes(entry):
            yield rules.EXTRA.format(f"{path}.{name}")
    schema = tool.get("input_schema")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        yield f"{path}.input_schema.type: Input should be 'object'"


def caching(case: Case) -> Texts:
    """Marks of the plain kind only, in the places that may have one, and not too many."""
    marks = list(everything_cached(case.body))
    for path, mark in marks:
        if not isinstance(mark, dict) or mark.get("type") != "ephemeral":
            yield f"{path}.type: Input should be 'ephemeral'"
            return
        for name in mark:
            if name not in rules.CACHE_KEYS or (name == "ttl" and not rules.TTL(case.model)):
                yield rules.EXTRA.format(f"{path}.ephemeral.{name}")
        if mark.get("ttl", "5m") not in ("5m", "1h"):
            yield f"{path}.ephemeral.ttl: Input should be '5m' or '1h'"
    if len(marks) > rules.MAX_BREAKPOINTS:
        yield f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}."


def turns(case: Case) -> Texts:
    """The conversation: roles, blocks, tool results, the last turn."""
    yield from conversation(case.surface, case.model, case.body, case.betas)


def per_turn_effort(case: Case) -> Texts:
    """Effort that a message sets for its turn."""
    for number, entry in enumerate(case.body["messages"]):
        if "output_config" in entry:
            level = entry["output_config"].get("effort") if isinstance(entry["output_config"], dict) else None
            yield from effort(case.model, level, f"messages.{number}.output_config.effort")


RULES: tuple[Callable[[Case], Texts], ...] = (
    the_betas, the_version, top_level, limits, metadata, sampling, thinking, output_config,
    context_management, tools, caching, turns, per_turn_effort,
)  # fmt: skip
