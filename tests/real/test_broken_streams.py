"""Holds the table of docs/after-the-commit.md: a client that changes its mind about broken streams is noticed here."""

from __future__ import annotations

import pytest

from claude_failover.core.reply import Telling, telling_for
from tests.real.broken_streams import PLACES, Then, Way, documented, measure_all
from tests.real.clients import NEWEST, ClaudeCode

pytestmark = pytest.mark.timeout(240)


FINISHED = ("in a tool call, text finished", "in a text, tool call finished", "before the last event")


def by_chance(version: str, place: str, way: str, then: str) -> bool:
    """Whether the newest just lost its race: an aborted connection overtakes the block that was finished before it."""
    return (version, way) == (NEWEST, Way.ABORT) and place in FINISHED and then in (Then.REPEATS, Then.GOES_ON)


async def test_clients_still_take_broken_streams_as_the_document_says(newest: ClaudeCode, older: ClaudeCode) -> None:
    rows = await measure_all([newest, older])
    measured = {(row.version, row.place, str(row.way)): row for row in rows}
    written = {(version, place, way): then for version, place, way, then, *_ in documented()}
    found = {key: str(row.then) for key, row in measured.items()}
    assert {key for key in found if found[key] != written[key] and not by_chance(*key, found[key])} == set()
    # The user's side of it: never a tool that ran twice, never two errors for one break, and with the newest no error.
    assert all(row.ran <= 1 for row in rows)
    assert all(row.requests <= 2 for row in rows)
    assert [row for row in rows if row.version == NEWEST and row.is_error] == []


def test_what_we_do_is_what_the_measurement_favours() -> None:
    """Where the two ways differ for the newest client, the aborted connection is the one that streams."""
    written = {(version, place, way): then for version, place, way, then, *_ in documented()}
    for place in PLACES:
        aborted, event = (written[NEWEST, place, str(way)] for way in (Way.ABORT, Way.EVENT))
        assert aborted == event or place in FINISHED or (aborted, event) == (Then.REPEATS, Then.REPEATS_WHOLE)
    assert telling_for(f"claude-cli/{NEWEST} (external, cli)") is Telling.ABORT
    assert telling_for("") is Telling.ERROR_EVENT
