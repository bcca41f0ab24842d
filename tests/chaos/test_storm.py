"""Everything that can break, at random, on both sides at once."""

from __future__ import annotations

import asyncio

from claude_failover.core.cooldown import PROBE_PAUSE
from claude_failover.drill import bedrock_faults, claude_faults, wire_faults
from claude_failover.drill.script import Answer, Dealer, Seen, Step, long_stream
from tests.chaos.laboratory import SEED, conversation, dice, laboratory

IMPATIENT = {
    "timeouts": {"connect": 1, "first_byte": 1, "first_content": 1, "stream_idle": 1},
    "rate_limit_fallback": {"cooldown_time": 1, "max_retry_after": 1},
    "circuit_breaker": {"open_for": 1, "max_open_for": 1},
    "retry_policy": {
        "OverloadedError": {"max_wait": 0.1}, "ConnectionError": {"max_wait": 0.1}, "RateLimitError": {"max_wait": 1},
    },
    "stream": {"hold_max": 2, "ping_interval": 1},
}  # fmt: skip

ENDLESS = {name for name in wire_faults.CATALOGUE if name.startswith("silent")}
"""A whole answer that is silent for ever is waited for as long as its client waits: ten minutes. (Nor is one with a
flipped byte dealt: the body is looked at, not checked letter by letter.)"""


PASSING = (
    "throttled-tokens", "throttled-requests", "throttled-rate", "unavailable", "internal-error", "model-not-ready",
    "model-error", "model-timeout", "overloaded", "expired-token", "coral", "html", "exception-first",
    "exception-after-start", "exception-after-content", "truncated-frame", "wrong-content-type",
)  # fmt: skip
"""What goes wrong at Bedrock for a moment. The rest (no access, no such model, a day's quota) holds for long, and
then there is nobody left to be rescued by."""


def misbehaving(purpose: str, share: float, refusals: dict[str, Step]) -> Dealer:
    """Deal a fault to *share* of the requests, any of the catalogues'."""
    rng = dice(purpose)
    streams: dict[str, Step] = {n: f() for n, f in wire_faults.CATALOGUE.items()} | refusals
    wholes = {name: step for name, step in streams.items() if name not in ENDLESS | {"corrupt-first"}}

    def deal(request: Seen) -> Step:
        if rng.random() > share:
            return Answer()
        streaming = b'"stream": true' in request.body or "stream" in request.target
        choice = streams if streaming else wholes
        return choice[rng.choice(sorted(choice))]

    return deal


async def test_every_client_gets_one_answer_or_one_honest_error() -> None:
    rng = dice("storm")
    passing: dict[str, Step] = {
        name: make() for name, make in claude_faults.CATALOGUE.items() if not name.startswith("client-")
    }
    there: dict[str, Step] = {name: bedrock_faults.CATALOGUE[name]() for name in PASSING}
    async with laboratory(IMPATIENT) as lab:
        lab.claude.script.default = misbehaving("storm/claude", 0.5, passing)
        lab.bedrock.script.default = misbehaving("storm/bedrock", 0.2, there)
        models = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
        turns = [conversation(n, stream=rng.random() < 0.7, model=rng.choice(models)) for n in range(400)]
        await lab.crowd(turns, 40)
        lab.check_answers(cut_allowed=True)
        whole = sum(told.whole for told in lab.heard)
        assert whole > len(lab.heard) / 2, f"SEED={SEED}: {whole} of {len(lab.heard)}"
        lab.check_simulators()
        await lab.check_nothing_left()
        # The storm is over, and so are its consequences.
        lab.claude.script.always(Answer())
        lab.bedrock.script.always(Answer())
        # The longest of them: a limit whose probe met another fault is left alone for so long.
        await asyncio.sleep(PROBE_PAUSE + 0.5)
        after = await lab.crowd([conversation(1000 + n) for n in range(20)], 5)
        refused = {f"{told.status} {told.said.error or told.cut}" for told in after if not told.whole}
        backends = (await asyncio.to_thread(lab.daemon.control.status)).backends if refused else ()
        assert not refused, f"SEED={SEED}: {refused} {backends}"
        assert await lab.daemon.stop() == 0
        rows = lab.rows()
        assert len({(row["exchange"], row["attempt"]) for row in rows}) == len(rows)
        assert len(rows) == lab.claude.count + lab.bedrock.count + unreached(rows), f"SEED={SEED}"


def unreached(rows: list[dict[str, object]]) -> int:
    """Attempts that never became a request at a simulator."""
    return sum(row["outcome"] in {"local", "credentials"} and row["status"] is None for row in rows)


async def test_clients_that_leave_take_their_upstream_with_them() -> None:
    rng = dice("leaving")
    async with laboratory() as lab:
        lab.claude.script.always(long_stream(400, gap=0.05))
        waiting = [asyncio.ensure_future(lab.ask(conversation(n))) for n in range(40)]  # noqa: TID251 - cut off below
        await lab.claude.until(lambda: lab.claude.count >= 41, 40)
        await asyncio.sleep(rng.uniform(0.2, 0.6))
        for client in waiting:
            client.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await lab.claude.until(lambda: lab.claude.gone >= 40, 40)  # who gets all of an answer has not gone
        await lab.check_nothing_left()
        await lab.daemon.stop()
        left = [row for row in lab.rows() if row["outcome"] == "client_gone"]
        assert len(left) == 40, f"SEED={SEED}"
        assert {row["usage_state"] for row in left} == {"partial"}
