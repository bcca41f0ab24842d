from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Iterator

import pytest

from claude_failover.core.types import Epoch
from claude_failover.events.event import Event
from claude_failover.events.hub import Hub, capture, use
from claude_failover.events.libraries import PINNED, RedactingFormatter, capture_libraries, loop_exception_handler
from claude_failover.events.names import Level


@pytest.fixture
def seen() -> Iterator[list[Event]]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    before = use(Hub(lambda: Epoch(1_795_000_000.0)))
    with capture() as found:
        yield found
    use(before)
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in PINNED:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_what_a_library_logs_comes_through_us_without_its_secret(seen: list[Event]) -> None:
    """aiohttp logs a malformed header with its credential at ERROR (reliability-security.md 0, finding 3)."""
    capture_libraries()
    logging.getLogger("aiohttp.server").error("Error handling request: %r", b"x-api-key: sk-ant-api03-secret\x00")
    (event,) = seen
    assert (event.name, event.level) == ("library.logged", Level.ERROR)
    assert event.fields["logger"] == "aiohttp.server"
    assert "sk-ant" not in str(event.line())
    assert "secret" not in str(event.line())


def test_a_traceback_is_reduced_to_its_exception(seen: list[Event]) -> None:
    capture_libraries()
    logging.getLogger("asyncio").error("boom", exc_info=ValueError("Bearer abcdefghijk"))
    assert seen[0].fields["error"] == "ValueError: Bearer [redacted]"


def test_libraries_that_print_secrets_stay_quiet_even_at_debug(seen: list[Event]) -> None:
    capture_libraries(Level.DEBUG)
    logging.getLogger("botocore.auth").debug("CanonicalRequest: x-amz-security-token:abc")
    logging.getLogger("urllib3").info("connected")
    logging.getLogger("somebody").info("hello")
    assert [event.fields["logger"] for event in seen] == ["somebody"]


def test_a_library_with_a_handler_of_its_own_loses_it(seen: list[Event]) -> None:
    own = logging.getLogger("talkative")
    own.addHandler(logging.StreamHandler())
    own.propagate = False
    capture_libraries()
    own.warning("hello")
    assert own.handlers == []
    assert [event.fields["message"] for event in seen] == ["hello"]


def test_one_complaint_about_many_things_is_one_kind_of_repeat(seen: list[Event]) -> None:
    """456 identical tracebacks in 7 s when descriptors ran out (reliability-security.md 0, finding 10)."""
    capture_libraries()
    for number in range(456):
        logging.getLogger("asyncio").error("socket.accept() out of system resource: %d", number)
    assert len(seen) == 5


def test_a_wrong_format_string_breaks_nobody(seen: list[Event]) -> None:
    capture_libraries()
    logging.getLogger("sloppy").warning("%d of %d", 1)  # noqa: PLE1206 - that is the point
    assert seen[0].fields["message"] == "%d of %d"


def test_warnings_are_logged_too(seen: list[Event]) -> None:
    capture_libraries()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert seen[0].fields["logger"] == "py.warnings"


def test_a_sink_that_logs_does_not_go_round_in_circles(seen: list[Event]) -> None:
    capture_libraries()
    hub = Hub(lambda: Epoch(0.0))
    heard: list[Event] = []

    def chatty(event: Event) -> None:
        heard.append(event)
        logging.getLogger("sink").warning("saw %s", event.name)

    hub.subscribe(chatty)
    before = use(hub)
    logging.getLogger("library").warning("hello")
    use(before)
    assert len(heard) == 1
    assert seen == []


def test_the_event_loops_complaints_are_ours(seen: list[Event]) -> None:
    loop = asyncio.new_event_loop()
    loop_exception_handler(loop, {"message": "Task exception was never retrieved", "exception": KeyError("x")})
    loop_exception_handler(loop, {"message": "socket gone"})
    loop.close()
    assert [event.name for event in seen] == ["code.crashed", "library.logged"]
    assert seen[0].fields["where"] == "event loop: Task exception was never retrieved"


def test_a_handler_that_cannot_be_replaced_gets_a_formatter_that_masks() -> None:
    formatter = RedactingFormatter("%(name)s %(message)s")
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "key %s", ("sk-ant-api03-secret",), None)
    assert formatter.format(record) == "x key [redacted]"
