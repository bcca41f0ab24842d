from __future__ import annotations

from claude_failover.core.breaker import Grant
from claude_failover.core.gates import Entry, Spot
from claude_failover.core.network import Network
from claude_failover.core.types import BackendName, Monotonic

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
AT_CLAUDE = Spot(CLAUDE, "m", None)
AT_BEDROCK = Spot(BEDROCK, "m", None)


def entry(owner: int = 1) -> Entry:
    return Entry(owner, Grant(0, owner), (), probe=False)


def at(seconds: float) -> Monotonic:
    """Seconds after an hour of uptime."""
    return Monotonic(3600.0 + seconds)


def test_another_backends_answer_turns_suspicions_into_failures() -> None:
    network = Network()
    network.unreachable(AT_CLAUDE, entry(1), at(0))
    network.unreachable(AT_CLAUDE, entry(2), at(1))
    ended, proven = network.answered(BEDROCK, at(2))
    assert not ended
    assert [s.entry.owner for s in proven] == [1, 2]
    assert network.answered(BEDROCK, at(3)) == (False, [])


def test_its_own_answer_clears_a_backend() -> None:
    network = Network()
    network.unreachable(AT_CLAUDE, entry(), at(0))
    assert network.answered(CLAUDE, at(1)) == (False, [])
    assert network.answered(BEDROCK, at(2)) == (False, [])


def test_suspicions_older_than_a_minute_prove_nothing() -> None:
    network = Network()
    network.unreachable(AT_CLAUDE, entry(1), at(0))
    network.unreachable(AT_CLAUDE, entry(2), at(1))
    _, proven = network.answered(BEDROCK, at(61))
    assert [s.entry.owner for s in proven] == [2]


def test_offline_nobody_is_suspected() -> None:
    network = Network()
    network.unreachable(AT_CLAUDE, entry(1), at(0))
    network.unreachable(AT_BEDROCK, entry(2), at(1))
    assert [s.entry.owner for s in network.go_offline()] == [1, 2]
    network.unreachable(AT_CLAUDE, entry(3), at(2))
    assert network.offline
    assert network.answered(BEDROCK, at(3)) == (True, [])
    assert not network.offline


def test_a_backend_counts_as_unreachable_for_half_a_minute() -> None:
    network = Network()
    assert not network.recently_unreachable(CLAUDE, at(0))
    network.unreachable(AT_CLAUDE, entry(), at(0))
    assert network.recently_unreachable(CLAUDE, at(30))
    assert not network.recently_unreachable(CLAUDE, at(30.1))
    network.answered(CLAUDE, at(1))
    assert not network.recently_unreachable(CLAUDE, at(1))


def test_suspicions_are_bounded() -> None:
    network = Network()
    for owner in range(1_000):
        network.unreachable(AT_CLAUDE, entry(owner), at(0))
    assert len(network.answered(BEDROCK, at(0))[1]) == 64
