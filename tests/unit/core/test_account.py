"""The account of one exchange."""

from __future__ import annotations

import pytest

from claude_failover.core import account as accounts
from claude_failover.core import request
from claude_failover.core.account import Account
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import ClientRequest, HeadReceived, Rewrite, Translated, UpstreamRequest
from claude_failover.core.decision import Go
from claude_failover.core.settings import Settings
from claude_failover.core.types import (
    BackendName,
    Epoch,
    Headers,
    Instant,
    Monotonic,
    Outcome,
    Reason,
    Scope,
    Seconds,
    Step,
    Transition,
    TransitionKind,
    Verdict,
)
from tests.exchanges import BEDROCK, CLAUDE, JSON, MODEL, World, an_attempt

LIMIT = Verdict(Outcome.THROTTLED, "slow down", Scope.MODEL, until=Epoch(1_795_000_060.0))
NOW = World().clock.now()


def at(seconds: float) -> Instant:
    return Instant(Epoch(NOW.wall + seconds), Monotonic(NOW.monotonic + seconds))


def new() -> tuple[Account, World]:
    world = World()
    account = Account("cfr_1", request.peek(ClientRequest("cfr_1", "/v1/messages", (), world.body())), MODEL)
    account.started = NOW
    return account, world


def answered(status: int | None, body: bytes = b"{}", backend: int = 0, headers: Headers = JSON) -> Attempt:
    attempt = an_attempt(Settings().backends[backend])
    if status is not None:
        attempt.receive_head(HeadReceived(0, status, headers), at(1.0))
        attempt.keep(body, 1000)
    return attempt


def go(attempt: Attempt, reason: Reason = Reason.THROTTLED) -> Go:
    return Go(attempt.backend.name, reason, attempt.permit)


def test_a_timeline_is_bounded() -> None:
    account, _ = new()
    for count in range(accounts.STEPS_MAX + 5):
        account.step(at(count), "waited", "claude", "x")
    assert len(account.steps) == accounts.STEPS_MAX
    assert account.steps[3] == Step(Seconds(3.0), "waited", "claude", "x")


def test_a_first_attempt_is_no_failover_and_a_second_elsewhere_is() -> None:
    account, world = new()
    first = answered(429)
    assert account.opened(first, go(first, Reason.PRIMARY), at(0.0)) == []
    account.close(first, LIMIT, world.counsel, at(1.0))
    again = answered(None)
    assert account.opened(again, go(again, Reason.RETRY), at(1.0)) == []
    other = answered(None, backend=1)
    assert account.opened(other, go(other), at(2.0)) == [
        Transition(
            TransitionKind.FAILED_OVER,
            backend=BEDROCK,
            model=MODEL,
            detail="slow down",
            fields={"from": CLAUDE, "reason": "throttled", "exchange": "cfr_1"},
        )
    ]
    assert [(step.what, step.detail) for step in account.steps] == [
        ("opened", "primary"),
        ("opened", "retry"),
        ("failed over", "claude: throttled"),
        ("opened", "throttled"),
    ]


@pytest.mark.parametrize(("count", "told"), [(2, "dropped f0; dropped f1"), (14, "; dropped f11; 2 more")])
def test_what_translation_changed_is_named(count: int, told: str) -> None:
    account, _ = new()
    rewrites = tuple(Rewrite(f"f{number}", "dropped") for number in range(count))
    made = Translated(UpstreamRequest("POST", "/", (), b""), "m", rewrites)
    attempt = an_attempt(Settings().backends[1], translated=made)
    account.opened(attempt, go(attempt), at(0.0))
    assert account.steps[-1].what == "translated"
    assert account.steps[-1].detail.endswith(told)


def test_a_beta_that_nobody_knows_is_told_to_the_world() -> None:
    account, _ = new()
    attempt = an_attempt(Settings().backends[1])
    attempt.news = ("telepathy-2031-01-01",)
    (told,) = account.opened(attempt, go(attempt), at(0.0))
    assert (told.kind, told.backend, told.model) == (TransitionKind.BETA_DROPPED, BEDROCK, MODEL)
    assert told.fields == {"beta": "telepathy-2031-01-01"}
    assert "Bedrock is not sent it" in told.detail


