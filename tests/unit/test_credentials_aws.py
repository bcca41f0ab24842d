from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from claude_failover import events
from claude_failover.clock import FakeClock
from claude_failover.core.types import Epoch
from claude_failover.credentials.aws import AwsProvider
from claude_failover.credentials.aws_chain import AwsKeys
from claude_failover.credentials.secret import Secret
from claude_failover.errors import CredentialError

HOUR = 3600.0


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / ".aws").mkdir()
    return tmp_path


class Chain:
    """Stands for botocore: gives what it is told, counts how often it is asked."""

    def __init__(self, clock: FakeClock, lives: float | None = HOUR) -> None:
        self.clock = clock
        self.lives = lives
        self.loads = 0
        self.fails: CredentialError | Exception | None = None
        self.gate: threading.Event | None = None
        self.source = "test"

    def __call__(self, profile: str | None) -> AwsKeys:
        self.loads += 1
        number = self.loads
        if self.gate is not None:
            self.gate.wait(30)
        if self.fails is not None:
            raise self.fails
        expires = None if self.lives is None else Epoch(self.clock.wall + self.lives)
        return AwsKeys(self.source, f"AKIA{number:04}", Secret("secret"), Secret("token"), expires=expires)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110 - what a thread did has no event
            await asyncio.sleep(0)


async def test_keys_are_loaded_once_for_any_number_of_requests() -> None:
    clock = FakeClock()
    chain = Chain(clock)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    found = await asyncio.gather(*(provider.get() for _ in range(50)))
    assert {keys.access_key for keys in found} == {"AKIA0001"}
    clock.advance(HOUR / 2)
    assert (await provider.get()).access_key == "AKIA0001"
    assert chain.loads == 1


async def test_a_request_that_comes_in_the_turn_in_which_the_keys_do_gets_them() -> None:
    clock = FakeClock()
    provider = AwsProvider(region="us-east-1", clock=clock, load=Chain(clock))
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(provider.get())]
        while not asking[0].done():
            asking.append(tasks.create_task(provider.get()))
            await asyncio.sleep(0)
    assert {task.result().access_key for task in asking} == {"AKIA0001"}


async def test_requests_go_on_with_the_old_keys_while_new_ones_are_got_ahead_of_their_end() -> None:
    clock = FakeClock()
    chain = Chain(clock)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    await provider.get()
    chain.gate = threading.Event()
    clock.advance(HOUR - 14 * 60)
    assert [(await provider.get()).access_key for _ in range(3)] == ["AKIA0001"] * 3
    chain.gate.set()
    await until(lambda: provider._keys is not None and provider._keys.access_key == "AKIA0002")
    assert (await provider.get()).access_key == "AKIA0002"
    assert chain.loads == 2


async def test_in_the_last_minute_a_request_waits_for_new_keys() -> None:
    clock = FakeClock()
    chain = Chain(clock)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    await provider.get()
    clock.advance(HOUR - 59)
    assert (await provider.get()).access_key == "AKIA0002"


async def test_keys_of_another_source_than_before_are_worth_a_word() -> None:
    clock = FakeClock()
    chain = Chain(clock)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    before = events.use(events.Hub(lambda: clock.now().wall))
    try:
        with events.capture() as seen:
            for chain.source in ("env", "env", "profile work"):
                await provider.get()
                clock.advance(HOUR - 59)
    finally:
        events.use(before)
    moved = [dict(event.fields) for event in seen if event.name == "credential.moved"]
    assert moved == [{"was": "env", "source": "profile work"}]


async def test_a_failed_refresh_leaves_the_old_keys_in_use_until_they_end() -> None:
    clock = FakeClock()
    chain = Chain(clock)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    await provider.get()
    chain.fails = CredentialError("the AWS SSO login has expired", hint="aws sso login")
    clock.advance(HOUR - 10 * 60)
    assert (await provider.get()).access_key == "AKIA0001"
    await until(lambda: provider._error is not None)
    assert (await provider.get()).access_key == "AKIA0001"
    status = await provider.status()
    assert (status.usable, status.warning) == (True, "refresh failed: the AWS SSO login has expired")
    clock.advance(10 * 60)
    with pytest.raises(CredentialError, match="SSO login has expired"):
        await provider.get()
    assert (await provider.status()).hint == "aws sso login"


async def test_a_failure_is_remembered_for_a_moment_and_not_longer() -> None:
    clock = FakeClock()
    chain = Chain(clock)
    chain.fails = ZeroDivisionError("secret")
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    for _ in range(3):
        with pytest.raises(CredentialError, match="could not be got: ZeroDivisionError"):
            await provider.get()
    assert chain.loads == 1
    chain.fails = None
    clock.advance(10)
    assert (await provider.get()).access_key == "AKIA0002"


