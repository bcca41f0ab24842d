"""One request to a server of the test's own, through the adapter for the Claude API."""

from __future__ import annotations

from claude_failover.core.commands import (
    AttemptEnded,
    BodyReceived,
    HeadReceived,
    OpenAttempt,
    UpstreamRequest,
)
from claude_failover.core.settings import Backend, Timeouts
from claude_failover.core.types import BackendName, Headers, Kind
from claude_failover.upstream import Attempt
from claude_failover.upstream.anthropic import AnthropicUpstream

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def upstream(url: str, connect: float = 5.0) -> AnthropicUpstream:
    """The adapter, for requests that bring their own credential."""
    backend = Backend(BackendName("claude"), Kind.ANTHROPIC, base_url=url, credential="client")
    return AnthropicUpstream(backend, Timeouts(connect=connect), environ={})


def command(
    target: str = "/v1/messages", headers: Headers = (), body: bytes = b"{}", *, fresh: bool = False
) -> OpenAttempt:
    """An attempt, number 7."""
    request = UpstreamRequest("POST", target, headers, body)
    return OpenAttempt(7, BackendName("claude"), Kind.ANTHROPIC, request, fresh=fresh)


async def played(attempt: Attempt) -> tuple[HeadReceived | None, bytes, AttemptEnded]:
    """Everything that an attempt says, to its end."""
    head = await attempt.head()
    if isinstance(head, AttemptEnded):
        return None, b"", head
    body = b""
    while isinstance(event := await attempt.read(), BodyReceived):
        body += event.data
    assert await attempt.read() == event
    await attempt.close()
    return head, body, event