def test_how_an_attempt_failed_is_told_with_or_without_words() -> None:
    account, _ = new()
    account.failed(answered(429), LIMIT, at(0.0))
    account.failed(answered(429), Verdict(Outcome.CUT), at(0.0), "broken")
    assert [(step.what, step.detail) for step in account.steps] == [
        ("failed", "throttled: slow down"),
        ("broken", "cut"),
    ]


def test_errors_are_kept_as_they_came_and_limits_for_later_requests() -> None:
    account, world = new()
    account.keep_error(answered(429, b"limit"), LIMIT, world.counsel)
    account.keep_error(answered(500, b"down"), Verdict(Outcome.SERVER_ERROR), world.counsel)
    assert [(error.status, error.body) for error in account.errors] == [(429, b"limit"), (500, b"down")]
    remembered = world.counsel.memory.recall(CLAUDE, MODEL, "opus", NOW.wall)
    assert remembered == account.errors[0]


def test_what_said_nothing_leaves_nothing() -> None:
    account, world = new()
    account.keep_error(answered(None), Verdict(Outcome.UNREACHABLE), world.counsel)
    account.keep_error(answered(200), Verdict(Outcome.SILENT), world.counsel)
    assert account.errors == []


def test_with_the_commit_errors_are_let_go_and_who_answers_is_known() -> None:
    account, world = new()
    account.keep_error(answered(429, b"limit"), LIMIT, world.counsel)
    winner = answered(200, backend=1)
    account.committed(winner, at(2.0))
    assert account.errors == []
    assert account.answered_by is winner
    assert account.steps == [Step(Seconds(2.0), "committed", BEDROCK)]


def test_an_error_inside_a_200_is_kept_as_the_status_it_stands_for() -> None:
    account, world = new()
    account.keep_error(answered(200), Verdict(Outcome.OVERLOADED, "x", error_type="overloaded_error"), world.counsel)
    assert account.errors[0].status == 529


@pytest.mark.parametrize(
    ("reason", "failed_over"), [(Reason.PLAN_LIMIT, True), (Reason.FORCED, False), (Reason.PREFERRED, False)]
)
def test_being_elsewhere_is_a_failover_unless_somebody_wanted_it(*, reason: Reason, failed_over: bool) -> None:
    account, world = new()
    attempt = answered(200, backend=1)
    attempt.reason = reason
    attempt.commit(at(2.0))
    account.answered_by = attempt
    account.status = 200
    account.close(attempt, Verdict(Outcome.SUCCESS), world.counsel, at(3.0))
    record = account.conclude("served", CLAUDE, None, at(3.0))
    assert record.failed_over is failed_over
    assert (record.backend, record.reason, record.ttft, record.duration) == (BEDROCK, reason, 2.0, 3.0)


def test_overhead_is_what_nobody_was_waited_for() -> None:
    account, world = new()
    account.resume(at(0.0))
    account.close(answered(529), LIMIT, world.counsel, at(1.0))
    account.wait(at(1.5), "back-off")
    account.resume(at(2.5))
    account.wait(at(2.5), "more")
    record = account.conclude("client_gone", CLAUDE, BackendName("claude"), at(3.0))
    # 3 s in all: 1 s of an attempt, 1 s and 0.5 s of waits.
    assert record.overhead == pytest.approx(0.5)
    assert (record.backend, record.reason, record.ttft, record.failed_over) == (CLAUDE, None, None, False)


def test_an_answer_that_never_began_has_no_time_to_it() -> None:
    account, world = new()
    attempt = answered(200)
    account.answered_by = attempt
    account.close(attempt, Verdict(Outcome.SUCCESS), world.counsel, at(1.0))
    assert account.conclude("served", CLAUDE, None, at(1.0)).ttft is None
