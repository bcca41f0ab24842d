from __future__ import annotations

from claude_failover.core.gauges import BackendGauges, Gauges, ModelGauges
from claude_failover.core.types import BackendName, Epoch


def test_gauges_of_a_daemon_that_has_done_nothing_say_that_all_is_well() -> None:
    gauges = Gauges(Epoch(1.0), (BackendGauges(BackendName("claude"), models=(ModelGauges("m"),)),))
    (backend,) = gauges.backends
    assert backend.available
    assert not backend.blocked
    assert backend.models[0].breaker == "closed"
    assert gauges.limit_usd is None
    assert gauges.reload_ok
