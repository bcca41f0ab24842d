"""An event: a name, a moment, a few named fields. And how it is written: one JSON line, or one line for people.

Rule: a field is a scalar or a short list of strings, bounded in length, and never a header, a body or a
credential; a field with such a name is not written even if somebody passes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import msgspec

from claude_failover.core.redaction import MASK, is_suspicious, redact
from claude_failover.core.types import Epoch
from claude_failover.events.names import EventName, Level

Value = str | int | float | bool | None | Sequence[str]
"""What a field may hold."""

MAX_TEXT: Final = 500
"""Characters of one field."""
MAX_TRACE: Final = 4000
"""Characters of a traceback."""
MAX_ITEMS: Final = 16
"""Strings of a list."""
MAX_FIELDS: Final = 48
MAX_LINE: Final = 8192
"""Bytes of a line on disk (reliability-security.md 2.6)."""

_FORBIDDEN: Final = re.compile(
    r"(?:^|_)(?:headers?|body|prompt|authorization|cookie|secret|password|api_key|access_key|messages?_body|token)$"
)
_TEXTS: Final = frozenset({str})
_NUMBERS: Final = frozenset({int, bool, type(None)})
"""Types of values that are written as they are."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PRIORITY: Final = {Level.DEBUG: 7, Level.INFO: 6, Level.WARNING: 4, Level.ERROR: 3, Level.CRITICAL: 2}
"""Syslog's, which journald reads from ``<N>`` at the start of a line (sd-daemon(3))."""
_LABELS: Final = {level: level.label for level in Level}
_COLOURS: Final = {Level.DEBUG: "2", Level.WARNING: "33", Level.ERROR: "31", Level.CRITICAL: "1;31"}


class Event(msgspec.Struct, frozen=True):
    """One thing that happened."""

    seq: int
    """Goes up by one."""
    at: Epoch
    name: EventName
    level: Level
    fields: Mapping[str, Value]
    plain: str | None = None
    """What :func:`plain_text` says of the fields, asked once for all who write them; ``None``: they are cleaned."""

    def line(self) -> bytes:
        """Write it as one JSON line, redacted and bounded, with its newline."""
        safe = self.fields
        if self.plain is None or len(safe) > MAX_FIELDS:
            safe = {name: clean(name, value) for name, value in islice(safe.items(), MAX_FIELDS)}
        line = _encode(self, safe)
        if len(line) > MAX_LINE:
            line = _encode(self, {name: _shorter(value) for name, value in safe.items()})
        if len(line) > MAX_LINE:
            line = _encode(self, {"oversized": len(line)})
        return line + b"\n"


def plain_text(fields: Mapping[str, Value]) -> str | None:
    """All texts of *fields* in one, if nothing needs to be cleaned, by one look at them together: the common case."""
    if _some_forbidden(tuple(fields)):
        return None
    texts: list[str] = []
    # By exact types, which is quick: whatever else there is, such as a member of an enumeration, is cleaned.
    for value in fields.values():
        if type(value) is str:
            texts.append(value)
        elif type(value) is float:
            if value - value != 0.0:
                return None
        elif type(value) is list or type(value) is tuple:
            if len(value) > MAX_ITEMS or not _TEXTS.issuperset(map(type, value)):
                return None
            texts += value
        elif type(value) not in _NUMBERS:
            return None
    together = " ".join(texts)
    too_long = len(together) > MAX_TEXT and max(map(len, texts)) > MAX_TEXT
    return None if too_long or _CONTROL.search(together) or is_suspicious(together) else together


@lru_cache(maxsize=1024)
def is_forbidden(name: str) -> bool:
    """Whether a field of this name would hold what is never written."""
    return _FORBIDDEN.search(name) is not None


@lru_cache(maxsize=256)
def _some_forbidden(names: tuple[str, ...]) -> bool:
    return any(map(is_forbidden, names))


def clean(name: str, value: object) -> Value:
    """Make a field safe to write: a scalar or a list of strings, bounded, without what looks like a secret."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if is_forbidden(name):
        return MASK
    if isinstance(value, str):
        return _text(value, MAX_TRACE if name == "trace" else MAX_TEXT)
    if isinstance(value, list | tuple | set | frozenset):
        return [_text(str(item), MAX_TEXT) for item in list(value)[:MAX_ITEMS]]
    # Whatever else it is, its repr is nobody's business.
    return f"<{type(value).__name__}>"


def read_line(line: bytes) -> dict[str, Any] | None:
    """Read back a line of the log: ``ts``, ``level``, ``event`` and the fields; ``None`` if it is torn."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("event"), str) else None


def stamp(at: float) -> str:
    """Write a moment in RFC 3339, UTC, milliseconds."""
    second, part = divmod(at, 1.0)
    # Rounded to microseconds and cut to milliseconds, as ``datetime`` does, which is asked once a second.
    micros = round(part * 1_000_000)
    return f"{_second(int(second) + micros // 1_000_000)}.{micros % 1_000_000 // 1_000:03d}Z"


@lru_cache(maxsize=4)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def render_text(event: Event, *, colour: bool = False, journald: bool = False, zone: tzinfo | None = None) -> str:
    """Write an event as one line for people.

    Args:
        event: What happened.
        colour: Whether the terminal shows colours.
        journald: Whether journald reads it: it adds the time itself, and takes the level from ``<N>``.
        zone: Of the time of day; ``None`` = the machine's.
    """
    cleaned = ((name, clean(name, value)) for name, value in event.fields.items())
    words = " ".join(f"{name}={_word(value)}" for name, value in cleaned if value is not None)
    if journald:
        return f"<{_PRIORITY[event.level]}>{event.name} {words}".rstrip()
    moment = datetime.fromtimestamp(event.at, UTC).astimezone(zone)
    level = f"{event.level.label:<8}"
    if colour and event.level in _COLOURS:
        level = f"\x1b[{_COLOURS[event.level]}m{level}\x1b[0m"
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {level} {event.name} {words}".rstrip()


def _encode(event: Event, fields: Mapping[str, Value]) -> bytes:
    head = {"ts": stamp(event.at), "level": _LABELS[event.level], "event": event.name}
    # Once to be the first, and once more so that no field can pretend to be of the head.
    return msgspec.json.encode({**head, **fields, **head})


def _text(text: str, limit: int) -> str:
    text = _CONTROL.sub(" ", redact(text[: 4 * limit]))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _shorter(value: Value) -> Value:
    if isinstance(value, str):
        return value[:80]
    return value if value is None or isinstance(value, bool | int | float) else list(value)[:2]


def _word(value: Value) -> str:
    if isinstance(value, str):
        return value if value and " " not in value and "\n" not in value else msgspec.json.encode(value).decode()
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or isinstance(value, int):
        return str(value).lower()
    return ",".join(value)
