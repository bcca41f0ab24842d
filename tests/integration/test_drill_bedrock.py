"""The simulated Bedrock over real sockets, called as an AWS client calls it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
import yarl
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer

from claude_failover.clock import FakeClock, SystemClock
from claude_failover.core.types import Usage
from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.bedrock_access import ACCESS_KEY, API_KEY, SECRET_KEY
from claude_failover.drill.bedrock_faults import CATALOGUE, clock_skew, exception_frame
from claude_failover.drill.script import Answer, Refusal, Step, in_band, tool_call
from claude_failover.drill.sigv4 import Credential
from tests.fakes import bedrock_key_headers, messages_body, said, simulated_bedrock, sse_events

MESSAGES = "/anthropic/v1/messages"
PROFILE = "global.anthropic.claude-opus-5-5"
STREAM = f"/model/{PROFILE}/invoke-with-response-stream"
WHOLE = f"/model/{PROFILE}/invoke"
OLD = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke-with-response-stream"


def invoke_body(**changes: Any) -> bytes:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "x"}],
    }
    return json.dumps(body | changes).encode()


@asynccontextmanager
async def both(*steps: Step, mantle: bool = False) -> AsyncIterator[tuple[SimulatedBedrock, aiohttp.ClientSession]]:
    async with (
        simulated_bedrock(*steps, mantle=mantle) as bedrock,
        aiohttp.ClientSession() as session,
    ):
        yield bedrock, session


class Response:
    """A response, read to its end."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def frames(self) -> list[tuple[dict[str, str], Any]]:
        """Headers and decoded payload of each frame."""
        buffer = EventStreamBuffer()
        buffer.add_data(self.body)
        return [(event.headers, json.loads(event.payload or b"null")) for event in buffer]

    def events(self) -> list[dict[str, Any]]:
        """The Anthropic events in the frames."""
        return [json.loads(b64decode(payload["bytes"])) for _, payload in self.frames() if "bytes" in payload]


async def signed(
    bedrock: SimulatedBedrock,
    session: aiohttp.ClientSession,
    target: str,
    body: bytes,
    service: str = "bedrock",
    method: str = "POST",
) -> Response:
    url = bedrock.url + target
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    request = AWSRequest(method, url, data=body, headers=headers)
    SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), service, "us-east-1").add_auth(request)
    async with session.request(
        method, yarl.URL(url, encoded=True), data=body, headers=dict(request.headers.items())
    ) as response:
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status, lower, await response.read())


async def test_the_messages_surface_speaks_sse_without_pings() -> None:
    async with both(tool_call("Read", {"path": "x"}, said="Look.")) as (bedrock, session):
        response = await signed(bedrock, session, MESSAGES, messages_body(model=PROFILE))
        events = sse_events(response.body)
        message = dict(events)["message_start"]["message"]
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "ping" not in dict(events)
        assert said(response.body) == "Look."
        assert message["id"].startswith("msg_bdrk_")
        assert message["model"] == "claude-opus-5-5"
        assert b'"id":"toolu_bdrk_' in response.body
        assert "x-amzn-requestid" in response.headers


async def test_invoke_speaks_frames_with_metrics_on_the_last() -> None:
    async with both() as (bedrock, session):
        response = await signed(bedrock, session, STREAM, invoke_body())
        assert response.headers["content-type"] == "application/vnd.amazon.eventstream"
        assert response.headers["x-amzn-bedrock-content-type"] == "application/json"
        events = response.events()
        assert [event["type"] for event in events][:2] == ["message_start", "content_block_start"]
        usage = events[0]["message"]["usage"]
        metrics = events[-1]["amazon-bedrock-invocationMetrics"]
        assert metrics["inputTokenCount"] == usage["input_tokens"]
        assert bedrock.served == Usage(input=metrics["inputTokenCount"], output=metrics["outputTokenCount"])
        assert len({len(payload["p"]) for _, payload in response.frames()}) > 1


async def test_invoke_without_a_stream_tells_counts_in_headers() -> None:
    async with both() as (bedrock, session):
        response = await signed(bedrock, session, WHOLE, invoke_body())
        usage = json.loads(response.body)["usage"]
        assert response.headers["x-amzn-bedrock-input-token-count"] == str(usage["input_tokens"])
        assert response.headers["x-amzn-bedrock-output-token-count"] == str(usage["output_tokens"])


@pytest.mark.parametrize("path", [OLD, OLD.replace(":0", "%3A0")])
async def test_a_colon_in_the_path_may_be_raw_or_escaped(path: str) -> None:
    async with both() as (bedrock, session):
        assert (await signed(bedrock, session, path, invoke_body())).status == 200


async def test_an_application_profiles_arn_is_one_segment() -> None:
    arn = "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/abc"
    async with both() as (bedrock, session):
        bedrock.applications[arn] = "anthropic.claude-opus-5-5"
        path = f"/model/{arn.replace('/', '%2F')}/invoke"
        assert (await signed(bedrock, session, path, invoke_body())).status == 200
        assert (await signed(bedrock, session, f"/model/{arn}/invoke", invoke_body())).status == 404