async def test_a_login_is_noticed_at_once(home: Path) -> None:
    clock = FakeClock()
    chain = Chain(clock)
    chain.fails = CredentialError("expired")
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    with pytest.raises(CredentialError):
        await provider.get()
    chain.fails = None
    (home / ".aws" / "sso" / "cache").mkdir(parents=True)
    (home / ".aws" / "sso" / "cache" / "token.json").write_text("{}")
    clock.advance(1)
    assert (await provider.get()).access_key == "AKIA0002"


async def test_static_keys_are_read_again_when_their_file_changes(home: Path) -> None:
    clock = FakeClock()
    chain = Chain(clock, lives=None)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    await provider.get()
    (home / ".aws" / "credentials").write_text("[default]\n")
    assert (await provider.get()).access_key == "AKIA0001"  # looked less than a second ago
    clock.advance(1)
    assert (await provider.get()).access_key == "AKIA0002"


async def test_twenty_refusals_at_once_are_one_refresh() -> None:
    clock = FakeClock()
    chain = Chain(clock)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    await provider.get()
    clock.advance(60)
    found = await asyncio.gather(*(provider.get(True) for _ in range(20)))
    assert {keys.access_key for keys in found} == {"AKIA0002"}
    assert (await provider.get(True)).access_key == "AKIA0002"
    clock.advance(10)
    assert (await provider.get(True)).access_key == "AKIA0003"


async def test_a_request_that_is_given_up_does_not_stop_the_load() -> None:
    clock = FakeClock()
    chain = Chain(clock)
    chain.gate = threading.Event()
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await provider.get()
    chain.gate.set()
    assert (await provider.get()).access_key == "AKIA0001"


async def test_a_chain_that_hangs_is_given_up_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_failover.credentials.aws.LIMIT", 0.05)
    clock = FakeClock()
    chain = Chain(clock)
    chain.gate = threading.Event()
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    for _ in range(3):  # and the others do not wait for it again
        with pytest.raises(CredentialError, match="did not come within"):
            await provider.get()
    monkeypatch.setattr("claude_failover.credentials.aws.LIMIT", 30.0)  # a thread may take its time to begin
    chain.gate.set()
    clock.advance(31)
    assert (await provider.get()).access_key == "AKIA0002"


async def test_keys_that_are_changed_while_they_are_read_are_read_again(home: Path) -> None:
    clock = FakeClock()
    chain = Chain(clock, lives=None)
    chain.gate = threading.Event()
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(provider.get())
        await until(lambda: chain.loads == 1)
        (home / ".aws" / "credentials").write_text("[default]\n")
        chain.gate.set()
    assert asking.result().access_key == "AKIA0001"
    clock.advance(1)
    assert (await provider.get()).access_key == "AKIA0002"


async def test_a_cache_that_the_chain_writes_itself_is_no_change(home: Path) -> None:
    clock = FakeClock()
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)

    class Caching(Chain):
        def __call__(self, profile: str | None) -> AwsKeys:
            (cache / "token.json").write_text("{}")
            return super().__call__(profile)

    chain = Caching(clock)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    await provider.get()
    clock.advance(1)
    assert (await provider.get()).access_key == "AKIA0001"
    assert chain.loads == 1


