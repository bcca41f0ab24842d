"""The facts of a request that the policy decides on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from claude_failover.core import facts, request
from claude_failover.core.commands import ClientRequest
from claude_failover.core.decision import RequestFacts
from claude_failover.core.models import Catalog
from claude_failover.core.settings import Backend, CostTracking, Settings
from claude_failover.core.types import BackendName, Headers, Kind, Seconds
from claude_failover.daemon.tables import read_table
from tests.exchanges import BEDROCK, CLAUDE, MODEL, OWN_LOGIN, World

PAID = {CLAUDE: True, BEDROCK: True}
FREE = {CLAUDE: False, BEDROCK: False}


def gathered(
    headers: Headers = OWN_LOGIN,
    *,
    settings: Settings | None = None,
    paid: dict[BackendName, bool] = PAID,
    body: bytes | None = None,
    **fields: object,
) -> RequestFacts:
    world = World(settings)
    made = world.body(**fields) if body is None else body  # type: ignore[arg-type]
    client = ClientRequest("cfr_1", "/v1/messages", headers, made)
    return facts.gather(client, request.peek(client), world.counsel, paid)


def test_what_the_request_says_is_gathered() -> None:
    lines = (("x-claude-code-session-id", "s1"), ("x-claude-code-agent-id", "a1"))
    found = gathered(lines, model="claude-opus-5-5[1m]")
    assert (found.exchange, found.model, found.family) == ("cfr_1", MODEL, "opus")
    assert (found.session, found.agent, found.stays, found.forced) == ("s1", "a1", None, None)
    assert found.patience == 570.0


def test_a_model_without_an_id_there_is_unservable_there() -> None:
    found = gathered(model="gpt-9")
    assert list(found.unservable) == [BEDROCK]
    assert found.family is None


def test_what_cannot_be_read_stays_at_the_primary() -> None:
    assert gathered(body=b"nonsense").stays == "not a Messages request"
    assert "quota probe" in (gathered(max_tokens=1, messages=[{"role": "user", "content": "quota"}]).stays or "")


@pytest.mark.parametrize(("value", "forced"), [("bedrock", BEDROCK), ("nobody", None)])
def test_a_header_may_force_a_configured_backend(value: str, forced: BackendName | None) -> None:
    assert gathered((("X-Claude-Failover-Force", value),)).forced == forced


# --- money -----------------------------------------------------------------------------------------------


def test_only_what_we_decide_to_spend_is_reserved() -> None:
    """The client's own API key is the client's own business: written down as paid, never stopped."""
    assert list(gathered((("x-api-key", "made-up"),)).estimates) == [BEDROCK]
    assert list(gathered(()).estimates) == [CLAUDE, BEDROCK]
    stored = Settings(backends=(Backend(CLAUDE, Kind.ANTHROPIC, credential="stored"), Settings().backends[1]))
    assert list(gathered(settings=stored).estimates) == [CLAUDE, BEDROCK]
    theirs = Settings(backends=(Backend(CLAUDE, Kind.ANTHROPIC, credential="client"), Settings().backends[1]))
    assert list(gathered((), settings=theirs).estimates) == [BEDROCK]
    assert gathered(paid=FREE).estimates == {}
    assert BEDROCK in gathered().estimates
    assert CLAUDE not in gathered().estimates
    assert gathered(settings=Settings(cost_tracking=CostTracking(enabled=False))).estimates == {}


def test_the_reservation_bounds_prompt_and_answer() -> None:
    """A byte is at most a token, at the dearest way to read one; 2,000 more for what the backend adds."""
    world = World()
    body = world.body(max_tokens=1000)
    price, _ = world.counsel.prices.lookup(MODEL)
    rates = price.dearest()
    expected = (len(body) + 2000) * max(rates.input, rates.write_5m) + 1000 * rates.output
    assert gathered(max_tokens=1000).estimates[BEDROCK] == expected // 1000


def test_a_lower_ceiling_there_lowers_the_reservation() -> None:
    ceiling = replace(Settings().backends[1], max_output_tokens=100)
    lower = gathered(settings=Settings(backends=(Settings().backends[0], ceiling)))
    assert lower.estimates[BEDROCK] < gathered().estimates[BEDROCK]


def test_the_scope_of_the_id_that_goes_out_decides_the_price() -> None:
    """A regional id costs a tenth more than the global one, whatever the backend's own scope says."""
    world = World()
    catalog = Catalog.build(read_table("models"), {MODEL: f"us.anthropic.{MODEL}"})
    client = ClientRequest("cfr_1", "/v1/messages", OWN_LOGIN, world.body())
    counsel = replace(world.counsel, catalog=catalog)
    regional = facts.gather(client, request.peek(client), counsel, PAID).estimates[BEDROCK]
    assert regional == pytest.approx(gathered().estimates[BEDROCK] * 1.1, rel=1e-6)


