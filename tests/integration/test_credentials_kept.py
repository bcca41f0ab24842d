"""Our own tokens: refreshed once, whoever asks, however many, in one process or several."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from claude_failover.clock import Clock, FakeClock
from claude_failover.core.types import Epoch, Seconds
from claude_failover.credentials import kept as module
from claude_failover.credentials import shapes
from claude_failover.credentials.box import FILE, KEYRING, LOCK_LIMIT, Box, FileVault
from claude_failover.credentials.entry import ANTHROPIC, BEDROCK, Entry
from claude_failover.credentials.kept import KeptTokens
from claude_failover.credentials.redeem import redeem
from claude_failover.credentials.secret import Secret
from claude_failover.errors import CredentialError
from tests.token_endpoint import TokenEndpoint, reply

NOW = 1_795_000_000.0
FIRST = "sk-ant-oat01-worth-nothing-0000"
SECOND = "sk-ant-oat01-worth-nothing-of-another"


class Keyring(FileVault):
    """A keyring that several boxes and processes share, can be locked, and can refuse to write."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read_only = False
        self.gate: threading.Event | None = None
        self.slow: list[threading.Event] = []
        """Whoever reads next has read already, but says so only when it is told to."""

    def get(self, item: str) -> str | None:
        if self.gate is not None:
            self.gate.wait(30)
        found = super().get(item)
        if self.slow:
            self.slow.pop().wait(30)
        return found

    def set(self, item: str, value: str) -> None:
        if self.read_only:
            raise CredentialError("the keyring is locked, and nobody unlocked it")
        super().set(item, value)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=NOW)


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keyring.json")


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as made:
        yield made


def box(tmp_path: Path, keyring: Keyring, name: str = "state") -> Box:
    (tmp_path / name).mkdir(exist_ok=True)
    return Box(tmp_path / name, tmp_path / "lock", keyring)


def login(ends: float, refresh: str | None = "worth-nothing-refresh-0", access: str = FIRST) -> Entry:
    return Entry(shapes.LOGIN, Secret(access), Secret(refresh) if refresh else None, Epoch(ends))


def tokens(made: Box, clock: Clock, endpoint: TokenEndpoint) -> KeptTokens:
    return KeptTokens(made, clock, partial(redeem, endpoint=endpoint.url, clock=clock))


async def value(kept: KeptTokens, *, refresh: bool = False) -> str | None:
    """The token's text; *refresh*: the one that is in use has been refused."""
    known = kept.last() if refresh else None
    token = await kept.token(refused=() if known is None else (known.secret,))
    return None if token is None else token.secret.reveal()


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110 - what a thread did has no event
            await asyncio.sleep(0.001)


async def test_nothing_kept_is_no_token(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    kept = tokens(box(tmp_path, keyring), clock, endpoint)
    assert await value(kept) is None
    assert await kept.bedrock_key() is None
    assert kept.last() is None


@pytest.mark.parametrize("store", [KEYRING, FILE])
async def test_a_token_with_time_left_is_used_as_it_is(
    store: str, tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 301), store)
    made.keep(BEDROCK, Entry(shapes.API_KEY, Secret("ABSK-worth-nothing")), store)
    kept = tokens(made, clock, endpoint)
    token = await kept.token()
    assert token is not None
    assert token.source == ("keyring" if store == KEYRING else str(tmp_path / "state" / "secrets.json"))
    assert (token.secret.reveal(), token.oauth) == (FIRST, True)
    key = await kept.bedrock_key()
    assert key is not None
    assert key.reveal() == "ABSK-worth-nothing"
    assert endpoint.requests == []


async def test_hundreds_of_requests_are_one_refresh_and_none_waits_for_it(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    kept = tokens(made, clock, endpoint)
    await value(kept)
    clock.advance(3600 - 300)
    endpoint.delay = 0.1
    found = await asyncio.gather(*(value(kept) for _ in range(300)))
    assert set(found) == {FIRST}
    await until(lambda: (token := kept.last()) is not None and token.secret.reveal() != FIRST)
    assert set(await asyncio.gather(*(value(kept) for _ in range(300)))) == {"sk-ant-oat01-worth-nothing-0001"}
    assert len(endpoint.requests) == 1
    stored = json.loads(json.loads((tmp_path / "keyring.json").read_text())[ANTHROPIC])
    assert (stored["access"], stored["refresh"]) == ("sk-ant-oat01-worth-nothing-0001", "worth-nothing-refresh-1")


async def test_a_token_that_has_ended_is_waited_for_by_all_and_refreshed_once(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW - 1), KEYRING)
    kept = tokens(made, clock, endpoint)
    endpoint.delay = 0.05
    assert set(await asyncio.gather(*(value(kept) for _ in range(200)))) == {"sk-ant-oat01-worth-nothing-0001"}
    assert len(endpoint.requests) == 1


