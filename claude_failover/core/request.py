"""What we look at in a Messages request before it is sent anywhere, and why some must never leave the primary.

The body goes to the primary as the bytes that came; this module only peeks. It reads the few fields that
decisions need, in one pass that skips the rest (a body is 80 to 600 KB), and accepts anything: a body that is
no JSON object is the primary's to refuse, not ours.

Source of the rules about requests that stay: wire/claude.md 1.7 (threads), 3.3 (quota probe, low-priority
mode), wire/bedrock.md 2.2 (server tools, URL and file sources).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from claude_failover.core.commands import ClientRequest
from claude_failover.core.headers import BUDGET, FORCE
from claude_failover.core.types import Headers

SERVER_TOOL_PREFIXES: Final = ("web_search_", "web_fetch_", "code_execution_", "advisor_", "mcp_toolset")
"""Tool types that Anthropic's servers run themselves; Bedrock answers 400 ``tool type '…' is not supported``."""

LABEL_MAX: Final = 200
"""Characters kept of a header that becomes a key or a label of ours."""

DEPTH_MAX: Final = 16
"""Levels of content within content that we look into; the wire has two (a document in a tool's result)."""

UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)
"""What msgspec raises on bytes that are no JSON, nested too deeply, or with lone surrogates."""


class Peek(msgspec.Struct, frozen=True, gc=False):
    """What decisions need to know of one request."""

    model: str
    """As sent; ``""`` if absent."""
    stream: bool
    max_tokens: int | None
    valid: bool
    """A JSON object. If not: to the primary, untouched, and nowhere else."""
    quota_probe: bool
    """Claude Code's question at start-up whether the plan has anything left: ``max_tokens`` 1, "quota"."""
    in_tool_loop: bool
    """The last message of the user's role carries tool results (messages of the role ``system`` do not count)."""
    stays: str | None
    """Why this request must never leave the primary; ``None``: it may."""
    session: str | None = None
    agent: str | None = None
    request_class: str | None = None
    prompt_bytes: int = 0
    """Size of the body, for estimates."""
    said: Mapping[str, str] = {}
    """The header lines that are asked for (:data:`READ`): the first value of each, by its name in lower case."""
    own_credential: bool = False
    """The client brought one of Anthropic's; it is not looked at."""


# None of these can be part of a cycle, so the garbage collector need not look at a conversation's hundreds of them.
class _Source(msgspec.Struct, gc=False):
    type: Any = None
    file_id: Any = None
    content: list[_Block] | str | None = None


class _Block(msgspec.Struct, gc=False):
    type: Any = None
    source: _Source | None = None
    content: list[_Block] | str | None = None


class _Message(msgspec.Struct, gc=False):
    role: Any = None
    content: list[_Block] | str | None = None


class _Tool(msgspec.Struct, gc=False):
    type: Any = None


class _Body(msgspec.Struct, gc=False):
    """The well-formed part of a body that rules look at; everything else is skipped by the parser."""

    model: Any = None
    stream: Any = None
    max_tokens: Any = None
    metadata: Any = None
    thread: Any = None
    messages: list[_Message] = []
    tools: list[_Tool] = []


_BODY = msgspec.json.Decoder(_Body)

_LABELS: Final = frozenset(
    {
        "x-claude-code-session-id",
        "x-claude-code-agent-id",
        "x-claude-code-request-class",
        "anthropic-usage-limit",
    }
)
"""Header lines that are looked at here."""

READ: Final = _LABELS | {FORCE, BUDGET, "user-agent", "x-stainless-timeout"}
"""... and those that whoever serves the request asks for. No credential is among them."""


_CREDENTIALS: Final = frozenset({"authorization", "x-api-key"})


def peek(request: ClientRequest) -> Peek:
    """Read what decisions need of *request*. Never raises, whatever the bytes."""
    headers, own_credential = _lines(request.headers)
    session = headers.get("x-claude-code-session-id")
    agent = headers.get("x-claude-code-agent-id")
    request_class = headers.get("x-claude-code-request-class")
    body = _body(request.body)
    if body is None:
        return Peek(
            model="",
            stream=False,
            max_tokens=None,
            valid=False,
            quota_probe=False,
            in_tool_loop=False,
            stays="the body is not a JSON object",
            session=session,
            agent=agent,
            request_class=request_class,
            prompt_bytes=len(request.body),
            said=headers,
            own_credential=own_credential,
        )
    max_tokens = body.max_tokens if type(body.max_tokens) is int else None
    probe = max_tokens == 1 and len(body.messages) == 1 and _is_quota_question(request.body)
    return Peek(
        model=body.model if type(body.model) is str else "",
        stream=body.stream is True,
        max_tokens=max_tokens,
        valid=True,
        quota_probe=probe,
        in_tool_loop=_in_tool_loop(body.messages),
        stays=_stays(body, headers, probe=probe),
        session=session or _session_of(body.metadata),
        agent=agent,
        request_class=request_class,
        prompt_bytes=len(request.body),
        said=headers,
        own_credential=own_credential,
    )


