"""What must hold whatever backends answer, however requests interleave and clocks move."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.clock import FakeClock
from claude_failover.core.gates import Gate, Spot
from claude_failover.core.policy import Go, Hold, Permit, Policy, RequestFacts, Stop, Try
from claude_failover.core.settings import (
    Backend,
    CircuitBreaker,
    RateLimitFallback,
    Retry,
    RetryPolicy,
    Settings,
    Timeouts,
)
from claude_failover.core.spend import DayWindow, SpendBudget
from claude_failover.core.types import BackendName, Epoch, Kind, Outcome, Scope, Seconds, Verdict

NAMES = [BackendName(name) for name in ("claude", "api-key", "us", "eu")]
KINDS = [Kind.ANTHROPIC, Kind.ANTHROPIC, Kind.BEDROCK, Kind.BEDROCK]
MODELS = [("claude-opus-5-5", "opus"), ("claude-sonnet-5-5", "sonnet")]
LIMIT = 1_000


def configured(count: int = 4, attempts: int = 4, **more: object) -> Settings:
    return Settings(
        backends=tuple(Backend(name, kind) for name, kind in zip(NAMES[:count], KINDS, strict=False)),
        timeouts=Timeouts(total_attempts=attempts),
        **more,  # type: ignore[arg-type]
    )


NOW = 1_795_000_000.0
"""Where a FakeClock starts."""

ERROR_TYPES: dict[Outcome, list[str | None]] = {
    Outcome.UNREACHABLE: [None, "stale_connection"],
    Outcome.CLIENT_ERROR: [None, "bedrock_only"],
}
FAILURES = [
    Verdict(outcome, "because", scope, "opus", until, after, error_type=error_type)
    for outcome in Outcome
    if outcome is not Outcome.SUCCESS
    for scope in ([Scope.MODEL, Scope.FAMILY, Scope.BACKEND] if outcome.is_limit else [Scope.REQUEST])
    for until in ([None, Epoch(NOW + 40.0), Epoch(NOW + 20_000.0)] if outcome.is_limit else [None])
    for after in ([None, Seconds(1.5), Seconds(90.0)] if outcome is Outcome.THROTTLED else [None])
    for error_type in {
        Outcome.UNREACHABLE: [None, "stale_connection"],
        Outcome.CLIENT_ERROR: [None, "bedrock_only"],
    }.get(outcome, [None])
]


@dataclass
class Client:
    """One request and what has happened to it."""

    facts: RequestFacts
    tries: list[Try] = field(default_factory=list)
    flying: Permit | None = None
    committed: bool = False
    over: bool = False
    reason: object = None


def day(_: Epoch) -> DayWindow:
    return DayWindow("2026-11-18", Epoch(1.9e9))


class World:
    """A policy, a clock, and the requests under way; checks the invariants at every step."""

    def __init__(self, config: Settings, seed: int, *, paid: bool = True) -> None:
        self.clock = FakeClock()
        self.settings = config
        self.spend = SpendBudget(LIMIT, None, day)
        self.policy = Policy(config, random.Random(seed), self.spend if paid else None)
        self.clients: list[Client] = []
        self.names = {backend.name for backend in config.backends}

    def arrive(self, number: int, **facts: object) -> Client:
        model, family = MODELS[number % 2]
        client = Client(RequestFacts(f"x{len(self.clients)}", model, family, **facts))  # type: ignore[arg-type]
        self.clients.append(client)
        return client

    def ask(self, client: Client) -> Go | Hold | Stop:
        now = self.clock.now()
        spots = {name: Spot(name, client.facts.model, client.facts.family) for name in self.names}
        before = {name: self.policy._desk.gates.look(spot, now).gate for name, spot in spots.items()}
        answer = self.policy.choose(client.facts, client.tries, now)
        match answer:
            case Go():
                assert answer.backend in self.names
                assert answer.backend not in client.facts.unservable
                assert len(client.tries) < self.settings.timeouts.total_attempts
                assert client.facts.stays is None or answer.backend == self.settings.primary.name
                gate = before[answer.backend]
                assert gate is not Gate.BLOCKED
                single = client.facts.stays is not None or client.facts.forced is not None or len(self.names) == 1
                others = [name for name in self.names if name not in client.facts.unservable]
                if not single and len(others) > 1 and answer.reason.value != "last_resort":
                    assert gate in {Gate.AVAILABLE, Gate.READY}
                if answer.permit.probe:
                    assert gate is Gate.READY
                client.flying, client.reason = answer.permit, answer.reason
                client.committed = False
            case Hold():
                assert answer.until > now.monotonic
                assert answer.until - now.monotonic <= client.facts.patience
            case Stop():
                client.over = True
                assert answer.retry_after is None or answer.retry_after > 0
        return answer

    def end(self, client: Client, verdict: Verdict, cost: int = 0) -> None:
        assert client.flying is not None
        now = self.clock.now()
        self.policy.observe(client.flying, verdict, now)
        self.policy.settle(client.flying, cost, now)
        assert self.policy.observe(client.flying, verdict, now) == []
        if verdict.outcome is Outcome.SUCCESS or client.committed:
            client.over = True
        else:
            client.tries.append(Try(client.flying.backend, client.reason, verdict, now.monotonic))  # type: ignore[arg-type]
        client.flying = None

    def check(self) -> None:
        view = self.policy.view(self.clock.now())
        assert view == self.policy.view(self.clock.now()), "looking changes nothing"
        assert view.in_flight == sum(client.flying is not None for client in self.clients)
        assert all(0 <= tokens <= 100 for tokens in view.retry_tokens.values())
        assert self.spend.view(self.clock.now()).spent <= LIMIT
        for gate in view.gates:
            assert gate.next_try is None or gate.next_try >= 0
            if gate.until is not None and gate.state is Gate.COOLING:
                assert gate.until >= self.clock.wall


Step = tuple[str, int, Verdict, float, bool]
MOVES = ["arrive", "ask", "ask", "commit", "succeed", "fail", "fail", "wait", "sleep", "jump", "restart"]


def written(seed: int, length: int) -> list[Step]:
    """A script of that many steps. One number decides all: long scripts are tried, and shrinking stays quick."""
    dice = random.Random(seed)
    outcomes = sorted({verdict.outcome for verdict in FAILURES})
    # A few outcomes a script, so that runs of the same failure happen.
    few = {dice.choice(outcomes) for _ in range(dice.randint(1, 6))}
    verdicts = [verdict for verdict in FAILURES if verdict.outcome in few]
    pauses = [0.0, 0.3, 1.0, 3.0, 10.0, 61.0, 119.0]
    return [
        (dice.choice(MOVES), dice.randint(0, 20), dice.choice(verdicts), dice.choice(pauses), dice.random() < 0.5)
        for _ in range(length)
    ]


scripts = st.builds(written, st.integers(0, 2**32), st.integers(30, 120))


def play(world: World, script: list[Step]) -> None:
    for what, number, verdict, pause, flag in script:
        waiting = [c for c in world.clients if not c.over and c.flying is None]
        flying = [c for c in world.clients if c.flying is not None]
        match what:
            case "arrive":
                unservable = {world.settings.backends[-1].name: "no id"} if number % 5 == 1 else {}
                if number % 7 == 0:
                    unservable = {}
                client = world.arrive(
                    number,
                    session=f"s{number % 3}",
                    in_tool_loop=flag,
                    stays="quota probe" if number == 9 else None,
                    forced=NAMES[0] if number == 11 else None,
                    unservable=unservable,
                    estimates=dict.fromkeys(NAMES[1:], 300),
                    patience=Seconds(pause * 5),
                )
                world.ask(client)
            case "ask" if waiting:
                world.ask(waiting[number % len(waiting)])
            case "commit" if flying:
                client = flying[number % len(flying)]
                assert client.flying is not None
                world.policy.committed(client.flying, world.clock.now())
                client.committed = True
            case "succeed" if flying:
                world.end(flying[number % len(flying)], Verdict(Outcome.SUCCESS), 300 if flag else 1)
            case "fail" if flying:
                world.end(flying[number % len(flying)], verdict)
            case "wait":
                world.clock.advance(pause)
            case "sleep":
                world.clock.sleep_machine(pause * 60)
            case "jump":
                world.clock.wall += (pause - 60.0) * 60
            case "restart" if not flying:
                data = json.loads(json.dumps(world.policy.snapshot()))
                world.policy = Policy(world.settings, random.Random(number), world.spend)
                world.policy.restore(data, world.clock.now())
            case _:
                pass
        world.check()


configs = st.builds(
    configured,
    st.integers(1, 4),
    st.integers(1, 5),
    rate_limit_fallback=st.builds(
        RateLimitFallback,
        enabled=st.sampled_from([True, True, True, False]),
        detection_threshold=st.integers(1, 2),
        max_retry_after=st.sampled_from([30.0, 600.0, 3600.0]),
    ),
    retry_policy=st.builds(
        RetryPolicy,
        rate_limit=st.builds(Retry, st.integers(0, 2)),
        overloaded=st.builds(Retry, st.integers(0, 2), max_wait=st.just(3.0)),
        connection=st.builds(Retry, st.integers(0, 2), max_wait=st.just(1.0)),
    ),
    circuit_breaker=st.builds(CircuitBreaker, failure_threshold=st.integers(1, 5)),
)


@settings(max_examples=50, deadline=None)
@given(configs, scripts, st.integers())
def test_whatever_happens_every_choice_is_allowed(config: Settings, script: list[Step], seed: int) -> None:
    """Only configured, servable, passing, affordable backends; attempts within the cap; views change nothing."""
    play(World(config, seed), script)


@settings(max_examples=30, deadline=None)
@given(configs, scripts, st.integers())
def test_from_any_state_the_primary_gets_traffic_again(config: Settings, script: list[Step], seed: int) -> None:
    """With time and successes: never stuck. Only a failed pin, a denial or an order needs a person."""
    lasting = {Outcome.PIN_FAILED, Outcome.DENIED}
    play(world := World(config, seed, paid=False), [s for s in script if s[2].outcome not in lasting])
    for client in [c for c in world.clients if c.flying is not None]:
        world.end(client, Verdict(Outcome.CLIENT_GONE))
    for _ in range(6):
        world.clock.advance(40 * 86_400.0)
        world.clock.advance(1_000.0)
        for number in range(2):
            client = world.arrive(number)
            answer = world.ask(client)
            if isinstance(answer, Hold):
                world.clock.monotonic = answer.until
                answer = world.ask(client)
            assert isinstance(answer, Go)
            world.policy.committed(answer.permit, world.clock.now())
            world.end(client, Verdict(Outcome.SUCCESS))
    for number in range(2):
        world.clock.advance(11.0)
        answer = world.ask(world.arrive(number))
        assert isinstance(answer, Go)
        assert answer.backend == config.primary.name
        assert not answer.permit.probe


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0.0, 50.0), st.booleans()), max_size=25), st.integers())
def test_a_limited_primary_gets_one_request_per_probe_interval_whatever_the_concurrency(
    waves: list[tuple[int, float, bool]], seed: int
) -> None:
    world = World(configured(2, rate_limit_fallback=RateLimitFallback(max_retry_after=100.0)), seed, paid=False)

    def limited() -> Verdict:
        return Verdict(Outcome.PLAN_LIMIT, scope=Scope.BACKEND, until=Epoch(world.clock.wall + 18_000.0))

    first = world.arrive(0)
    world.ask(first)
    world.end(first, limited())
    began = last = world.clock.monotonic
    for crowd, pause, lost in waves:
        world.clock.advance(pause)
        for number in range(crowd):
            client = world.arrive(number, session=str(number))
            answer = world.ask(client)
            while not isinstance(answer, Go):
                assert isinstance(answer, Hold)
                world.clock.advance(answer.until - world.clock.monotonic)
                answer = world.ask(client)
            if answer.backend == NAMES[0]:
                assert world.clock.monotonic - last >= 99.999
                last = world.clock.monotonic
                if not lost:
                    world.end(client, limited())
                    assert isinstance(rescued := world.ask(client), Go | Hold)
                    assert isinstance(rescued, Hold) or rescued.backend == NAMES[1]
            if client.flying is not None and client.flying.backend == NAMES[1]:
                world.policy.committed(client.flying, world.clock.now())
                world.end(client, Verdict(Outcome.SUCCESS))
    assert last - began <= 100.0 * 25 * 30


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(61, 9_000), min_size=2, max_size=4, unique=True), st.integers())
def test_with_all_cooling_the_one_that_ends_soonest_is_named(ends: list[int], seed: int) -> None:
    world = World(configured(len(ends), rate_limit_fallback=RateLimitFallback(max_retry_after=1e6)), seed, paid=False)
    for name, end in zip(NAMES, ends, strict=False):
        client = world.arrive(0, forced=name)
        assert isinstance(world.ask(client), Go)
        until = Epoch(world.clock.wall + end)
        world.end(client, Verdict(Outcome.THROTTLED, scope=Scope.BACKEND, until=until, retry_after=Seconds(end)))
    client = world.arrive(0)
    tried = []
    while isinstance(answer := world.ask(client), Go):
        assert answer.reason.value == "last_resort"
        tried.append(answer.backend)
        until = Epoch(world.clock.wall + ends[NAMES.index(answer.backend)])
        verdict = Verdict(Outcome.PLAN_LIMIT, scope=Scope.BACKEND, until=until)
        world.end(client, verdict)
    order = sorted(zip(ends, NAMES, strict=False), key=lambda pair: pair[0])
    assert tried == [name for _, name in order]
    assert isinstance(answer, Stop)
    assert answer.retry_after is not None
    assert abs(answer.retry_after - min(ends)) <= 31.0


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers())
def test_after_a_switch_the_new_backend_fills_up_step_by_step(crowd: int, seed: int) -> None:
    world = World(configured(2), seed, paid=False)
    first = world.arrive(0)
    world.ask(first)
    world.end(first, Verdict(Outcome.PLAN_LIMIT, scope=Scope.BACKEND, until=Epoch(world.clock.wall + 9_000.0)))
    began = world.clock.monotonic
    waiting = [first, *(world.arrive(0, session=str(n)) for n in range(crowd))]
    flying = 0
    while waiting:
        for client in list(waiting):
            if isinstance(world.ask(client), Go):
                waiting.remove(client)
                flying += 1
        passed = world.clock.monotonic - began
        if passed < 10.0:
            assert flying <= 1 + int(passed / 0.25 + 1e-6)
        assert passed <= 10.0
        world.clock.advance(0.25)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=30), st.integers())
def test_no_concurrency_spends_more_than_the_limit(costs: list[int], seed: int) -> None:
    world = World(configured(2), seed)
    world.policy.force(NAMES[1], None, None, world.clock.now())
    held = 0
    for cost in costs:
        client = world.arrive(0, estimates={NAMES[1]: cost}, patience=Seconds(0.0))
        answer = world.ask(client)
        if isinstance(answer, Go):
            held += cost
        else:
            assert isinstance(answer, Stop)
            assert answer.spend is not None
    assert held <= LIMIT
