"""Events: the closed set of what can be said, and where it goes.

``emit("failover.happened", backend=…)`` is all that the rest of the program knows. Behind it a
:class:`~claude_failover.events.hub.Hub` hands the event to its sinks: the
:class:`~claude_failover.events.journal.Journal` (JSON lines and the audit log on disk), the
:class:`~claude_failover.events.hub.EventsWindow`, metrics, alerts, and the control channel's feed.

The core does not log; it returns records and transitions, which :mod:`~claude_failover.events.canonical` turns into
events.
"""

from __future__ import annotations

from claude_failover.events.canonical import announced, attempted, concluded, exchange_fields
from claude_failover.events.event import Event, Value, read_line, render_text
from claude_failover.events.hub import (
    EventsWindow,
    Hub,
    Sink,
    capture,
    crash,
    emit,
    hook_interpreter,
    on_loop,
    say,
    use,
)
from claude_failover.events.journal import Health, Journal
from claude_failover.events.libraries import (
    LibraryHandler,
    RedactingFormatter,
    capture_libraries,
    loop_exception_handler,
)
from claude_failover.events.live_secrets import LIVE, LiveSecrets, shown
from claude_failover.events.names import AUDITED, NAMES, EventName, Level, level_of

__all__ = [
    "AUDITED",
    "LIVE",
    "NAMES",
    "Event",
    "EventName",
    "EventsWindow",
    "Health",
    "Hub",
    "Journal",
    "Level",
    "LibraryHandler",
    "LiveSecrets",
    "RedactingFormatter",
    "Sink",
    "Value",
    "announced",
    "attempted",
    "capture",
    "capture_libraries",
    "concluded",
    "crash",
    "emit",
    "exchange_fields",
    "hook_interpreter",
    "level_of",
    "loop_exception_handler",
    "on_loop",
    "read_line",
    "render_text",
    "say",
    "shown",
    "use",
]
