"""A Claude Code request as one that Bedrock takes: the composition of the steps, and the HTTP request around it.

Two laws. The result depends on nothing but the arguments, and what a conversation's beginning becomes does not
depend on its end: prompt caches and thinking signatures stand on identical bytes, turn after turn. And nothing
goes out that is not known to be taken: betas, fields, headers are built from lists, not by taking some away.

Source: wire/bedrock.md 1 and 2.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from claude_failover.core import betas, content, fields, thinking, tools
from claude_failover.core.commands import ClientRequest, Translated, Untranslatable, UpstreamRequest
from claude_failover.core.draft import Draft, dicts, role_of
from claude_failover.core.models import Target
from claude_failover.core.repair import Denials
from claude_failover.core.request import UNREADABLE, Peek
from claude_failover.core.rules import drop_path
from claude_failover.core.settings import Backend
from claude_failover.core.types import Headers, Surface

BODY_MAX: Final = 20_000_000
"""Bytes of a request body that Bedrock takes (Anthropic's figure; AWS's model says 25,000,000)."""

ANTHROPIC_VERSION: Final = "2023-06-01"
"""The API version for the Messages surfaces. A later one is refused for older models (wire/bedrock.md 2.1)."""

BEDROCK_VERSION: Final = "bedrock-2023-05-31"
"""``anthropic_version`` in the body of InvokeModel."""

MESSAGES_PATH: Final = "/anthropic/v1/messages"


def to_bedrock(
    request: ClientRequest, peek: Peek, target: Target, surface: Surface, backend: Backend, denials: Denials
) -> Translated | Untranslatable:
    """Translate *request* for *target* on *surface*.

    The client's headers are read for its betas only; none is passed on.

    Returns:
        The request, complete but for origin and credential; or why Bedrock cannot serve it.
    """
    if peek.stays is not None:
        return Untranslatable(peek.stays)
    if len(request.body) > BODY_MAX:
        return _too_large(len(request.body))
    body = _decoded(request.body)
    if body is None:
        return Untranslatable("the body cannot be read as a JSON object")
    rules = denials.rules(surface, target.claude_model, peek.session)
    asked = betas.asked_for(request.headers)
    draft = Draft(
        body=body,
        surface=surface,
        caps=target.capabilities,
        rules=rules,
        betas=betas.usable(asked, surface, target.capabilities, rules),
    )
    if why := _refused(draft):
        return Untranslatable(why)
    _rewrite(draft, backend)
    if any(name.lower() == "anthropic-version" and value != ANTHROPIC_VERSION for name, value in request.headers):
        draft.rewrites.add("anthropic-version", "converted", f"{ANTHROPIC_VERSION} is the one that every model takes")
    sent = betas.outgoing(draft, asked)
    model = next((form for form in target.forms if form not in rules.refused_ids), target.bedrock_id)
    upstream = _http(draft, model, sent, streaming=peek.stream)
    if len(upstream.body) > BODY_MAX:
        return _too_large(len(upstream.body))
    return Translated(
        request=upstream,
        upstream_model=model,
        rewrites=draft.rewrites.listed(),
        extra={
            "session": peek.session or "",
            "betas": ",".join(sent),
            "unknown_betas": ",".join(betas.unknown(asked)),
        },
    )


def _decoded(data: bytes) -> dict[str, Any] | None:
    try:
        body = msgspec.json.decode(data)
    except UNREADABLE:
        return None
    return body if isinstance(body, dict) else None


def _too_large(size: int) -> Untranslatable:
    return Untranslatable(f"the request has {size} bytes; Bedrock takes {BODY_MAX}")


def _refused(draft: Draft) -> str | None:
    """Why no rewriting helps; the Claude API's answer stands then."""
    if why := tools.unsupported(draft) or content.unsupported(draft):
        return why
    # The Claude API refuses these for the same models, with the same words (wire/bedrock.md 4.4).
    if not draft.caps.forced_tool_choice and tools.forced_choice(draft):
        return "the model takes no forced tool_choice"
    if not draft.caps.sampling and any(name in draft.body for name in fields.SAMPLING):
        return "the model takes no temperature, top_p or top_k"
    if not draft.caps.prefill and _last_speaker(draft.body.get("messages")) == "assistant":
        return "the model takes no last message of the assistant's"
    return None


def _last_speaker(messages: object) -> str:
    for message in reversed(dicts(messages)):
        role = role_of(message)
        if role != "system":
            return role
    return ""


def _rewrite(draft: Draft, backend: Backend) -> None:
    """Every step, in the order in which they depend on each other."""
    fields.lift_effort(draft)
    fields.drop_unknown(draft)
    content.translate_system(draft)
    content.translate_messages(draft)
    tools.translate_tools(draft)
    thinking.translate_thinking(draft)
    thinking.strip_history(draft)
    fields.translate_output_config(draft)
    fields.translate_context_management(draft)
    fields.translate_safeguards(draft)
    fields.translate_cache_control(draft)
    fields.translate_metadata(draft)
    fields.clamp_max_tokens(draft, backend.max_output_tokens)
    for path in draft.rules.paths:
        if dropped := drop_path(draft.body, path):
            draft.rewrites.add(".".join(path), "dropped", "Bedrock refused it lately", dropped)
    fields.tidy(draft)


def _http(draft: Draft, model: str, sent: tuple[str, ...], *, streaming: bool) -> UpstreamRequest:
    if draft.surface is Surface.INVOKE:
        return _invoke(draft, model, sent, streaming=streaming)
    draft.body["model"] = model
    headers: list[tuple[str, str]] = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if streaming else "application/json"),
        ("accept-encoding", "identity"),
        ("anthropic-version", ANTHROPIC_VERSION),
    ]
    if sent:
        headers.append(("anthropic-beta", ",".join(sent)))
    return UpstreamRequest(
        method="POST",
        target=MESSAGES_PATH,
        headers=tuple(headers),
        body=msgspec.json.encode(draft.body),
        service="bedrock-mantle" if draft.surface is Surface.MANTLE else "bedrock",
        streaming=streaming,
    )


def _invoke(draft: Draft, model: str, sent: tuple[str, ...], *, streaming: bool) -> UpstreamRequest:
    """InvokeModel: the model in the path, betas and version in the body, the framing by the operation."""
    draft.body.pop("model", None)
    draft.body.pop("stream", None)
    body = {"anthropic_version": BEDROCK_VERSION, **draft.body}
    if sent:
        body["anthropic_beta"] = list(sent)
    headers: Headers
    if streaming:
        headers = (
            ("content-type", "application/json"),
            ("accept", "application/vnd.amazon.eventstream"),
            ("x-amzn-bedrock-accept", "application/json"),
            ("accept-encoding", "identity"),
        )
    else:
        headers = (
            ("content-type", "application/json"),
            ("accept", "application/json"),
            ("accept-encoding", "identity"),
        )
    operation = "invoke-with-response-stream" if streaming else "invoke"
    return UpstreamRequest(
        method="POST",
        # A colon stays, a slash (in an ARN) does not: as the SDKs and Claude Code write it.
        target=f"/model/{quote(model, safe=':')}/{operation}",
        headers=headers,
        body=msgspec.json.encode(body),
        streaming=streaming,
    )
