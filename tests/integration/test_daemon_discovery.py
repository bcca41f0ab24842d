"""Discovery over sockets: what an account lists, and every way of not being told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from claude_failover import events
from claude_failover.clock import SystemClock
from claude_failover.core.settings import Backend
from claude_failover.core.types import BackendName, Kind
from claude_failover.credentials.aws import AwsProvider
from claude_failover.credentials.aws_chain import AwsKeys
from claude_failover.credentials.secret import Secret
from claude_failover.daemon import discovery
from claude_failover.drill.bedrock_access import ACCESS_KEY, API_KEY, SECRET_KEY
from claude_failover.errors import ControlError, CredentialError
from tests.fakes import simulated_bedrock
from tests.sockets import listening, request_of

BEDROCK = Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1")
KEYS = AwsKeys("test", access_key=ACCESS_KEY, secret_key=Secret(SECRET_KEY))


def at(url: str) -> Backend:
    return Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1", endpoint_url=url)


def provider(keys: AwsKeys = KEYS, **environ: str) -> AwsProvider:
    return AwsProvider(region="us-east-1", environ=environ, load=lambda _: keys)


async def ask(backend: Backend, credentials: AwsProvider, **environ: str) -> discovery.Listing:
    return await discovery.discover(backend, credentials, SystemClock(), environ)


async def test_profiles_that_can_be_called_are_listed_with_a_signature() -> None:
    async with simulated_bedrock() as bedrock:
        found = await ask(at(bedrock.url), provider())
    assert "global.anthropic.claude-opus-5-5" in found.ids
    assert not any(one.startswith("eu.") for one in found.ids), "nobody in us-east-1 can call a profile of the EU"
    assert found.region == "us-east-1"


async def test_a_bedrock_api_key_asks_as_well() -> None:
    async with simulated_bedrock() as bedrock:
        found = await ask(at(bedrock.url), provider(), AWS_ENDPOINT_URL=bedrock.url)
        with_key = await ask(at(bedrock.url), provider(AwsKeys("test", api_key=Secret(API_KEY))))
    assert found.ids == with_key.ids


async def test_the_control_planes_own_endpoint_wins_over_the_runtimes() -> None:
    async with simulated_bedrock() as bedrock:
        found = await ask(at("http://127.0.0.1:9"), provider(), AWS_ENDPOINT_URL_BEDROCK=bedrock.url)
    assert found.ids


async def pages(answers: list[tuple[int, object]]) -> tuple[discovery.Listing | ControlError, list[str]]:
    """Ask a server that gives these answers one after the other."""
    asked: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await request_of(reader)
            asked.append(head.split(b" ")[1].decode())
            status, answer = answers[len(asked) - 1]
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)

    async with listening(handler) as port:
        try:
            return await ask(at(f"http://127.0.0.1:{port}"), provider()), asked
        except ControlError as error:
            return error, asked


async def test_every_page_is_read_and_only_what_can_be_called_is_kept() -> None:
    profile = {"inferenceProfileId": "us.anthropic.claude-opus-5-5", "status": "ACTIVE"}
    gone = {"inferenceProfileId": "us.anthropic.claude-opus-5", "status": "INACTIVE"}
    other = {"inferenceProfileId": "us.amazon.nova-pro-v1:0"}
    direct = {"modelId": "anthropic.claude-opus-5-5", "inferenceTypesSupported": ["ON_DEMAND"]}
    only = {"modelId": "anthropic.claude-opus-5", "inferenceTypesSupported": ["INFERENCE_PROFILE"]}
    found, asked = await pages(
        [
            (200, {"inferenceProfileSummaries": [gone, "nonsense"], "nextToken": "a/b="}),
            (200, {"inferenceProfileSummaries": [profile, other]}),
            (200, {"modelSummaries": [direct, only, {}]}),
        ]
    )
    assert isinstance(found, discovery.Listing)
    assert found.ids == ("anthropic.claude-opus-5-5", "us.anthropic.claude-opus-5-5")
    assert asked == [
        "/inference-profiles?maxResults=1000&type=SYSTEM_DEFINED",
        "/inference-profiles?maxResults=1000&nextToken=a%2Fb%3D&type=SYSTEM_DEFINED",
        "/foundation-models?byProvider=anthropic",
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((403, {"message": "not authorized"}), "AWS answered 403 to /inference-profiles: not authorized"),
        ((500, b"<html>"), "AWS answered 500 to /inference-profiles"),
        ((302, b""), "AWS answered 302"),
        ((200, b"[]"), "the answer is not understood"),
        ((200, b"\xff"), "the answer is not understood"),
    ],
)
async def test_a_refusal_is_told(answer: tuple[int, object], message: str) -> None:
    found, asked = await pages([answer])
    assert isinstance(found, ControlError)
    assert message in str(found)
    assert len(asked) == 1
    assert ("bedrock:ListInferenceProfiles" in (found.hint or "")) is (answer[0] == 403)


async def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MAX_ANSWER", 10)
    found, _ = await pages([(200, {"inferenceProfileSummaries": ["long enough"]})])
    assert "too long" in str(found)


async def test_a_silent_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "PATIENCE", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        await reader.read()

    async with listening(silent) as port:
        with pytest.raises(ControlError, match="did not list its models"):
            await ask(at(f"http://127.0.0.1:{port}"), provider())


async def test_nobody_there_and_no_keys_are_told() -> None:
    with pytest.raises(ControlError, match="cannot be reached"):
        await ask(at("http://127.0.0.1:9"), provider())

    def none(profile: str | None) -> AwsKeys:
        raise CredentialError(f"no keys for {profile}", hint="aws configure")

    with pytest.raises(ControlError, match="no keys for None") as caught:
        await ask(at("http://127.0.0.1:9"), AwsProvider(region="us-east-1", environ={}, load=none))
    assert caught.value.hint == "aws configure"


def test_where_the_control_plane_is() -> None:
    assert discovery.origin(BEDROCK, "us-east-1", {}) == "https://bedrock.us-east-1.amazonaws.com"
    fips = {"AWS_USE_FIPS_ENDPOINT": "true"}
    assert discovery.origin(BEDROCK, "us-gov-west-1", fips) == "https://bedrock-fips.us-gov-west-1.amazonaws.com"
    assert discovery.origin(BEDROCK, "eusc-de-east-1", {}) == "https://bedrock.eusc-de-east-1.amazonaws.eu"
    assert discovery.origin(at("http://127.0.0.1:1/"), "us-east-1", {}) == "http://127.0.0.1:1"
    assert discovery.origin(BEDROCK, "us-east-1", {"AWS_ENDPOINT_URL": "http://x"}) == "http://x"
    with pytest.raises(CredentialError):
        discovery.origin(BEDROCK, "x@evil.example/", {})


def test_what_was_listed_is_kept_privately(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    assert discovery.load(path) == {}
    listing = discovery.Listing(("us.anthropic.claude-opus-5-5",), "us-east-1", 5.0)
    discovery.save(path, {"bedrock": listing})
    assert path.stat().st_mode & 0o777 == 0o600
    assert discovery.load(path) == {"bedrock": listing}
    assert discovery.by_backend({"bedrock": listing}) == {"bedrock": listing.ids}
    path.write_bytes(b"{torn")
    assert discovery.load(path) == {}
    with events.capture() as said:
        discovery.save(tmp_path / "gone" / "models.json", {})
    assert [event.name for event in said] == ["ledger.failed"]
