"""However many ask at once, the daily limit is not overspent."""

from __future__ import annotations

from claude_failover.core.spend import nusd
from claude_failover.core.types import Usage
from claude_failover.drill import claude_faults
from claude_failover.drill.script import Answer
from tests.chaos.laboratory import SEED, conversation, laboratory, summed


async def test_five_hundred_at_once_against_a_limit_for_about_twenty() -> None:
    """Each answer is as long as it may be: 4,096 tokens are 0.08 to 0.10 $, so 2.20 $ are enough for twenty or so."""
    limit = 2.20
    async with laboratory({
        "cost_tracking": {"daily_limit": limit, "alert_threshold": 1.0},
        "stream": {"hold_max": 60},  # a refusal is a status, also after a wait for what others held
    }) as lab:  # fmt: skip
        lab.claude.script.always(claude_faults.plan_limit(resets_in=3600))
        lab.bedrock.script.always(Answer(usage=Usage(input=200, output=4096)))
        await lab.ask(conversation(0))
        told = await lab.crowd([conversation(n) for n in range(1, 501)], 500)
        served = [one for one in told if one.whole]
        refused = [one for one in told if one.status == 429]
        assert len(served) + len(refused) == 500, f"SEED={SEED}: {[one for one in told if not one.whole][:3]}"
        assert 15 <= len(served) <= 30, f"SEED={SEED}: {len(served)}"
        assert {one.headers["x-should-retry"] for one in refused} == {"false"}
        assert {one.said.error_type for one in refused} == {"rate_limit_error"}
        assert {one.headers["x-claude-failover-reason"] for one in refused} == {"spend_limit"}
        await lab.daemon.stop()
        rows = lab.rows()
        spent = sum(row["cost_nusd"] for row in rows if row["paid"])
        assert 0 < spent <= nusd(limit), f"SEED={SEED}: {spent}"
        assert summed(rows, "bedrock") == lab.bedrock.served, "and the ledger has all of it"
