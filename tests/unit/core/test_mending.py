"""Whether the backend that has just refused may do better at once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from claude_failover.core import reading, request, translate
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import ClientRequest, HeadReceived, Translated
from claude_failover.core.decision import Try
from claude_failover.core.mending import mend
from claude_failover.core.models import Target
from claude_failover.core.repair import Denials
from claude_failover.core.settings import Settings
from claude_failover.core.types import (
    BackendName,
    Instant,
    Monotonic,
    Outcome,
    Reason,
    Surface,
    TransitionKind,
    Verdict,
)
from tests.exchanges import BEDROCK, CATALOG, CLAUDE, JSON, MODEL, World, an_attempt

REFUSED = Verdict(Outcome.CLIENT_ERROR, "invalid x-api-key", error_type="authentication_error")


def now() -> Instant:
    return World().clock.now()


def answered(attempt: Attempt, status: int | None, body: bytes = b"") -> Attempt:
    if status is not None:
        reading.begin(attempt, HeadReceived(0, status, JSON), now(), streaming=True)
        attempt.keep(body, 10_000)
    return attempt


def a_try(backend: BackendName, outcome: Outcome) -> Try:
    return Try(backend, Reason.PRIMARY, Verdict(outcome), Monotonic(1.0))


@pytest.mark.parametrize(
    ("stored", "status", "tries", "outcome"),
    [
        (True, 401, [], Outcome.CREDENTIALS),
        (True, 401, [a_try(CLAUDE, Outcome.OVERLOADED)], Outcome.CREDENTIALS),
        (True, 401, [a_try(BEDROCK, Outcome.CREDENTIALS)], Outcome.CREDENTIALS),
        (True, 401, [a_try(CLAUDE, Outcome.CREDENTIALS)], Outcome.CLIENT_ERROR),
        (True, 403, [], Outcome.CLIENT_ERROR),
        (False, 401, [], Outcome.CLIENT_ERROR),
    ],
)
def test_a_token_of_ours_that_is_refused_is_looked_for_once(
    stored: bool, status: int, tries: list[Try], outcome: Outcome
) -> None:
    attempt = answered(an_attempt(stored=stored), status)
    assert mend(attempt, REFUSED, tries, Denials(), now()) == (replace(REFUSED, outcome=outcome), [])


def to_bedrock() -> Attempt:
    backend = Settings().backends[1]
    client = ClientRequest("x", "/v1/messages", (), World().body())
    target = CATALOG.resolve(MODEL, backend)
    assert isinstance(target, Target)
    made = translate.to_bedrock(client, request.peek(client), target, Surface.MESSAGES, backend, Denials())
    assert isinstance(made, Translated)
    return an_attempt(backend, translated=made)


def test_what_bedrock_names_is_learned() -> None:
    denials = Denials()
    verdict = Verdict(Outcome.REPAIRABLE, "identifier")
    attempt = answered(to_bedrock(), 400, b'{"message":"The provided model identifier is invalid."}')
    kept, learned = mend(attempt, verdict, [], denials, now())
    assert kept == verdict
    assert [one.kind for one in learned] == [TransitionKind.LEARNED]
    assert denials.entries(now())


@pytest.mark.parametrize("status", [400, None])
def test_what_nothing_mends_is_a_refusal_of_that_kind_of_backend_only(status: int | None) -> None:
    attempt = answered(to_bedrock(), status, b'{"message":"Extra inputs are not permitted"}')
    verdict, learned = mend(attempt, Verdict(Outcome.REPAIRABLE, "x", error_type="v"), [], Denials(), now())
    assert verdict == Verdict(Outcome.CLIENT_ERROR, "x", error_type="bedrock_only")
    assert learned == []


def test_everything_else_stands_as_it_was_judged() -> None:
    verdict = Verdict(Outcome.THROTTLED)
    assert mend(answered(to_bedrock(), 429), verdict, [], Denials(), now()) == (verdict, [])
