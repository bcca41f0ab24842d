"""What is fuzzed: one function a target, from bytes to nothing. Whatever the bytes, only the named errors may come.

Each also checks what must hold of the result. ``tests/integration/test_security_fuzz.py`` plays them with Hypothesis
and repeats what was once found; ``tests/fuzz/run.py`` plays them with atheris for as long as it is told to.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Final

from msgspec import structs

from claude_failover.clock import FakeClock
from claude_failover.config_load import parse
from claude_failover.config_text import effective_json, effective_text
from claude_failover.control import api
from claude_failover.control.handshake import Word, error_of
from claude_failover.core import failures, gate, headers, limits
from claude_failover.core.commands import ClientRequest, Failure, Untranslatable
from claude_failover.core.error_body import short
from claude_failover.core.models import Catalog, Unmapped
from claude_failover.core.redaction import forms, redact
from claude_failover.core.repair import Denials
from claude_failover.core.request import LABEL_MAX, peek
from claude_failover.core.settings import Backend
from claude_failover.core.translate import to_bedrock
from claude_failover.core.types import BackendName, Headers, Kind, Surface
from claude_failover.credentials import entry, redeem
from claude_failover.credentials.claude_login import parse_login
from claude_failover.daemon.tables import read_table
from claude_failover.errors import ConfigError, ControlError, CredentialError, FailoverError
from claude_failover.events.event import Event, read_line, render_text
from claude_failover.events.names import Level
from tests.fuzz.streams import NOW, events, frames, response
from tests.fuzz.words import KEY

DOOR: Final = gate.Door(8484, gate.digest(KEY))
CATALOG: Final = Catalog.build(read_table("models"), {})
BEDROCK: Final = Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1")
TO_BEDROCK: Final = {
    "content-type", "accept", "accept-encoding", "anthropic-version", "anthropic-beta", "x-amzn-bedrock-accept",
}  # fmt: skip
"""The headers that translation makes."""


def lines_of(data: bytes) -> Headers:
    """Header lines as the data port reads them: anything but line ends, bytes that are no UTF-8 as surrogates."""
    found = []
    for one in data.split(b"\n"):
        name, _, value = one.partition(b":")
        found.append((name.decode("utf-8", "surrogateescape"), value.strip().decode("utf-8", "surrogateescape")))
    return tuple(found)


def admitted(data: bytes) -> None:
    """A request's first line and headers: whether it is let in, and what goes on."""
    first, _, rest = data.partition(b"\n")
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
    assert headers.to_primary(onward) == onward
    assert set(onward) - {("accept-encoding", "identity")} <= set(lines)
    back = headers.to_client(lines)
    assert headers.to_client(back) == back
    assert not {name.lower() for name, _ in (*onward, *back)} & headers.HOP_BY_HOP
    peek(ClientRequest("cfr_1", target, lines, b"{}"))


def _loaded(data: bytes) -> object:
    """The JSON value, by the standard library."""
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        return None


def _remote(content: object) -> bool:
    """Whether content names something that a server would have to fetch."""
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict):
            continue
        source = block.get("source") if isinstance(block.get("source"), dict) else {}
        assert isinstance(source, dict)
        if block.get("type") == "container_upload" or source.get("type") in {"file", "url"}:
            return True
        if source.get("file_id") is not None or _remote(block.get("content")) or _remote(source.get("content")):
            return True
    return False


