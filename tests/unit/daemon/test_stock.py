"""The stock: what is looked at ahead of need, and that nobody waits for what hangs."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Kind
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon import stock
from claude_failover.daemon.view import LOOKING
from claude_failover.errors import CredentialError

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
