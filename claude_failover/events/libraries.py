"""Other people's logging: what libraries log goes through our log, redacted, bounded and rate-limited.

Known leakers (reliability-security.md 2.6): ``aiohttp.server`` logs a malformed header line with its credential,
botocore's DEBUG prints session token, prompt and signature, asyncio repeats one traceback hundreds of times when
descriptors run out. So no library writes to a stream of its own, and those are never let below WARNING.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from claude_failover.core.error_body import short
from claude_failover.core.redaction import redact
from claude_failover.events.hub import crash, emit
from claude_failover.events.names import Level

if TYPE_CHECKING:
    import asyncio

PINNED: Final = ("aiohttp", "asyncio", "botocore", "boto3", "keyring", "s3transfer", "urllib3")
"""Never below WARNING, whatever the configured level: at DEBUG they print what must not be printed."""

MAX_MESSAGE: Final = 300
"""Characters of a library's message that are kept."""


class LibraryHandler(logging.Handler):
    """Turns a record of :mod:`logging` into an event."""

    def emit(self, record: logging.LogRecord) -> None:
        """Emit ``library.logged``; a traceback is reduced to its exception."""
        if getattr(_BUSY, "now", False):
            return
        _BUSY.now = True
        try:
            fields: dict[str, str | int] = {"logger": record.name, "where": f"{record.module}:{record.lineno}"}
            # The pattern, not the text, tells repeats: five hundred different ports are one complaint.
            fields["template"] = short(str(record.msg), 120)
            fields["message"] = short(_message(record), MAX_MESSAGE)
            error = record.exc_info[1] if record.exc_info else None
            if error is not None:
                fields["error"] = f"{type(error).__name__}: {short(str(error))}"
            emit("library.logged", level=_level(record.levelno), **fields)
        finally:
            _BUSY.now = False


class RedactingFormatter(logging.Formatter):
    """For a handler that we cannot replace: the same format, with secrets masked."""

    def format(self, record: logging.LogRecord) -> str:
        """Format, then redact the message and the traceback alike."""
        return redact(super().format(record))


_BUSY: Final = threading.local()
"""Whether this thread is turning a record into an event: what that logs itself is not followed."""


def capture_libraries(level: Level = Level.WARNING) -> LibraryHandler:
    """Take over :mod:`logging` and :mod:`warnings` for the whole process; answers the one handler that is left."""
    logging.raiseExceptions = False
    handler = LibraryHandler()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, Level.INFO))
    logging.captureWarnings(capture=True)
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in PINNED:
        logging.getLogger(name).setLevel(logging.WARNING)
    return handler


def loop_exception_handler(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """For :meth:`asyncio.loop.set_exception_handler`: what no task awaited is our bug, and is said as one."""
    del loop
    error = context.get("exception")
    if isinstance(error, BaseException):
        crash(f"event loop: {context.get('message', '')}", error)
    else:
        emit(
            "library.logged", level=Level.ERROR, logger="asyncio", template="loop", message=str(context.get("message"))
        )


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a library's wrong format string must not break the one who called it
        return str(record.msg)


def _level(number: int) -> Level:
    return next((level for level in reversed(Level) if number >= level), Level.DEBUG)