async def test_a_login_is_refreshed_for_as_long_as_the_daemon_runs(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW), FILE)
    kept = tokens(made, clock, endpoint)
    for number in range(1, 6):
        assert await value(kept) == f"sk-ant-oat01-worth-nothing-{number:04}"
        clock.advance(3600)
    assert len(endpoint.requests) == 5


async def test_two_daemons_that_share_a_keyring_refresh_once(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    daemons = []
    for name in ("one", "two"):
        made = box(tmp_path, Keyring(tmp_path / "keyring.json"), name)
        made.keep(ANTHROPIC, login(NOW), KEYRING)
        daemons.append(tokens(made, clock, endpoint))
    endpoint.delay = 0.1
    found = await asyncio.gather(*(value(kept) for kept in daemons for _ in range(20)))
    assert set(found) == {"sk-ant-oat01-worth-nothing-0001"}
    assert len(endpoint.requests) == 1
    assert not endpoint.revoked


def _process(directory: Path, name: str, url: str, answers: multiprocessing.Queue[str | None]) -> None:
    clock = FakeClock(wall=NOW)
    made = Box(directory / name, directory / "lock", Keyring(directory / "keyring.json"))
    kept = KeptTokens(made, clock, partial(redeem, endpoint=url, clock=clock))
    answers.put(asyncio.run(value(kept)))


async def test_several_processes_refresh_once(tmp_path: Path, keyring: Keyring, endpoint: TokenEndpoint) -> None:
    names = ["one", "two", "three"]
    for name in names:
        box(tmp_path, keyring, name).keep(ANTHROPIC, login(NOW), KEYRING)
    endpoint.delay = 0.3
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str | None] = context.Queue()
    running = [context.Process(target=_process, args=(tmp_path, name, endpoint.url, answers)) for name in names]
    for process in running:
        process.start()
    found = [await asyncio.to_thread(answers.get, timeout=30) for _ in running]
    for process in running:
        process.join(10)
    answers.close()
    answers.join_thread()
    assert set(found) == {"sk-ant-oat01-worth-nothing-0001"}
    assert len(endpoint.requests) == 1
    assert not endpoint.revoked


async def test_an_endpoint_that_fails_leaves_the_old_token_in_use_and_is_tried_again_later(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 200), KEYRING)
    kept = tokens(made, clock, endpoint)
    endpoint.answer = lambda handler: reply(handler, 503, {})
    assert await value(kept) == FIRST
    await until(lambda: (token := kept.last()) is not None and token.warning != "")
    for _ in range(10):
        assert await value(kept) == FIRST
    assert len(endpoint.requests) == 1
    token = kept.last()
    assert token is not None
    assert token.warning == "refresh failed: the token endpoint answered 503"
    endpoint.answer = None
    clock.advance(30)
    assert await value(kept) == FIRST
    await until(lambda: (token := kept.last()) is not None and token.secret.reveal() != FIRST)
    token = kept.last()
    assert token is not None
    assert token.warning == ""


async def test_the_pauses_between_failures_grow(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW - 1), KEYRING)
    kept = tokens(made, clock, endpoint)
    endpoint.answer = lambda handler: reply(handler, 503, {})
    at: list[int] = []
    for second in range(0, 700, 10):
        before = len(endpoint.requests)
        with pytest.raises(CredentialError, match="has expired: the token endpoint answered 503"):
            await value(kept)
        if len(endpoint.requests) > before:
            at.append(second)
        clock.advance(10)
    assert at == [0, 30, 90, 210, 450]


