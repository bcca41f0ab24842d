from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from claude_failover.core.conditions import CALM, REMIND, Change, Conditions, Notice, failed_in_band
from claude_failover.core.gauges import BackendGauges, Gauges
from claude_failover.core.settings import Alerts
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Epoch,
    ExchangeRecord,
    Kind,
    Outcome,
    Reason,
    Seconds,
)

AT = 1_795_000_000.0
CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
ATTEMPT = AttemptRecord(
    exchange="cfr_1",
    attempt=0,
    backend=CLAUDE,
    kind=Kind.ANTHROPIC,
    model="claude-opus-5-5",
    upstream_model="claude-opus-5-5",
    surface=None,
    reason=Reason.PRIMARY,
    outcome=Outcome.SUCCESS,
    detail="",
    status=200,
    started=Epoch(AT),
    ttfb=None,
    ttft=None,
    duration=Seconds(1.0),
)
EXCHANGE = ExchangeRecord(
    exchange="cfr_1",
    started=Epoch(AT),
    model="claude-opus-5-5",
    streaming=True,
    outcome="served",
    status=200,
    backend=CLAUDE,
    reason=Reason.PRIMARY,
    attempts=(ATTEMPT,),
    steps=(),
    duration=Seconds(1.0),
    overhead=Seconds(0.0),
    ttft=Seconds(0.5),
    session=None,
    agent=None,
    request_class=None,
    failed_over=False,
)


def at(seconds: float, *, spent: float = 0.0, up: bool = True, bypasses: int = 0) -> Gauges:
    return Gauges(
        Epoch(AT + seconds),
        (BackendGauges(CLAUDE, available=up), BackendGauges(BEDROCK, available=up)),
        active=CLAUDE,
        spent_usd=spent,
        alert_usd=80.0,
        bypasses=bypasses,
    )


def told(notices: list[Notice]) -> list[tuple[str, Change]]:
    return [(notice.code, notice.change) for notice in notices]


def test_a_condition_is_raised_once_reminded_of_and_resolved() -> None:
    conditions = Conditions(Alerts())
    (raised,) = conditions.evaluate(at(0, spent=81.5))
    assert (raised.code, raised.change, raised.since, raised.at) == ("cost", Change.RAISED, AT, AT)
    assert raised.detail == "$81.50 spent today (alert at $80.00)"
    assert conditions.evaluate(at(10, spent=82)) == []
    assert conditions.evaluate(at(REMIND - 1, spent=83)) == []
    (reminded,) = conditions.evaluate(at(REMIND, spent=84))
    assert (reminded.change, reminded.since) == (Change.REMINDED, AT)
    assert told(conditions.evaluate(at(REMIND + CALM - 1, spent=0))) == []
    (resolved,) = conditions.evaluate(at(REMIND + CALM, spent=0))
    assert (resolved.change, resolved.since, resolved.detail) == (
        Change.RESOLVED,
        AT,
        "$84.00 spent today (alert at $80.00)",
    )
    assert conditions.evaluate(at(REMIND + CALM + 10, spent=0)) == []


def test_a_condition_that_comes_and_goes_is_one_alert() -> None:
    conditions = Conditions(Alerts())
    conditions.evaluate(at(0, spent=90))
    assert [told(conditions.evaluate(at(10 * step, spent=90 * (step % 2)))) for step in range(1, 20)] == [[]] * 19


def test_a_condition_that_must_last_is_not_raised_before_and_begins_anew_when_it_stops() -> None:
    conditions = Conditions(Alerts())
    assert conditions.evaluate(at(0, up=False)) == []
    assert conditions.evaluate(at(59, up=False)) == []
    assert conditions.evaluate(at(60, up=True)) == []
    assert conditions.evaluate(at(61, up=False)) == []
    assert conditions.evaluate(at(120, up=False)) == []
    assert told(conditions.evaluate(at(121, up=False))) == [("all_backends_down", Change.RAISED)]


def test_a_clock_set_back_resolves_rather_than_waits_for_ever() -> None:
    conditions = Conditions(Alerts())
    conditions.evaluate(at(0, spent=90))
    assert told(conditions.evaluate(at(-3600, spent=0))) == [("cost", Change.RESOLVED)]


def test_what_is_raised_now_can_be_asked_for() -> None:
    conditions = Conditions(Alerts())
    conditions.evaluate(at(0, spent=90, up=False))
    assert [notice.code for notice in conditions.active()] == ["cost"]
    conditions.evaluate(at(60, spent=90, up=False))
    assert [notice.code for notice in conditions.active()] == ["cost", "all_backends_down"]