def test_an_unmapped_model_is_reserved_at_the_backends_scope() -> None:
    assert gathered(model="claude-unheard-of").estimates[BEDROCK] > 0


@pytest.mark.parametrize(("said", "nusd"), [("2.50", 2_500_000_000), (" 0 ", 0), ("1e2", 100_000_000_000)])
def test_a_session_may_bring_its_own_budget(said: str, nusd: int) -> None:
    assert facts.session_budget((("X-Claude-Failover-Budget", said),)) == nusd
    assert gathered((("x-claude-failover-budget", said),)).session_limit_nusd == nusd


@pytest.mark.parametrize("said", ["", "much", "-1", "nan", "inf", "1000001", "$5"])
def test_what_is_no_amount_is_no_budget(said: str) -> None:
    with pytest.raises(ValueError, match="no amount"):
        facts.session_budget((("x-claude-failover-budget", said),))


def test_without_a_budget_there_is_none() -> None:
    assert facts.session_budget(()) is None


# --- time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("60", 30.0), ("20", 0.0), ("600", 570.0), ("900", 570.0), ("0", 570.0), ("soon", 570.0), ("nan", 570.0)],
)
def test_the_clients_patience_is_what_it_says_but_for_a_margin(said: str, seconds: float) -> None:
    assert gathered((("x-stainless-timeout", said),)).patience == seconds


def test_patience_wears_out() -> None:
    world = World()
    began = world.clock.now()
    found = RequestFacts("x", MODEL, patience=Seconds(100.0))
    assert facts.at(found, began, began) is found
    assert facts.at(found, began, began, most=10.0).patience == 10.0
    assert facts.at(found, began, world.clock.advance(30.0)).patience == 70.0
    assert facts.at(found, began, world.clock.advance(300.0)).patience == 0.0


# --- small ones ------------------------------------------------------------------------------------------


def test_what_is_found_out_later_is_kept() -> None:
    found = facts.cannot_serve(RequestFacts("x", MODEL, unservable={BEDROCK: "a"}), CLAUDE, "b")
    assert found.unservable == {BEDROCK: "a", CLAUDE: "b"}


def test_a_backend_has_a_name_or_is_not_there() -> None:
    settings = Settings()
    assert facts.backend_named(settings, BEDROCK) is settings.backends[1]
    assert facts.backend_named(settings, BackendName("gone")) is None


def test_a_stored_token_is_only_the_claude_apis() -> None:
    claude, bedrock = Settings().backends
    without = request.peek(ClientRequest("cfr_1", "/v1/messages", (), b"{}"))
    with_one = request.peek(ClientRequest("cfr_1", "/v1/messages", OWN_LOGIN, b"{}"))
    assert facts.uses_stored(claude, without)
    assert not facts.uses_stored(claude, with_one)
    assert not facts.uses_stored(bedrock, without)


def test_what_is_worked_out_is_kept_and_the_body_is_let_go() -> None:
    """A thirty-megabyte body is looked through when money is asked for, once, and not held after the commit."""
    found = gathered(())
    first = found.estimates[BEDROCK]
    assert found.estimates[BEDROCK] == first
    assert len(found.estimates) == 2
    # At the Claude API an answer may be billed as fast, or as of the US.
    assert gathered(()).estimates[CLAUDE] > first
    facts.free(found)
    assert dict(found.estimates) == {BEDROCK: first}
    facts.free(RequestFacts("x", MODEL))