async def test_a_revoked_login_is_said_and_not_tried_again_until_another_is_stored(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW - 1, "worth-nothing-refresh-used"), KEYRING)
    kept = tokens(made, clock, endpoint)
    for _ in range(3):
        with pytest.raises(CredentialError, match="revoked, or used elsewhere"):
            await value(kept)
        clock.advance(3600)
    assert len(endpoint.requests) == 1
    made.keep(ANTHROPIC, login(clock.wall + 3600, None, "sk-ant-oat01-worth-nothing-new"), KEYRING)
    assert await value(kept) == "sk-ant-oat01-worth-nothing-new"


async def test_a_login_without_a_refresh_token_ends_with_a_message(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 10, None), KEYRING)
    kept = tokens(made, clock, endpoint)
    assert await value(kept) == FIRST
    clock.advance(10)
    with pytest.raises(CredentialError, match=r"the login in keyring has expired$"):
        await value(kept)
    assert endpoint.requests == []


async def test_a_new_pair_that_cannot_be_stored_is_used_and_stored_later(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW), KEYRING)
    kept = tokens(made, clock, endpoint)
    keyring.read_only = True
    token = await kept.token()
    assert token is not None
    assert token.secret.reveal() == "sk-ant-oat01-worth-nothing-0001"
    assert token.warning == "the refreshed login could not be stored: the keyring is locked, and nobody unlocked it"
    assert (
        await value(kept, refresh=True) == "sk-ant-oat01-worth-nothing-0001"
    )  # the old pair in the box is not taken back
    keyring.read_only = False
    clock.advance(31)
    await value(kept)
    await until(lambda: (token := kept.last()) is not None and token.warning == "")
    stored = made.read(ANTHROPIC)
    assert stored is not None
    assert stored.refresh is not None
    assert stored.refresh.reveal() == "worth-nothing-refresh-1"
    assert len(endpoint.requests) == 1


async def test_a_token_that_is_refused_before_its_end_is_refreshed_once_a_minute_at_most(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    kept = tokens(made, clock, endpoint)
    await value(kept)
    found = await asyncio.gather(*(value(kept, refresh=True) for _ in range(20)))
    assert set(found) == {"sk-ant-oat01-worth-nothing-0001"}
    assert await value(kept, refresh=True) == "sk-ant-oat01-worth-nothing-0001"
    assert len(endpoint.requests) == 1


async def test_a_token_that_another_process_replaced_is_found_when_the_old_one_is_refused(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    kept = tokens(made, clock, endpoint)
    await value(kept)
    keyring.set(
        ANTHROPIC, login(NOW + 7200, "worth-nothing-refresh-9", "sk-ant-oat01-worth-nothing-of-the-other").dump()
    )
    assert await value(kept) == FIRST
    assert await value(kept, refresh=True) == "sk-ant-oat01-worth-nothing-of-the-other"
    assert endpoint.requests == []


async def test_the_last_to_be_refused_does_not_refresh_what_another_process_has_put_in_its_place(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    kept = tokens(made, clock, endpoint)
    await value(kept)
    keyring.set(ANTHROPIC, login(NOW + 7200, "worth-nothing-refresh-9", SECOND).dump())
    for _ in range(2):
        token = await kept.token(refused=[Secret(FIRST)])
        assert token is not None
        assert token.secret.reveal() == SECOND
    assert endpoint.requests == []


async def test_a_login_that_is_stored_while_an_unsaved_pair_waits_for_the_lock_is_not_overwritten(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW), KEYRING)
    kept = tokens(made, clock, endpoint)
    keyring.read_only = True
    assert await value(kept) == "sk-ant-oat01-worth-nothing-0001"
    keyring.read_only = False
    clock.advance(31)
    with made.locked():
        await value(kept)  # begins to store it
        keyring.set(ANTHROPIC, login(NOW + 3600, access=SECOND).dump())
        made._note(made.stores())
    await kept.close()
    assert await value(kept) == SECOND
    stored = made.read(ANTHROPIC)
    assert stored is not None
    assert stored.access.reveal() == SECOND


async def test_an_unsaved_pair_is_not_given_up_for_the_old_one_when_another_item_is_stored(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW), KEYRING)
    kept = tokens(made, clock, endpoint)
    keyring.read_only = True
    assert await value(kept) == "sk-ant-oat01-worth-nothing-0001"
    made.keep(BEDROCK, Entry(shapes.API_KEY, Secret("ABSK-worth-nothing")), FILE)
    found = await asyncio.gather(*(value(kept) for _ in range(5)))
    assert set(found) == {"sk-ant-oat01-worth-nothing-0001"}
    assert (key := await kept.bedrock_key()) is not None
    assert key.reveal() == "ABSK-worth-nothing"
    keyring.read_only = False
    clock.advance(31)
    await value(kept)
    await kept.close()
    assert (stored := made.read(ANTHROPIC)) is not None
    assert stored.access.reveal() == "sk-ant-oat01-worth-nothing-0001"


async def test_a_login_that_is_cleared_while_its_refresh_waits_for_the_lock_stays_cleared(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW - 1), KEYRING)
    kept = tokens(made, clock, endpoint)
    async with asyncio.TaskGroup() as tasks:
        with made.locked():
            asking = tasks.create_task(value(kept))
            await until(lambda: kept._refreshing is not None)
            keyring.delete(ANTHROPIC)
            made._note({})
    assert asking.result() is None
    assert keyring.get(ANTHROPIC) is None
    assert endpoint.requests == []


