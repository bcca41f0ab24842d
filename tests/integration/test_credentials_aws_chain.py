"""botocore's chain against files, helper processes and endpoints on loopback."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import botocore.credentials
import botocore.tokens
import pytest

from claude_failover.credentials import aws_chain
from claude_failover.credentials.aws import AwsProvider
from claude_failover.errors import CredentialError
from tests.leak_search import current

SECRET, TOKEN = "worth/nothing", "worth-nothing"
SOON = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - botocore asks the machine


@pytest.fixture(autouse=True)
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ~/.aws, and none of the environment's variables."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    folder = tmp_path / ".aws"
    folder.mkdir()
    # botocore fixes these when it is imported, with the home directory of then.
    monkeypatch.setattr(botocore.tokens.SSOTokenProvider, "_SSO_TOKEN_CACHE_DIR", str(folder / "sso" / "cache"))
    monkeypatch.setattr(botocore.credentials.SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(folder / "sso" / "cache"))
    return folder


class Endpoint:
    """Answers every request with the next of its answers; remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.seen: list[tuple[str, str | None]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.seen.append((self.path, self.headers.get("Authorization")))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = endpoint.answers.pop(0) if endpoint.answers else (500, "{}")
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server looks for

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


def revealed(keys: aws_chain.AwsKeys) -> tuple[str, str | None, str | None]:
    secret, token = keys.secret_key, keys.session_token
    return keys.access_key, secret.reveal() if secret else None, token.reveal() if token else None


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "worth-nothing-hidden")
    keys = aws_chain.load(None)
    assert (keys.source, keys.kind, keys.expires) == ("env", "long-term keys", None)
    assert revealed(keys) == ("AKIAENV", "worth-nothing-hidden", None)
    assert "worth-nothing-hidden" not in repr(keys)


def test_keys_and_region_of_a_profile(aws: Path) -> None:
    (aws / "credentials").write_text("[work]\naws_access_key_id=AKIAWORK\naws_secret_access_key=worth/nothing\n")
    (aws / "config").write_text("[profile work]\nregion=eu-central-1\n")
    keys = aws_chain.load("work")
    assert (keys.source, keys.tail) == ("shared-credentials-file (profile work)", "WORK")
    assert aws_chain.load_region("work") == "eu-central-1"
    assert aws_chain.load_region(None) is None


async def test_a_region_that_nobody_names_is_said(aws: Path) -> None:
    with pytest.raises(CredentialError, match="no AWS region is configured"):
        await AwsProvider().region()
    (aws / "config").write_text("[default]\nregion=eu-central-1\n")
    assert await AwsProvider().region() == "eu-central-1"


def test_container_credentials(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.answers = [
        (200, json.dumps({"AccessKeyId": "ASIA1", "SecretAccessKey": SECRET, "Token": TOKEN, "Expiration": SOON}))
    ]
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.url + "/creds")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer worth-nothing-local")
    keys = aws_chain.load(None)
    assert (keys.source, keys.kind) == ("container-role", "temporary keys")
    assert revealed(keys) == ("ASIA1", SECRET, TOKEN)
    assert keys.expires is not None
    assert endpoint.seen == [("/creds", "Bearer worth-nothing-local")]


def process(aws: Path, script: str) -> None:
    helper = aws / "helper.py"
    current.meant_in(helper)
    helper.write_text(f"#!{sys.executable}\n{script}\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    (aws / "config").write_text(f"[default]\ncredential_process={helper}\n")


def test_a_helper_process(aws: Path) -> None:
    said = {"Version": 1, "AccessKeyId": "ASIAP", "SecretAccessKey": SECRET, "SessionToken": TOKEN, "Expiration": SOON}
    process(aws, f"print({json.dumps(said)!r})")
    assert aws_chain.load(None).source == "custom-process"


def test_what_a_failing_helper_process_says_is_not_repeated(aws: Path) -> None:
    process(aws, "import sys; sys.exit('worth-nothing-of-the-helper')")
    with pytest.raises(CredentialError, match="could not be got from custom-process") as caught:
        aws_chain.load(None)
    assert "worth-nothing-of-the-helper" not in str(caught.value)
    assert caught.value.hint == "aws sts get-caller-identity"


def test_nothing_configured_is_said_with_what_to_type() -> None:
    with pytest.raises(CredentialError, match="no AWS credentials found") as caught:
        aws_chain.load(None)
    assert "token set bedrock" in str(caught.value.hint)


def test_a_profile_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CredentialError, match="the AWS profile 'gone' does not exist"):
        aws_chain.load("gone")
    monkeypatch.setenv("AWS_PROFILE", "gone-too")
    with pytest.raises(CredentialError, match="the AWS profile 'gone-too' does not exist"):
        aws_chain.load_region(None)


