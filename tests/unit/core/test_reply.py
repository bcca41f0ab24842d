"""What the client is told when no backend's answer can be."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from claude_failover.core import reply
from claude_failover.core.counsel import ErrorAnswer
from claude_failover.core.decision import RequestFacts, Stop, Try
from claude_failover.core.reply import Chosen, Telling
from claude_failover.core.settings import Settings
from claude_failover.core.spend import Refusal
from claude_failover.core.types import (
    BackendName,
    Epoch,
    Headers,
    Kind,
    Monotonic,
    Outcome,
    Reason,
    Scope,
    Seconds,
    Verdict,
)
from tests.exchanges import BEDROCK, CLAUDE, JSON, MODEL, World, error

CLOCK = World().clock
NOW = CLOCK.now()
FACTS = RequestFacts("cfr_1", MODEL, "opus")
STOP = Stop("claude: throttled; bedrock: denied")


def said(
    outcome: Outcome,
    status: int,
    backend: BackendName = CLAUDE,
    *,
    until: float | None = None,
    error_type: str | None = None,
    headers: Headers = JSON,
) -> ErrorAnswer:
    verdict = Verdict(
        outcome,
        outcome.value,
        Scope.MODEL,
        until=None if until is None else Epoch(NOW.wall + until),
        error_type=error_type,
    )
    return ErrorAnswer(backend, status, headers, error("x_error", f"{backend} {outcome.value}"), verdict)


def a_try(backend: BackendName, outcome: Outcome, detail: str = "") -> Try:
    return Try(backend, Reason.PRIMARY, Verdict(outcome, detail), Monotonic(1.0))


def choose(
    *errors: ErrorAnswer,
    stop: Stop = STOP,
    tries: tuple[Try, ...] = (),
    facts: RequestFacts = FACTS,
    remembered: ErrorAnswer | None = None,
) -> Chosen:
    world = World()
    if remembered is not None:
        world.counsel.memory.keep(MODEL, remembered)
    return reply.choose(stop, errors, tries, world.counsel, facts, NOW)


def told(chosen: Chosen) -> dict[str, str]:
    found = json.loads(chosen.body)["error"]
    assert isinstance(found, dict)
    return found


# --- heads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "telling"),
    [
        ("claude-cli/2.1.330 (external, cli)", Telling.ABORT),
        ("Anthropic/Python 2.12.0", Telling.ERROR_EVENT),
        ("", Telling.ERROR_EVENT),
    ],
)
def test_how_a_broken_stream_is_told_depends_on_the_client(agent: str, telling: Telling) -> None:
    assert reply.telling_for(agent) is telling


def test_our_own_lines_say_who_answered_and_why() -> None:
    assert reply.stamp(CLAUDE, 2, Reason.RETRY, "cfr_1") == (
        ("x-claude-failover-backend", "claude"),
        ("x-claude-failover-attempts", "2"),
        ("x-claude-failover-request-id", "cfr_1"),
        ("x-claude-failover-reason", "retry"),
    )
    assert len(reply.stamp(None, 1, None, "cfr_1")) == 2


def test_the_primarys_head_passes_whole_but_for_the_framing() -> None:
    lines = (
        ("Content-Length", "5"),
        ("anthropic-ratelimit-unified-status", "allowed"),
        ("Connection", "close"),
        ("X-Claude-Failover-Backend", "forged"),
    )
    assert reply.answer_head(Kind.ANTHROPIC, lines, streaming=True) == lines[1:2]
    assert reply.answer_head(Kind.ANTHROPIC, lines, streaming=False) == lines[:2]


def test_bedrocks_head_is_built_from_nothing_but_its_id() -> None:
    """A unified header there would tell Claude Code something about a plan that Bedrock does not know."""
    lines = (("anthropic-ratelimit-unified-status", "rejected"), ("x-amzn-requestid", "a"), ("request-id", "b"))
    assert reply.answer_head(Kind.BEDROCK, lines, streaming=True) == (*reply.SSE_HEAD, ("request-id", "a"))
    assert reply.answer_head(Kind.BEDROCK, (), streaming=False) == (("content-type", "application/json"),)


def test_the_upstreams_id_is_bounded() -> None:
    assert reply.request_id((("X-Amzn-RequestId", "a" * 200),)) == "a" * 128
    assert reply.request_id((("request-id", ""),)) is None


# --- the choice -------------------------------------------------------------------------------------------


def test_the_primarys_error_is_told_byte_for_byte_with_its_headers() -> None:
    lines = (("Retry-After", "30"), ("content-length", "9"), ("x-should-retry", "true"), ("request-id", "r"))
    own = said(Outcome.THROTTLED, 429, until=12.0, headers=lines)
    chosen = choose(own, said(Outcome.THROTTLED, 429, BEDROCK))
    assert (chosen.status, chosen.body, chosen.backend, chosen.outcome) == (429, own.body, CLAUDE, "passed_error")
    assert chosen.headers == (lines[0], lines[2], lines[3])


@pytest.mark.parametrize(
    ("errors", "index"),
    [
        ([said(Outcome.OVERLOADED, 529), said(Outcome.PLAN_LIMIT, 429, until=60.0)], 1),
        ([said(Outcome.PLAN_LIMIT, 429, until=60.0), said(Outcome.THROTTLED, 429, until=10.0)], 1),
        ([said(Outcome.THROTTLED, 429), said(Outcome.FAMILY_LIMIT, 429, until=9e9)], 1),
        ([said(Outcome.SERVER_ERROR, 500), said(Outcome.OVERLOADED, 529)], 1),
        ([said(Outcome.CUT, 500), said(Outcome.SERVER_ERROR, 502)], 1),
        ([said(Outcome.SERVER_ERROR, 500), said(Outcome.SERVER_ERROR, 503)], 0),
        ([said(Outcome.SERVER_ERROR, 500), said(Outcome.THROTTLED, 429, BEDROCK)], 0),
    ],
    ids=[
        "limit before overload",
        "the shorter wait",
        "an end before none",
        "overload before failure",
        "failure before cut",
        "of equals the first",
        "never Bedrock's",
    ],
)
def test_of_several_errors_the_most_useful_is_told(errors: list[ErrorAnswer], index: int) -> None:
    assert choose(*errors).body == errors[index].body


def test_what_the_client_must_mend_is_told_if_it_was_the_last_word() -> None:
    limit, bad = said(Outcome.THROTTLED, 429), said(Outcome.CLIENT_ERROR, 400)
    assert choose(limit, bad).status == 400
    assert choose(bad, limit).status == 429
    assert choose(limit, said(Outcome.ENTITLEMENT, 429)).body != limit.body


def test_a_prompt_that_does_not_fit_bedrock_is_told_so_that_the_client_compacts() -> None:
    chosen = choose(said(Outcome.PLAN_LIMIT, 429, until=60.0), said(Outcome.TOO_LONG, 400, BEDROCK))
    assert (chosen.status, chosen.backend) == (400, BEDROCK)
    assert told(chosen)["message"].startswith("prompt is too long")


def test_a_bedrock_only_refusal_never_reaches_the_client() -> None:
    only = said(Outcome.CLIENT_ERROR, 400, BEDROCK, error_type="bedrock_only")
    assert choose(said(Outcome.OVERLOADED, 529), only).status == 529
    chosen = choose(only)
    assert (chosen.status, chosen.backend) == (529, None)


def test_any_other_400_of_bedrock_gives_way_to_the_primarys_own_words() -> None:
    bad = said(Outcome.CLIENT_ERROR, 400, BEDROCK)
    assert choose(said(Outcome.OVERLOADED, 529), bad).status == 529
    assert choose(bad, remembered=said(Outcome.PLAN_LIMIT, 429, until=60.0)).status == 429
    assert choose(bad, remembered=said(Outcome.PLAN_LIMIT, 429, until=-1.0)).status == 400, "it is over"
    assert choose(bad).status == 400


@pytest.mark.parametrize("outcome", [Outcome.DENIED, Outcome.CREDENTIALS, Outcome.REPAIRABLE, Outcome.BILLING])
def test_what_is_about_aws_is_for_status_to_tell(outcome: Outcome) -> None:
    chosen = choose(said(outcome, 403, BEDROCK), tries=(a_try(CLAUDE, Outcome.UNREACHABLE), a_try(BEDROCK, outcome)))
    assert (chosen.status, told(chosen)["type"]) == (529, "overloaded_error")


def test_a_throttle_of_bedrock_alone_is_told_in_anthropics_shape() -> None:
    chosen = choose(said(Outcome.THROTTLED, 429, BEDROCK))
    assert (chosen.status, told(chosen)["type"]) == (429, "rate_limit_error")
    assert not [name for name, _ in chosen.headers if name.startswith("anthropic-")]


def test_a_limit_that_still_holds_is_told_again_with_what_is_left_of_it() -> None:
    lines = (*JSON, ("Retry-After", "3600"), ("request-id", "r"))
    limit = said(Outcome.PLAN_LIMIT, 429, until=61.2, headers=lines)
    chosen = choose(said(Outcome.OVERLOADED, 529, BEDROCK), remembered=limit)
    assert (chosen.status, chosen.body) == (429, limit.body)
    assert chosen.headers == (*JSON, ("Retry-After", "62"), ("request-id", "r"))


def test_forced_elsewhere_the_primarys_limit_says_nothing() -> None:
    limit = said(Outcome.PLAN_LIMIT, 429, until=60.0)
    down = said(Outcome.SERVER_ERROR, 500, BEDROCK)
    assert choose(down, facts=replace(FACTS, forced=BEDROCK), remembered=limit).status == 500
    assert choose(down, facts=replace(FACTS, forced=CLAUDE), remembered=limit).status == 429


def test_without_a_network_that_is_what_is_said() -> None:
    chosen = choose(stop=Stop("x", offline=True), remembered=said(Outcome.PLAN_LIMIT, 429, until=60.0))
    assert chosen.status == 503
    assert "network connection" in told(chosen)["message"]


def test_if_nobody_said_anything_we_do_with_what_we_know() -> None:
    chosen = choose(
        stop=Stop("all is lost", retry_after=Seconds(7.4)), tries=(a_try(CLAUDE, Outcome.UNREACHABLE, "refused"),)
    )
    assert (chosen.status, dict(chosen.headers)["retry-after"]) == (529, "7")
    assert told(chosen)["message"] == (
        "claude-failover: no backend can serve this request now (all is lost: refused); "
        "see `claude-failover explain cfr_1`"
    )
    assert json.loads(chosen.body)["request_id"] == "cfr_1"
    assert choose(stop=Stop("none")).status == 529


@pytest.mark.parametrize(
    ("backend", "status", "kind"),
    [(CLAUDE, 401, "authentication_error"), (BEDROCK, 400, "invalid_request_error")],
)
def test_where_a_person_must_log_in_nothing_is_to_be_retried(backend: BackendName, status: int, kind: str) -> None:
    chosen = choose(tries=(a_try(backend, Outcome.CREDENTIALS, "aws sso login --profile x"),))
    assert (chosen.status, told(chosen)["type"]) == (status, kind)
    assert "aws sso login --profile x" in told(chosen)["message"]


def test_of_several_missing_logins_the_client_is_asked_for_its_own() -> None:
    missing = (a_try(CLAUDE, Outcome.CREDENTIALS, "no token"), a_try(BEDROCK, Outcome.CREDENTIALS, "no keys"))
    chosen = choose(tries=missing)
    assert (chosen.status, told(chosen)["type"]) == (401, "authentication_error")
    assert "no token" in told(chosen)["message"]


@pytest.mark.parametrize(("session", "resets"), [(None, "50"), ("s1", None)])
def test_a_spend_limit_is_told_and_not_retried(session: str | None, resets: str | None) -> None:
    refusal = Refusal(10**9, 10**9, Epoch(NOW.wall + 50.0), session=session)
    chosen = choose(said(Outcome.PLAN_LIMIT, 429), stop=Stop("money", refusal))
    lines = dict(chosen.headers)
    assert (chosen.status, chosen.outcome, chosen.reason) == (429, "refused", Reason.SPEND_LIMIT)
    assert (lines["x-should-retry"], lines.get("retry-after")) == ("false", resets)
    assert told(chosen)["message"].count("claude-failover: ") == 1


# --- in-band ----------------------------------------------------------------------------------------------


def test_the_same_error_can_be_an_event() -> None:
    assert said_event(choose(said(Outcome.OVERLOADED, 529))) == {"type": "x_error", "message": "claude overloaded"}
    assert said_event(Chosen(502, (), b"<html>")) == {"type": "api_error", "message": "HTTP 502"}


def said_event(chosen: Chosen) -> dict[str, str]:
    event = chosen.event()
    assert event.startswith(b"event: error\ndata: ")
    found = json.loads(event.split(b"data: ")[1])["error"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("kind", "status"), [("overloaded_error", 529), ("rate_limit_error", 429), ("odd", 500), (None, 500)]
)
def test_an_error_inside_a_200_has_the_status_that_it_stands_for(kind: str | None, status: int) -> None:
    found = reply.in_band(Verdict(Outcome.OVERLOADED, "x", error_type=kind))
    assert found[0] == status


def test_a_broken_stream_ends_with_the_claude_apis_own_word_or_ours() -> None:
    claude, bedrock = Settings().backends
    verdict = Verdict(Outcome.CUT, "reset", error_type="cut")
    assert reply.broken_off(claude, verdict, b"event: error\n\n") == b"event: error\n\n"
    for backend in (claude, bedrock):
        event = reply.broken_off(backend, verdict, b"x" if backend is bedrock else b"")
        assert f"claude-failover: {backend.name} broke off: reset".encode() in event
    silent = reply.broken_off(bedrock, Verdict(Outcome.STALLED, error_type="overloaded_error"), b"")
    assert b"overloaded_error" in silent
    assert b"broke off: stalled" in silent