class Slow(Chain):
    """Each load ends when it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.gates = [threading.Event() for _ in range(3)]

    def __call__(self, profile: str | None) -> AwsKeys:
        gate = self.gates[self.loads]
        found = super().__call__(profile)
        gate.wait(30)
        return found


async def given_up(provider: AwsProvider, chain: Slow, loads: int) -> None:
    """So many loads have begun, and none has come in time; a thread may take its time to begin."""
    with pytest.raises(CredentialError, match="did not come within"):
        await provider.get()
    await until(lambda: chain.loads == loads)


async def given_up_once(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeClock, Slow, AwsProvider]:
    """A first load that has not come in time and still goes on."""
    monkeypatch.setattr("claude_failover.credentials.aws.LIMIT", 0.05)
    clock = FakeClock()
    chain = Slow(clock)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    await given_up(provider, chain, 1)
    return clock, chain, provider


async def test_keys_that_come_after_they_were_given_up_are_used_though_another_load_has_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, chain, provider = await given_up_once(monkeypatch)
    clock.advance(11)
    await given_up(provider, chain, 2)
    chain.gates[0].set()
    await until(lambda: provider._keys is not None)
    clock.advance(11)
    assert (await provider.get()).access_key == "AKIA0001"
    assert (await provider.status()).warning == ""
    chain.gates[1].set()
    await until(lambda: provider._keys is not None and provider._keys.access_key == "AKIA0002")


async def test_a_load_that_is_overtaken_does_not_undo_the_one_that_began_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, chain, provider = await given_up_once(monkeypatch)
    monkeypatch.setattr("claude_failover.credentials.aws.LIMIT", 30.0)
    clock.advance(31)
    chain.gates[1].set()
    assert (await provider.get()).access_key == "AKIA0002"
    chain.gates[0].set()
    await until(lambda: all(thread.name != "aws-credentials" for thread in threading.enumerate()))
    await asyncio.sleep(0)
    assert (await provider.get()).access_key == "AKIA0002"


async def test_who_waits_for_a_load_that_was_overtaken_does_not_say_that_nothing_came() -> None:
    clock = FakeClock()
    chain = Slow(clock)
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("claude_failover.credentials.aws.LIMIT", 2.0)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(provider.get())
            await until(lambda: chain.loads == 1)
            patch.setattr("claude_failover.credentials.aws.LIMIT", 30.0)
            clock.advance(31)
            chain.gates[1].set()
            assert (await provider.get()).access_key == "AKIA0002"
        assert waiting.result().access_key == "AKIA0002"
    assert (await provider.status()).warning == ""
    chain.gates[0].set()


# --- Bedrock API keys


class Stored:
    def __init__(self, key: str | None) -> None:
        self.key = None if key is None else Secret(key)

    async def bedrock_key(self) -> Secret | None:
        return self.key


async def test_an_api_key_of_the_environment_wins_over_a_stored_one_and_that_over_the_chain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    store = Stored("ABSKstored-key-000000000")
    provider = AwsProvider(region="us-east-1", store=store, clock=clock, load=Chain(clock))
    stored = await provider.get()
    assert stored.api_key is not None
    assert (stored.source, stored.api_key.reveal()) == ("stored Bedrock API key", "ABSKstored-key-000000000")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "ABSKof-the-environment-0001")
    named = await provider.get(True)
    assert named.api_key is not None
    assert (named.source, named.kind, named.tail) == ("AWS_BEARER_TOKEN_BEDROCK", "api key", "0001")
    assert (await provider.status()).text == "api key …0001 from AWS_BEARER_TOKEN_BEDROCK"
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK")
    assert (await AwsProvider(store=Stored(None), clock=clock, load=Chain(clock)).get()).access_key == "AKIA0001"


def short_term(begins: str, seconds: int) -> str:
    url = f"bedrock.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Date={begins}&X-Amz-Expires={seconds}&Version=1"
    return "bedrock-api-key-" + base64.b64encode(url.encode()).decode().rstrip("=")


class Locked:
    async def bedrock_key(self) -> Secret | None:
        raise CredentialError("the keyring is locked", hint="claude-failover token set --store file")


async def test_a_stored_key_that_cannot_be_got_leaves_the_chain_and_is_said_if_that_fails_too() -> None:
    clock = FakeClock()
    chain = Chain(clock)
    provider = AwsProvider(store=Locked(), clock=clock, load=chain)
    assert (await provider.get()).access_key == "AKIA0001"
    chain.fails = CredentialError("no AWS credentials found")
    clock.advance(HOUR)
    with pytest.raises(CredentialError, match="the keyring is locked; no AWS credentials found") as caught:
        await provider.get()
    assert caught.value.hint == "claude-failover token set --store file"


async def test_a_short_term_key_says_itself_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(wall=1_795_305_600.0)  # 2026-11-22 00:00 UTC
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", short_term("20261121T180000Z", 43_200))
    assert (await AwsProvider(clock=clock).get()).expires == 1_795_305_600.0 + 6 * HOUR
    clock.advance(6 * HOUR)
    with pytest.raises(CredentialError, match="has expired"):
        await AwsProvider(clock=clock).get()
    assert "has expired" in (await AwsProvider(region="us-east-1", clock=clock).status()).problem


@pytest.mark.parametrize("junk", ["bedrock-api-key-", "bedrock-api-key-!!!", "bedrock-api-key-" + "eA=="])
async def test_a_short_term_key_that_cannot_be_read_is_used(junk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", junk)
    assert (await AwsProvider(clock=FakeClock()).get()).expires is None


# --- the region


async def test_the_region_is_the_config_s_then_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert await AwsProvider().region() == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert await AwsProvider().region() == "us-west-2"
    assert await AwsProvider(region="ap-northeast-1").region() == "ap-northeast-1"
    assert AwsProvider("work", "ap-northeast-1").asked == ("work", "ap-northeast-1")


async def test_a_status_looks_for_the_keys_but_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_failover.credentials.aws.GLANCE", 0.05)
    clock = FakeClock()
    chain = Chain(clock)
    chain.gate = threading.Event()
    provider = AwsProvider(region="us-east-1", clock=clock, load=chain)
    status = await provider.status()
    assert (status.usable, status.text, status.region) == (True, "being looked up from AWS", "us-east-1")
    chain.gate.set()
    await provider.get()
    assert (await provider.status()).text == "temporary keys …0001 from test"


async def test_keys_that_come_expired_are_no_use() -> None:
    clock = FakeClock()
    provider = AwsProvider(region="us-east-1", clock=clock, load=Chain(clock, lives=-1.0))
    assert (await provider.status()).problem == "test: expired"
