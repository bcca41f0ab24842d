"""The stock: what is looked at ahead of need, and that nobody waits for what hangs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Kind
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon import discovery, stock
from claude_failover.daemon.discovery import Listing
from claude_failover.daemon.life import Daemon
from claude_failover.daemon.view import LOOKING
from claude_failover.errors import ControlError, CredentialError

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
SETTINGS = Settings(backends=(Backend(CLAUDE, Kind.ANTHROPIC), Backend(BEDROCK, Kind.BEDROCK)))
QUICK = CredentialView("env", "login token")
ASKED = CredentialView("keyring", "login token")
KEYS = CredentialView("env", "long-term keys", region="us-east-1")


class Source:
    """A store of tokens, or a provider of keys, that answers at once or never."""

    def __init__(self, view: CredentialView, *, hangs: bool = False) -> None:
        self._view = view
        self._hangs = hangs

    async def _answer(self) -> CredentialView:
        if self._hangs:
            await asyncio.Event().wait()
        return self._view

    look = status = _answer


def standing(aws: Source, look: Source, kept: dict[str, str] | Exception) -> Any:
    def stores() -> dict[str, str]:
        if isinstance(kept, Exception):
            raise kept
        return kept

    return SimpleNamespace(
        aws={BEDROCK: aws},
        tokens=SimpleNamespace(look=look.look, status=lambda: QUICK),
        box=SimpleNamespace(stores=stores),
        regions={},
    )


async def test_a_keyring_is_asked_only_where_something_is_kept_in_it() -> None:
    for kept, expected in (({}, QUICK), ({"anthropic": "keyring"}, ASKED), (CredentialError("torn"), QUICK)):
        found = await stock.look(SETTINGS, standing(Source(KEYS), Source(ASKED), cast(Any, kept)))
        assert found == {CLAUDE: expected, BEDROCK: KEYS}


async def test_what_hangs_is_told_as_far_as_it_is_known() -> None:
    hanging = standing(Source(KEYS, hangs=True), Source(ASKED, hangs=True), {"anthropic": "keyring"})
    found = await stock.look(SETTINGS, hanging, patience=0.01)
    assert found[CLAUDE] == QUICK
    assert (found[BEDROCK].kind, found[BEDROCK].usable) == (LOOKING, True)


def test_a_profiles_region_is_news_once() -> None:
    one = standing(Source(KEYS), Source(ASKED), {})
    assert stock.place(SETTINGS, one, {BEDROCK: KEYS, CLAUDE: QUICK})
    assert one.regions == {BEDROCK: "us-east-1"}
    assert not stock.place(SETTINGS, one, {BEDROCK: KEYS})
    assert not stock.place(SETTINGS, one, {BEDROCK: CredentialView("AWS", problem="none")})


TWO = replace(SETTINGS, backends=(*SETTINGS.backends, Backend(BackendName("other"), Kind.BEDROCK)))


async def test_a_reload_that_takes_a_backend_away_disturbs_nobody_who_is_just_asking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = standing(Source(KEYS), Source(ASKED), {})
    one.aws[BackendName("other")] = Source(KEYS)
    asked: list[object] = []

    async def discover(backend: Backend, provider: object, *_: object) -> Listing:
        one.aws = {BEDROCK: Source(KEYS)}  # what a reload does
        asked.append(provider)
        await asyncio.sleep(0)
        return Listing((f"anthropic.of-{backend.name}",), "us-east-1", 0.0)

    before = list(one.aws.values())
    monkeypatch.setattr(discovery, "discover", discover)
    await stock.discover(TWO, one, tmp_path / "models.json", FakeClock(), {})
    assert asked == before
    assert one.discovered == {BEDROCK: ("anthropic.of-bedrock",), "other": ("anthropic.of-other",)}

    one.aws = {BEDROCK: Source(KEYS), BackendName("other"): Source(KEYS)}
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(stock.look(TWO, one))
        tasks.create_task(takes_away(one))
    assert looking.result()[BackendName("other")] == KEYS


async def takes_away(one: Any) -> None:
    one.aws = {BEDROCK: Source(KEYS)}


async def test_of_two_that_ask_at_once_neither_forgets_what_only_the_other_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = standing(Source(KEYS), Source(ASKED), {})
    path = tmp_path / "models.json"

    async def discover(backend: Backend, *_: object) -> Listing:
        discovery.save(path, {backend.name: Listing(("anthropic.new",), "us-east-1", 2.0)})  # the other, meanwhile
        raise ControlError("AWS answered 403")

    discovery.save(path, {BEDROCK: Listing(("anthropic.old",), "us-east-1", 1.0)})
    monkeypatch.setattr(discovery, "discover", discover)
    with pytest.raises(ControlError, match="403"):
        await stock.discover(SETTINGS, one, path, FakeClock(), {})
    assert discovery.load(path)[BEDROCK].ids == one.discovered[BEDROCK] == ("anthropic.new",)


async def test_what_was_found_under_another_configuration_is_not_taken_for_this_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = CredentialView("profile old", region="us-east-1"), CredentialView("profile new", region="eu-west-1")
    daemon: Any = SimpleNamespace(
        clock=FakeClock(), settings=SETTINGS, standing=standing(Source(KEYS), Source(ASKED), {}), credentials={}
    )

    async def look(settings: Settings, *_: object) -> dict[BackendName, CredentialView]:
        if settings is not SETTINGS:
            return {BEDROCK: new}
        daemon.settings = replace(SETTINGS)  # a reload, while the old profile is slow
        await Daemon.look_at_credentials(daemon)
        return {BEDROCK: old}

    monkeypatch.setattr(stock, "look", look)
    monkeypatch.setattr(stock, "place", lambda *_: False)
    await Daemon.look_at_credentials(daemon)
    assert daemon.credentials == {BEDROCK: new}