def server_tool(tool_type: object) -> bool:
    """Whether a tool of this ``type`` is run by Anthropic's servers."""
    return isinstance(tool_type, str) and tool_type.startswith(SERVER_TOOL_PREFIXES)


def _body(data: bytes) -> _Body | None:
    try:
        return _BODY.decode(data)
    except msgspec.ValidationError:
        pass
    except UNREADABLE:
        return None
    # A field of another type than we hoped for: read what is well-formed.
    return _lenient(decode(data))


def _lenient(raw: object) -> _Body | None:
    if not isinstance(raw, dict):
        return None
    return _Body(
        model=raw.get("model"),
        stream=raw.get("stream"),
        max_tokens=raw.get("max_tokens"),
        metadata=raw.get("metadata"),
        thread=raw.get("thread"),
        messages=[_Message(m.get("role"), _blocks(m.get("content"))) for m in _dicts(raw.get("messages"))],
        tools=[_Tool(tool.get("type")) for tool in _dicts(raw.get("tools"))],
    )


def _blocks(content: object, depth: int = 0) -> list[_Block]:
    if depth > DEPTH_MAX:
        return []
    return [
        _Block(block.get("type"), _source(block.get("source"), depth + 1), _blocks(block.get("content"), depth + 1))
        for block in _dicts(content)
    ]


def _source(source: object, depth: int) -> _Source | None:
    if not isinstance(source, dict):
        return None
    return _Source(source.get("type"), source.get("file_id"), _blocks(source.get("content"), depth))


def _dicts(items: object) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _remote_in(content: list[_Block] | str | None, depth: int = 0) -> str | None:
    """Name the first thing in *content* that a server would have to fetch; ``None`` if there is none."""
    if depth > DEPTH_MAX:
        return "content nested deeper than any that is known"
    if type(content) is not list:
        return None
    for block in content:
        if block.type == "container_upload":
            return "a container upload"
        if block.source is not None:
            found = _remote_kind(block.source) or _remote_in(block.source.content, depth + 1)
            if found:
                return found
        # Nearly all blocks are text: not even a call for those.
        if type(block.content) is list or depth >= DEPTH_MAX:
            found = _remote_in(block.content, depth + 1)
            if found:
                return found
    return None


def _remote_kind(source: _Source) -> str | None:
    if source.file_id is not None or source.type == "file":
        return "a file_id source"
    return "a URL source" if source.type == "url" else None


def _stays(body: _Body, headers: Mapping[str, str], *, probe: bool) -> str | None:
    if probe:
        return "the quota probe asks about the plan of the primary"
    patience = headers.get("anthropic-usage-limit")
    if patience is not None and patience.strip().lower() == "slow":
        return "the user chose to wait in the plan's low-priority mode"
    if type(body.thread) is dict and body.thread.get("type") == "continue":
        return "it continues a thread that only the primary holds"
    for tool in body.tools:
        if tool.type is not None and server_tool(tool.type):
            return f"the server tool {tool.type[:LABEL_MAX]} runs only at the Claude API"
    found = _remote(body.messages)
    return f"{found} can only be read by the Claude API" if found else None


def _remote(messages: list[_Message]) -> str | None:
    """Name the first thing in a conversation that a server would have to fetch; ``None`` if there is none."""
    for message in messages:
        if type(message.content) is not list:
            continue
        for block in message.content:
            # Nearly all are text, a tool's call or its plain result: not even a call for those.
            if block.source is not None or type(block.content) is list or block.type == "container_upload":
                found = _remote_in([block])
                if found:
                    return found
    return None


def decode(data: bytes | str) -> Any:
    """The JSON value in *data*; ``None`` if it cannot be read."""
    try:
        return msgspec.json.decode(data)
    except UNREADABLE:
        return None


def _lines(headers: Headers) -> tuple[dict[str, str], bool]:
    """The first values of what is asked for, and whether there is a credential; in one go over the lines."""
    values: dict[str, str] = {}
    own_credential = False
    for line, value in headers:
        name = line.lower()
        if name in READ:
            values.setdefault(name, value[:LABEL_MAX] if name in _LABELS else value)
        elif name in _CREDENTIALS:
            own_credential = True
    return values, own_credential


def _is_quota_question(data: bytes) -> bool:
    body = decode(data)
    messages = _dicts(body.get("messages")) if isinstance(body, dict) else []
    if len(messages) != 1 or messages[0].get("role") != "user":
        return False
    content = messages[0].get("content")
    blocks = _dicts(content)
    return "quota" in (content, blocks[0].get("text") if len(blocks) == 1 else None)


def _in_tool_loop(messages: list[_Message]) -> bool:
    for message in reversed(messages):
        if message.role == "user":
            return type(message.content) is list and "tool_result" in [block.type for block in message.content]
    return False


def _session_of(metadata: object) -> str | None:
    """Claude Code's ``metadata.user_id`` is a JSON text with the session's id (wire/claude.md 1.4)."""
    user_id = metadata.get("user_id") if type(metadata) is dict else None
    parsed = decode(user_id) if type(user_id) is str else None
    session = parsed.get("session_id") if type(parsed) is dict else None
    return session[:LABEL_MAX] if type(session) is str and session else None
