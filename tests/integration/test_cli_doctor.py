"""doctor as a user types it: one machine after the other that has something wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket as sockets
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1
from pathlib import Path
from typing import Any

import pexpect
import pytest

from claude_failover.clock import SystemClock
from claude_failover.control import claim
from claude_failover.control.status import BackendStatus, Notice, Severity, Status, Store
from claude_failover.core.types import Epoch, Instant
from claude_failover.drill.script import Answer, Refusal, Seen, cut, text
from tests.aws_account import ARN, SimulatedAccount
from tests.control_fakes import FakeDaemon, clean_environment, cli_async, sample_status, serving, short_directory
from tests.fakes import aws_environment, simulated_claude

CLAUDE = "#!/bin/sh\necho '2.1.330 (Claude Code)'\n"


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        program = directory / "bin/claude"
        program.parent.mkdir()
        program.write_text(CLAUDE)
        program.chmod(0o755)
        configure(directory, "listen: {port: 0}\n")
        yield directory


def configure(home: Path, text: str) -> None:
    file = home / "cf/config.yaml"
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_text(text)


@dataclass(frozen=True)
class Diagnosis:
    code: int
    findings: list[dict[str, Any]]

    def of(self, check: str) -> list[tuple[str, str]]:
        return [(one["level"], one["title"]) for one in self.findings if one["check"] == check]

    def fix(self, check: str) -> str:
        return next(str(one["fix"]) for one in self.findings if one["check"] == check and one["fix"])

    @property
    def failed(self) -> set[str]:
        return {one["check"] for one in self.findings if one["level"] == "failed"}


async def doctor(home: Path, *words: str, **more: str) -> Diagnosis:
    done = await cli_async("doctor", "--json", *words, home=home, **({"PATH": f"{home}/bin:{os.defpath}"} | more))
    assert done.returncode in {0, 1}, done.stderr
    tree = json.loads(done.stdout)
    assert tree["schema_version"] == 1
    assert tree["good"] is (done.returncode == 0)
    for one in tree["findings"]:
        assert set(one) == {"section", "check", "level", "title", "fix"}
        assert one["fix"] or one["level"] in {"good", "note"}, f"{one['check']} says not what to type"
    return Diagnosis(done.returncode, tree["findings"])


def level(found: list[tuple[str, str]]) -> str:
    assert len(found) == 1, found
    return found[0][0]


# --- a good machine, and how it is told


async def test_a_good_machine_is_good(home: Path) -> None:
    found = await doctor(home, **aws_environment())
    assert found.code == 0
    assert not found.failed
    sections = list(dict.fromkeys(one["section"] for one in found.findings))
    assert sections == ["config", "files", "daemon", "port", "claude", "token", "aws", "machine"]
    assert found.of("claude.program") == [("good", f"{home}/bin/claude, version 2.1.330")]
    assert found.of("aws.credentials")[0][1].startswith("bedrock: long-term keys …0001 from env")
    assert level(found.of("aws.region")) == "good"
    assert level(found.of("daemon.running")) == "note"


async def test_for_people_it_is_lines_with_a_fix_each_and_a_sum(home: Path) -> None:
    done = await cli_async("doctor", home=home, PATH=f"{home}/bin:{os.defpath}")
    assert done.returncode == 1
    assert "Configuration\n  ok " in done.stdout
    assert re.search(r"FAIL  bedrock: no AWS credentials found\n +fix: aws configure", done.stdout)
    # Some machine that runs this may run claude as well, which is a warning.
    assert re.fullmatch(r"2 failures(, 1 warning)?\.", done.stdout.rstrip().splitlines()[-1])
    assert "\x1b" not in done.stdout


# --- configuration, files, port, daemon


async def test_a_wrong_configuration_is_told_by_line_and_the_rest_is_checked_all_the_same(home: Path) -> None:
    configure(home, "listen:\n  port: many\nbakends: []\n")
    found = await doctor(home)
    assert [level for level, _ in found.of("config.file")] == ["failed", "failed"]
    assert "config.yaml:2: " in found.of("config.file")[0][1]
    assert "config.yaml:3: " in found.of("config.file")[1][1]
    assert found.of("machine.files")


async def test_a_home_that_is_no_place_is_a_finding_too(home: Path) -> None:
    found = await doctor(home, CLAUDE_FAILOVER_HOME="relative/place")
    assert "is not an absolute path" in found.of("config.place")[0][1]
    assert [one["section"] for one in found.findings if one["section"] != "machine"] == ["config"]


async def test_a_state_directory_that_others_can_write_to_fails(home: Path) -> None:
    state = home / "cf/state"
    state.mkdir(mode=0o700)
    state.chmod(0o777)
    (home / "cf/state/client.key").write_text("cfk_" + "x" * 40)
    (home / "cf/state/client.key").chmod(0o644)
    found = await doctor(home)
    assert "other users can write to it" in found.of("files.state")[0][1]
    assert found.fix("files.private") == f"chmod 600 {state}/client.key"
    assert {"files.state", "files.private"} <= found.failed


async def test_a_taken_port_names_its_owner(home: Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        configure(home, f"listen: {{port: {port}}}\n")
        found = await doctor(home)
    assert f"127.0.0.1:{port} is taken by pid {os.getpid()} (" in found.of("port.free")[0][1]
    assert "port.free" in found.failed
    assert level((await doctor(home)).of("port.free")) == "good"


@contextlib.asynccontextmanager
async def daemon(home: Path, status: Status) -> Any:
    run = home / "cf/run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with serving(FakeDaemon(status), run / "control.sock"):
        yield


async def test_a_daemon_of_another_version_and_what_it_needs(home: Path) -> None:
    needs = Notice("pin", "the pin does not match", "ask the network's owner", Severity.CRITICAL)
    odd = sample_status(version="0.0.1", config_error="config.yaml:3: unknown key", needs_you=(needs,))
    async with daemon(home, odd):
        found = await doctor(home)
    assert level(found.of("daemon.running")) == "good"
    assert found.of("daemon.version")[0][0] == "warning"
    assert found.fix("daemon.version") == "claude-failover restart"
    assert "unknown key" in found.of("daemon.config")[0][1]
    assert found.of("daemon.needs_you") == [("failed", "the pin does not match")]


async def test_a_daemon_that_holds_the_lock_and_is_silent_and_one_that_cannot_write(home: Path) -> None:
    (home / "cf/state").mkdir(mode=0o700)
    lock = claim.acquire(home / "cf/state/daemon.lock")
    silent = await doctor(home)
    async with daemon(home, sample_status(log=Store("/somewhere/daemon.log", ok=False, detail="No space left"))):
        full = await doctor(home)
    lock.release()
    assert f"pid {os.getpid()} holds the lock and does not answer" in silent.of("daemon.running")[0][1]
    assert silent.fix("daemon.running") == "claude-failover restart"
    assert full.of("daemon.store") == [("failed", "/somewhere/daemon.log: cannot be written: No space left")]


async def test_a_daemon_without_this_shells_credentials_is_told_apart_from_a_shell_without(home: Path) -> None:
    blind = BackendStatus("bedrock", "bedrock", usable=False, credential="no AWS credentials found")
    async with daemon(home, sample_status(backends=(blind,))):
        works_here = await doctor(home, **aws_environment())
        works_nowhere = await doctor(home)
    assert "works in this shell, but the daemon says: no AWS credentials found" in works_here.of("aws.daemon")[0][1]
    assert not works_nowhere.of("aws.daemon")


# --- Claude Code


async def test_no_claude_is_a_failure_and_an_old_one_a_warning(home: Path) -> None:
    (home / "bin/claude").write_text("#!/bin/sh\necho 2.0.50\n")
    old = await doctor(home)
    (home / "bin/claude").unlink()
    none = await doctor(home)
    assert level(old.of("claude.program")) == "warning"
    assert level(none.of("claude.program")) == "failed"


@pytest.mark.parametrize(
    "name", ["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_MANTLE"]
)
async def test_a_variable_that_leads_to_another_cloud_fails(home: Path, name: str) -> None:
    found = await doctor(home, **{name: "1"})
    assert found.of("claude.bypass")[0][1].startswith(f"{name}: ")
    assert found.fix("claude.bypass") == f"unset {name}"


async def test_settings_that_win_over_the_shell_are_named_with_their_file(home: Path) -> None:
    user = home / ".claude/settings.json"
    project = home / "work/.claude/settings.local.json"
    for file in (user, project):
        file.parent.mkdir(parents=True)
    user.write_text(json.dumps({"env": {"ANTHROPIC_AUTH_TOKEN": "worth-nothing"}, "apiKeyHelper": "/bin/helper"}))
    project.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": "https://elsewhere.example"}}))
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            [sys.executable, "-P", "-m", "claude_failover", "doctor", "--json"],
            env=clean_environment(home),
            cwd=home / "work",
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
    )
    titles = {one["title"] for one in json.loads(done.stdout)["findings"] if one["check"] == "claude.bypass"}
    assert any(f"{project}: env.ANTHROPIC_BASE_URL" in title for title in titles)
    assert any(f"{user}: env.ANTHROPIC_AUTH_TOKEN" in title for title in titles)
    assert any(f"{user}: apiKeyHelper" in title for title in titles)


async def test_settings_that_are_no_json_are_said(home: Path) -> None:
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text("{,}")
    assert level((await doctor(home)).of("claude.settings")) == "warning"


async def test_the_environment_of_a_daemon_that_is_gone_is_stale(home: Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        alive = await doctor(home, ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}")
    gone = await doctor(home, ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}")
    elsewhere = await doctor(home, ANTHROPIC_BASE_URL="https://gateway.example")
    broken = await doctor(home, ANTHROPIC_BASE_URL="http://127.0.0.1:port")
    assert level(alive.of("claude.shell")) == "warning"
    assert "this shell's environment is stale" in gone.of("claude.shell")[0][1]
    assert gone.fix("claude.shell").endswith('eval "$(claude-failover env)"')
    assert level(elsewhere.of("claude.shell")) == "warning"
    assert level(broken.of("claude.shell")) == "failed"


async def test_a_shell_with_another_daemons_key_is_told_so(home: Path) -> None:
    (home / "cf/state").mkdir(mode=0o700)
    (home / "cf/state/client.key").write_text("cfk_" + "right" * 8 + "\n")
    (home / "cf/state/client.key").chmod(0o600)
    with sockets.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        async with daemon(home, sample_status(listen=url)):
            shells = [
                await doctor(home, ANTHROPIC_BASE_URL=url, ANTHROPIC_CUSTOM_HEADERS=headers)
                for headers in ("x-claude-failover-key: cfk_" + "right" * 8, "x-claude-failover-key: cfk_other", "")
            ]
            through_a_proxy = await doctor(home, ANTHROPIC_BASE_URL=url, HTTPS_PROXY="http://proxy.example:3128")
    said = [shell.of("claude.shell")[0] for shell in shells]
    assert [one[0] for one in said] == ["good", "failed", "failed"]
    assert "another daemon's key" in said[1][1]
    assert "with no key" in said[2][1]
    assert level(through_a_proxy.of("claude.proxy")) == "failed"


async def test_a_proxy_without_loopback_in_no_proxy_and_one_that_is_ourselves(home: Path) -> None:
    spared = await doctor(home, HTTPS_PROXY="http://proxy.example:3128", NO_PROXY="localhost,127.0.0.1")
    not_spared = await doctor(home, HTTPS_PROXY="http://proxy.example:3128")
    configure(home, "listen: {port: 18485}\n")
    ourselves = await doctor(home, HTTP_PROXY="127.0.0.1:18485")
    assert level(spared.of("claude.proxy")) == "good"
    assert level(not_spared.of("claude.proxy")) == "note"
    assert ourselves.of("claude.proxy")[0] == ("failed", "HTTP_PROXY leads to our own port, which is no proxy")


async def test_a_running_claude_without_our_variables_is_named(home: Path) -> None:
    async with asyncio.timeout(50):
        agent = await asyncio.create_subprocess_exec("claude", "60", executable="/bin/sleep", env={})
        try:
            found = await doctor(home)
            (home / ".claude").mkdir()
            # Port 0 has no address before the daemon runs, so settings can only name what it says then.
            configure(home, "listen: {port: 18486}\n")
            settings = {"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:18486"}}
            (home / ".claude/settings.json").write_text(json.dumps(settings))
            led_by_settings = await doctor(home)
        finally:
            agent.kill()
            await agent.wait()
    assert found.of("claude.processes")[0][0] == "warning"
    assert str(agent.pid) in found.of("claude.processes")[0][1]
    assert "config show --claude-settings" in found.fix("claude.processes")
    assert not led_by_settings.of("claude.processes")
    assert level(led_by_settings.of("claude.shell")) == "good"


# --- credentials


async def test_a_stored_token_is_needed_where_the_configuration_says_so(home: Path) -> None:
    configure(
        home,
        "listen: {port: 0}\nbackends:\n- {name: claude, kind: anthropic, credential: stored}\n"
        "- {name: bedrock, kind: bedrock}\n",
    )
    without = await doctor(home)
    with_one = await doctor(home, CLAUDE_CODE_OAUTH_TOKEN="sk-ant-oat01-" + "made-up-and-worth-nothing-01")
    wrong = await doctor(home, ANTHROPIC_API_KEY="ABSKworth-nothing")
    assert level(without.of("token.stored")) == "failed"
    assert with_one.of("token.stored")[0][1].startswith("login token of env (CLAUDE_CODE_OAUTH_TOKEN)")
    assert wrong.of("token.source")[0][0] == "warning"


SSO = """[profile work]
sso_session = corp
sso_account_id = 000000000000
sso_role_name = Developer
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = us-east-1
"""


async def test_an_expired_sso_login_says_what_to_type(home: Path) -> None:
    cache = home / ".aws/sso/cache"
    cache.mkdir(parents=True)
    (home / ".aws/config").write_text(SSO)
    token = {
        "accessToken": "worth-nothing",
        "expiresAt": "2020-01-01T00:00:00Z",
        "startUrl": "https://corp.awsapps.com/start",
    }
    (cache / f"{sha1(b'corp').hexdigest()}.json").write_text(json.dumps(token))
    configure(
        home, "listen: {port: 0}\nbackends:\n- {name: bedrock, kind: bedrock, profile: work, region: us-east-1}\n"
    )
    found = await doctor(home)
    assert "the AWS SSO login has expired (profile work)" in found.of("aws.credentials")[0][1]
    assert found.fix("aws.credentials") == "aws sso login --profile work"


async def test_a_role_without_a_region_to_ask_sts_in_says_where_to_name_one(home: Path) -> None:
    aws = home / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text("[base]\naws_access_key_id=AKIABASE\naws_secret_access_key=worth/nothing\n")
    (aws / "config").write_text("[profile role]\nrole_arn=arn:aws:iam::000000000000:role/x\nsource_profile=base\n")
    found = await doctor(home, AWS_PROFILE="role", AWS_ENDPOINT_URL_STS="http://127.0.0.1:1")
    assert "aws.credentials" in found.failed
    assert found.fix("aws.credentials").startswith("export AWS_DEFAULT_REGION=us-east-1")


def short_term_key(seconds: float) -> str:
    """A Bedrock API key of the short-term kind that began an hour ago and ends in *seconds*."""
    began = datetime.fromtimestamp(SystemClock().now().wall - 3600, UTC)
    url = f"bedrock.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Date={began:%Y%m%dT%H%M%SZ}"
    return "bedrock-api-key-" + b64encode(f"{url}&X-Amz-Expires={3600 + seconds:.0f}&Version=1".encode()).decode()


async def test_a_key_that_ends_soon_or_has_ended_is_told_with_its_time(home: Path) -> None:
    soon = await doctor(home, AWS_REGION="us-east-1", AWS_BEARER_TOKEN_BEDROCK=short_term_key(1200))
    later = await doctor(home, AWS_REGION="us-east-1", AWS_BEARER_TOKEN_BEDROCK=short_term_key(20_000))
    over = await doctor(home, AWS_REGION="us-east-1", AWS_BEARER_TOKEN_BEDROCK=short_term_key(-60))
    assert level(soon.of("aws.credentials")) == "warning"
    assert re.search(r"for another (19|20) min", soon.of("aws.credentials")[0][1])
    assert level(later.of("aws.credentials")) == "good"
    assert "has expired" in over.of("aws.credentials")[0][1]


async def test_no_region_a_wrong_region_a_scope_from_elsewhere_an_open_endpoint(home: Path) -> None:
    keys = aws_environment()
    del keys["AWS_REGION"]
    assert level((await doctor(home, **keys)).of("aws.region")) == "failed"
    assert "is no AWS region" in (await doctor(home, **keys, AWS_REGION="nowhere")).of("aws.region")[0][1]
    backend = "listen: {{port: 0}}\nbackends:\n- {{name: bedrock, kind: bedrock, region: eu-central-1{}}}\n"
    configure(home, backend.format(", scope: us"))
    assert "scope us cannot be called from eu-central-1" in (await doctor(home, **keys)).of("aws.models")[0][1]
    configure(home, backend.format(", max_output_tokens: 8000"))
    lowered = await doctor(home, **keys, AWS_ENDPOINT_URL_BEDROCK_RUNTIME="http://10.0.0.1")
    assert level(lowered.of("aws.quota")) == "good"
    assert lowered.of("aws.quota")[0][1].startswith("bedrock: max_tokens is lowered to 8,000; ")
    assert level(lowered.of("aws.endpoint")) == "warning"
    configure(home, "listen: {port: 0}\nbackends:\n- {name: claude, kind: anthropic}\n")
    assert level((await doctor(home, **keys)).of("aws.backend")) == "warning"


# --- over the network


@dataclass
class Shifted:
    """AWS's clock, as seen by a machine whose own is off."""

    by: float

    def now(self) -> Instant:
        now = SystemClock().now()
        return Instant(Epoch(now.wall + self.by), now.monotonic)


