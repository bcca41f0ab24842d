from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.breaker import TRANSITIONS, Breaker, Fault, Grant, Readiness, State
from claude_failover.core.settings import CircuitBreaker as Rules
from claude_failover.core.types import Monotonic, Seconds

LEASE = Seconds(60.0)
RULES = Rules(failure_threshold=3, failure_rate=0.5, window=20.0, open_for=5.0, max_open_for=40.0)

steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "anyway", "served", "succeeded", "failed", "overloaded", "release", "weigh", "read"]),
        st.integers(0, 7),
        st.floats(0.0, 30.0),
    ),
    max_size=60,
)


def play(b: Breaker, script: list[tuple[str, int, float]], watch: bool = True) -> tuple[list[Grant], Monotonic]:
    """Run a script of sends and results; checks what must hold after every step."""
    now = Monotonic(0.0)
    grants: list[Grant] = []
    owner = 0
    for what, which, pause in script:
        now = Monotonic(now + pause)
        before = (b.state, b.generation)
        grant = grants[which % len(grants)] if grants else None
        match what:
            case "send" | "anyway":
                owner += 1
                probing = b.readiness(now) is Readiness.PROBING
                given_, _ = b.acquire(owner, now) if what == "send" else (b.grant(owner), [])
                assert not (probing and what == "send" and given_), "never two probes"
                if given_ is not None:
                    grants.append(given_)
            case "read":
                b.readiness(now)
                b.remaining(now)
                assert (b.state, b.generation) == before, "reading changes nothing"
            case _ if grant is None:
                pass
            case "served" | "succeeded":
                (b.served if what == "served" else b.succeeded)(grant, now)
            case "failed" | "overloaded":
                b.failed(grant, Fault.OVERLOAD if what == "overloaded" else Fault.FAILURE, now)
            case "release":
                b.release(grant)
            case _:
                b.shorten_lease(grant, Seconds(5.0), now)
        if grant is not None and grant.generation != before[1] and what not in {"send", "anyway", "read"}:
            assert (b.state, b.generation) == before, "stale grants are ignored"
        if b.generation != before[1]:
            assert b.state in TRANSITIONS[before[0]].values() or b.generation - before[1] > 1
        assert 0.0 <= b.remaining(now) <= max(RULES.max_open_for, 60.0)
    return grants, now


@settings(max_examples=200)
@given(steps, st.integers())
def test_never_two_probes_and_stale_grants_are_ignored(script: list[tuple[str, int, float]], seed: int) -> None:
    play(Breaker(RULES, 2, LEASE, random.Random(seed)), script)


@settings(max_examples=200)
@given(steps, st.integers())
def test_it_is_never_stuck(script: list[tuple[str, int, float]], seed: int) -> None:
    """From whatever state: after the longest rest and lease a request may go, and its success closes the circuit."""
    b = Breaker(RULES, 2, LEASE, random.Random(seed))
    _, now = play(b, script)
    now = Monotonic(now + 60.0 + LEASE)
    grant, _ = b.acquire(999, now)
    assert grant is not None
    b.succeeded(grant, now)
    assert b.state is State.CLOSED
