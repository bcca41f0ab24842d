"""From the policy's choice of a backend to the request that goes out."""

from __future__ import annotations

from claude_failover.core import request
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import ClientRequest, OpenAttempt
from claude_failover.core.decision import Go, Permit, RequestFacts, Try
from claude_failover.core.facts import gather
from claude_failover.core.opening import open_attempt
from claude_failover.core.types import (
    BackendName,
    Headers,
    Kind,
    Monotonic,
    Outcome,
    Reason,
    Seconds,
    Surface,
    Verdict,
)
from tests.exchanges import BEDROCK, CLAUDE, MODEL, OWN_LOGIN, World


def opened(
    backend: BackendName,
    *tries: Try,
    headers: Headers = OWN_LOGIN,
    fresh: bool = False,
    refresh: bool = False,
    **fields: object,
) -> Attempt | str:
    world = World()
    now = world.clock.now()
    client = ClientRequest("cfr_1", "/v1/messages?beta=true", headers, world.body(**fields))  # type: ignore[arg-type]
    peek = request.peek(client)
    known: RequestFacts = gather(client, peek, world.counsel, {BEDROCK: True})
    permit = Permit(1, backend, known.model, None, "cfr_1", None, False, (), None, now)
    go = Go(backend, Reason.PRIMARY, permit, fresh=fresh, refresh_credentials=refresh)
    return open_attempt(go, client, peek, known, world.counsel, paid={BEDROCK: True}, tries=tries, index=2, now=now)


def test_to_the_primary_the_clients_bytes_go_as_they_came() -> None:
    attempt = opened(CLAUDE, fresh=True, refresh=True)
    assert isinstance(attempt, Attempt)
    command = attempt.command
    assert isinstance(command, OpenAttempt)
    assert (command.attempt, command.backend, command.kind) == (2, CLAUDE, Kind.ANTHROPIC)
    assert (command.request.target, command.request.headers) == ("/v1/messages?beta=true", OWN_LOGIN)
    assert command.request.body == World().body()
    assert (command.fresh, command.refresh_credentials, command.clock_skew) == (True, True, None)
    assert (attempt.paid, attempt.stored, attempt.heard) == (False, False, 1_000.0)
    assert attempt.upstream_model == MODEL


def test_without_a_credential_of_the_clients_it_goes_with_ours() -> None:
    attempt = opened(CLAUDE, headers=())
    assert isinstance(attempt, Attempt)
    assert attempt.stored


def test_for_bedrock_the_request_is_translated() -> None:
    attempt = opened(BEDROCK)
    assert isinstance(attempt, Attempt)
    assert attempt.command is not None
    assert attempt.command.surface is Surface.MESSAGES
    assert attempt.translated is not None
    assert attempt.command.request == attempt.translated.request
    assert attempt.upstream_model == f"global.anthropic.{MODEL}"
    assert not [name for name, _ in attempt.command.request.headers if name.lower() == "authorization"]
    assert (attempt.paid, attempt.stored) == (True, False)


def test_betas_that_nobody_knows_are_news_and_what_is_known_is_none() -> None:
    known = opened(BEDROCK)
    assert isinstance(known, Attempt)
    assert known.news == ()
    attempt = opened(BEDROCK, headers=(*OWN_LOGIN, ("anthropic-beta", "telepathy-2031-01-01, effort-2025-11-24")))
    assert isinstance(attempt, Attempt)
    assert attempt.news == ["telepathy-2031-01-01"]


def test_a_model_that_is_not_there_is_a_reason() -> None:
    assert "gpt-9" in str(opened(BEDROCK, model="gpt-9"))


def test_what_translation_refuses_is_a_reason() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    assert "server tool" in str(opened(BEDROCK, tools=tools))


def test_a_backend_of_a_later_configuration_is_a_reason() -> None:
    assert "after this request began" in str(opened(BackendName("new")))


def test_a_clock_that_was_told_to_be_wrong_is_corrected_for_good() -> None:
    """Also when the attempt in between was refused for something else."""
    told = Try(BEDROCK, Reason.PRIMARY, Verdict(Outcome.CREDENTIALS, clock_skew=Seconds(400.0)), Monotonic(1.0))
    between = Try(BEDROCK, Reason.CREDENTIALS, Verdict(Outcome.REPAIRABLE), Monotonic(2.0))
    elsewhere = Try(CLAUDE, Reason.PRIMARY, Verdict(Outcome.OVERLOADED, clock_skew=Seconds(9.0)), Monotonic(3.0))
    attempt = opened(BEDROCK, told, between, elsewhere)
    assert isinstance(attempt, Attempt)
    assert attempt.command is not None
    assert attempt.command.clock_skew == 400.0
