from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from claude_failover import events
from claude_failover.clock import FakeClock
from claude_failover.credentials import claude_login, shapes
from claude_failover.credentials.anthropic import AnthropicTokens
from claude_failover.credentials.secret import Secret
from claude_failover.credentials.token import StoredToken
from claude_failover.errors import CredentialError

NOW = 1_795_000_000.0
OAUTH = "sk-ant-oat01-aaaaaaaaaaaaaaaaaaaaaaaa-0001"
KEY = "sk-ant-api03-bbbbbbbbbbbbbbbbbbbbbbbb-0002"
REFUSED = (Secret(OAUTH), Secret(KEY))
"""What the API has answered 401 to."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=NOW)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".claude").mkdir()
    return tmp_path


def login(
    home: Path, token: str = OAUTH, *, ends: float | None = NOW + 3600, mode: int = 0o600, **more: object
) -> Path:
    path = home / ".claude" / ".credentials.json"
    found: dict[str, object] = {"accessToken": token, "refreshToken": "sk-ant-ort01-x"}
    if ends is not None:
        found["expiresAt"] = ends * 1000
    path.write_text(json.dumps({"claudeAiOauth": found, "mcpOAuth": {}}))
    path.chmod(mode)
    return path


def tokens(home: Path, clock: FakeClock, *sources: str, **environ: str) -> AnthropicTokens:
    return AnthropicTokens(sources or ("env", "keyring", "claude"), {"HOME": str(home), **environ}, clock)


async def source_of(found: AnthropicTokens, *, refresh: bool = False) -> tuple[str, str]:
    token = await found.token(refused=REFUSED if refresh else ())
    return token.source, token.secret.reveal()


# --- which source


@pytest.mark.parametrize(
    ("environ", "variable", "bearer", "oauth"),
    [
        ({"CLAUDE_CODE_OAUTH_TOKEN": OAUTH, "ANTHROPIC_API_KEY": KEY}, "CLAUDE_CODE_OAUTH_TOKEN", True, True),
        ({"ANTHROPIC_AUTH_TOKEN": OAUTH, "ANTHROPIC_API_KEY": KEY}, "ANTHROPIC_AUTH_TOKEN", True, True),
        ({"ANTHROPIC_AUTH_TOKEN": "of-a-gateway"}, "ANTHROPIC_AUTH_TOKEN", True, False),
        ({"ANTHROPIC_AUTH_TOKEN": " ", "ANTHROPIC_API_KEY": KEY}, "ANTHROPIC_API_KEY", False, False),
        ({"ANTHROPIC_API_KEY": "of-a-gateway"}, "ANTHROPIC_API_KEY", False, False),
        ({"ANTHROPIC_API_KEY": OAUTH}, "ANTHROPIC_API_KEY", True, True),
    ],
)
async def test_variables_are_asked_in_order_and_shapes_decide_how_a_token_is_sent(
    environ: dict[str, str], variable: str, bearer: bool, oauth: bool, home: Path, clock: FakeClock
) -> None:
    token = await tokens(home, clock, **environ).token()
    assert (token.source, token.bearer, token.oauth) == (variable, bearer, oauth)


async def test_sources_are_asked_in_the_configured_order(home: Path, clock: FakeClock) -> None:
    path = login(home)
    assert await source_of(tokens(home, clock, ANTHROPIC_API_KEY=KEY)) == ("ANTHROPIC_API_KEY", KEY)
    assert await source_of(tokens(home, clock, "claude", "env", ANTHROPIC_API_KEY=KEY)) == (str(path), OAUTH)


async def test_a_source_that_cannot_be_used_is_passed_over_and_its_problem_kept(home: Path, clock: FakeClock) -> None:
    path = login(home, ends=NOW - 1)
    found = tokens(home, clock, "claude", "env", ANTHROPIC_API_KEY=KEY)
    assert await source_of(found) == ("ANTHROPIC_API_KEY", KEY)
    status = found.status()
    assert status.usable
    assert status.text == f"api key …0002 from ANTHROPIC_API_KEY ({path}: Claude Code's login has expired)"


async def test_without_any_token_the_error_says_what_is_wrong_with_each_source(home: Path, clock: FakeClock) -> None:
    with pytest.raises(CredentialError, match=r"no Anthropic token is stored \(env, keyring, claude\)") as caught:
        await tokens(home, clock).token()
    assert caught.value.hint == "claude-failover token set anthropic, or log in with claude"
    login(home, ends=NOW)
    found = tokens(home, clock, CLAUDE_CODE_OAUTH_TOKEN="sk-ant-ort01-refresh")
    with pytest.raises(CredentialError, match=r"CLAUDE_CODE_OAUTH_TOKEN: the token is a refresh token.*expired"):
        await found.token()
    assert found.status().usable is False
    assert found.status().hint == "unset CLAUDE_CODE_OAUTH_TOKEN"


# --- ~/.claude


async def test_a_login_is_read_again_when_claude_code_refreshes_it(home: Path, clock: FakeClock) -> None:
    path = login(home, ends=NOW + 100)
    found = tokens(home, clock)
    assert await source_of(found) == (str(path), OAUTH)
    login(home, OAUTH.replace("0001", "0003"), ends=NOW + 9999)
    assert (await source_of(found))[1].endswith("0001")  # looked less than a second ago
    clock.advance(1)
    assert (await source_of(found))[1].endswith("0003")


async def test_a_refused_token_is_looked_up_at_once(home: Path, clock: FakeClock) -> None:
    login(home)
    found = tokens(home, clock)
    await source_of(found)
    login(home, OAUTH.replace("0001", "0003"))
    assert (await source_of(found, refresh=True))[1].endswith("0003")


async def test_a_login_that_ends_while_we_run_is_said_and_comes_back(home: Path, clock: FakeClock) -> None:
    login(home, ends=NOW + 100)
    found = tokens(home, clock)
    await source_of(found)
    clock.advance(100)
    with pytest.raises(CredentialError, match="Claude Code's login has expired") as caught:
        await found.token()
    assert caught.value.hint == "claude"
    login(home, ends=NOW + 9999)
    assert (await source_of(found))[1] == OAUTH


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "does not parse"),
        ("[]", "does not parse"),
        (json.dumps({"claudeAiOauth": {"accessToken": "sk-ant-ort01-x"}}), "is a refresh token"),
        (json.dumps({"claudeAiOauth": {"accessToken": OAUTH, "scopes": ["user:profile"]}}), "may not send messages"),
    ],
)
async def test_a_login_that_is_no_use_says_why(content: str, says: str, home: Path, clock: FakeClock) -> None:
    (home / ".claude" / ".credentials.json").write_text(content)
    with pytest.raises(CredentialError, match=says):
        await tokens(home, clock).token()


@pytest.mark.parametrize("content", ["{}", '{"claudeAiOauth": null}', '{"claudeAiOauth": {"accessToken": ""}}'])
async def test_nobody_logged_in_is_no_error_of_the_file(content: str, home: Path, clock: FakeClock) -> None:
    (home / ".claude" / ".credentials.json").write_text(content)
    with pytest.raises(CredentialError, match="no Anthropic token is stored"):
        await tokens(home, clock).token()


async def test_another_program_s_loose_file_is_used_and_reported(home: Path, clock: FakeClock) -> None:
    path = login(home, mode=0o644, ends=None)
    found = tokens(home, clock)
    await source_of(found)
    assert found.status().warning == f"others can read it: chmod 600 {path}"


async def test_claude_code_s_directory_may_be_elsewhere(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "home" / ".claude").mkdir(parents=True)
    login(tmp_path / "home")
    other = tmp_path / "home" / ".claude"
    found = tokens(tmp_path, clock, CLAUDE_CONFIG_DIR=str(other))
    assert (await source_of(found))[0] == str(other / ".credentials.json")


async def test_the_plan_s_token_file_is_the_last_resort(home: Path, clock: FakeClock) -> None:
    path = home / ".claude" / "token"
    path.write_text(f"{OAUTH}\n")
    path.chmod(0o600)
    assert await source_of(tokens(home, clock)) == (str(path), OAUTH)
    login(home, ends=NOW - 1)
    assert await source_of(tokens(home, clock)) == (str(path), OAUTH)
    path.chmod(0o640)
    with pytest.raises(CredentialError, match="mode 0640"):
        await tokens(home, clock).token()
    path.chmod(0o600)
    path.write_text("two words\n")
    with pytest.raises(CredentialError, match="white space"):
        await tokens(home, clock).token()


# --- the macOS keychain


async def test_the_keychain_s_answer_is_kept_for_a_minute(
    home: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def of_keychain(environ: object, now: object) -> StoredToken:
        nonlocal asked
        asked += 1
        return StoredToken(Secret(f"{OAUTH}-{asked}"), shapes.LOGIN, "the macOS keychain")

    monkeypatch.setattr(claude_login, "of_keychain", of_keychain)
    found = tokens(home, clock)
    for _ in range(3):
        clock.advance(2)
        assert (await source_of(found))[1] == f"{OAUTH}-1"
    refused = [Secret(f"{OAUTH}-1")]
    again = await asyncio.gather(*(found.token(refused=refused) for _ in range(20)))
    assert {token.secret.reveal() for token in again} == {f"{OAUTH}-2"}
    # One more that had been refused with the first one: the second is what it needs, not a third.
    assert (await found.token(refused=refused)).secret.reveal() == f"{OAUTH}-2"
    clock.advance(60)
    assert (await source_of(found))[1] == f"{OAUTH}-3"
    assert found.status().source == "the macOS keychain"


async def test_an_answer_that_nobody_waited_for_is_as_old_as_it_is(
    home: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, told = threading.Semaphore(0), threading.Semaphore(0)
    answers = iter((OAUTH, KEY))

    def of_keychain(environ: object, now: object) -> StoredToken:
        asked.release()
        told.acquire(timeout=5)
        return StoredToken(Secret(next(answers)), shapes.LOGIN, "the macOS keychain")

    monkeypatch.setattr(claude_login, "of_keychain", of_keychain)
    found = tokens(home, clock)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(found.token())
        assert await asyncio.to_thread(asked.acquire, timeout=5)
        waiting.cancel()
    told.release(2)
    async with asyncio.timeout(5):
        while any(thread.name == "keychain" for thread in threading.enumerate()):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.advance(3600)
    assert (await found.token()).secret.reveal() == KEY


# --- our own store


class Keyring:
    def __init__(self) -> None:
        self.found: StoredToken | None = None
        self.fails: CredentialError | None = None
        self.asked: list[bool] = []

    async def token(self, *, refused: Collection[object] = ()) -> StoredToken | None:
        self.asked.append(bool(refused))
        if self.fails is not None:
            raise self.fails
        return self.found

    def last(self) -> StoredToken | None:
        return self.found


async def test_a_source_that_a_reload_takes_away_while_it_is_asked_is_not_used(home: Path, clock: FakeClock) -> None:
    class Slow(Keyring):
        def __init__(self) -> None:
            super().__init__()
            self.gate = asyncio.Event()

        async def token(self, *, refused: Collection[object] = ()) -> StoredToken | None:
            await self.gate.wait()
            return await super().token(refused=refused)

    keyring = Slow()
    keyring.found = StoredToken(Secret(OAUTH), shapes.LOGIN, "keyring")
    path = login(home, KEY)
    found = AnthropicTokens(("keyring", "claude"), {"HOME": str(home)}, clock, keyring)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(source_of(found))
        await asyncio.sleep(0)
        found.reload(("claude",))
        keyring.gate.set()
    assert waiting.result() == (str(path), KEY)
    clock.advance(60)
    assert await source_of(found) == (str(path), KEY)


async def test_the_keyring_is_asked_each_time_because_it_refreshes(home: Path, clock: FakeClock) -> None:
    keyring = Keyring()
    keyring.found = StoredToken(Secret(OAUTH), shapes.LOGIN, "keyring")
    path = login(home, KEY)
    found = AnthropicTokens(("keyring", "claude"), {"HOME": str(home)}, clock, keyring)
    assert await source_of(found) == ("keyring", OAUTH)
    assert await source_of(found, refresh=True) == ("keyring", OAUTH)
    keyring.found = None
    assert await source_of(found) == (str(path), KEY)
    keyring.fails = CredentialError("the keyring is locked")
    assert await source_of(found) == (str(path), KEY)
    assert keyring.asked == [False, True, False, False]
    assert found.status().warning == "the keyring is locked"


# --- what is shown


async def test_status_knows_what_can_be_had_without_asking_the_keyring(home: Path, clock: FakeClock) -> None:
    keyring = Keyring()
    found = AnthropicTokens(("keyring", "claude"), {"HOME": str(home)}, clock, keyring)
    assert not found.status().usable
    assert not found.is_api_key
    path = login(home, KEY)
    clock.advance(1)
    assert found.status().text == f"api key …0002 from {path}"
    assert found.is_api_key
    assert keyring.asked == []
    assert (await found.look()).source == str(path)
    assert keyring.asked == [False]


async def test_a_reload_takes_another_order(home: Path, clock: FakeClock) -> None:
    path = login(home)
    found = tokens(home, clock, "env", "claude", ANTHROPIC_API_KEY=KEY)
    assert (await source_of(found))[0] == "ANTHROPIC_API_KEY"
    found.reload(["claude"])
    assert (await source_of(found))[0] == str(path)


async def test_what_is_loaded_and_what_fails_is_said_once_and_without_the_value(home: Path, clock: FakeClock) -> None:
    login(home, ends=NOW - 1)
    before = events.use(events.Hub(lambda: clock.now().wall))
    try:
        with events.capture() as seen:
            found = tokens(home, clock, "claude", "env", ANTHROPIC_API_KEY=KEY)
            for _ in range(3):
                await found.token(refused=REFUSED)
    finally:
        events.use(before)
    assert [event.name for event in seen] == ["credential.failed", "credential.loaded"]
    assert KEY not in repr([event.fields for event in seen])


async def test_another_source_than_before_is_worth_a_word(home: Path, clock: FakeClock) -> None:
    """Somebody who slips in a token of his own has the next requests answered at his account, and sees them."""
    path = login(home)
    before = events.use(events.Hub(lambda: clock.now().wall))
    try:
        with events.capture() as seen:
            found = tokens(home, clock, "env", "claude", ANTHROPIC_API_KEY=KEY)
            for refresh in (False, True):
                await found.token(refused=REFUSED if refresh else ())
            found.reload(["claude"])
            await found.token()
    finally:
        events.use(before)
    moved = [dict(event.fields) for event in seen if event.name == "credential.moved"]
    assert moved == [{"was": "ANTHROPIC_API_KEY", "source": str(path)}]
