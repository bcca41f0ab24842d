from __future__ import annotations

import re

import pytest

from claude_failover.core.types import TransitionKind
from claude_failover.events.names import AUDITED, LEVELS, NAMES, REPEATING, Level, level_of


def test_every_transition_has_its_event() -> None:
    assert {kind.value for kind in TransitionKind} <= set(NAMES)


def test_names_are_a_noun_and_a_past_tense_verb() -> None:
    for name in NAMES:
        assert re.fullmatch(r"[a-z]+\.[a-z]+", name)
    assert len(set(NAMES)) == len(NAMES)


def test_tables_name_only_events_that_exist() -> None:
    assert set(LEVELS) | set(AUDITED) | set(REPEATING) <= set(NAMES)


def test_a_failover_is_a_warning_and_a_request_is_information() -> None:
    assert level_of("failover.happened") is Level.WARNING
    assert level_of("exchange.ended") is Level.INFO
    assert level_of("attempt.ended") is Level.DEBUG


def test_levels_are_read_as_in_the_configuration() -> None:
    assert Level.parse("warning") is Level.WARNING
    assert Level.ERROR.label == "error"
    with pytest.raises(KeyError):
        Level.parse("loud")