def configure_online(home: Path, claude: str) -> None:
    configure(
        home,
        f"listen: {{port: 0}}\nbackends:\n- {{name: claude, kind: anthropic, base_url: '{claude}'}}\n"
        "- {name: bedrock, kind: bedrock, region: us-east-1}\n",
    )


async def test_without_being_told_nothing_is_sent(home: Path) -> None:
    async with SimulatedAccount() as account:
        await doctor(home, **aws_environment(AWS_ENDPOINT_URL_BEDROCK_RUNTIME=account.url))
    assert account.count == 0


async def test_a_named_endpoint_is_asked_who_we_are_and_no_more(home: Path) -> None:
    async with SimulatedAccount() as account:
        found = await doctor(home, **aws_environment(AWS_ENDPOINT_URL=account.url))
    assert found.of("online.identity") == [("good", f"bedrock: {ARN}")]
    assert account.asked == ["GetCallerIdentity"]
    assert account.count == 1
    assert level(found.of("machine.clock")) == "good"


async def test_online_says_the_price_and_wants_a_yes(home: Path) -> None:
    async with SimulatedAccount() as account:
        more = aws_environment(AWS_ENDPOINT_URL=account.url)
        done = await cli_async("doctor", "--online", home=home, PATH=f"{home}/bin:{os.defpath}", **more)
    assert done.returncode == 2
    assert re.search(r"--online sends \d+ small requests to Bedrock. They cost \$0\.\d\d at the most", done.stderr)
    assert "hint: add --yes" in done.stderr
    assert account.count == 0


