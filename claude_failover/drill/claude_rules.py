"""What the simulated Claude API asks of a request, and the words in which it refuses (wire/claude.md 1, 3).

Only what every client must get right: the credential, the version, betas, the outline of the body.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Set
from enum import Enum
from typing import Any

from claude_failover.drill.script import Refusal, Seen

OAUTH_BETA = "oauth-2025-04-20"

VERSIONS = frozenset({"2023-06-01", "2026-10-21"})

FIELDS = frozenset({
    "model", "max_tokens", "messages", "system", "tools", "tool_choice", "metadata", "stream", "stop_sequences",
    "temperature", "top_p", "top_k", "thinking", "output_config", "cache_control", "service_tier", "inference_geo",
    "container",
})  # fmt: skip
"""Top-level fields that need no beta."""

BETA_FIELDS: Mapping[str, tuple[str, ...]] = {
    "context_management": ("context-management-2025-06-27", "compact-2026-01-12"),
    "safeguards": ("dangerous-tool-use-2026-09-03",),
    "diagnostics": ("cache-diagnosis-2026-04-07",),
    "thread": ("message-threads-2026-08-12",),
    "speed": ("fast-mode-2026-02-01",),
    "fallbacks": ("server-side-fallback-2026-06-01", "server-side-fallback-2026-07-01"),
    "mcp_servers": ("mcp-client-2025-11-20", "mcp-client-2025-04-04"),
}
"""Top-level field -> betas, one of which it needs."""

BETAS = frozenset({
    "claude-code-20250219", OAUTH_BETA, "interleaved-thinking-2025-05-14", "thinking-token-count-2026-05-13",
    "context-management-2025-06-27", "prompt-caching-scope-2026-01-05", "mid-conversation-system-2026-04-07",
    "per-turn-control-2026-07-01", "mid-conversation-tool-changes-2026-07-01", "advisor-tool-2026-03-01",
    "advanced-tool-use-2025-11-20", "mid-conversation-system-clear-at-2026-08-21", "effort-2025-11-24",
    "dangerous-tool-use-2026-09-03", "thinking-binding-controls-2026-08-01", "thinking-display-updates-2026-08-18",
    "extended-cache-ttl-2025-04-11", "cache-diagnosis-2026-04-07", "message-threads-2026-08-12",
    "context-1m-2025-08-07", "afk-mode-2026-01-31", "redact-thinking-2026-02-12", "server-side-fallback-2026-06-01",
    "server-side-fallback-2026-07-01", "fallback-credit-2026-06-01", "fallback-credit-2026-07-01",
    "fast-mode-2026-02-01", "structured-outputs-2025-11-13", "structured-outputs-2025-12-15",
    "task-budgets-2026-03-13", "tool-search-tool-2025-10-19", "tool-examples-2025-10-29", "context-hint-2026-04-09",
    "auto-mode-classifier-2026-07-16", "thinking-resumption-2026-07-17", "inline-tools-2026-09-15",
    "timing-2026-09-09", "prompt-caching-evict-2026-05-12", "skills-2025-10-02", "files-api-2025-04-14",
    "token-counting-2024-11-01", "compact-2026-01-12", "compact-2026-09-04", "tool-provenance-2026-10-26",
    "claude-code-side-query-2026-09-29", "mcp-client-2025-04-04", "mcp-client-2025-11-20", "web-fetch-2025-09-10",
    "fine-grained-tool-streaming-2025-05-14", "token-efficient-tools-2025-02-19", "output-128k-2025-02-19",
    "computer-use-2025-01-24", "computer-use-2025-11-24", "code-execution-2025-08-25", "pdfs-2024-09-25",
    "mid-conversation-output-config-2026-07-01",
})  # fmt: skip
"""Values met in captures (wire/claude.md 1.3, wire/bedrock.md 2.0 and 2.3)."""

AWS_MARKS = ("x-amz-", "x-amzn-")
"""Header prefixes that mean that an AWS credential or signature got onto the wrong leg."""


class Caller(Enum):
    """Who pays."""

    SUBSCRIPTION = "subscription"
    KEY = "key"


def leaks(request: Seen) -> list[str]:
    """What of ours or of AWS must never have reached the Claude API."""
    found = []
    for name, value in request.headers:
        lower = name.lower()
        if lower.startswith(AWS_MARKS) or value.startswith("AWS4-HMAC-SHA256") or "ABSK" in value:
            found.append(f"AWS header at the Claude API: {lower}")
        if value.removeprefix("Bearer ").startswith("bedrock-api-key-"):
            found.append(f"Bedrock API key at the Claude API: {lower}")
        if lower.startswith("x-claude-failover"):
            found.append(f"a header of our own at the Claude API: {lower}")
    return found


def caller(request: Seen, tokens: Set[str], keys: Set[str]) -> Caller | Refusal:
    """Tell who is asking by the credential."""
    bearer = request.header("authorization") or ""
    key = request.header("x-api-key")
    token = bearer.removeprefix("Bearer ")
    if key is not None:
        return Caller.KEY if key in keys else unauthorised("invalid x-api-key")
    if token in keys:
        # Anthropic's Python SDK 2.x sends an API key as bearer (seen on the wire, anthropic 2.12.0).
        return Caller.KEY
    if token == bearer:
        return unauthorised("x-api-key header is required")
    if token not in tokens:
        return unauthorised("Invalid bearer token")
    if OAUTH_BETA not in betas(request):
        # Misleading, and just what the real one says (wire/claude.md 1.6).
        return unauthorised("x-api-key header is required")
    return Caller.SUBSCRIPTION


def unauthorised(message: str) -> Refusal:
    """A 401."""
    return Refusal(401, "authentication_error", message)


def betas(request: Seen) -> list[str]:
    """The beta values of a request, in order; the header may come several times."""
    values = [value for line in request.all("anthropic-beta") for value in line.split(",")]
    return [value.strip() for value in values if value.strip()]


def invalid(message: str) -> Refusal:
    """A 400."""
    return Refusal(400, "invalid_request_error", message)


def parse(request: Seen, limit: int) -> dict[str, Any] | Refusal:
    """Read the body."""
    if len(request.body) > limit:
        return Refusal(413, "request_too_large", "Request exceeds the maximum size")
    if (request.header("content-type") or "").partition(";")[0].strip().lower() != "application/json":
        return invalid("content-type: application/json is required")
    try:
        body = json.loads(request.body)
    except ValueError as error:
        return invalid(f"The request body is not valid JSON: {type(error).__name__}")
    if not isinstance(body, dict):
        return invalid("Input should be a valid dictionary")
    return body


def check(
    request: Seen, body: Mapping[str, Any], caller: Caller, known: Callable[[str], bool], *, counting: bool
) -> Refusal | None:
    """The first rule that a request breaks."""
    del caller
    version = request.header("anthropic-version")
    if version is None:
        return invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        return invalid(f'anthropic-version: "{version}" is not a valid version')
    sent = betas(request)
    unknown = [value for value in sent if value not in BETAS]
    if unknown:
        listed = ", ".join(f"`{value}`" for value in unknown)
        return invalid(
            f"Unexpected value(s) {listed} for the `anthropic-beta` header. Please consult our documentation at "
            "docs.anthropic.com or try again without the header."
        )
    for name in body:
        if name in FIELDS:
            continue
        if not set(BETA_FIELDS.get(name, ())) & set(sent):
            return invalid(f"{name}: Extra inputs are not permitted")
    return _outline(body, known, counting=counting)


def _outline(body: Mapping[str, Any], known: Callable[[str], bool], *, counting: bool) -> Refusal | None:
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if name not in body:
            return invalid(f"{name}: Field required")
    model, limit = body["model"], body.get("max_tokens", 1)
    if not isinstance(model, str) or not known(model):
        return Refusal(404, "not_found_error", f"model: {model}")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        return invalid("max_tokens: Input should be greater than or equal to 1")
    return _turns(body["messages"])


def _turns(messages: object) -> Refusal | None:
    if not isinstance(messages, list) or not messages:
        return invalid("messages: at least one message is required")
    for number, entry in enumerate(messages):
        if not isinstance(entry, dict) or entry.get("role") not in ("user", "assistant", "system"):
            return invalid(f"messages.{number}.role: Input should be 'user', 'assistant' or 'system'")
        if not isinstance(entry.get("content"), str | list):
            return invalid(f"messages.{number}.content: Field required")
    if messages[0]["role"] == "system":
        return invalid("messages.0: use the top-level 'system' parameter for the initial system prompt")
    return None
