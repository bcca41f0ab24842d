"""The words of the core: what an outcome means, and what a prompt is made of."""

from __future__ import annotations

from msgspec import structs

from claude_failover.core.types import Outcome, Usage, Verdict
from tests.control_fakes import sample_story

TOLD = {Outcome.PLAN_LIMIT, Outcome.FAMILY_LIMIT, Outcome.THROTTLED, Outcome.BILLING}

EVIDENCE = {
    Outcome.OVERLOADED,
    Outcome.SERVER_ERROR,
    Outcome.UNREACHABLE,
    Outcome.SILENT,
    Outcome.CUT,
    Outcome.STALLED,
    Outcome.MALFORMED,
}


def test_limits_are_what_a_backend_told_us() -> None:
    assert {outcome for outcome in Outcome if outcome.is_limit} == TOLD


def test_only_failures_of_a_backend_are_evidence_against_it() -> None:
    assert {outcome for outcome in Outcome if outcome.blames_backend} == EVIDENCE


def test_no_outcome_moves_both_the_cooldown_and_the_breaker() -> None:
    assert not any(outcome.is_limit and outcome.blames_backend for outcome in Outcome)


def test_a_prompt_is_everything_that_was_read_and_nothing_that_was_written() -> None:
    usage = Usage(input=1, output=1_000, cache_read=20, cache_write_5m=300, cache_write_1h=4_000, thinking=900)
    assert usage.prompt == 4_321


def test_a_verdict_concerns_its_request_unless_it_says_more() -> None:
    verdict = Verdict(Outcome.SUCCESS)
    assert (verdict.scope, verdict.until, verdict.family) == ("request", None, None)


def test_time_of_our_own_is_added_to_a_record_that_stays_the_same_otherwise() -> None:
    story = sample_story()
    busier = story.busier(0.25)
    assert busier.overhead == 0.254
    assert structs.replace(busier, overhead=story.overhead) == story
