"""A second opinion on our simulator's signatures and frames: the AWS SDK for JavaScript.

botocore signs for the product and also judges the simulator in its own tests; here code of another house signs
and encodes the same things again. Without node and npm these tests fail: a missing tool is no result.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer

from claude_failover.core.eventstream import Decoder, Frame
from claude_failover.drill import frames
from claude_failover.drill.bedrock_access import ACCESS_KEY, SECRET_KEY
from claude_failover.drill.script import Seen
from claude_failover.drill.sigv4 import Credential, signature
from tests.fakes import messages_body, simulated_bedrock

NODE = Path(__file__).parent / "node"
TOKEN = "made-up/session+token=="

TARGETS = [
    "/anthropic/v1/messages",
    "/anthropic/v1/messages?beta=true",
    "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke-with-response-stream",
    "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
    "/model/arn:aws:bedrock:us-east-1:000000000000:inference-profile%2Fglobal.anthropic.claude-opus-5-5/invoke",
    "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A000000000000%3Aapplication-inference-profile%2Fabc/invoke",
]


@pytest.fixture(scope="session")
def node() -> str:
    """The node executable, with the pinned packages installed beside the scripts."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.fail("node and npm are needed here: install Node.js 18 or later")
    lock, installed = NODE / "package-lock.json", NODE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=NODE,
            check=True,
            capture_output=True,
            timeout=300,
        )
    return found


def ask(node: str, script: str, question: object) -> Any:
    """Run one of the scripts."""
    done = subprocess.run(
        [node, str(NODE / script)], input=json.dumps(question).encode(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def parts(request: Seen) -> tuple[str, str, str]:
    """Scope, signed headers and signature of a request's authorization."""
    match = re.search(
        r"Credential=[^/]+/(\S+), SignedHeaders=(\S+), Signature=(\w+)", request.header("authorization") or ""
    )
    assert match is not None
    scope, signed, given = match.groups()
    return scope, signed, given


def by_smithy(node: str, requests: Sequence[Seen], service: str = "bedrock") -> list[str]:
    """The signatures that smithy makes for requests that arrived."""
    questions = [
        {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "body": b64encode(request.body).decode(),
            "region": "us-east-1",
            "service": service,
            "accessKeyId": ACCESS_KEY,
            "secretAccessKey": SECRET_KEY,
            "signed": parts(request)[1].split(";"),
        }
        for request in requests
    ]
    signatures: list[str] = ask(node, "sign.mjs", questions)
    return signatures


async def captured(
    service: str = "bedrock", token: str | None = None, more: dict[str, str] | None = None
) -> list[Seen]:
    """Requests signed by botocore, sent by aiohttp, as the simulator received them."""
    async with (
        simulated_bedrock(strict=False, mantle=service == "bedrock-mantle") as bedrock,
        aiohttp.ClientSession() as session,
    ):
        bedrock.account.credentials[ACCESS_KEY] = Credential(ACCESS_KEY, SECRET_KEY, token)
        for target in TARGETS:
            url, body = bedrock.url + target, messages_body("Grüße " * 50, model="global.anthropic.claude-opus-5-5")
            request = AWSRequest("POST", url, data=body, headers={"content-type": "application/json", **(more or {})})
            SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY, token), service, "us-east-1").add_auth(request)
            headers = dict(request.headers.items())
            async with session.post(yarl.URL(url, encoded=True), data=body, headers=headers) as response:
                assert response.status != 403, await response.read()
        return list(bedrock.requests)


@pytest.mark.parametrize(
    ("service", "token", "more"),
    [
        ("bedrock", None, {}),
        ("bedrock", TOKEN, {}),
        ("bedrock-mantle", None, {}),
        ("bedrock", None, {"accept": "application/vnd.amazon.eventstream", "x-amzn-bedrock-service-tier": "flex"}),
        ("bedrock", None, {"x-amz-meta": "a   b"}),
    ],
    ids=["plain", "session token", "mantle", "more headers", "spaces"],
)
async def test_three_signers_agree_on_what_arrived(
    node: str, service: str, token: str | None, more: dict[str, str]
) -> None:
    requests = await captured(service, token, more)
    theirs = await asyncio.to_thread(by_smithy, node, requests, service)
    for request, smithy in zip(requests, theirs, strict=True):
        scope, signed, botocore = parts(request)
        assert smithy == botocore == signature(request, SECRET_KEY, scope, signed), request.target


async def test_three_signers_agree_on_what_was_touched(node: str) -> None:
    requests = await captured()
    touched = [
        Seen(
            seen.number,
            seen.method,
            seen.target.replace("%3A", ":").replace("?beta=true", "?beta=false"),
            seen.headers,
            seen.body + b" ",
            1,
            0.0,
        )
        for seen in requests
    ]
    theirs = await asyncio.to_thread(by_smithy, node, touched)
    for request, smithy in zip(touched, theirs, strict=True):
        scope, signed, botocore = parts(request)
        assert smithy == signature(request, SECRET_KEY, scope, signed) != botocore


EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "msg_bdrk_1", "usage": {"input_tokens": 3}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüße, 世界 🌍" * 400}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}},
]


def test_smithy_reads_our_frames(node: str) -> None:
    ours = [
        *(frames.chunk(event, padding=number * 30) for number, event in enumerate(EVENTS)),
        frames.chunk(EVENTS[0], padding=None),
        frames.exception("modelStreamErrorException", "oops", {"originalStatusCode": 529}),
        frames.unmodelled_error("InternalFailure", "oops"),
        frames.corrupt(frames.chunk(EVENTS[0])),
        frames.corrupt(frames.chunk(EVENTS[0]), prelude=True),
        frames.chunk(EVENTS[0])[:-1],
    ]
    decoded = ask(node, "frames.mjs", {"decode": [b64encode(frame).decode() for frame in ours], "encode": []})[
        "decoded"
    ]
    for event, read in zip(EVENTS, decoded, strict=False):
        assert read["headers"] == {
            ":event-type": "chunk",
            ":content-type": "application/json",
            ":message-type": "event",
        }
        assert json.loads(b64decode(json.loads(b64decode(read["payload"]))["bytes"])) == event
    assert decoded[4]["headers"][":exception-type"] == "modelStreamErrorException"
    assert decoded[5]["headers"] == {
        ":message-type": "error",
        ":error-code": "InternalFailure",
        ":error-message": "oops",
    }
    assert all("error" in read for read in decoded[6:])


def test_our_decoder_and_botocores_read_smithys_frames(node: str) -> None:
    messages = [
        {"headers": {":message-type": "event", ":event-type": "chunk"}, "payload": b64encode(b"{}" * 5000).decode()},
        {"headers": {":message-type": "exception", ":exception-type": "throttlingException"}, "payload": ""},
        {"headers": {"ünï": "çödé"}, "payload": b64encode(bytes(range(256))).decode()},
    ]
    encoded = [b64decode(frame) for frame in ask(node, "frames.mjs", {"decode": [], "encode": messages})["encoded"]]
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(encoded))
    for message, read, frame in zip(messages, buffer, encoded, strict=True):
        headers, payload = message["headers"], b64decode(str(message["payload"]))
        assert (read.headers, read.payload) == (headers, payload)
        assert isinstance(headers, dict)
        assert frames.frame(headers, payload) == frame
        ours = Decoder().feed(frame)
        assert [(read.headers, read.payload) for read in ours if isinstance(read, Frame)] == [(headers, payload)]
