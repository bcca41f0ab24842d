"""The observers: what they are told, and what of a credential's life is news to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from claude_failover import events
from claude_failover.control.feed import Feed
from claude_failover.core.gauges import Gauges
from claude_failover.core.models import Catalog
from claude_failover.core.settings import Alerts, Backend, Metrics, Settings
from claude_failover.core.types import BackendName, Epoch, Kind
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon.observers import Observers
from claude_failover.daemon.tables import read_table

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
QUIET = Settings(
    backends=(Backend(CLAUDE, Kind.ANTHROPIC), Backend(BEDROCK, Kind.BEDROCK)), alerts=Alerts(desktop=False)
)


class Stage:
    """A daemon as far as observers look at it, with a hub of its own."""

    def __init__(self, settings: Settings = QUIET) -> None:
        catalog = Catalog.build(read_table("models"), {})
        self.settings = settings
        self.world: Any = SimpleNamespace(
            current=SimpleNamespace(counsel=SimpleNamespace(catalog=catalog)), metrics=None
        )
        self.readings = SimpleNamespace(take=lambda: Gauges(at=Epoch(1000.0)))
        self.books: Any = SimpleNamespace()
        self.feed = Feed()
        self.journal = None
        self.credentials: dict[BackendName, CredentialView] = {}
        self.hub = events.Hub(lambda: Epoch(1000.0))
        self.observers = Observers(cast(Any, self), self.hub)

    def page(self) -> str:
        return str(self.observers.metrics.exposition()[1].decode())

    def refreshes(self, result: str, backend: str = "bedrock") -> float:
        name = f'claude_failover_credential_refreshes_total{{backend="{backend}",result="{result}"}} '
        return float(next(line for line in self.page().splitlines() if line.startswith(name)).removeprefix(name))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.observers.close()


async def test_an_event_reaches_the_window_and_whoever_watches(stage: Stage) -> None:
    stage.hub.emit("override.set", {"backend": "bedrock", "api_key": "sk-ant-x"})
    assert [event.name for event in stage.observers.window.recent()] == ["override.set"]
    shown = stage.feed.recent()[-1]
    assert (shown.name, shown.fields["backend"]) == ("override.set", "bedrock")
    assert "sk-ant-x" not in str(shown.fields)


async def test_where_there_never_was_a_credential_none_has_failed(stage: Stage) -> None:
    stage.hub.emit("credential.failed", {"source": "AWS", "reason": "none found"})
    stage.credentials[BEDROCK] = CredentialView("AWS", problem="none found")
    stage.hub.emit("credential.failed", {"source": "AWS", "reason": "none found"})
    assert stage.refreshes("failed") == 0.0
    stage.observers.watch()
    assert stage.observers.desk.active() == ()


async def test_a_credential_that_worked_and_is_not_renewed_is_an_alert_until_it_is(stage: Stage) -> None:
    stage.credentials[BEDROCK] = CredentialView("sso", "temporary keys")
    stage.hub.emit("credential.failed", {"source": "AWS", "reason": "the login has expired"})
    assert stage.refreshes("failed") == 1.0
    stage.observers.watch()
    assert [(one.code, one.detail) for one in stage.observers.desk.active()] == [
        ("token_refresh", "bedrock: the login has expired")
    ]
    stage.hub.emit("credential.refreshed", {"source": "sso"})
    assert stage.refreshes("ok") == 1.0


async def test_a_stored_tokens_failure_is_the_claude_backends(stage: Stage) -> None:
    stage.credentials[CLAUDE] = CredentialView("keyring", "login token")
    stage.hub.emit("credential.failed", {"source": "keyring", "reason": "revoked"})
    assert (stage.refreshes("failed", "claude"), stage.refreshes("failed")) == (1.0, 0.0)


async def test_counts_of_events_go_on_after_a_restart(stage: Stage) -> None:
    stage.observers.restore({"override.set": 4, "no.such": 1, "failover.happened": "many", "daemon.started": -1})
    stage.hub.emit("override.set", {})
    assert stage.observers.window.summary() == {"override.set": 5}
    stage.observers.restore("nonsense")


async def test_metrics_follow_the_configuration(stage: Stage) -> None:
    assert stage.world.metrics is not None
    off = Settings(backends=QUIET.backends, alerts=QUIET.alerts, metrics=Metrics(enabled=False))
    stage.observers.configure(off)
    assert stage.world.metrics is None
    stage.observers.configure(QUIET)
    assert stage.world.metrics is not None
    assert 'claude_failover_breaker_transitions_total{backend="bedrock",to="open"} 0.0' in stage.page()


async def test_after_the_end_nothing_is_heard() -> None:
    stage = Stage()
    await stage.observers.close()
    stage.hub.emit("override.set", {})
    assert len(stage.observers.window) == 0
