"""The language between an exchange and the shell: values that compare by what they say."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from claude_failover.core import commands
from claude_failover.core.commands import Command, Event, OpenAttempt, Translated, UpstreamRequest
from claude_failover.core.types import BackendName, Kind

REQUEST = UpstreamRequest("POST", "/v1/messages", (("accept", "*/*"),), b"{}")


def test_two_commands_that_say_the_same_are_equal() -> None:
    one = OpenAttempt(0, BackendName("claude"), Kind.ANTHROPIC, REQUEST)
    assert one == OpenAttempt(0, BackendName("claude"), Kind.ANTHROPIC, REQUEST)
    assert one != OpenAttempt(1, BackendName("claude"), Kind.ANTHROPIC, REQUEST)


@pytest.mark.parametrize("kind", [*get_args(Event), *get_args(Command)], ids=lambda kind: kind.__name__)
def test_events_and_commands_cannot_be_changed_on_their_way(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


def test_every_command_and_event_is_in_its_union() -> None:
    said = {*get_args(Event), *get_args(Command)}
    others = {
        commands.ClientRequest,
        commands.UpstreamRequest,
        commands.Rewrite,
        commands.Translated,
        commands.Untranslatable,
    }
    classes = {
        value
        for value in vars(commands).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == commands.__name__
    }
    assert classes == said | others


def test_an_attempt_reuses_a_connection_and_a_credential_unless_told_otherwise() -> None:
    attempt = OpenAttempt(0, BackendName("bedrock"), Kind.BEDROCK, REQUEST)
    assert (attempt.fresh, attempt.refresh_credentials, attempt.clock_skew) == (False, False, None)


def test_a_translation_that_changed_nothing_lists_nothing() -> None:
    translated = Translated(REQUEST, "anthropic.claude-x")
    assert translated.rewrites == ()
    assert translated.extra == {}