async def test_a_key_is_enough() -> None:
    async with both() as (bedrock, session):
        for headers in (
            bedrock_key_headers(),
            {"x-api-key": API_KEY, "anthropic-version": "2023-06-01", "content-type": "application/json"},
        ):
            url = bedrock.url + MESSAGES
            async with session.post(url, data=messages_body(model=PROFILE), headers=headers) as response:
                assert response.status == 200


async def test_mantle_has_its_own_signing_name_and_ids() -> None:
    body = messages_body(model="anthropic.claude-opus-5-5")
    async with both(mantle=True) as (bedrock, session):
        assert (await signed(bedrock, session, MESSAGES, body, "bedrock-mantle")).status == 200
        assert (await signed(bedrock, session, MESSAGES, body)).status == 403
        profile = await signed(bedrock, session, MESSAGES, messages_body(model=PROFILE), "bedrock-mantle")
        assert json.loads(profile.body)["error"]["type"] == "not_found_error"
        assert (await signed(bedrock, session, STREAM, invoke_body(), "bedrock-mantle")).status == 404


async def test_unknown_routes_answer_200_with_a_coral_body() -> None:
    async with both() as (bedrock, session):
        response = await signed(bedrock, session, "/anthropic/v1/messages/count_tokens", b"{}")
        assert response.status == 200
        assert "UnknownOperationException" in json.loads(response.body)["Output"]["__type"]
        assert (await signed(bedrock, session, "/anthropic/v1/messages/batches", b"{}")).status == 403
        assert (await signed(bedrock, session, "/nothing", b"{}")).status == 404


async def test_both_shapes_of_error_have_their_own_headers() -> None:
    async with both() as (bedrock, session):
        new = await signed(bedrock, session, STREAM, invoke_body(speed="fast"))
        old = await signed(bedrock, session, OLD, invoke_body(speed="fast"))
        assert json.loads(new.body)["error"]["message"] == "speed: Extra inputs are not permitted"
        assert json.loads(old.body) == {"message": "speed: Extra inputs are not permitted"}
        assert old.headers["x-amzn-errortype"].split(":")[0] == "ValidationException"
        assert "x-amzn-errortype" not in new.headers


async def test_an_account_may_have_no_access_to_a_model() -> None:
    async with both() as (bedrock, session):
        bedrock.denied.add("anthropic.claude-opus-5-5")
        response = await signed(bedrock, session, STREAM, invoke_body())
        assert response.status == 403
        assert "access to the model" in json.loads(response.body)["message"]


async def test_a_body_over_20_mb_is_refused() -> None:
    async with both() as (bedrock, session):
        assert bedrock.max_message_bytes == 20 << 20
        bedrock.max_message_bytes = 200
        assert (await signed(bedrock, session, STREAM, invoke_body(system="x" * 200))).status == 413


async def test_profiles_and_models_are_listed_in_pages() -> None:
    async with both() as (bedrock, session):

        async def get(target: str) -> dict[str, Any]:
            response = await signed(bedrock, session, target, b"", method="GET")
            found: dict[str, Any] = json.loads(response.body)
            return found

        listed = await get("/inference-profiles?maxResults=1000&type=SYSTEM_DEFINED")
        ids = {profile["inferenceProfileId"] for profile in listed["inferenceProfileSummaries"]}
        assert {PROFILE, "us.anthropic.claude-haiku-5-5"} <= ids
        assert not any(name.startswith(("eu.", "jp.")) for name in ids)
        first = await get("/inference-profiles?maxResults=2&type=SYSTEM_DEFINED")
        second = await get(f"/inference-profiles?maxResults=2&nextToken={first['nextToken']}&type=SYSTEM_DEFINED")
        assert len(second["inferenceProfileSummaries"]) == 2
        one = await get(f"/inference-profiles/{PROFILE}")
        assert one["models"][0]["modelArn"].endswith("/anthropic.claude-opus-5-5")
        bedrock.applications["arn:aws:bedrock:us-east-1:0:application-inference-profile/a"] = (
            "anthropic.claude-opus-5-5"
        )
        assert (await get("/inference-profiles?type=APPLICATION"))["inferenceProfileSummaries"][0][
            "type"
        ] == "APPLICATION"
        models = (await get("/foundation-models?byProvider=anthropic"))["modelSummaries"]
        assert models[0]["inferenceTypesSupported"] == ["INFERENCE_PROFILE"]


@pytest.mark.parametrize("name", [name for name, make in CATALOGUE.items() if isinstance(make(), Refusal)])
async def test_every_refusal_arrives_with_its_status_and_words(name: str) -> None:
    refusal = CATALOGUE[name]()
    assert isinstance(refusal, Refusal)
    async with both(refusal) as (bedrock, session):
        response = await signed(bedrock, session, STREAM, invoke_body())
    assert response.status == refusal.status
    assert "retry-after" not in response.headers
    if refusal.body is not None:
        assert response.body == refusal.body
        return
    told = json.loads(response.body)
    if refusal.shape == "anthropic":
        assert told["error"] == {"type": refusal.error_type, "message": refusal.message}
    else:
        assert told == {"message": refusal.message}
        assert response.headers["x-amzn-errortype"].startswith(refusal.error_type + ":")


