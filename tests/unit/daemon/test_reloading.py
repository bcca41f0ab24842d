"""Which keys a new configuration changes."""

from __future__ import annotations

from dataclasses import replace

from claude_failover.core.settings import Backend, CostTracking, Listen, Settings
from claude_failover.core.types import BackendName, Kind
from claude_failover.daemon.reloading import changed_keys

CLAUDE = Backend(BackendName("claude"), Kind.ANTHROPIC)
BEDROCK = Backend(BackendName("bedrock"), Kind.BEDROCK)


def changed(before: Settings, after: Settings) -> list[str]:
    return list(changed_keys(before, after))


def test_the_same_configuration_changes_nothing() -> None:
    assert changed(Settings(), Settings()) == []


def test_each_key_that_differs_is_named_in_the_files_order() -> None:
    after = replace(
        Settings(),
        cost_tracking=replace(CostTracking(), daily_limit=1.0, timezone="UTC"),
        listen=replace(Listen(), port=1),
        models={"claude-opus-5-5": "arn"},
    )
    assert changed(Settings(), after) == [
        "listen.port",
        "models",
        "cost_tracking.daily_limit",
        "cost_tracking.timezone",
    ]


def test_backends_are_named_by_their_names() -> None:
    before = Settings(backends=(CLAUDE, BEDROCK))
    after = Settings(backends=(CLAUDE, replace(BEDROCK, region="eu-central-1", scope="eu")))
    assert changed(before, after) == ["backends.bedrock.region", "backends.bedrock.scope"]


def test_another_order_or_another_backend_is_a_change_of_the_list() -> None:
    before = Settings(backends=(CLAUDE, BEDROCK))
    assert changed(before, Settings(backends=(BEDROCK, CLAUDE))) == ["backends"]
    more = Settings(backends=(CLAUDE, BEDROCK, replace(BEDROCK, name=BackendName("far"))))
    assert changed(before, more) == ["backends"]