def test_a_half_configured_environment_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    with pytest.raises(CredentialError, match="AWS_SECRET_ACCESS_KEY"):
        aws_chain.load(None)


SSO_CONFIG = """[profile work]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Developer
region = us-east-1
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = us-east-1
"""


def sso_token(aws: Path, expires: str) -> None:
    cache = aws / "sso" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    token = {"accessToken": "worth-nothing-sso", "expiresAt": expires, "startUrl": "https://corp.awsapps.com/start"}
    (cache / f"{sha1(b'corp').hexdigest()}.json").write_text(json.dumps(token))


async def test_an_expired_sso_login_says_what_to_type_and_recovers_after_it(
    aws: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    (aws / "config").write_text(SSO_CONFIG)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", endpoint.url)
    monkeypatch.setattr("claude_failover.credentials.aws.LOOK_EVERY", 0.0)
    provider = AwsProvider("work")
    with pytest.raises(CredentialError, match=r"the AWS SSO login has expired \(profile work\)") as caught:
        await provider.get()
    assert caught.value.hint == "aws sso login --profile work"
    assert (await provider.status()).hint == "aws sso login --profile work"
    sso_token(aws, SOON)
    role = {"accessKeyId": "ASIASSO", "secretAccessKey": SECRET, "sessionToken": TOKEN, "expiration": 4_000_000_000_000}
    endpoint.answers = [(200, json.dumps({"roleCredentials": role}))]
    keys = await provider.get()
    assert (keys.source, keys.access_key) == ("sso (profile work)", "ASIASSO")
    assert endpoint.seen[0][0].startswith("/federation/credentials?")


ROLE = "[profile role]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=base\nregion=us-east-1\n"
ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>worth/nothing</SecretAccessKey><SessionToken>worth-nothing</SessionToken>
<Expiration>{}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>User: someone is not authorized</Message></Error></ErrorResponse>"""


def test_a_role_is_assumed_and_a_refusal_names_the_operation(
    aws: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    (aws / "credentials").write_text("[base]\naws_access_key_id=AKIABASE\naws_secret_access_key=worth/nothing\n")
    (aws / "config").write_text(
        "[profile role]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=base\nregion=us-east-1\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint.url)
    endpoint.answers = [(200, ASSUMED.format(SOON)), (403, DENIED)]
    assert aws_chain.load("role").access_key == "ASIAROLE"
    with pytest.raises(CredentialError, match=r"AWS refused AssumeRole: AccessDenied \(profile role\)"):
        aws_chain.load("role")


def test_instance_metadata_is_asked_only_where_something_hints_at_it(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setattr(aws_chain, "_EC2_SIGNS", ())
    with pytest.raises(CredentialError, match="no AWS credentials found"):
        aws_chain.load(None)
    role = {"AccessKeyId": "ASIAEC2", "SecretAccessKey": SECRET, "Token": TOKEN, "Expiration": SOON, "Code": "Success"}
    endpoint.answers = [(200, "worth-nothing-imds"), (200, "role-name"), (200, json.dumps(role))]
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.url)
    assert aws_chain.load(None).access_key == "ASIAEC2"


@pytest.mark.parametrize(("vendor", "asks"), [("Amazon EC2\n", True), ("LENOVO\n", False)])
def test_a_machine_of_ec2_is_known_by_its_vendor(
    vendor: str, asks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = tmp_path / "sys_vendor"
    sign.write_text(vendor)
    monkeypatch.setattr(aws_chain, "_EC2_SIGNS", ((sign, "amazon ec2"), (tmp_path / "absent", "x")))
    assert aws_chain._may_be_ec2() is asks


def test_a_service_that_cannot_be_reached_is_named_by_kind(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (aws / "credentials").write_text("[base]\naws_access_key_id=AKIABASE\naws_secret_access_key=worth/nothing\n")
    (aws / "config").write_text(
        "[profile role]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=base\nregion=us-east-1\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(CredentialError, match="could not be got: EndpointConnectionError"):
        aws_chain.load("role")


def test_a_file_that_does_not_parse_is_named(aws: Path) -> None:
    (aws / "config").write_text("[default\n")
    with pytest.raises(CredentialError, match="the AWS configuration is wrong"):
        aws_chain.load(None)
