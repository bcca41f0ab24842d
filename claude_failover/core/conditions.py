"""Conditions: when a rule begins to hold and when it is over; what the owner is told, and how often.

Rule: a condition that holds for as long as its rule asks is raised once; it is resolved when it has not held for
:data:`CALM`, and said again every :data:`REMIND` while it lasts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from claude_failover.core.alert_rules import LONG, LOOK_BACK, RULES, Rule, Sample, Severity, View
from claude_failover.core.gauges import Gauges
from claude_failover.core.settings import Alerts
from claude_failover.core.types import AttemptRecord, Epoch, ExchangeRecord, Outcome, Seconds

WINDOW: Final = 1000
"""Requests that are looked back on."""
CALM: Final = Seconds(60.0)
REMIND: Final = Seconds(4 * 3600.0)


class Change(StrEnum):
    """What a notice says."""

    RAISED = "raised"
    REMINDED = "reminded"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the owner."""

    code: str
    change: Change
    severity: Severity
    title: str
    detail: str
    """The figures, one line."""
    since: Epoch
    at: Epoch


def failed_in_band(record: AttemptRecord) -> bool:
    """Whether an attempt failed after a status that promised an answer: an error event, an exception frame, a cut."""
    outcome = record.outcome
    if outcome is Outcome.SUCCESS:
        return False
    promised = record.status is not None and 200 <= record.status < 300
    return promised and (outcome.blames_backend or outcome.is_limit or outcome is Outcome.TRANSIENT_LIMIT)


@dataclass(slots=True)
class _State:
    since: Epoch
    """When it began to hold."""
    detail: str
    last_held: Epoch
    said: Epoch | None = None
    """When its owner was last told; ``None`` = not yet."""


@dataclass(slots=True)
class Conditions:
    """Looks at requests and gauges, and says what changed. Bounded by construction."""

    settings: Alerts
    _samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _trips: deque[Epoch] = field(default_factory=lambda: deque(maxlen=100))
    _refresh_failed: str = ""
    _bypasses: int = 0
    _bypassed: Epoch | None = None
    _states: dict[str, _State] = field(default_factory=dict)

    def concluded(self, record: ExchangeRecord) -> None:
        """Note a request."""
        if record.outcome in {"refused", "client_gone"}:
            return
        in_band = sum([failed_in_band(attempt) for attempt in record.attempts])
        ended = Epoch(record.started + record.duration)
        self._samples.append(Sample(ended, record.failed_over, record.ttft, in_band))

    def tripped(self, at: Epoch) -> None:
        """Note that a breaker opened."""
        self._trips.append(at)

    def refreshed(self, failure: str | None) -> None:
        """Note how refreshing a credential went: *failure* says why not."""
        self._refresh_failed = failure or ""

    def evaluate(self, gauges: Gauges) -> list[Notice]:
        """Look at every rule; answer what its owner is to be told now, in the rules' order."""
        now = gauges.at
        if gauges.bypasses > self._bypasses:
            self._bypassed = now
        self._bypasses = gauges.bypasses
        view = View(
            gauges,
            self.settings,
            recent=tuple(sample for sample in self._samples if now - sample.at < LOOK_BACK),
            trips=sum(1 for at in self._trips if now - at < LONG),
            refresh_failed=self._refresh_failed,
            bypassed=self._bypassed is not None and now - self._bypassed < LOOK_BACK,
        )
        notices = []
        for rule in RULES:
            notice = self._step(rule, rule.holds(view), now)
            if notice is not None:
                notices.append(notice)
        return notices

    def active(self) -> tuple[Notice, ...]:
        """What is raised now, for ``status``."""
        return tuple(
            _notice(rule, Change.RAISED, state, state.last_held)
            for rule in RULES
            if (state := self._states.get(rule.code)) is not None and state.said is not None
        )

    def _step(self, rule: Rule, detail: str | None, now: Epoch) -> Notice | None:
        state = self._states.get(rule.code)
        if detail is None:
            if state is None or (state.said is not None and 0 <= now - state.last_held < CALM):
                return None
            del self._states[rule.code]
            return None if state.said is None else _notice(rule, Change.RESOLVED, state, now)
        if state is None:
            state = self._states[rule.code] = _State(now, detail, now)
        state.detail, state.last_held = detail, now
        if state.said is None and now - state.since >= rule.for_:
            state.said = now
            return _notice(rule, Change.RAISED, state, now)
        if state.said is not None and now - state.said >= REMIND:
            state.said = now
            return _notice(rule, Change.REMINDED, state, now)
        return None


def _notice(rule: Rule, change: Change, state: _State, at: Epoch) -> Notice:
    return Notice(rule.code, change, rule.severity, rule.title, state.detail, state.since, at)
