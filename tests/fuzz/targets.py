"""What is fuzzed: one function a target, from bytes to nothing. Whatever the bytes, only the named errors may come.

Each also checks what must hold of the result. ``tests/integration/test_security_fuzz.py`` plays them with Hypothesis
and repeats what was once found; ``tests/fuzz/run.py`` plays them with atheris for as long as it is told to.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from claude_failover.config_load import parse
from claude_failover.control import api
from claude_failover.core import failures, gate, headers, limits
from claude_failover.core.answer import reader
from claude_failover.core.commands import ClientRequest, Failure
from claude_failover.core.error_body import short
from claude_failover.core.redaction import forms, redact
from claude_failover.core.request import peek
from claude_failover.core.types import Epoch, Headers, Instant, Kind, Monotonic, Surface
from claude_failover.core.usage import UsageCounter
from claude_failover.errors import ConfigError, ControlError
from claude_failover.events.event import Event, read_line, render_text
from claude_failover.events.names import Level

NOW: Final = Instant(Epoch(1_795_000_000.0), Monotonic(1000.0))
KEY: Final = "cfk_" + "k" * 43
DOOR: Final = gate.Door(8484, gate.digest(KEY))


def lines_of(data: bytes) -> Headers:
    """Header lines as the data port reads them: anything but line ends, bytes that are no UTF-8 as surrogates."""
    found = []
    for line in data.split(b"\n"):
        name, _, value = line.partition(b":")
        found.append((name.decode("utf-8", "surrogateescape"), value.strip().decode("utf-8", "surrogateescape")))
    return tuple(found)


def pieces(data: bytes) -> Iterator[bytes]:
    """The bytes in pieces whose sizes they name themselves."""
    at = 0
    while at < len(data):
        size = 1 + data[at] % 61
        yield data[at : at + size]
        at += size


def asked(data: bytes) -> None:
    """A request: its first line, its headers, its body; what is peeked of it and where it may go."""
    head, _, body = data.partition(b"\n\n")
    first, _, rest = head.partition(b"\n")
    method, _, target = first.decode("utf-8", "surrogateescape").partition(" ")
    lines = lines_of(rest)
    judged = gate.admit(method, target, lines, DOOR)
    if isinstance(judged, gate.Admitted):
        assert judged.route in {gate.Route.HELLO, gate.Route.HEALTH} or KEY.encode() in data
        assert not any(KEY in value for name, value in judged.headers if name.lower() == headers.KEY)
    else:
        assert judged.status in {400, 401, 403}
    host, key = ("Host", "localhost:8484"), (headers.KEY, KEY)
    judged = gate.admit("POST", target, (host, key, *(line for line in lines if line[0].lower() != "host")), DOOR)
    if isinstance(judged, gate.Admitted):
        assert target.startswith("/")
        assert not target.startswith("//")
        assert "/../" not in target.partition("?")[0] + "/"
        assert not any(KEY in value for name, value in judged.headers if name.lower() == headers.KEY)
    onward = headers.to_primary(lines)
    assert all(not name.lower().startswith(headers.OURS) for name, _ in onward)
    assert [value for name, value in onward if name.lower() == "accept-encoding"] == ["identity"]
    headers.to_client(lines)
    seen = peek(ClientRequest("cfr_1", target, lines, body))
    assert seen.max_tokens is None or isinstance(seen.max_tokens, int)
    seen = peek(ClientRequest("cfr_1", "/v1/messages", (), data))
    assert isinstance(seen.model, str)


def streamed(data: bytes) -> None:
    """A stream of either wire, in pieces, with a commit somewhere; then its tail."""
    if not data:
        return
    frames = bool(data[0] & 1)
    surface = Surface.INVOKE if frames else Surface.MESSAGES
    content_type = "application/vnd.amazon.eventstream" if frames else "text/event-stream"
    made = reader(Kind.BEDROCK, surface, content_type)
    assert made is not None
    counter = UsageCounter()
    committed = None
    out = bytearray()
    for number, piece in enumerate(pieces(data[2:])):
        if committed is None and number >= data[1 % len(data)] % 7:
            committed = made.commit()
            out += committed
        if committed is None:
            events = made.feed(piece)
            out += b"".join(event.raw for event in events)
        else:
            relayed, events = made.relay(piece)
            out += relayed
        for event in events:
            counter.event(event.type, event.data)
            if event.type in {"error", "exception"}:
                failures.classify_event(Kind.BEDROCK, event.type, event.name, event.data, NOW)
    made.end()
    counter.body(data)
    assert min(counter.usage.input, counter.usage.output, counter.usage.cache_read) >= 0
    if not frames:
        assert len(out) <= len(data)


def answered(data: bytes) -> None:
    """An error of either backend: judged, presented, and cut to a detail without a secret."""
    head, _, body = data.partition(b"\n\n")
    first, _, rest = head.partition(b"\n")
    status = 200 + int.from_bytes(first[:2], "big") % 400
    lines = lines_of(rest)
    lower = failures.lower(lines)
    limits.plan_limits(lower)
    limits.quotas(lower)
    wait = limits.retry_after(lower, NOW.wall)
    assert wait is None or 0 <= wait < float("inf")
    for kind, surface in ((Kind.ANTHROPIC, None), (Kind.BEDROCK, Surface.INVOKE), (Kind.BEDROCK, Surface.MESSAGES)):
        verdict = failures.classify(kind, surface, status, lines, body, NOW)
        assert len(verdict.detail) <= 200
        assert "\n" not in verdict.detail
        shown, _, _ = failures.present(kind, surface, status, lines, body, verdict)
        assert 200 <= shown < 600
    failures.classify_failure(Failure.CUT, first.decode("utf-8", "replace"), answered=True)


def configured(data: bytes) -> None:
    """A configuration file."""
    with contextlib.suppress(ConfigError):
        parse(data, name="config.yaml", environ={}, flags=None)


def commanded(data: bytes) -> None:
    """What a client, or another version of the daemon, says on the control channel."""
    for kind in (api.StopRequest, api.ForceRequest, api.Ping, api.Event, api.ErrorBody):
        with contextlib.suppress(ControlError):
            api.decode(data, kind)


def logged(data: bytes) -> None:
    """A text in a log line: it comes out as one line of JSON, and what looks like a secret does not come out."""
    text = data.decode("utf-8", "surrogateescape")
    secret = "sk-ant-oat01-" + base64.b32encode(data[:8]).decode().rstrip("=").lower() + "0123456789"
    event = Event(1, NOW.wall, "library.logged", Level.ERROR, {"message": f"{text} {secret} {text}", "a": [text]})
    line = event.line()
    assert line.count(b"\n") == 1
    assert secret.encode() not in line
    assert secret not in render_text(event)
    assert read_line(line) is not None
    assert "\n" not in short(text)
    assert secret not in redact(f"{text} {secret}")
    forms(text)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (asked, streamed, answered, configured, commanded, logged)
}
