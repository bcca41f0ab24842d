"""Error bodies: what an error says, read from any shape; and an error in Anthropic's shape, written.

Shapes that are read: Anthropic's ``{"type":"error","error":{…}}``, AWS's ``{"message":…}``, ``{"Message":…}``,
``{"__type":…}`` and the coral envelope ``{"Output":{"__type":…}}`` that Bedrock sends with a 200 for a route that it
does not know. Anything else (an edge's HTML page, nothing, garbage) says nothing, and reading never raises.

Sources: claude.md 3.1; bedrock.md 1.1, 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from claude_failover.core.redaction import redact

MAX_READ = 262_144
"""Bytes of an error body that are looked at; no error that means anything is longer."""
MAX_WORD = 80
"""Characters of a type, a code, an exception's name."""
MAX_DETAIL = 160
"""Characters of an error's text that go into a log line or onto a screen."""

_REQUEST_ID = re.compile(r"[\w.:/=+-]{1,128}\Z", re.ASCII)
_UNWRAP = re.compile(r"\s*the model returned the following errors:\s*", re.IGNORECASE)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
"""Also what stands for bytes of a header that are no UTF-8: it cannot be written into an answer or a log."""
_WORD = re.compile(r"[^\s'\"`,;()\[\]{}<>]{24,}")
_TELLING = re.compile(r"(?:arn:aws|req_|sha256/|https?://|[A-Za-z]{1,60}(?:Exception|Error)\b)|[a-z0-9._:/@|*-]+\Z")
"""Long words that say what went wrong: ARNs, request ids, addresses, exceptions, field paths, model ids, pins. Any
other is data: a key of a shape that no pattern knows, or a piece of what was asked."""
_QUOTED = re.compile(r"(['\"`])[^'\"`]{48,}\1")


@dataclass(frozen=True, slots=True)
class Told:
    """What an error body says; empty strings where it says nothing."""

    type: str = ""
    """Anthropic's ``error.type``."""
    name: str = ""
    """AWS's exception name, without namespace and without address."""
    message: str = ""
    """Whole, unwrapped, for the client only: logs get :func:`short`."""
    code: str = ""
    """Anthropic's ``error.details.error_code``."""
    request_id: str = ""
    original_status: int | None = None
    """With Bedrock's ModelErrorException: the status that the model itself gave."""

    @property
    def says_error(self) -> bool:
        """Whether the body has the shape of an error at all."""
        return bool(self.type or self.name)


_NOTHING = Told()


class _Envelope(msgspec.Struct):
    """The top level of every shape that we read; msgspec skips the rest of a body without building it."""

    type: Any = None
    error: Any = None
    request_id: Any = None
    message: Any = None
    capital_message: Any = msgspec.field(default=None, name="Message")
    aws_type: Any = msgspec.field(default=None, name="__type")
    code: Any = None
    output: Any = msgspec.field(default=None, name="Output")
    original_status: Any = msgspec.field(default=None, name="originalStatusCode")


_DECODER = msgspec.json.Decoder(_Envelope)


def is_json(body: bytes) -> bool:
    """Whether *body* is one JSON object."""
    return _decode(body) is not None


def read(body: bytes) -> Told:
    """Read what an error body says, whatever its shape."""
    if len(body) > MAX_READ:
        return Told()
    return _told(_decode(body))


def read_success(body: bytes) -> Told | None:
    """Look for an error's shape in the body of a 2xx, however long the body is; ``None`` if it is no JSON object."""
    envelope = _decode(body)
    if envelope is None:
        return None
    if envelope.error is envelope.aws_type is envelope.output is envelope.code is None:
        return _NOTHING  # an answer: whatever names an error stands in one of these
    told = _told(envelope)
    return told if told.says_error else _NOTHING


def exception_name(text: str) -> str:
    """Reduce ``com.amazon.coral.service#ThrottlingException:http://…`` to ``ThrottlingException``."""
    return short(text.split(":", 1)[0].rsplit("#", 1)[-1], MAX_WORD)


def safe_id(text: str) -> str:
    """Let an upstream's request id through if it can stand in a header; else nothing."""
    return text if _REQUEST_ID.match(text) else ""


def short(text: str, limit: int = MAX_DETAIL) -> str:
    """Make one bounded line for people out of an upstream's text.

    The first line only: AWS appends the canonical request, session token included, to a refused signature's message.
    Long quotations and long words of no known kind are left out, because a validator may quote the prompt, and a
    careless gateway what it was sent; what looks like a secret is masked.
    """
    lines = text.strip().splitlines()
    line = lines[0].split("The Canonical String", 1)[0] if lines else ""
    line = redact(line[: 8 * limit])
    line = _QUOTED.sub(r"\1…\1", _SPACE.sub(" ", line)).strip()
    line = _WORD.sub(lambda word: word[0] if _TELLING.match(word[0]) else "…", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def described(status: int, headers: Mapping[str, str], told: Told) -> str:
    """One line about an error: its words if it has a shape that we know, else only its status and media type."""
    if words := short(told.message):
        return words
    media = short(headers.get("content-type", "").split(";", 1)[0], 40)
    what = told.type or told.name
    return " ".join(part for part in (f"HTTP {status}", what or media) if part)


def error_body(error_type: str, message: str, request_id: str | None = None) -> bytes:
    """Write an error as the Messages API does (claude.md 3.1)."""
    body: dict[str, Any] = {"type": "error", "error": {"type": error_type, "message": message}}
    if request_id:
        body["request_id"] = request_id
    return msgspec.json.encode(body)


def error_event(error_type: str, message: str) -> bytes:
    """Write an error as a server-sent event, for a stream that has been opened (claude.md 4)."""
    return b"event: error\ndata: " + error_body(error_type, message) + b"\n\n"


def _decode(body: bytes) -> _Envelope | None:
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _told(envelope: _Envelope | None) -> Told:
    if envelope is None:
        return Told()
    inner = envelope.output if isinstance(envelope.output, dict) else {}
    error = envelope.error if isinstance(envelope.error, dict) else {}
    details = error.get("details")
    details = details if isinstance(details, dict) else {}
    status = envelope.original_status
    message = (
        _text(error.get("message"))
        or _text(envelope.message)
        or _text(envelope.capital_message)
        or _text(inner.get("message"))
    )
    return Told(
        type=_word(error.get("type")),
        name=exception_name(_text(envelope.aws_type) or _text(inner.get("__type")) or _text(envelope.code)),
        message=_UNWRAP.sub("", message, count=1) if _UNWRAP.match(message) else message,
        code=_word(details.get("error_code")),
        request_id=safe_id(_text(envelope.request_id)),
        original_status=status if isinstance(status, int) and not isinstance(status, bool) else None,
    )


def _word(value: object) -> str:
    """A type or a code: a word that goes into logs and comparisons, so it is bounded."""
    return short(_text(value), MAX_WORD)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
