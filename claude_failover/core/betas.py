"""``anthropic-beta`` towards Bedrock: denied unless listed, and never without the field that needs it.

One bad value fails the whole request, usually without being named, and what is bad differs per surface and
model. So a beta goes out only if the table below lists it for the surface, the model has its capability, it was
not refused lately, and where it exists for a field or a block, that one is there. The other way round a field
stays only while its beta may go. The order is the table's: the same request gives the same header.

Source: wire/bedrock.md 2.3 (allow-list), 2.2 (pairs); wire/claude.md 1.10 (which betas a field needs).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from claude_failover.core.capabilities import Binding, Capabilities
from claude_failover.core.draft import Draft, dicts, kind_of
from claude_failover.core.rules import Rules
from claude_failover.core.types import Headers, Surface

CONTEXT_MANAGEMENT: Final = "context-management-2025-06-27"
COMPACT: Final = "compact-2026-01-12"
TOOL_SEARCH: Final = "tool-search-tool-2025-10-19"
FINE_GRAINED: Final = "fine-grained-tool-streaming-2025-05-14"
DISPLAY_UPDATES: Final = "thinking-display-updates-2026-08-18"
BINDING: Final = "thinking-binding-controls-2026-08-01"
SAFEGUARDS: Final = "dangerous-tool-use-2026-09-03"

RENAMED: Final = {"advanced-tool-use-2025-11-20": TOOL_SEARCH}
"""The Claude API's name -> Bedrock's; the former is refused there (wire/bedrock.md 2.2)."""

_ALL: Final = frozenset(Surface)
_MESSAGES_SHAPED: Final = frozenset({Surface.MESSAGES, Surface.MANTLE})


@dataclass(frozen=True, slots=True)
class BetaRule:
    """When one beta may go to Bedrock."""

    name: str
    surfaces: frozenset[Surface] = _ALL
    capable: Callable[[Capabilities], bool] = lambda _: True
    used: Callable[[Draft], bool] = lambda _: True
    """Whether the finished body has what the beta is for."""
    ours: bool = False
    """We add it where its feature is used, asked for or not."""
    structural: bool = False
    """The body means something else without it: dropped only after the others did not help."""


def _edits(draft: Draft) -> list[str]:
    management = draft.body.get("context_management")
    return [kind_of(edit) for edit in dicts(management.get("edits"))] if isinstance(management, dict) else []


def _edits_beyond_compaction(draft: Draft) -> bool:
    return "memory" in draft.seen or any(not kind.startswith("compact_") for kind in _edits(draft))


def _compacts(draft: Draft) -> bool:
    return "compaction" in draft.seen or any(kind.startswith("compact_") for kind in _edits(draft))


def _thinking(draft: Draft) -> dict[str, Any]:
    thinking = draft.body.get("thinking")
    return thinking if isinstance(thinking, dict) else {}


def _feature(name: str) -> Callable[[Draft], bool]:
    return lambda draft: name in draft.seen


BETAS: Final = (
    # No effect anywhere; Claude Code itself sends it to mantle.
    BetaRule("claude-code-20250219", surfaces=frozenset({Surface.MANTLE})),
    BetaRule("interleaved-thinking-2025-05-14", capable=lambda caps: caps.interleaved),
    BetaRule(CONTEXT_MANAGEMENT, used=_edits_beyond_compaction, structural=True),
    BetaRule(COMPACT, used=_compacts, structural=True),
    BetaRule("context-1m-2025-08-07", capable=lambda caps: caps.context_1m_beta),
    BetaRule(
        TOOL_SEARCH, capable=lambda caps: caps.tool_search, used=_feature("tool_search"), ours=True, structural=True
    ),
    # Generally available on invoke, where Claude Code sends none in the body.
    BetaRule("effort-2025-11-24", surfaces=_MESSAGES_SHAPED, capable=lambda caps: bool(caps.effort)),
    BetaRule("thinking-token-count-2026-05-13", capable=lambda caps: caps.token_count),
    BetaRule(
        DISPLAY_UPDATES,
        capable=lambda caps: caps.display_updates,
        used=lambda draft: _thinking(draft).get("display") == "updates",
        structural=True,
    ),
    BetaRule(
        BINDING,
        capable=lambda caps: caps.binding is not Binding.NONE,
        used=lambda draft: "block_binding" in _thinking(draft),
        ours=True,
    ),
    BetaRule(
        SAFEGUARDS,
        capable=lambda caps: caps.safeguards,
        used=lambda draft: "safeguards" in draft.body,
        structural=True,
    ),
    BetaRule("afk-mode-2026-01-31", capable=lambda caps: caps.afk_mode),
    BetaRule(FINE_GRAINED, used=_feature("fine_grained"), ours=True),
    BetaRule("computer-use-2025-01-24", used=_feature("computer_20250124"), structural=True),
    BetaRule("computer-use-2025-11-24", used=_feature("computer_20251124"), structural=True),
)

DROPPED: Final = (
    "oauth-2025-04-20", "extended-cache-ttl-2025-04-11", "prompt-caching-scope-2026-01-05", "prompt-caching-2024-07-31",
    "redact-thinking-2026-02-12", "files-api-2025-04-14", "skills-2025-10-02", "web-fetch-2025-09-10",
    "fast-mode-2026-02-01", "advisor-tool-2026-03-01", "cache-diagnosis-2026-04-07", "tool-provenance-2026-10-26",
    "claude-code-side-query-2026-09-29", "compact-2026-09-04", "mid-conversation-tool-changes-2026-07-01",
    "mid-conversation-output-config-2026-07-01", "mid-conversation-system-2026-04-07",
    "mid-conversation-system-clear-at-2026-08-21", "per-turn-control-2026-07-01", "structured-outputs-2025-11-13",
    "structured-outputs-2025-12-15", "tool-examples-2025-10-29", "task-budgets-2026-03-13", "inline-tools-2026-09-15",
    "timing-2026-09-09", "message-threads-2026-08-12", "context-hint-2026-04-09", "auto-mode-classifier-2026-07-16",
    "thinking-resumption-2026-07-17", "prompt-caching-evict-2026-05-12", "token-counting-2024-11-01",
    "code-execution-", "mcp-client-", "mcp-servers-", "server-side-fallback-", "fallback-credit-", "message-batches-",
    "output-128k-", "token-efficient-tools-", "pdfs-",
)  # fmt: skip
"""Known, and never sent: refused by Bedrock or without meaning there; those that end in a dash with any date."""

_KNOWN = frozenset({*(rule.name for rule in BETAS), *RENAMED, *(name for name in DROPPED if not name.endswith("-"))})
_KNOWN_STARTS = tuple(name for name in DROPPED if name.endswith("-"))
_SHAPE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

STRUCTURAL: Final = frozenset(rule.name for rule in BETAS if rule.structural)


def asked_for(headers: Headers) -> tuple[str, ...]:
    """The client's betas in its order, trimmed, each once, over every ``anthropic-beta`` line."""
    values = [value for name, value in headers if name.lower() == "anthropic-beta"]
    return tuple(dict.fromkeys(part for value in values for raw in value.split(",") if (part := raw.strip())))