async def test_a_skewed_clock_is_in_the_date() -> None:
    async with both(clock_skew(600)) as (bedrock, session):
        response = await signed(bedrock, session, STREAM, invoke_body())
        assert response.headers["date"].endswith("GMT")
        assert "Signature expired" in json.loads(response.body)["message"]


async def test_an_exception_is_a_frame_in_a_frame_stream_and_an_event_in_sse() -> None:
    async with both() as (bedrock, session):
        bedrock.script.always(exception_frame("modelStreamErrorException", "start"))
        headers, payload = (await signed(bedrock, session, STREAM, invoke_body())).frames()[-1]
        assert headers[":exception-type"] == "modelStreamErrorException"
        assert payload["originalStatusCode"] == 529
        body = (await signed(bedrock, session, MESSAGES, messages_body(model=PROFILE))).body
        assert [name for name, _ in sse_events(body)] == ["message_start", "error"]
        whole = await signed(bedrock, session, WHOLE, invoke_body())
        assert whole.status == 424


async def test_broken_frames_are_broken_in_their_own_way() -> None:
    names = ("bad-checksum", "truncated-frame", "error-frame", "wrong-content-type")
    async with both(*(CATALOGUE[name]() for name in names)) as (bedrock, session):
        with pytest.raises(ChecksumMismatch):
            (await signed(bedrock, session, STREAM, invoke_body())).frames()
        truncated = await signed(bedrock, session, STREAM, invoke_body())
        assert [event["type"] for event in truncated.events()][-1] == "content_block_delta"
        headers, _ = (await signed(bedrock, session, STREAM, invoke_body())).frames()[-1]
        assert headers[":error-code"] == "InternalFailure"
        mislabelled = await signed(bedrock, session, STREAM, invoke_body())
        assert mislabelled.headers["content-type"] == "text/event-stream"
        assert len(mislabelled.events()) > 3


async def test_some_deployments_leave_cache_counts_out_of_the_last_delta() -> None:
    async with both() as (bedrock, session):
        bedrock.cache_in_delta = False
        for target in (STREAM, MESSAGES):
            body = invoke_body() if target is STREAM else messages_body(model=PROFILE)
            response = await signed(bedrock, session, target, body)
            events = response.events() if target is STREAM else [data for _, data in sse_events(response.body)]
            delta = next(event for event in events if event["type"] == "message_delta")
            assert set(delta["usage"]) == {"input_tokens", "output_tokens"}


async def test_anthropics_credentials_are_violations() -> None:
    async with (
        simulated_bedrock(allow_violations=True) as bedrock,
        aiohttp.ClientSession() as session,
    ):
        headers = bedrock_key_headers() | {"authorization": "Bearer sk-ant-oat01-worth-nothing"}
        async with session.post(bedrock.url + MESSAGES, data=b"{}", headers=headers) as response:
            assert response.status == 403
        assert bedrock.violations == ["an Anthropic credential at Bedrock: authorization"]


async def test_rules_can_be_switched_off_and_errors_in_a_stream_carry_their_type() -> None:
    async with (
        simulated_bedrock(Answer(), in_band("content", "api_error", "oops"), strict=False) as bedrock,
        aiohttp.ClientSession() as session,
    ):
        assert (await signed(bedrock, session, STREAM, invoke_body(speed="fast"))).status == 200
        body = (await signed(bedrock, session, MESSAGES, messages_body(model=PROFILE))).body
        assert sse_events(body)[-1][1]["error"] == {"type": "api_error", "message": "oops"}


async def test_a_service_whose_clock_is_ahead_refuses_and_its_date_says_by_how_much() -> None:
    here = SystemClock().now().wall
    async with (
        simulated_bedrock(clock=FakeClock(wall=here + 600)) as bedrock,
        aiohttp.ClientSession() as session,
    ):
        response = await signed(bedrock, session, STREAM, invoke_body())
        assert response.status == 403
        assert json.loads(response.body)["message"].startswith("Signature expired: ")
        there = parsedate_to_datetime(response.headers["date"]).timestamp()
        assert abs(there - here - 600) < 5


async def test_credentials_expire_while_the_service_runs() -> None:
    async with both() as (bedrock, session):
        known = bedrock.account.credentials
        known[ACCESS_KEY] = Credential(ACCESS_KEY, SECRET_KEY, expires=1.0)
        response = await signed(bedrock, session, STREAM, invoke_body())
        assert response.headers["x-amzn-errortype"].startswith("ExpiredTokenException:")
        known[ACCESS_KEY] = Credential(ACCESS_KEY, SECRET_KEY)
        assert (await signed(bedrock, session, STREAM, invoke_body())).status == 200
