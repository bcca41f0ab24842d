"""Until when an attempt is waited for, and what it means that nothing came."""

from __future__ import annotations

import pytest

from claude_failover.core import patience, reading
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import Event, HeadReceived
from claude_failover.core.decision import RequestFacts, Try
from claude_failover.core.settings import Timeouts
from claude_failover.core.types import Epoch, Headers, Instant, Monotonic, Outcome, Reason, Seconds, Verdict
from tests.exchanges import ANSWER, CLAUDE, DELTA, JSON, MODEL, SSE, START, World, an_attempt

LIMITS = Timeouts(first_byte=60.0, first_content=90.0, stream_idle=30.0)


def at(seconds: float) -> Instant:
    return Instant(Epoch(1_795_000_000.0 + seconds), Monotonic(1_000.0 + seconds))


def answered(status: int, headers: Headers, *data: bytes) -> Attempt:
    """Opened at 1000, its head 5 s later, then a read every 10 s."""
    attempt = an_attempt()
    event: Event = HeadReceived(0, status, headers)
    assert isinstance(event, HeadReceived)
    reading.begin(attempt, event, at(5), streaming=True)
    for count, piece in enumerate(data, 1):
        now = at(5 + 10 * count)
        attempt.heard = now.monotonic
        if attempt.committed:
            reading.relay(attempt, piece, now)
        else:
            reading.take(attempt, piece, now, True, opened=False)
    return attempt


@pytest.mark.parametrize(("streaming", "seconds"), [(True, 60.0), (False, 600.0)])
def test_a_head_is_waited_for_from_the_opening(*, streaming: bool, seconds: float) -> None:
    assert patience.until(an_attempt(), LIMITS, streaming=streaming) == 1_000.0 + seconds


def test_a_longer_configured_wait_for_the_head_holds_for_both() -> None:
    assert patience.until(an_attempt(), Timeouts(first_byte=900.0), streaming=False) == 1_900.0


@pytest.mark.parametrize(
    ("attempt", "until"),
    [
        (answered(529, JSON, b"{", b"}"), 1_015.0),
        (answered(200, SSE, START), 1_090.0),
        (answered(200, JSON, b"{"), 1_045.0),
        (answered(200, SSE, START, DELTA, DELTA), 1_065.0),
        (answered(200, SSE, ANSWER), 1_020.0),
    ],
    ids=["an error's body", "content", "a whole body", "the next event", "the end behind the answer"],
)
def test_what_is_waited_for_decides_for_how_long(attempt: Attempt, until: float) -> None:
    assert patience.until(attempt, LIMITS, streaming=True) == until


def test_listening_again_begins_the_wait_anew() -> None:
    attempt = answered(200, SSE, START, DELTA)
    attempt.listen(at(100))
    assert patience.until(attempt, LIMITS, streaming=True) == 1_130.0


def given_up(attempt: Attempt, seconds: Seconds = Seconds(100.0)) -> reading.Progress:
    return patience.exhausted(attempt, at(seconds), streaming=True, opened=False)


def test_no_head_and_no_content_are_silence() -> None:
    for attempt, what in ((an_attempt(), "no response headers"), (answered(200, SSE, START), "no content")):
        failed = given_up(attempt)
        assert isinstance(failed, reading.Failed)
        assert (failed.verdict.outcome, failed.verdict.detail) == (Outcome.SILENT, f"{what} within 100 s")
        assert not failed.close


def test_an_error_is_judged_by_what_came_of_it() -> None:
    failed = given_up(answered(529, JSON, b"{"))
    assert isinstance(failed, reading.Failed)
    assert failed.verdict.outcome is Outcome.OVERLOADED


def test_silence_in_the_middle_is_a_stall_and_behind_the_end_nothing() -> None:
    broken = given_up(answered(200, SSE, START, DELTA))
    assert isinstance(broken, reading.Broken)
    assert (broken.verdict.outcome, broken.close) == (Outcome.STALLED, False)
    assert given_up(answered(200, SSE, ANSWER)) == reading.Completed()


NOBODY_KNOWS = float("inf")


def test_a_limit_shortens_the_waits_of_a_stream_and_of_nothing_else() -> None:
    world = World()
    known = RequestFacts("cfr_x", MODEL, family="opus")

    def most(*tries: Try, may_tell: bool = True) -> float:
        return patience.for_waits(world.counsel, known, tries, world.clock.now(), may_tell=may_tell)

    def a_try(outcome: Outcome) -> Try:
        return Try(CLAUDE, Reason.PRIMARY, Verdict(outcome), world.clock.now().monotonic)

    assert most() == NOBODY_KNOWS
    assert most(a_try(Outcome.OVERLOADED)) == NOBODY_KNOWS
    assert most(a_try(Outcome.PLAN_LIMIT)) == 10.0
    assert most(a_try(Outcome.FAMILY_LIMIT)) == 10.0
    assert most(a_try(Outcome.PLAN_LIMIT), may_tell=False) == NOBODY_KNOWS
    world.limit_primary()
    assert most() == 10.0
    assert most(may_tell=False) == NOBODY_KNOWS
