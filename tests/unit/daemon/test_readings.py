"""Who stands in for the primary, as metrics and alerts see it."""

from __future__ import annotations

from dataclasses import replace

from claude_failover.core.policy import PolicyView
from claude_failover.core.types import BackendName
from claude_failover.core.views import OverrideView
from claude_failover.daemon.readings import stand_in

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
HOME = PolicyView(CLAUDE, {}, (), (), offline=False, conversations=0, in_flight=0, retry_tokens={})


def test_nobody_stands_in_while_the_primary_answers() -> None:
    assert stand_in(HOME, CLAUDE) is None
    assert stand_in(replace(HOME, per_model={"claude-opus-5-5": CLAUDE}), CLAUDE) is None


def test_whoever_answers_all_requests_or_those_for_one_model_stands_in() -> None:
    assert stand_in(replace(HOME, current=BEDROCK), CLAUDE) == BEDROCK
    assert stand_in(replace(HOME, per_model={"claude-opus-5-5": BEDROCK}), CLAUDE) == BEDROCK


def test_an_order_is_no_failover_and_neither_is_a_network_that_is_gone() -> None:
    ordered = replace(HOME, current=BEDROCK, overrides=(OverrideView(BEDROCK, None, None),))
    assert stand_in(ordered, CLAUDE) is None
    assert stand_in(replace(HOME, current=BEDROCK, offline=True), CLAUDE) is None