async def test_a_person_who_says_no_pays_nothing(home: Path) -> None:
    async with SimulatedAccount() as account:
        more = aws_environment(AWS_ENDPOINT_URL=account.url, PATH=f"{home}/bin:{os.defpath}")

        def talk() -> tuple[int | None, str]:
            child = pexpect.spawn(
                sys.executable, ["-P", "-m", "claude_failover", "doctor", "--online"],
                env=clean_environment(home, **more), cwd=str(home), encoding="utf-8", timeout=50,
            )  # fmt: skip
            child.expect(r"Go on\? \[y/N\] ")
            child.sendline("n")
            child.expect(pexpect.EOF)
            child.close()
            return child.exitstatus, str(child.before)

        code, said = await asyncio.to_thread(talk)
    assert code == 0
    assert account.asked == ["GetCallerIdentity"]
    assert account.count == 1
    assert "claude-opus-5-5" not in said


async def test_online_tries_every_mapped_model_and_everything_that_claude_code_sends(home: Path) -> None:
    async with simulated_claude() as claude, SimulatedAccount() as account:
        configure_online(home, claude.url)
        found = await doctor(home, "--online", "--yes", **aws_environment(AWS_ENDPOINT_URL=account.url))
        heads = [(seen.method, seen.header("authorization")) for seen in claude.requests]
        small = [json.loads(seen.body) for seen in account.requests if seen.path.endswith(("/messages", "/invoke"))]
    assert found.code == 0, found.failed
    assert not account.violations
    assert heads == [("HEAD", None)]
    assert level(found.of("online.primary")) == "good"
    assert found.of("online.identity") == [("good", f"bedrock: {ARN}")]
    assert re.match(r"bedrock: claude-opus-5-5 with everything .* answers in", found.of("online.features")[0][1])
    answered = [title for level, title in found.of("online.model") if level == "good"]
    assert len(answered) >= 15
    assert sum(body["max_tokens"] == 1 for body in small) == len(answered)


