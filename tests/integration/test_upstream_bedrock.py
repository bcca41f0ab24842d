"""The adapter of Bedrock against the simulated one, which checks signatures and leaks itself."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.commands import (
    AttemptEnded,
    BodyReceived,
    Failure,
    HeadReceived,
    OpenAttempt,
    UpstreamRequest,
)
from claude_failover.core.settings import Backend, Timeouts
from claude_failover.core.types import BackendName, Headers, Kind, Seconds, Surface
from claude_failover.credentials.secret import Secret
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.bedrock_access import API_KEY as BEDROCK_KEY
from claude_failover.errors import CredentialError
from claude_failover.upstream import Attempt
from claude_failover.upstream.bedrock import BedrockUpstream
from claude_failover.upstream.wire import Wire
from tests.fakes import simulated_bedrock
from tests.sockets import listening, request_of

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
class Keys:
    access_key: str = ACCESS_KEY
    secret_key: Secret | None = None
    session_token: Secret | None = None
    api_key: Secret | None = None


class Provider:
    """AWS credentials for tests."""

    def __init__(self, keys: Keys | None = None, region: str = "us-east-1") -> None:
        self.keys = keys or Keys(secret_key=Secret(SECRET_KEY))
        self.refreshed: list[bool] = []
        self._region = region

    async def get(self, refresh: bool = False) -> Keys:
        self.refreshed.append(refresh)
        return self.keys

    async def region(self) -> str:
        return self._region


async def status_of(attempt: Attempt) -> tuple[int, bytes]:
    async with asyncio.timeout(30):
        head = await attempt.head()
        assert isinstance(head, HeadReceived), head
        body = b""
        while isinstance(event := await attempt.read(), BodyReceived):
            body += event.data
        assert event == AttemptEnded(0)
        return head.status, body


INVOKE = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke-with-response-stream"
INVOKE_BODY = json.dumps(
    {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    }
).encode()
MESSAGES_BODY = BODY.replace(b"claude-opus-5-5", b"global.anthropic.claude-opus-5-5")
MANTLE_BODY = BODY.replace(b"claude-opus-5-5", b"anthropic.claude-opus-4-8")


def bedrock(
    url: str, provider: Provider | None = None, clock: FakeClock | None = None, **environ: str
) -> BedrockUpstream:
    backend = Backend(BackendName("bedrock"), Kind.BEDROCK, endpoint_url=url)
    return BedrockUpstream(backend, Timeouts(), provider or Provider(), environ=environ, clock=clock)


def to_bedrock(
    target: str = "/anthropic/v1/messages",
    body: bytes = MESSAGES_BODY,
    headers: Headers = HEADERS,
    *,
    service: str = "bedrock",
    refresh: bool = False,
    skew: float | None = None,
) -> OpenAttempt:
    request = UpstreamRequest("POST", target, (*headers, ("accept-encoding", "identity")), body, service)
    return OpenAttempt(
        0,
        BackendName("bedrock"),
        Kind.BEDROCK,
        request,
        Surface.MESSAGES,
        refresh_credentials=refresh,
        clock_skew=None if skew is None else Seconds(skew),
    )


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/anthropic/v1/messages", MESSAGES_BODY),
        (INVOKE, INVOKE_BODY),
        (INVOKE.replace(":", "%3A"), INVOKE_BODY),
    ],
    ids=["messages", "raw colon", "encoded colon"],
)
async def test_the_signature_covers_the_bytes_and_the_path_that_go_out(target: str, body: bytes) -> None:
    async with simulated_bedrock() as server:
        backend = bedrock(server.url)
        status, answer = await status_of(backend.open(to_bedrock(target, body)))
        assert (status, len(answer) > 100) == (200, True), answer
        assert server.requests[-1].target == target
        await backend.close()


async def test_an_arn_in_the_path_is_signed_with_its_slash_encoded() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghij12"
    async with simulated_bedrock() as server:
        server.applications[arn] = "anthropic.claude-sonnet-4-5-20250929-v1:0"
        backend = bedrock(server.url)
        target = f"/model/{arn.replace('/', '%2F')}/invoke-with-response-stream"
        status, answer = await status_of(backend.open(to_bedrock(target, INVOKE_BODY)))
        assert status == 200, answer
        assert server.requests[-1].target == target
        await backend.close()


async def test_temporary_credentials_bring_their_token_and_mantle_its_own_service_name() -> None:
    async with simulated_bedrock(mantle=True, strict=False) as server:
        backend = bedrock(server.url)
        status, answer = await status_of(backend.open(to_bedrock(body=MANTLE_BODY, service="bedrock-mantle")))
        assert status == 200, answer
        provider = Provider(Keys(secret_key=Secret(SECRET_KEY), session_token=Secret("worth-nothing")))
        other = bedrock(server.url, provider)
        await status_of(other.open(to_bedrock(body=MANTLE_BODY, service="bedrock-mantle")))
        assert server.requests[-1].all("x-amz-security-token") == ["worth-nothing"]
        await backend.close()
        await other.close()


async def test_only_what_identifies_the_request_is_signed() -> None:
    async with simulated_bedrock() as server:
        backend = bedrock(server.url)
        await status_of(backend.open(to_bedrock(headers=(*HEADERS, ("X-Amzn-Bedrock-Service-Tier", "flex")))))
        signed = (server.requests[-1].header("authorization") or "").partition("SignedHeaders=")[2].partition(",")[0]
        assert signed == "content-type;host;x-amz-content-sha256;x-amz-date;x-amzn-bedrock-service-tier"
        await backend.close()


async def test_a_bedrock_api_key_is_sent_instead_of_a_signature() -> None:
    async with simulated_bedrock() as server:
        backend = bedrock(server.url, Provider(Keys(access_key="", api_key=Secret(BEDROCK_KEY))))
        assert (await status_of(backend.open(to_bedrock())))[0] == 200
        assert server.requests[-1].all("authorization") == [f"Bearer {BEDROCK_KEY}"]
        assert server.requests[-1].all("x-amz-date") == []
        await backend.close()


async def test_nothing_of_the_client_s_credentials_passes_even_if_it_is_handed_in() -> None:
    leaked = (
        ("Authorization", "Bearer sk-ant-oat01-worth-nothing"),
        ("X-Api-Key", "sk-ant-api03-worth-nothing"),
        ("Cookie", "a=1"),
    )
    async with simulated_bedrock() as server:  # fails the test if anything of Anthropic's arrives
        backend = bedrock(server.url)
        assert (await status_of(backend.open(to_bedrock(headers=(*HEADERS, *leaked)))))[0] == 200
        await backend.close()


async def test_a_clock_that_is_wrong_is_corrected_and_stays_so() -> None:
    async with simulated_bedrock() as server:
        clock = FakeClock(wall=server.clock.now().wall - 3600)
        backend = bedrock(server.url, clock=clock)
        assert (await status_of(backend.open(to_bedrock())))[0] == 403
        assert (await status_of(backend.open(to_bedrock(skew=3600))))[0] == 200
        assert (await status_of(backend.open(to_bedrock())))[0] == 200
        await backend.close()


async def test_a_large_body_is_signed_as_it_is() -> None:
    body = MESSAGES_BODY.replace(b'"hi"', b'"' + b"x" * 3_000_000 + b'"')
    async with simulated_bedrock() as server:
        backend = bedrock(server.url)
        status, answer = await status_of(backend.open(to_bedrock(body=body)))
        assert status == 200, answer[:300]
        await backend.close()


async def test_credentials_are_refreshed_when_that_is_asked_for_and_their_lack_is_a_fact() -> None:
    async with simulated_bedrock() as server:
        provider = Provider()
        backend = bedrock(server.url, provider)
        await status_of(backend.open(to_bedrock(refresh=True)))
        await status_of(backend.open(to_bedrock()))
        assert provider.refreshed == [True, False]
        await backend.close()

    class Expired(Provider):
        async def get(self, refresh: bool = False) -> Keys:
            raise CredentialError("the SSO login of profile work has expired", hint="aws sso login --profile work")

    ended = await bedrock("http://127.0.0.1:9", Expired()).open(to_bedrock()).head()
    assert ended == AttemptEnded(
        0, Failure.CREDENTIALS, "the SSO login of profile work has expired (aws sso login --profile work)"
    )


async def test_a_region_that_is_none_never_becomes_a_request() -> None:
    backend = BedrockUpstream(
        Backend(BackendName("bedrock"), Kind.BEDROCK), Timeouts(), Provider(region="x@evil.example/"), environ={}
    )
    ended = await backend.open(to_bedrock()).head()
    assert isinstance(ended, AttemptEnded)
    assert ended.failure is Failure.CREDENTIALS
    await backend.close()


async def test_a_path_in_the_endpoint_is_part_of_what_is_signed() -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await request_of(reader))[0])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with listening(handler) as port:
        backend = bedrock(f"http://127.0.0.1:{port}/gate/")
        assert (await status_of(backend.open(to_bedrock())))[0] == 200
        await backend.close()
    assert heads[0].startswith(b"POST /gate/anthropic/v1/messages HTTP/1.1\r\n")


async def test_what_is_prepared_while_all_is_being_closed_is_in_nobodys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with simulated_bedrock(mantle=True, strict=False) as server:
        environ = {"AWS_ENDPOINT_URL_BEDROCK_MANTLE": server.url, "AWS_ENDPOINT_URL": f"{server.url}/runtime"}
        backend = Backend(BackendName("bedrock"), Kind.BEDROCK)
        upstream = BedrockUpstream(backend, Timeouts(), Provider(), environ=environ)
        closing = Wire.close

        async def close(wire: Wire) -> None:
            await upstream.warm()  # a look at the credentials that a reload has overtaken
            await closing(wire)

        monkeypatch.setattr(Wire, "close", close)
        command = to_bedrock(body=MANTLE_BODY, service="bedrock-mantle")
        assert (await status_of(upstream.open(command)))[0] == 200
        await upstream.close()
        monkeypatch.undo()
        await upstream.close()