async def test_what_is_stored_right_after_a_refresh_is_not_taken_for_what_the_refresh_stored(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    another = box(tmp_path, keyring)
    another.keep(ANTHROPIC, login(NOW - 1), KEYRING)

    class Followed(Box):
        """Somebody waits for its lock, and is quicker than the event loop."""

        @contextlib.contextmanager
        def locked(self, limit: Seconds = LOCK_LIMIT) -> Iterator[None]:
            with super().locked(limit):
                yield
            another.keep(ANTHROPIC, login(NOW + 3600, access=SECOND), KEYRING)

    kept = tokens(Followed(tmp_path / "state", tmp_path / "lock", keyring), clock, endpoint)
    assert await value(kept) == "sk-ant-oat01-worth-nothing-0001"
    assert await value(kept) == SECOND


async def test_what_was_read_before_a_refresh_does_not_come_back_after_it(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    kept = tokens(made, clock, endpoint)
    assert await value(kept) == FIRST
    read = threading.Event()
    keyring.slow = [read]
    async with asyncio.TaskGroup() as tasks:
        before = tasks.create_task(value(kept, refresh=True))
        await until(lambda: not keyring.slow)
        clock.advance(3600 - 100)
        assert await value(kept) == FIRST
        await until(lambda: (token := kept.last()) is not None and token.secret.reveal() != FIRST)
        after = tasks.create_task(value(kept, refresh=True))
        await asyncio.sleep(0)
        read.set()
    assert FIRST not in {before.result(), after.result(), await value(kept)}


async def test_a_slow_reading_does_not_undo_a_later_one(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    kept = tokens(made, clock, endpoint)
    read = threading.Event()
    keyring.slow = [read]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(value(kept))
        await until(lambda: not keyring.slow)
        made.forget(ANTHROPIC)
        made.keep(ANTHROPIC, login(NOW + 3600, access=SECOND), KEYRING)
        assert await value(kept) == SECOND
        read.set()
    assert (last := kept.last()) is not None
    assert last.secret.reveal() == SECOND


async def test_a_revoked_login_is_not_redeemed_again_because_its_token_is_refused_again(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 7200), KEYRING)
    kept = tokens(made, clock, endpoint)
    endpoint.answer = lambda handler: reply(handler, 400, {"error": "invalid_grant"})
    assert await value(kept) == FIRST
    for _ in range(3):
        assert await value(kept, refresh=True) == FIRST
        clock.advance(61)
    assert len(endpoint.requests) == 1
    assert (token := kept.last()) is not None
    assert "revoked" in token.warning


async def test_a_login_that_another_daemon_puts_in_place_of_a_revoked_one_is_refreshed_ahead_of_its_end(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 7200, "worth-nothing-refresh-of-old"), KEYRING)
    kept = tokens(made, clock, endpoint)
    endpoint.answer = lambda handler: reply(handler, 400, {"error": "invalid_grant"})
    await value(kept)
    assert await value(kept, refresh=True) == FIRST
    endpoint.answer = None
    # Its directory is another one: nothing in ours says that the keyring has changed.
    keyring.set(ANTHROPIC, login(NOW + 3600, access=SECOND).dump())
    assert await value(kept, refresh=True) == SECOND
    assert (token := kept.last()) is not None
    assert token.warning == ""
    clock.advance(3600 - 200)
    await value(kept)
    await kept.close()
    assert await value(kept) == "sk-ant-oat01-worth-nothing-0001"


async def test_a_keyring_that_nobody_unlocks_is_given_up_and_asked_again(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_LIMIT", 0.05)
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    kept = tokens(made, clock, endpoint)
    keyring.gate = threading.Event()
    for _ in range(2):
        with pytest.raises(CredentialError, match="the keyring did not answer within"):
            await value(kept)
    keyring.gate.set()
    await until(lambda: kept._reading is not None and kept._reading.future.done())
    monkeypatch.setattr(module, "READ_LIMIT", 30.0)
    assert await value(kept) == FIRST


async def test_what_one_has_waited_for_in_vain_the_others_do_not_wait_for_as_long(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_LIMIT", 0.7)
    monkeypatch.setattr(module, "AGAIN_LIMIT", 0.01)
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    kept = tokens(made, clock, endpoint)
    keyring.gate = threading.Event()
    with pytest.raises(CredentialError, match="the keyring did not answer within"):
        await value(kept)
    async with asyncio.timeout(0.7 * 5):
        for _ in range(10):
            with pytest.raises(CredentialError, match="the keyring did not answer within"):
                await value(kept)
    keyring.gate.set()


async def test_a_token_is_forgotten_when_it_is_cleared(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    kept = tokens(made, clock, endpoint)
    assert await value(kept) == FIRST
    made.forget(ANTHROPIC)
    assert await value(kept) is None


async def test_whoever_only_looks_never_refreshes(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 100), KEYRING)
    kept = KeptTokens(made, clock, None)
    assert await value(kept) == FIRST
    assert await value(kept, refresh=True) == FIRST
    clock.advance(100)
    with pytest.raises(CredentialError, match="has expired"):
        await value(kept)
    await kept.close()
    assert endpoint.requests == []


async def test_a_daemon_that_stops_waits_until_the_new_pair_is_stored(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 100), KEYRING)
    kept = tokens(made, clock, endpoint)
    endpoint.delay = 0.1
    assert await value(kept) == FIRST
    await kept.close()
    stored = made.read(ANTHROPIC)
    assert stored is not None
    assert stored.access.reveal() == "sk-ant-oat01-worth-nothing-0001"


async def test_a_process_that_ends_in_the_middle_of_a_refresh_finishes_it_first(
    tmp_path: Path, keyring: Keyring, endpoint: TokenEndpoint
) -> None:
    """Between the endpoint's answer and the store the new pair exists nowhere else."""
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 100), KEYRING)
    endpoint.delay = 0.3
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str | None] = context.Queue()
    process = context.Process(target=_process, args=(tmp_path, "state", endpoint.url, answers))
    process.start()
    assert await asyncio.to_thread(answers.get, timeout=30) == FIRST
    await asyncio.to_thread(process.join, 10)
    answers.close()
    answers.join_thread()
    stored = made.read(ANTHROPIC)
    assert stored is not None
    assert stored.access.reveal() == "sk-ant-oat01-worth-nothing-0001"


async def test_a_box_that_is_broken_is_an_error_and_not_an_absence(
    tmp_path: Path, keyring: Keyring, clock: FakeClock, endpoint: TokenEndpoint
) -> None:
    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 3600), KEYRING)
    keyring.set(ANTHROPIC, "somebody else's")
    with pytest.raises(CredentialError, match="does not hold what we wrote"):
        await value(tokens(made, clock, endpoint))


async def test_an_exchange_that_crashes_is_a_failure_like_any_other(
    tmp_path: Path, keyring: Keyring, clock: FakeClock
) -> None:
    def crash(refresh: Secret) -> AsyncIterator[None]:
        raise ZeroDivisionError(refresh.reveal())

    made = box(tmp_path, keyring)
    made.keep(ANTHROPIC, login(NOW + 100), KEYRING)
    kept = KeptTokens(made, clock, crash)  # type: ignore[arg-type]  # it returns nothing
    assert await value(kept) == FIRST
    await until(lambda: (token := kept.last()) is not None and token.warning != "")
    token = kept.last()
    assert token is not None
    assert token.warning == "refresh failed: ZeroDivisionError"
    clock.advance(100)
    with pytest.raises(CredentialError, match="has expired: ZeroDivisionError"):
        await value(kept)