def peeked(data: bytes) -> None:
    """A request's body: what is read of it is there, and what must not leave the primary does not."""
    seen = peek(ClientRequest("cfr_1", "/v1/messages", (), data))
    padded = peek(ClientRequest("cfr_1", "/v1/messages", (), b" \r\n\t" + data + b"\n"))
    assert padded == structs.replace(seen, prompt_bytes=len(data) + 5)
    loaded = _loaded(data)
    if not seen.valid:
        assert seen.stays is not None
        assert (seen.model, seen.stream, seen.max_tokens) == ("", False, None)
        return
    if not isinstance(loaded, dict):  # the standard library is stricter about UTF-8, and nests less deeply
        return
    model, most = loaded.get("model"), loaded.get("max_tokens")
    assert seen.model == (model if isinstance(model, str) else "")
    assert seen.stream is (loaded.get("stream") is True)
    assert seen.max_tokens == (most if type(most) is int else None)
    messages = loaded.get("messages") if isinstance(loaded.get("messages"), list) else []
    if any(isinstance(one, dict) and _remote(one.get("content")) for one in messages or ()):
        assert seen.stays is not None
    thread = loaded.get("thread")
    if isinstance(thread, dict) and thread.get("type") == "continue":
        assert seen.stays is not None
    assert seen.session is None or 0 < len(seen.session) <= LABEL_MAX


def translated(data: bytes) -> None:
    """A request's headers and body on their way to Bedrock: nothing of the client's but what was asked of the model."""
    head, _, body = data.partition(b"\n\n")
    lines = (*lines_of(head), ("authorization", f"Bearer {KEY}"), ("x-secret", KEY))
    request = ClientRequest("cfr_1", "/v1/messages", lines, body)
    seen = peek(request)
    found = CATALOG.resolve(seen.model or "claude-opus-5-5", BEDROCK)
    if isinstance(found, Unmapped):
        return
    for surface in Surface:
        made = to_bedrock(request, seen, found, surface, BEDROCK, Denials())
        if isinstance(made, Untranslatable):
            continue
        assert to_bedrock(request, seen, found, surface, BEDROCK, Denials()) == made
        assert isinstance(json.loads(made.request.body), dict)
        assert KEY.encode() not in made.request.body or KEY.encode() in body
        for text in (
            made.request.method,
            made.request.target,
            *(piece for line in made.request.headers for piece in line),
        ):
            assert text.isascii()
            assert text.isprintable()
            assert KEY not in text or KEY in found.bedrock_id
        assert {name for name, _ in made.request.headers} <= TO_BEDROCK


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
    """A configuration file: in force or refused, and what is in force reads back the same."""
    try:
        loaded = parse(data, name="config.yaml", environ={}, flags=None)
    except ConfigError:
        return
    effective_json(loaded)
    if loaded.settings.alerts.webhook is None:  # which is shown without its path
        assert parse(effective_text(loaded).encode(), name="x", environ={}, flags=None).settings == loaded.settings


MESSAGES: Final = (
    api.StopRequest, api.ForceRequest, api.Ping, api.Event, api.ErrorBody, api.Status, api.Models, api.Explain, Word,
)  # fmt: skip


def commanded(data: bytes) -> None:
    """What a client, or another version of the daemon, says on the control channel and at the start."""
    for kind in MESSAGES:
        try:
            message = api.decode(data, kind)
        except ControlError:
            continue
        assert api.decode(api.encode(message), kind) == message
        if isinstance(message, api.ErrorBody):
            assert isinstance(api.error_from(message), FailoverError)
        if isinstance(message, Word):
            assert isinstance(error_of(message), FailoverError)


def stored(data: bytes) -> None:
    """A credential, wherever it comes from: typed, piped, kept, Claude Code's, a token endpoint's."""
    text = data.decode("utf-8", "surrogateescape")
    for item in (entry.ANTHROPIC, entry.BEDROCK):
        with contextlib.suppress(CredentialError):
            found = entry.parse(item, text, NOW.wall)
            assert entry.Entry.load(found.dump(), "here").access.reveal() == found.access.reveal()
    with contextlib.suppress(CredentialError):
        entry.Entry.load(text, "here")
    with contextlib.suppress(CredentialError):
        parse_login(data, "here", NOW.wall)
    with contextlib.suppress(redeem.RefreshFailed):
        redeem._new_pair(data, FakeClock(wall=NOW.wall))
    assert isinstance(redeem._refused(400, data), redeem.RefreshFailed)


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
    target.__name__: target
    for target in (
        admitted, peeked, translated, events, frames, response, answered, configured, commanded, stored, logged,
    )
}  # fmt: skip