def unknown(asked: tuple[str, ...]) -> tuple[str, ...]:
    """What of *asked* is in none of our tables: a newer client's. It is not sent; somebody may want to know.

    A value that is not spelt like a beta is nobody's news, and may be anything.
    """
    return tuple(
        name for name in asked
        if name not in _KNOWN and not name.startswith(_KNOWN_STARTS) and _SHAPE.fullmatch(name)
    )  # fmt: skip


def usable(asked: tuple[str, ...], surface: Surface, caps: Capabilities, rules: Rules) -> frozenset[str]:
    """The betas (in Bedrock's names) whose fields may stay in the body."""
    wanted = {RENAMED.get(name, name) for name in asked}
    return frozenset(
        rule.name
        for rule in BETAS
        if surface in rule.surfaces
        and rule.capable(caps)
        and rule.name not in rules.betas
        and (rule.ours or rule.name in wanted)
    )


def outgoing(draft: Draft, asked: tuple[str, ...]) -> tuple[str, ...]:
    """The betas that the finished body goes out with; notes what became of the others."""
    sent = tuple(rule.name for rule in BETAS if rule.name in draft.betas and rule.used(draft))
    for name in asked:
        renamed = RENAMED.get(name)
        if renamed in sent:
            draft.rewrites.add(f"anthropic-beta: {name}", "renamed", f"{renamed} on Bedrock")
        elif name not in sent:
            draft.rewrites.add(f"anthropic-beta: {name}", "dropped", _why_not(name, renamed, draft))
    for name in sent:
        if name not in asked and name not in {RENAMED.get(other) for other in asked}:
            draft.rewrites.add(f"anthropic-beta: {name}", "added", "a field of the request needs it there")
    return sent


def _why_not(name: str, renamed: str | None, draft: Draft) -> str:
    rule = next((rule for rule in BETAS if rule.name == (renamed or name)), None)
    if rule is None:
        return "not on the list of what Bedrock takes"
    if rule.name in draft.rules.betas:
        return "Bedrock refused it lately"
    return "nothing in the request needs it" if rule.name in draft.betas else "not for this model and surface"
