"""Messages of the control channel: both ways, and what an older or newer side may do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from claude_failover.control import api
from claude_failover.errors import (
    ConfigError,
    ControlError,
    CredentialError,
    DaemonFailed,
    FailoverError,
    LedgerError,
    UsageError,
)
from tests.control_fakes import sample_status, sample_story

MESSAGES: list[Any] = [
    sample_status(override=api.Override("bedrock", None, 5.0)),
    api.Ping("0.1.0", 7, "http://127.0.0.1:8484", 1.0),
    api.StopRequest(5.0, now=True),
    api.StopResult(3, 7),
    api.ReloadResult(("models",), (), ("claude",)),
    api.ForceRequest(None),
    api.ForceResult(api.Override("bedrock", "claude-opus-5", 5.0)),
    api.Explain(sample_story()),
    api.Models((api.ModelEntry("a", "bedrock", "b", ("messages",)),), (api.Learned("b", "m", "s", "w"),)),
    api.Event(4, 2.0, "failover.happened", {"backend": "bedrock", "n": 1}),
    api.ErrorBody("what", "ConfigError", "do"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_comes_back_as_it_was(message: Any) -> None:
    assert api.decode(api.encode(message), type(message)) == message


def test_a_field_that_only_a_newer_daemon_knows_is_ignored() -> None:
    assert api.decode(b'{"streams": 2, "pid": 9, "mood": "good"}', api.StopResult) == api.StopResult(2, 9)


def test_a_field_that_an_older_daemon_does_not_send_has_its_default() -> None:
    assert api.decode(b"{}", api.StopResult) == api.StopResult(0, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b'{"streams": "many"}',
        b'{"pid": "\xff',
        b'{"x": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    ],
)
def test_what_is_not_the_message_is_a_control_error_that_names_it(data: bytes) -> None:
    with pytest.raises(ControlError, match="StopResult"):
        api.decode(data, api.StopResult)


@pytest.mark.parametrize("kind", [ConfigError, UsageError, ControlError, CredentialError, LedgerError])
def test_an_error_crosses_the_channel_as_itself(kind: type[FailoverError]) -> None:
    arrived = api.error_from(api.error_body(kind("config.yaml:3: no", hint="config check")))
    assert (type(arrived), str(arrived), arrived.hint) == (kind, "config.yaml:3: no", "config check")


def test_an_error_of_another_kind_arrives_as_a_control_error() -> None:
    assert type(api.error_from(api.error_body(DaemonFailed("no")))) is ControlError


def test_a_missing_hint_stays_missing() -> None:
    assert api.error_from(api.ErrorBody("no")).hint is None


def test_json_keeps_the_order_of_the_fields() -> None:
    assert list(json.loads(api.encode(api.StopResult(1, 2)))) == ["streams", "pid"]
