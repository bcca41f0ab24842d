"""The books: everybody who keeps something is told, in one order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from msgspec import structs

from claude_failover import events
from claude_failover.clock import SystemClock
from claude_failover.core.policy import Go, Policy, RequestFacts
from claude_failover.core.settings import CostTracking, Settings
from claude_failover.core.spend import SpendBudget
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Epoch,
    ExchangeRecord,
    Headers,
    Instant,
    Monotonic,
    Transition,
    TransitionKind,
)
from claude_failover.daemon.accounts import Accounts
from claude_failover.daemon.books import Books
from claude_failover.daemon.history import History
from claude_failover.events import Event
from claude_failover.ledger_days import Zone
from tests.control_fakes import NOW, sample_story

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
RESET = ("anthropic-ratelimit-unified-reset", str(int(NOW + 3600)))
FINE: Headers = (("Anthropic-Ratelimit-Unified-Status", "allowed"), RESET)
PAID: Headers = (
    ("anthropic-ratelimit-unified-status", "rejected"),
    ("anthropic-ratelimit-unified-5h-status", "rejected"),
    ("anthropic-ratelimit-unified-overage-in-use", "true"),
    RESET,
)


class Fixed:
    """A clock that stands."""

    def now(self) -> Instant:
        return Instant(Epoch(NOW), Monotonic(60.0))


@dataclass
class Ear:
    """Hears what the metrics and the alerts hear."""

    heard: list[object] = field(default_factory=list)

    def attempted(self, record: AttemptRecord) -> None:
        self.heard.append(record)

    def concluded(self, record: ExchangeRecord) -> None:
        self.heard.append(record)


@dataclass
class Shelf:
    """Books with a policy behind them that can be asked."""

    settings: Settings
    history: History = field(default_factory=History)
    ear: Ear = field(default_factory=Ear)

    def __post_init__(self) -> None:
        spend = SpendBudget(None, None, Zone.of("UTC").day)
        self.policy = Policy(self.settings, random.Random(0), spend)
        accounts = Accounts(Path("nowhere"), spend, SystemClock())
        self.books = Books(accounts, self.history, self.policy, self.settings, Fixed())
        self.books.attempts = self.books.exchanges = (self.ear,)

    def goes_to(self) -> BackendName:
        facts = RequestFacts("cfr_1", "claude-opus-5-5", family="opus")
        decision = self.policy.choose(facts, (), Fixed().now())
        assert isinstance(decision, Go)
        return decision.backend


@pytest.fixture
def said() -> Iterator[list[Event]]:
    with events.capture() as heard:
        yield heard


def test_attempts_and_requests_reach_everybody(said: list[Event]) -> None:
    shelf = Shelf(Settings())
    story = sample_story()
    for attempt in story.attempts:
        shelf.books.record(attempt)
    shelf.books.conclude(story)
    assert shelf.ear.heard == [*story.attempts, story]
    assert shelf.history.find("last") == story
    assert [event.name for event in said] == ["attempt.ended", "attempt.ended", "exchange.ended"]


def test_a_model_without_a_price_is_said(said: list[Event]) -> None:
    shelf = Shelf(Settings())
    served = sample_story().attempts[1]
    shelf.books.record(structs.replace(served, price_estimated=True))
    assert (said[0].name, said[0].fields.get("model")) == ("price.missed", "claude-opus-5")


def test_a_change_is_told_and_to_be_saved(said: list[Event]) -> None:
    shelf = Shelf(Settings())
    assert not shelf.books.changed.is_set()
    shelf.books.announce(Transition(TransitionKind.COOLDOWN_STARTED, CLAUDE))
    assert shelf.books.changed.is_set()
    assert [event.name for event in said] == ["cooldown.started"]


def test_the_plans_windows_are_said_when_they_change(said: list[Event]) -> None:
    shelf = Shelf(Settings())
    for headers in (FINE, FINE, PAID, PAID, (("content-type", "text/plain"),)):
        shelf.books.heard(CLAUDE, headers)
    assert [(event.fields["status"], event.fields["rejected"], event.fields["extra_usage"]) for event in said] == [
        ("allowed", "", False),
        ("rejected", "5h", True),
    ]


def test_a_window_that_fills_is_remembered_but_is_no_news(said: list[Event]) -> None:
    shelf = Shelf(Settings())
    other = ("x-some-other-header-with-a-long-name", "1")
    seen = []
    for used in ("0.3", "0.4", "0.3"):
        shelf.books.heard(CLAUDE, (other, ("Anthropic-Ratelimit-Unified-5h-Utilization", used)))
        seen.append([window.utilization for window in shelf.history.windows(CLAUDE)])
    assert seen == [[0.3], [0.4], [0.3]]
    assert [event.name for event in said] == ["limit.changed"]


def test_paid_extra_usage_is_left_for_bedrock_if_the_owner_prefers_that() -> None:
    avoiding = Shelf(replace(Settings(), cost_tracking=CostTracking(avoid_extra_usage=True)))
    assert avoiding.goes_to() == CLAUDE
    avoiding.books.heard(CLAUDE, PAID)
    assert avoiding.goes_to() == BEDROCK
    avoiding.books.heard(CLAUDE, FINE)
    assert avoiding.goes_to() == CLAUDE


def test_paid_extra_usage_is_used_unless_the_owner_says_otherwise() -> None:
    shelf = Shelf(Settings())
    shelf.books.heard(CLAUDE, PAID)
    assert shelf.goes_to() == CLAUDE
