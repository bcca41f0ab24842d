"""The adapter of the Claude API against the simulated one, which checks credentials and leaks itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass

import pytest

from claude_failover.core.commands import (
    AttemptEnded,
    BodyReceived,
    Failure,
    HeadReceived,
    OpenAttempt,
    UpstreamRequest,
)
from claude_failover.core.settings import Backend, Timeouts
from claude_failover.core.types import BackendName, Headers, Kind
from claude_failover.credentials.secret import Secret
from claude_failover.drill.claude_api import API_KEY, OAUTH_TOKEN
from claude_failover.errors import CredentialError
from claude_failover.upstream import Attempt
from claude_failover.upstream.anthropic import AnthropicUpstream
from tests.fakes import simulated_claude

BODY = json.dumps(
    {
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
    }
).encode()
HEADERS: Headers = (("anthropic-version", "2023-06-01"), ("content-type", "application/json"))


@dataclass
class Token:
    oauth: bool
    secret: Secret

    @property
    def bearer(self) -> bool:
        return self.oauth


class Store:
    """A stored token, or none."""

    def __init__(self, *tokens: Token) -> None:
        self.tokens = list(tokens)
        self.asked: list[list[str]] = []

    async def token(self, *, refused: Collection[object] = ()) -> Token:
        self.asked.append([secret.reveal() for secret in refused if isinstance(secret, Secret)])
        if not self.tokens:
            raise CredentialError("no token is stored", hint="claude-failover token set anthropic")
        return self.tokens[-1] if refused else self.tokens[0]


async def status_of(attempt: Attempt) -> tuple[int, bytes]:
    async with asyncio.timeout(30):
        head = await attempt.head()
        assert isinstance(head, HeadReceived), head
        body = b""
        while isinstance(event := await attempt.read(), BodyReceived):
            body += event.data
        assert event == AttemptEnded(0)
        return head.status, body


def claude(url: str, mode: str = "auto", store: Store | None = None) -> AnthropicUpstream:
    backend = Backend(BackendName("claude"), Kind.ANTHROPIC, base_url=url, credential=mode)
    return AnthropicUpstream(backend, Timeouts(), store, environ={})


def to_claude(headers: Headers = (), *, refresh: bool = False) -> OpenAttempt:
    request = UpstreamRequest("POST", "/v1/messages?beta=true", (*HEADERS, *headers), BODY)
    return OpenAttempt(0, BackendName("claude"), Kind.ANTHROPIC, request, refresh_credentials=refresh)


async def test_a_client_s_own_credential_is_forwarded_and_the_store_not_asked() -> None:
    async with simulated_claude() as server:
        store = Store()
        backend = claude(server.url, "auto", store)
        for line in [("authorization", f"Bearer {OAUTH_TOKEN}"), ("X-Api-Key", API_KEY)]:
            status, body = await status_of(backend.open(to_claude((line, ("anthropic-beta", "oauth-2025-04-20")))))
            assert (status, b"message_stop" in body) == (200, True)
        assert store.asked == []
        await backend.close()


@pytest.mark.parametrize(
    ("token", "betas", "sent"),
    [
        (Token(oauth=True, secret=Secret(OAUTH_TOKEN)), (), ["oauth-2025-04-20"]),
        (
            Token(oauth=True, secret=Secret(OAUTH_TOKEN)),
            (("Anthropic-Beta", "effort-2025-11-24"), ("anthropic-beta", "claude-code-20250219")),
            ["effort-2025-11-24,oauth-2025-04-20", "claude-code-20250219"],
        ),
        (
            Token(oauth=True, secret=Secret(OAUTH_TOKEN)),
            (("anthropic-beta", "effort-2025-11-24"), ("anthropic-beta", "a, oauth-2025-04-20")),
            ["effort-2025-11-24", "a, oauth-2025-04-20"],
        ),
        (Token(oauth=False, secret=Secret(API_KEY)), (), []),
    ],
    ids=["oauth", "oauth among betas", "oauth already there", "api key"],
)
async def test_a_request_without_a_credential_gets_the_stored_one(
    token: Token, betas: Headers, sent: list[str]
) -> None:
    async with simulated_claude(strict=False) as server:
        backend = claude(server.url, "auto", Store(token))
        status, _ = await status_of(backend.open(to_claude(betas)))
        assert status == 200
        assert server.requests[-1].all("anthropic-beta") == sent
        assert bool(server.requests[-1].all("x-api-key")) is not token.oauth
        await backend.close()


async def test_a_backend_that_is_told_to_replaces_the_client_s_credential() -> None:
    async with simulated_claude() as server:
        backend = claude(server.url, "stored", Store(Token(oauth=False, secret=Secret(API_KEY))))
        lines = (("Authorization", "Bearer sk-ant-oat01-worth-nothing-of-the-client"), ("x-api-key", "other"))
        assert (await status_of(backend.open(to_claude(lines))))[0] == 200
        assert server.requests[-1].all("x-api-key") == [API_KEY]
        assert server.requests[-1].all("authorization") == []
        await backend.close()


async def test_a_refused_token_is_looked_up_again() -> None:
    async with simulated_claude() as server:
        store = Store(
            Token(oauth=False, secret=Secret("sk-ant-worth-nothing-old")), Token(oauth=False, secret=Secret(API_KEY))
        )
        backend = claude(server.url, "stored", store)
        assert (await status_of(backend.open(to_claude())))[0] == 401
        assert (await status_of(backend.open(to_claude(refresh=True))))[0] == 200
        # Another request that was refused with the same token comes back later: what it was, not what is, is said.
        assert (await status_of(backend.open(to_claude(refresh=True))))[0] == 200
        assert store.asked == [[], ["sk-ant-worth-nothing-old"], ["sk-ant-worth-nothing-old"]]
        await backend.close()


async def test_only_what_was_refused_last_is_remembered() -> None:
    async with simulated_claude() as server:
        store = Store(Token(oauth=False, secret=Secret(API_KEY)))
        backend = claude(server.url, "stored", store)
        for number in (*range(6), 5):
            store.tokens[0] = Token(oauth=False, secret=Secret(f"sk-ant-worth-nothing-{number}"))
            assert (await status_of(backend.open(to_claude())))[0] == 401
        store.tokens[0] = Token(oauth=False, secret=Secret(API_KEY))
        assert (await status_of(backend.open(to_claude(refresh=True))))[0] == 200
        assert store.asked[-1] == [f"sk-ant-worth-nothing-{number}" for number in (2, 3, 4, 5)]
        await backend.close()


@pytest.mark.parametrize(
    ("store", "why"),
    [
        (None, "the request carries no Anthropic credential, and none is stored"),
        (Store(), "no token is stored (claude-failover token set anthropic)"),
    ],
)
async def test_without_any_credential_nothing_is_sent(store: Store | None, why: str) -> None:
    async with simulated_claude() as server:
        backend = claude(server.url, "auto", store)
        assert await backend.open(to_claude()).head() == AttemptEnded(0, Failure.CREDENTIALS, why)
        assert len(server.requests) == 0
        await backend.close()


async def test_in_client_mode_the_store_is_never_asked() -> None:
    async with simulated_claude() as server:
        store = Store(Token(oauth=False, secret=Secret(API_KEY)))
        backend = claude(server.url, "client", store)
        assert (await status_of(backend.open(to_claude())))[0] == 401
        assert store.asked == []
        await backend.close()
