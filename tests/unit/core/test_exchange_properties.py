"""What holds of an exchange whatever happens, in whatever order. Most of the law is :meth:`Story._check`'s."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.commands import (
    Abort,
    AttemptEnded,
    BodyReceived,
    ClientGone,
    Event,
    Failure,
    Finish,
    HeadReceived,
    Start,
    Wakeup,
)
from claude_failover.core.reply import PING
from claude_failover.core.settings import Backend, Settings, Stream
from claude_failover.core.types import BackendName, Ended, Headers, Kind, Outcome
from tests.exchanges import (
    ANSWER,
    BLOCK,
    BLOCK_END,
    DELTA,
    JSON,
    MESSAGE_DELTA,
    OVERLOADED,
    OWN_LOGIN,
    SSE,
    START,
    STOP,
    WHOLE,
    Story,
    World,
    delta,
    error,
    event,
    plan_limit,
)

EU = Backend(BackendName("eu"), Kind.BEDROCK, region="eu-west-1", scope="eu")
THREE = Settings(backends=(*Settings().backends, EU))
ONLY_CLAUDE = Settings(backends=Settings().backends[:1])
ONLY_BEDROCK = Settings(backends=Settings().backends[1:])
CLI: Headers = (("user-agent", "claude-cli/2.1.330 (external, cli)"),)

HEADS = st.sampled_from(
    [
        (200, SSE),
        (200, JSON),
        (200, ()),
        (204, ()),
        (302, ()),
        (400, JSON),
        (401, JSON),
        (403, JSON),
        (429, JSON),
        (429, (*JSON, ("retry-after", "1"))),
        (429, plan_limit(World().clock.now())),
        (500, ()),
        (529, JSON),
    ]
)
BODIES = st.sampled_from(
    [
        START,
        BLOCK,
        DELTA,
        BLOCK_END,
        MESSAGE_DELTA,
        STOP,
        OVERLOADED,
        PING,
        ANSWER,
        WHOLE,
        b": comment\n\n",
        b"event: content_block_delta\ndata: {",
        b"event: ping\ndata: nonsense\n\n",
        b"event: content_block_delta\ndata: nonsense\n\n",
        b"\x00\xff",
        error("rate_limit_error", "limit"),
        error("invalid_request_error", "betas: Unexpected value(s) `x-1` for the `anthropic-beta` header"),
        error("invalid_request_error", "prompt is too long: 9 tokens > 1 maximum"),
    ]
)
FAILURES = st.one_of(st.none(), st.sampled_from(list(Failure)))


@st.composite
def moves(draw: st.DrawFn) -> list[tuple[str, object]]:
    """What may happen, as words that :func:`play` turns into events of the attempt that is open then."""
    one = st.one_of(
        st.tuples(st.just("head"), HEADS),
        st.tuples(st.just("body"), BODIES),
        st.tuples(st.just("body"), BODIES),
        st.tuples(st.just("end"), FAILURES),
        st.tuples(st.just("wake"), st.none()),
        st.tuples(st.just("late"), st.sampled_from([0.0, 0.5, 11.0, 200.0])),
        st.tuples(st.just("early"), st.none()),
        st.tuples(st.just("listen"), st.none()),
        st.tuples(st.just("stranger"), st.integers(0, 5)),
        st.tuples(st.just("again"), st.none()),
        st.tuples(st.just("gone"), st.none()),
        st.tuples(st.just("reload"), st.sampled_from([Settings(), THREE, ONLY_CLAUDE, ONLY_BEDROCK])),
    )
    return draw(st.lists(one, max_size=25))


def play(story: Story, script: list[tuple[str, object]]) -> None:
    """Let it happen, then let time pass until the exchange has come to its end by itself."""
    story.start()
    for word, value in script:
        if story.conclusion is not None:
            break
        act(story, word, value)
    for _ in range(400):
        if story.conclusion is not None:
            break
        story.wake()
    assert story.conclusion is not None, "it never ends by itself"
    assert story.feed(Wakeup()) == []
    assert story.feed(ClientGone()) == []


def act(story: Story, word: str, value: object) -> None:
    world, index = story.world, story.open.attempt if story.open else 99
    now = world.clock.now()
    events: dict[str, Event] = {"again": Start(), "gone": ClientGone(), "early": Wakeup()}
    match word, value:
        case "head", (int() as status, tuple() as headers):
            story.feed(HeadReceived(index, status, headers))
        case "body", bytes() as data:
            story.feed(BodyReceived(index, data))
        case "end", failure:
            assert failure is None or isinstance(failure, Failure)
            story.feed(AttemptEnded(index, failure))
        case "wake", _:
            story.wake()
        case "late", float() as seconds:
            world.clock.advance(seconds)
            story.feed(Wakeup())
        case "listen", _:
            story.exchange.listen(now)
        case "stranger", int() as other if other != index:
            story.feed(BodyReceived(other, DELTA))
            story.feed(HeadReceived(other, 200, SSE))
        case "reload", Settings() as changed:
            world.policy.reload(changed, now)
        case _ if word in events:
            story.feed(events[word])


@settings(max_examples=70, deadline=None)
@given(moves(), st.booleans(), st.sampled_from([OWN_LOGIN, (), CLI]), st.sampled_from([None, 0, 10**12]))
def test_the_law_holds_whatever_happens(
    script: list[tuple[str, object]], stream: bool, headers: Headers, limit: int | None
) -> None:
    world = World(limit=limit)
    story = world.story(stream=stream, headers=headers)
    play(story, script)
    assert world.spend.view(world.clock.now()).held == 0


@settings(max_examples=70, deadline=None)
@given(moves(), st.booleans())
def test_the_law_holds_with_a_third_backend(script: list[tuple[str, object]], stream: bool) -> None:
    play(World(THREE).story(stream=stream), script)


@settings(max_examples=70, deadline=None)
@given(moves())
def test_what_began_is_one_backends_and_our_pings(script: list[tuple[str, object]]) -> None:
    """Whatever the client has got of an answer was said by the backend that answered, in its order."""
    story = World().story()
    said: dict[int, list[bytes]] = {}
    story.start()
    for word, value in script:
        if story.conclusion is not None:
            break
        if word == "body" and isinstance(value, bytes) and story.open is not None:
            said.setdefault(story.open.attempt, []).append(value)
        act(story, word, value)
    winner = next((record.attempt for record in story.records if record.committed), None)
    if story.exchange.committed and winner is None:
        assert story.open is not None
        winner = story.open.attempt
    if winner is not None and not any(isinstance(command, Finish) for command in story.commands):
        assert story.without_pings().replace(PING, b"") in b"".join(said[winner]).replace(PING, b"")


@settings(max_examples=70, deadline=None)
@given(moves(), st.floats(0.5, 20.0), st.floats(0.5, 20.0))
def test_an_open_response_is_never_silent_for_longer_than_a_ping_interval(
    script: list[tuple[str, object]], hold_max: float, ping_interval: float
) -> None:
    world = World(Settings(stream=Stream(hold_max, ping_interval)))
    story = world.story()
    story.start()
    for word, value in script:
        if story.conclusion is not None:
            return
        deadline = story.exchange.deadline
        assert deadline is not None
        if story.head_sent is None:
            assert deadline <= 1_000.0 + hold_max, "it would say nothing for too long"
        elif not story.exchange.committed:
            assert deadline <= story.last_sent + ping_interval + 1e-6, "it would be silent for too long"
        if word != "late":
            act(story, word, value)


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """*data* cut at any places."""
    cuts = sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


STREAMS = st.lists(
    st.sampled_from(
        [
            PING,
            BLOCK,
            DELTA,
            delta("x" * 50),
            BLOCK_END,
            MESSAGE_DELTA,
            STOP,
            OVERLOADED,
            b": keep-alive\n\n",
            event("new_thing", a=1),
            b"event: content_block_delta\ndata: nonsense\n\n",
            b"event: content_block_delta\r\ndata: {}\r\n\r\n",
            b"data: x\n\n",
        ]
    ),
    max_size=8,
).map(lambda events: START + b"".join(events))


def told(data: list[bytes], headers: Headers) -> tuple[object, ...]:
    """Everything that can be seen of a stream that came in these pieces."""
    world = World()
    story = world.story(headers=headers)
    story.start()
    story.head()
    for piece in data:
        if story.open is not None and story.open.attempt == 0:
            story.body(piece)
    if story.open is not None and story.open.attempt == 0:
        story.end()
    first = story.records[0]
    # What was cut is an estimate of bytes, and may differ by a delta's envelope.
    usage = first.usage if first.usage_state is Ended.COMPLETE else None
    ends = [type(command) for command in story.commands if isinstance(command, Finish | Abort)]
    # Behind the commit, a malformed event that came whole is relayed; a part of one may have gone out before.
    return (story.bytes_sent, story.head_sent, first.outcome, first.detail, usage, ends, len(story.opened))


@settings(max_examples=70, deadline=None)
@given(st.data(), STREAMS, st.sampled_from([OWN_LOGIN, CLI]))
def test_any_split_of_the_bytes_gives_the_same_answer(data: st.DataObject, stream: bytes, headers: Headers) -> None:
    assert told(data.draw(pieces(stream)), headers) == told([stream], headers)


@given(st.sampled_from([400, 401, 403, 404, 409, 413, 422]), st.booleans(), st.binary(max_size=200))
@settings(max_examples=70, deadline=None)
def test_a_clients_own_error_is_never_failed_over(status: int, stream: bool, body: bytes) -> None:
    story = World().story(stream=stream)
    story.start()
    story.refuse(status, body)
    assert len(story.opened) == 1
    assert (story.status, story.bytes_sent) == (status, body) if body else story.status == status


@given(st.lists(st.sampled_from([START, BLOCK, PING, b": x\n\n", event("new", a=1)]), max_size=6), st.booleans())
@settings(max_examples=70, deadline=None)
def test_a_clean_end_without_content_is_a_failure(events: list[bytes], stopped: bool) -> None:
    story = World().story()
    story.start()
    story.head()
    for one in [*events, *([STOP] if stopped else [])]:
        if not story.records:
            story.body(one)
    if not story.records:
        story.end()
    assert story.records[0].outcome in {Outcome.CUT, Outcome.MALFORMED}
    assert story.head_sent is None
    assert story.conclusion is None


@given(moves(), st.integers(0, 25))
@settings(max_examples=70, deadline=None)
def test_a_failure_of_our_own_gives_everything_back(script: list[tuple[str, object]], when: int) -> None:
    world = World(limit=10**12)
    story = world.story()
    story.start()
    for word, value in script[:when]:
        if story.conclusion is None:
            act(story, word, value)
    if story.conclusion is not None:
        assert story.exchange.bypass(world.clock.now()) == []
        return
    began = story.exchange.committed
    kinds = [type(command).__name__ for command in story.exchange.bypass(world.clock.now())]
    assert set(kinds) <= {"Record", "Announce", "Conclude"}
    assert kinds.count("Conclude") == 1
    assert kinds[-1] == "Conclude"
    assert world.policy.all_came_back()
    assert world.spend.view(world.clock.now()).held == 0
    assert story.exchange.bypass(world.clock.now()) == []
    assert began or story.exchange.phase == "done"
