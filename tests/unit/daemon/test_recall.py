"""A story out of the ledger is the story that went in."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from claude_failover.core.types import BackendName, Epoch
from claude_failover.daemon.recall import record_of
from claude_failover.ledger import Ledger
from claude_failover.ledger_days import Zone
from tests.control_fakes import NOW, sample_story


def test_a_story_comes_back_as_it_went_in(tmp_path: Path) -> None:
    story = sample_story()
    ledger = Ledger.open(tmp_path / "ledger.db", zone=Zone.of("UTC"), primary=BackendName("claude"), now=Epoch(NOW))
    for attempt in story.attempts:
        ledger.record(attempt)
    ledger.record_exchange(story)
    found = ledger.ask(lambda reader: reader.exchange(story.exchange)).result(10)
    assert ledger.ask(lambda reader: reader.exchange("another")).result(10) is None
    ledger.close()
    assert found is not None
    again = record_of(found)
    # The ledger keeps milliseconds.
    assert again.duration == pytest.approx(story.duration, abs=0.001)
    assert again.overhead == pytest.approx(story.overhead, abs=0.001)
    same = replace(again, duration=story.duration, overhead=story.overhead, attempts=story.attempts)
    assert same == story
    assert list(again.attempts) == list(story.attempts)


def test_a_request_that_nobody_answered_comes_back_too(tmp_path: Path) -> None:
    story = replace(sample_story(), backend=None, reason=None, attempts=(), steps=(), ttft=None, status=None)
    ledger = Ledger.open(tmp_path / "ledger.db", zone=Zone.of("UTC"), primary=BackendName("claude"), now=Epoch(NOW))
    ledger.record_exchange(story)
    found = ledger.ask(lambda reader: reader.exchange(None)).result(10)
    ledger.close()
    assert found is not None
    again = record_of(found)
    assert (again.backend, again.reason, again.attempts, again.steps) == (None, None, (), ())