async def test_what_the_account_may_not_use_is_said_without_being_paid_for(home: Path) -> None:
    async with simulated_claude() as claude, SimulatedAccount() as account:
        configure_online(home, claude.url)
        account.not_agreed.add("anthropic.claude-haiku-5-5")
        account.denied |= {"anthropic.claude-sonnet-4-20250514-v1:0", "anthropic.claude-mythos-5"}
        found = await doctor(home, "--online", "--yes", **aws_environment(AWS_ENDPOINT_URL=account.url))
        asked = [seen.body for seen in account.requests if seen.method == "POST" and seen.path != "/"]
    told = {title.split(": ")[1]: (level, title) for level, title in found.of("online.model")}
    assert told["claude-haiku-5-5"] == ("failed", "bedrock: claude-haiku-5-5: its agreement is not accepted")
    assert told["claude-sonnet-4-20250514"][0] == "warning"
    assert told["claude-mythos-5"][0] == "note"
    assert found.code == 1
    assert "docs/aws.md" in found.fix("online.model")
    assert not any(b"haiku-5-5" in body for body in asked)


async def test_an_account_that_does_not_say_what_may_be_used_is_tried(home: Path) -> None:
    async with simulated_claude() as claude, SimulatedAccount() as account:
        configure_online(home, claude.url)
        account.tells_access = False
        account.denied.add("anthropic.claude-opus-5-5")
        found = await doctor(home, "--online", "--yes", **aws_environment(AWS_ENDPOINT_URL=account.url))
    assert level(found.of("online.access")) == "note"
    assert "online.model" in found.failed or "online.features" in found.failed


