"""A notice as a sentence and as JSON. No request, no prompt, no credential is in either."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from claude_failover.core.conditions import Change, Notice
from claude_failover.core.redaction import redact


def sentence(notice: Notice) -> str:
    """One line for people."""
    if notice.change is Change.RESOLVED:
        minutes = max(0, round((notice.at - notice.since) / 60))
        return f"Over after {minutes} min: {notice.title}"
    again = " (still)" if notice.change is Change.REMINDED else ""
    return f"{notice.title}{again}: {redact(notice.detail)}"


def payload(notice: Notice) -> bytes:
    """Write what a webhook gets as its body and a command as its standard input.

    ``text`` is there for chat services, which show exactly that.
    """
    body: dict[str, Any] = {
        "alert": notice.code,
        "state": "resolved" if notice.change is Change.RESOLVED else "firing",
        "change": notice.change.value,
        "severity": notice.severity.value,
        "title": notice.title,
        "detail": redact(notice.detail),
        "since": _stamp(notice.since),
        "at": _stamp(notice.at),
        "text": f"claude-failover: {sentence(notice)}",
    }
    return msgspec.json.encode(body)


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
