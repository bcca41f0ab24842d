"""AWS credentials through the whole daemon: expiry, login, roles and clocks, while the Claude API refuses.

A real daemon process between a Claude API that is used up and a simulated AWS account that checks every signature.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path

import aiohttp
import pytest

from claude_failover.clock import SystemClock
from claude_failover.config_paths import find_paths
from claude_failover.control.client import ControlClient
from claude_failover.control.status import Status
from claude_failover.core.types import Epoch, Instant
from claude_failover.drill.claude_faults import plan_limit
from claude_failover.drill.sigv4 import Credential
from tests.aws_account import ScriptedEndpoint, SimulatedAccount
from tests.control_fakes import cli_async, short_directory
from tests.fakes import claude_headers, messages_body, said, simulated_claude
from tests.leak_search import current

NEVER = "2030-01-01T00:00:00Z"


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@dataclass
class Stage:
    """The daemon between its two backends."""

    home: Path
    account: SimulatedAccount
    address: str = ""

    async def status(self) -> Status:
        socket = find_paths(environ={"CLAUDE_FAILOVER_HOME": str(self.home / "cf")}).socket
        return await asyncio.to_thread(ControlClient(socket).status)

    async def ask(self, session: aiohttp.ClientSession) -> tuple[int, str, bytes]:
        url = f"{self.address}/v1/messages?beta=true"
        async with session.post(url, data=messages_body(), headers=claude_headers()) as response:
            return response.status, response.headers.get("x-claude-failover-backend", ""), await response.read()

    async def ask_once(self) -> tuple[int, str, bytes]:
        async with aiohttp.ClientSession() as session:
            return await self.ask(session)

    @property
    def invocations(self) -> int:
        """Requests for an answer that reached Bedrock, refused ones included."""
        return sum(seen.path.endswith(("/messages", "/invoke-with-response-stream")) for seen in self.account.requests)


@contextlib.asynccontextmanager
async def stage(
    home: Path, account: SimulatedAccount, profile: str = "null", **environment: str
) -> AsyncIterator[Stage]:
    """Start the daemon in a clean environment; the account must be up."""
    async with simulated_claude() as claude:
        claude.script.always(plan_limit())
        config = home / "cf/config.yaml"
        config.parent.mkdir(mode=0o700, exist_ok=True)
        config.write_text(
            f"listen: {{port: 0, client_key: 'off'}}\nbackends:\n"
            f"- {{name: claude, kind: anthropic, base_url: '{claude.url}'}}\n"
            f"- {{name: bedrock, kind: bedrock, region: us-east-1, profile: {profile}}}\n"
            "alerts: {desktop: false}\n"
        )
        started = await cli_async("start", home=home, AWS_ENDPOINT_URL=account.url, **environment)
        try:
            assert started.returncode == 0, started.stderr
            scene = Stage(home, account)
            scene.address = (await scene.status()).listen
            yield scene
        finally:
            await cli_async("stop", "--now", home=home)
    assert not account.violations, account.violations


def helper(home: Path, keys: Credential, expires: str) -> Path:
    """A ``credential_process`` that says *keys*, and counts how often it was asked."""
    answer = home / "keys.json"
    told(answer, keys, expires)
    program = home / "helper.py"
    program.write_text(f"print('x', file=open({str(home / 'asked')!r}, 'a'))\nprint(open({str(answer)!r}).read())\n")
    aws = home / ".aws"
    aws.mkdir(exist_ok=True)
    (aws / "config").write_text(
        f"[default]\ncredential_process = {shlex.quote(sys.executable)} {shlex.quote(str(program))}\n"
    )
    return answer


def told(answer: Path, keys: Credential, expires: str) -> None:
    tree = {
        "Version": 1, "AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret,
        "SessionToken": keys.session_token, "Expiration": expires,
    }  # fmt: skip
    answer.write_text(json.dumps(tree))


def asked(home: Path) -> int:
    return len((home / "asked").read_text().splitlines())


OLD = Credential("ASIASIMULATEDOLD0001", "old/secret/worth/nothing", "old-token-worth-nothing")
OVER = replace(OLD, expires=1_000_000_000.0)
NEW = Credential("ASIASIMULATEDNEW0001", "new/secret/worth/nothing", "new-token-worth-nothing")

CALM = 10.5
"""Seconds after a load in which no other is forced (credentials/aws.py), and a moment."""


async def recovered(scene: Stage, seconds: float = 30.0) -> None:
    """Ask until Bedrock answers."""
    async with asyncio.timeout(seconds):
        while (await scene.ask_once())[:2] != (200, "bedrock"):  # noqa: ASYNC110 - the daemon is another process
            await asyncio.sleep(0.25)


async def test_an_expired_token_is_refreshed_once_for_everybody_and_nobody_notices(home: Path) -> None:
    answer = helper(home, OLD, NEVER)
    async with SimulatedAccount(credentials=(OLD, NEW)) as account, stage(home, account) as scene:
        assert (await scene.ask_once())[:2] == (200, "bedrock")
        await asyncio.sleep(CALM)
        before = asked(home)
        account.account.credentials[OLD.access_key] = OVER
        told(answer, NEW, NEVER)
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            asking = [group.create_task(scene.ask(session)) for _ in range(12)]
        answers = [task.result() for task in asking]
        assert {(status, backend) for status, backend, _ in answers} == {(200, "bedrock")}
        assert all(said(body) for _, _, body in answers)
        assert asked(home) == before + 1
        at_first = scene.invocations
        assert (await scene.ask_once())[0] == 200
        assert scene.invocations == at_first + 1


async def test_a_token_that_stays_expired_is_tried_twice_and_the_primarys_error_stands(home: Path) -> None:
    helper(home, OLD, NEVER)
    async with SimulatedAccount(credentials=(OVER,)) as account, stage(home, account) as scene:
        status, backend, body = await scene.ask_once()
        assert (status, scene.invocations) == (429, 2)
        assert backend in {"claude", ""}
        assert b"rate_limit_error" in body


async def test_long_term_keys_that_somebody_rotates_are_read_again(home: Path) -> None:
    first, second = (
        Credential("AKIASIMULATED0000011", "one/worth/nothing"),
        Credential("AKIASIMULATED0000012", "two/worth/nothing"),
    )
    keys = home / ".aws/credentials"
    keys.parent.mkdir()
    keys.write_text("[default]\naws_access_key_id=AKIASIMULATED0000011\naws_secret_access_key=one/worth/nothing\n")
    async with SimulatedAccount(credentials=(first, second)) as account, stage(home, account) as scene:
        assert (await scene.ask_once())[:2] == (200, "bedrock")
        del account.account.credentials[first.access_key]
        keys.write_text("[default]\naws_access_key_id=AKIASIMULATED0000012\naws_secret_access_key=two/worth/nothing\n")
        await recovered(scene)


SSO = """[profile work]
sso_session = corp
sso_account_id = 000000000000
sso_role_name = Developer
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = us-east-1
"""


def sso_login(home: Path, expires: str, **more: str) -> None:
    """What ``aws sso login`` leaves."""
    cache = home / ".aws/sso/cache"
    cache.mkdir(parents=True, exist_ok=True)
    token = {
        "accessToken": "worth-nothing-sso",
        "expiresAt": expires,
        "startUrl": "https://corp.awsapps.com/start",
        **more,
    }
    (cache / f"{sha1(b'corp').hexdigest()}.json").write_text(json.dumps(token))


ROLE = json.dumps(
    {
        "roleCredentials": {
            "accessKeyId": NEW.access_key,
            "secretAccessKey": NEW.secret,
            "sessionToken": NEW.session_token,
            "expiration": 4_000_000_000_000,
        }
    }
)


async def test_after_an_sso_login_it_works_again_by_itself(home: Path) -> None:
    (home / ".aws").mkdir()
    (home / ".aws/config").write_text(SSO)
    sso_login(home, "2020-01-01T00:00:00Z")
    async with ScriptedEndpoint() as portal, SimulatedAccount(credentials=(NEW,)) as account:
        portal.says["GET", "/federation/credentials"] = (200, ROLE)
        async with stage(home, account, "work", AWS_ENDPOINT_URL_SSO=portal.url) as scene:
            assert (await scene.ask_once())[0] == 429
            shown = json.dumps([one.credential + one.why for one in (await scene.status()).backends])
            shown += json.dumps([f"{notice.title} {notice.hint}" for notice in (await scene.status()).needs_you])
            assert "SSO login has expired" in shown
            assert "aws sso login --profile work" in shown
            sso_login(home, NEVER)
            await recovered(scene)
            assert portal.requests[0].header("x-amz-sso_bearer_token") == "worth-nothing-sso"


async def test_an_sso_token_with_a_refresh_token_is_refreshed_without_a_login(home: Path) -> None:
    (home / ".aws").mkdir()
    (home / ".aws/config").write_text(SSO)
    soon = (datetime.now(UTC) + timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - botocore's clock
    sso_login(
        home, soon, refreshToken="worth-nothing-again", clientId="us", clientSecret="worth-nothing",
        registrationExpiresAt=NEVER, region="us-east-1",
    )  # fmt: skip
    async with ScriptedEndpoint() as oidc, SimulatedAccount(credentials=(NEW,)) as account:
        oidc.says["GET", "/federation/credentials"] = (200, ROLE)
        oidc.says["POST", "/token"] = (
            200,
            json.dumps({"accessToken": "worth-nothing-fresh", "expiresIn": 28800, "tokenType": "B"}),
        )
        endpoints = {"AWS_ENDPOINT_URL_SSO": oidc.url, "AWS_ENDPOINT_URL_SSO_OIDC": oidc.url}
        async with stage(home, account, "work", **endpoints) as scene:
            assert (await scene.ask_once())[:2] == (200, "bedrock")
        asked = [(seen.method, seen.path) for seen in oidc.requests]
        assert asked[0] == ("POST", "/token")
        assert json.loads(oidc.requests[0].body)["grantType"] == "refresh_token"
        assert oidc.requests[-1].header("x-amz-sso_bearer_token") == "worth-nothing-fresh"


async def test_a_role_is_assumed_again_when_bedrock_calls_its_token_expired(home: Path) -> None:
    base = Credential("AKIASIMULATEDBASE001", "base/worth/nothing")
    aws = home / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text(
        "[base]\naws_access_key_id=AKIASIMULATEDBASE001\naws_secret_access_key=base/worth/nothing\n"
    )
    (aws / "config").write_text(
        "[profile role]\nrole_arn=arn:aws:iam::000000000000:role/x\nsource_profile=base\nregion=us-east-1\n"
    )
    async with SimulatedAccount(credentials=(base,)) as account:
        account.assumes = OLD
        async with stage(home, account, "role") as scene:
            assert (await scene.ask_once())[:2] == (200, "bedrock")
            before = account.asked.count("AssumeRole")
            account.account.credentials[OLD.access_key] = OVER
            account.assumes = NEW
            await recovered(scene)
            assert account.asked.count("AssumeRole") == before + 1


async def test_a_web_identity_becomes_a_role(home: Path) -> None:
    (home / "identity").write_text("made.up.worth-nothing")
    current.meant_in(home / "identity")
    environment = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "identity"),
        "AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/runner",
        "AWS_REGION": "us-east-1",
    }
    async with SimulatedAccount(credentials=()) as account:
        account.assumes = NEW
        async with stage(home, account, **environment) as scene:
            assert (await scene.ask_once())[:2] == (200, "bedrock")
        assert set(account.asked) == {"AssumeRoleWithWebIdentity"}


METADATA = json.dumps(
    {
        "Code": "Success",
        "AccessKeyId": NEW.access_key,
        "SecretAccessKey": NEW.secret,
        "Token": NEW.session_token,
        "Expiration": NEVER,
    }
)


async def test_an_instances_role_is_used_where_there_is_one(home: Path) -> None:
    async with ScriptedEndpoint() as metadata, SimulatedAccount(credentials=(NEW,)) as account:
        role = "/latest/meta-data/iam/security-credentials/"
        metadata.says["PUT", "/latest/api/token"] = (200, "worth-nothing-imds")
        metadata.says["GET", role] = (200, "runner")
        metadata.says["GET", role + "runner"] = (200, METADATA)
        environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url, "AWS_EC2_METADATA_DISABLED": "false"}
        async with stage(home, account, **environment) as scene:
            assert (await scene.ask_once())[:2] == (200, "bedrock")
        assert metadata.requests[-1].header("x-aws-ec2-metadata-token") == "worth-nothing-imds"


async def test_a_containers_role_is_used_with_its_token_file(home: Path) -> None:
    (home / "token").write_text("worth-nothing-pod")
    current.meant_in(home / "token")
    async with ScriptedEndpoint() as agent, SimulatedAccount(credentials=(NEW,)) as account:
        agent.says["GET", "/v1/credentials"] = (200, METADATA)
        environment = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(home / "token"),
        }
        async with stage(home, account, **environment) as scene:
            assert (await scene.ask_once())[:2] == (200, "bedrock")
        assert agent.requests[0].header("authorization") == "worth-nothing-pod"


@dataclass
class Shifted:
    """AWS's clock, as seen by a machine whose own is off."""

    by: float

    def now(self) -> Instant:
        now = SystemClock().now()
        return Instant(Epoch(now.wall + self.by), now.monotonic)


@pytest.mark.parametrize("by", [1800.0, -1800.0])
async def test_a_wrong_clock_costs_one_refusal_and_no_more(home: Path, by: float) -> None:
    keys = Credential("AKIASIMULATED0000001", "simulated/worth/nothing")
    environment = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret}
    async with (
        SimulatedAccount(clock=Shifted(by), credentials=(keys,)) as account,
        stage(home, account, **environment) as scene,
    ):
        assert (await scene.ask_once())[:2] == (200, "bedrock")
        assert scene.invocations == 2
        assert (await scene.ask_once())[:2] == (200, "bedrock")
        assert scene.invocations == 3