async def test_what_bedrock_refuses_is_mended_as_a_failover_would(home: Path) -> None:
    refused = "Unexpected value(s) `interleaved-thinking-2025-05-14` for the `anthropic-beta` header."

    def picky(seen: Seen) -> Answer | Refusal:
        betas = (seen.header("anthropic-beta") or "") + seen.body.decode()
        if "interleaved-thinking-2025-05-14" in betas:
            return Refusal(400, "ValidationException", refused)
        return text("ok")

    async with simulated_claude() as claude, SimulatedAccount() as account:
        configure_online(home, claude.url)
        account.script.always(picky)
        found = await doctor(home, "--online", "--yes", **aws_environment(AWS_ENDPOINT_URL=account.url))
    assert "taken after: beta interleaved-thinking-2025-05-14" in found.of("online.features")[0][1]


async def test_a_wrong_clock_is_told_and_corrected_for(home: Path) -> None:
    async with simulated_claude() as claude, SimulatedAccount(clock=Shifted(1800.0)) as account:
        configure_online(home, claude.url)
        found = await doctor(home, "--online", "--yes", **aws_environment(AWS_ENDPOINT_URL=account.url))
    assert "the clock is 30 min behind AWS's" in found.of("machine.clock")[0][1]
    assert found.failed == {"machine.clock"}
    titles = [title for _, title in (*found.of("online.model"), *found.of("online.features"))]
    assert any("signed with a corrected clock" in title for title in titles)


