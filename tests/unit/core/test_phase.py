"""What the client of an exchange has seen."""

from __future__ import annotations

from claude_failover.core.phase import PHASES, Phase


def test_every_phase_is_in_the_table_and_nothing_leads_back() -> None:
    order = [Phase.WAITING, Phase.OPENED, Phase.COMMITTED, Phase.DONE]
    assert list(PHASES) == order
    for phase, following in PHASES.items():
        assert following == frozenset(order[order.index(phase) + 1 :])