def test_requests_that_left_the_primary_are_counted_over_ten_minutes() -> None:
    conditions = Conditions(Alerts(fallback_rate=0.10))
    for number in range(20):
        conditions.concluded(replace(EXCHANGE, failed_over=number < 3))
    (raised,) = conditions.evaluate(at(10))
    assert (raised.code, raised.detail) == ("fallback_rate", "3 of the last 20 requests (15%) left the primary")
    assert told(conditions.evaluate(at(602))) == [("fallback_rate", Change.RESOLVED)]


def test_requests_that_say_nothing_about_a_backend_are_left_out() -> None:
    conditions = Conditions(Alerts(fallback_rate=0.10))
    for outcome in ("refused", "client_gone"):
        for _ in range(20):
            conditions.concluded(replace(EXCHANGE, outcome=outcome, failed_over=True))
    assert conditions.evaluate(at(10)) == []


def test_errors_inside_of_200s_are_counted() -> None:
    conditions = Conditions(Alerts())
    broken = replace(ATTEMPT, outcome=Outcome.CUT)
    conditions.concluded(replace(EXCHANGE, attempts=(broken, broken)))
    assert conditions.evaluate(at(2)) == []
    conditions.concluded(replace(EXCHANGE, attempts=(broken, ATTEMPT)))
    assert told(conditions.evaluate(at(3))) == [("in_band_errors", Change.RAISED)]


@pytest.mark.parametrize(
    ("status", "outcome", "in_band"),
    [
        (200, Outcome.OVERLOADED, True),
        (200, Outcome.STALLED, True),
        (200, Outcome.THROTTLED, True),
        (200, Outcome.TRANSIENT_LIMIT, True),
        (200, Outcome.SUCCESS, False),
        (200, Outcome.CLIENT_GONE, False),
        (529, Outcome.OVERLOADED, False),
        (None, Outcome.UNREACHABLE, False),
    ],
)
def test_only_a_failure_after_a_good_status_is_in_band(status: int | None, outcome: Outcome, in_band: bool) -> None:
    assert failed_in_band(replace(ATTEMPT, status=status, outcome=outcome)) is in_band


def test_a_breaker_that_opens_again_and_again_is_flapping() -> None:
    conditions = Conditions(Alerts())
    for number in range(5):
        conditions.tripped(Epoch(AT + number))
    assert told(conditions.evaluate(at(10))) == [("breaker_flapping", Change.RAISED)]
    assert told(conditions.evaluate(at(1800 + 60))) == [("breaker_flapping", Change.RESOLVED)]


def test_a_failed_refresh_is_raised_until_one_succeeds() -> None:
    conditions = Conditions(Alerts())
    conditions.refreshed("bedrock: login expired")
    (raised,) = conditions.evaluate(at(0))
    assert (raised.code, raised.detail) == ("token_refresh", "bedrock: login expired")
    conditions.refreshed(None)
    assert told(conditions.evaluate(at(CALM))) == [("token_refresh", Change.RESOLVED)]


def test_a_bypass_is_raised_when_it_happens_and_over_ten_minutes_later() -> None:
    conditions = Conditions(Alerts())
    assert told(conditions.evaluate(at(0, bypasses=1))) == [("bypass", Change.RAISED)]
    assert conditions.evaluate(at(599, bypasses=1)) == []
    assert told(conditions.evaluate(at(660, bypasses=1))) == [("bypass", Change.RESOLVED)]


def test_settings_can_be_changed_in_mid_life() -> None:
    conditions = Conditions(Alerts(latency_p95=5.0))
    for _ in range(10):
        conditions.concluded(replace(EXCHANGE, ttft=Seconds(3.0)))
    assert conditions.evaluate(at(1)) == []
    conditions.settings = Alerts(latency_p95=2.0)
    conditions.evaluate(at(2))
    assert told(conditions.evaluate(at(62))) == [("latency", Change.RAISED)]


def test_a_hundred_thousand_requests_and_trips_take_no_more_room_than_a_thousand() -> None:
    conditions = Conditions(Alerts())
    for number in range(100_000):
        conditions.concluded(EXCHANGE)
        conditions.tripped(Epoch(AT + number))
    assert len(conditions._samples) == 1000
    assert len(conditions._trips) == 100


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 300), st.booleans()), max_size=60))
def test_raised_and_resolved_take_turns_whatever_happens(steps: list[tuple[float, bool]]) -> None:
    conditions = Conditions(Alerts())
    now, open_since = 0.0, None
    for pause, holds in steps:
        now += pause
        for notice in conditions.evaluate(at(now, spent=100.0 if holds else 0.0)):
            match notice.change:
                case Change.RAISED:
                    assert open_since is None
                    open_since = notice.since
                case Change.REMINDED:
                    assert open_since == notice.since
                case Change.RESOLVED:
                    assert open_since == notice.since
                    open_since = None