async def test_credentials_that_aws_refuses_fail_by_their_name(home: Path) -> None:
    async with simulated_claude() as claude, SimulatedAccount() as account:
        configure_online(home, claude.url)
        wrong = aws_environment(AWS_ENDPOINT_URL=account.url, AWS_SECRET_ACCESS_KEY="not the secret, worth/nothing")
        found = await doctor(home, "--online", "--yes", **wrong)
    assert "AWS refuses these credentials: InvalidSignature" in found.of("online.identity")[0][1]
    assert "online.features" in found.failed


async def test_a_bedrock_that_cannot_be_reached_and_a_stream_that_is_cut(home: Path) -> None:
    async with simulated_claude() as claude, SimulatedAccount() as account:
        configure_online(home, claude.url)
        nowhere = aws_environment(AWS_ENDPOINT_URL_BEDROCK_RUNTIME="http://127.0.0.1:1", AWS_ENDPOINT_URL=account.url)
        unreachable = await doctor(home, "--online", "--yes", **nowhere)
        account.script.always(cut("content"))
        broken = await doctor(home, "--online", "--yes", **aws_environment(AWS_ENDPOINT_URL=account.url))
    assert "cannot connect" in unreachable.of("online.features")[0][1]
    assert "online.features" in broken.failed
    assert "closed the connection" in broken.of("online.features")[0][1]


async def test_who_named_an_endpoint_for_bedrock_only_is_not_taken_to_the_public_sts(home: Path) -> None:
    async with simulated_claude() as claude, SimulatedAccount() as account:
        configure(
            home,
            f"listen: {{port: 0}}\nbackends:\n- {{name: claude, kind: anthropic, base_url: '{claude.url}'}}\n"
            f"- {{name: bedrock, kind: bedrock, region: us-east-1, endpoint_url: '{account.url}'}}\n",
        )
        found = await doctor(home, "--online", "--yes", **aws_environment())
    assert level(found.of("online.identity")) == "note"
    assert "GetCallerIdentity" not in account.asked
    assert level(found.of("online.features")) == "good"
