"""The exchange, story by story: what the client gets, what the world is told, what is written down."""

from __future__ import annotations

import json

import pytest

from claude_failover.core.commands import (
    Abort,
    Announce,
    AttemptEnded,
    BodyReceived,
    CloseAttempt,
    Conclude,
    Failure,
    Finish,
    HeadReceived,
    OpenAttempt,
    Record,
    SendBody,
    SendHead,
    Wakeup,
)
from claude_failover.core.phase import Phase
from claude_failover.core.reply import PING
from claude_failover.core.settings import Backend, CostTracking, Settings
from claude_failover.core.types import BackendName, Ended, Headers, Kind, Outcome, Reason, TransitionKind
from tests.exchanges import (
    ANSWER,
    BEDROCK,
    BLOCK,
    BLOCK_END,
    CLAUDE,
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

CLI: Headers = (("user-agent", "claude-cli/2.1.330 (external, cli)"),)
EU = Backend(BackendName("eu"), Kind.BEDROCK, region="eu-west-1", scope="eu")


def test_a_healthy_answer_passes_as_it_came() -> None:
    story = World().story()
    assert [type(one) for one in story.start()] == [OpenAttempt]
    assert story.opened[0].request.body == story.client.body
    assert story.head(200, (*SSE, ("request-id", "req_1"), ("anthropic-organization-id", "org"))) == []
    assert story.body(START + BLOCK) == []
    story.world.clock.advance(1.5)
    first = story.body(DELTA)
    assert [type(one) for one in first] == [SendHead, SendBody]
    assert story.exchange.committed
    story.body(BLOCK_END + MESSAGE_DELTA)
    story.body(STOP)
    assert [type(one) for one in story.end()] == [Record, Finish, Conclude]
    assert story.bytes_sent == ANSWER
    assert story.head_sent is not None
    assert story.head_sent.headers == (
        *SSE,
        ("request-id", "req_1"),
        ("anthropic-organization-id", "org"),
        ("x-claude-failover-backend", "claude"),
        ("x-claude-failover-attempts", "1"),
        ("x-claude-failover-request-id", "cfr_1"),
        ("x-claude-failover-reason", "primary"),
    )
    record = story.records[0]
    assert (record.outcome, record.usage.input, record.usage.output) == (Outcome.SUCCESS, 10, 20)
    assert (record.ttfb, record.ttft, record.usage_state) == (0.0, 1.5, Ended.COMPLETE)
    assert story.conclusion is not None
    assert (story.conclusion.outcome, story.conclusion.backend, story.conclusion.failed_over) == (
        "served", CLAUDE, False,
    )  # fmt: skip


def test_a_limit_is_answered_by_the_next_backend_and_the_client_cannot_tell() -> None:
    world = World()
    story = world.story()
    story.start()
    story.head(429, plan_limit(world.clock.now()))
    story.body(error("rate_limit_error", "limit"))
    commands = story.end()
    kinds = [type(one) for one in commands]
    assert kinds[0] is Record
    assert kinds[-1] is OpenAttempt
    told = [one.transition.kind for one in commands if isinstance(one, Announce)]
    assert TransitionKind.COOLDOWN_STARTED in told
    assert told.count(TransitionKind.FAILED_OVER) == 1
    assert story.opened[1].backend == BEDROCK
    assert story.head_sent is None
    story.answer()
    assert (story.status, story.bytes_sent) == (200, ANSWER)
    assert story.header("x-claude-failover-reason") == "plan_limit"
    assert story.header("anthropic-ratelimit-unified-status") is None
    assert story.conclusion is not None
    assert story.conclusion.failed_over
    assert ("failed over", BEDROCK) in story.steps()


def test_an_overload_inside_a_200_is_thrown_away_with_everything_held() -> None:
    story = World().story()
    story.start()
    story.head()
    story.body(START + BLOCK)
    commands = story.body(OVERLOADED)
    assert isinstance(commands[0], CloseAttempt)
    assert story.head_sent is None
    story.wake_until_open()
    story.answer()
    assert story.bytes_sent == ANSWER


@pytest.mark.parametrize(
    ("headers", "end"), [((), Finish), (CLI, Abort)], ids=["an SDK gets an event", "Claude Code a cut"]
)
def test_a_stream_cut_after_the_commit_is_told_and_never_spliced(headers: Headers, end: type) -> None:
    story = World().story(headers=(*OWN_LOGIN, *headers))
    story.start()
    story.head()
    story.body(START + BLOCK + DELTA)
    commands = story.end(Failure.CUT, "reset by peer")
    assert [one for one in commands if isinstance(one, OpenAttempt | CloseAttempt)] == []
    assert isinstance(commands[-2], end)
    assert len(story.opened) == 1
    assert story.conclusion is not None
    assert story.conclusion.outcome == "aborted"
    if end is Finish:
        assert story.bytes_sent.startswith(START + BLOCK + DELTA + b"event: error\n")
        assert "claude broke off: reset by peer" in story.told["error"]["message"]


def test_no_event_of_ours_is_put_inside_an_event_of_theirs() -> None:
    story = World().story()
    story.start()
    story.head()
    story.body(START + BLOCK + DELTA + DELTA[:30])
    before = story.bytes_sent
    story.wake()
    assert story.bytes_sent == before
    commands = story.end(Failure.CUT)
    assert isinstance(commands[-2], Abort)


def test_their_own_error_after_the_commit_is_passed_on() -> None:
    story = World().story()
    story.start()
    story.head()
    story.body(START + BLOCK + DELTA)
    commands = story.body(OVERLOADED)
    assert isinstance(commands[0], CloseAttempt)
    assert story.bytes_sent.endswith(OVERLOADED)
    assert story.records[0].outcome is Outcome.OVERLOADED


def test_an_error_in_the_same_read_as_the_first_content_is_told() -> None:
    story = World().story()
    story.start()
    story.head()
    story.body(START + DELTA + OVERLOADED + DELTA)
    assert story.bytes_sent == START + DELTA + OVERLOADED
    assert story.conclusion is not None


def test_silence_after_the_commit_is_a_stall() -> None:
    story = World().story(headers=(*OWN_LOGIN, *CLI))
    story.start()
    story.head()
    story.body(START + DELTA)
    for _ in range(30):
        if story.conclusion is not None:
            break
        story.wake()
    assert story.records[0].outcome is Outcome.STALLED
    assert story.records[0].duration == pytest.approx(120.0)
    # Bedrock sends no pings, so ours fill the silence while there is hope.
    assert story.bytes_sent == START + DELTA + PING * 11


def test_a_backend_that_forgets_to_end_the_response_is_not_waited_for() -> None:
    story = World().story()
    story.start()
    story.head()
    story.body(ANSWER)
    assert story.conclusion is None
    story.wake()
    assert story.kinds[-4:] == ["CloseAttempt", "Record", "Finish", "Conclude"]
    assert story.records[0].outcome is Outcome.SUCCESS
    assert story.records[0].duration == 5.0


def test_a_slow_client_does_not_make_the_backend_silent() -> None:
    """The backend was not listened to for 100 s of writing: its patience begins again."""
    story = World().story()
    story.start()
    story.head()
    story.body(START + DELTA)
    story.world.clock.advance(100.0)
    story.exchange.listen(story.world.clock.now())
    story.world.clock.advance(30.0)
    story.feed(Wakeup())
    assert story.conclusion is None
    assert story.exchange.committed


def test_an_undecided_response_is_opened_and_pings_until_somebody_answers() -> None:
    story = World().story()
    story.start()
    story.head()
    story.body(START)
    assert story.exchange.deadline == 1_015.0
    story.wake()
    assert story.status == 200
    assert story.header("x-claude-failover-backend") is None
    story.wake()
    assert story.bytes_sent == PING * 2
    story.body(BLOCK + DELTA)
    story.body(BLOCK_END + MESSAGE_DELTA + STOP)
    story.end()
    assert story.bytes_sent == PING * 2 + ANSWER
    assert story.kinds.count("SendHead") == 1


def test_an_open_response_may_still_be_anybodys() -> None:
    story = World().story()
    story.start()
    story.wake()
    assert story.exchange.phase is Phase.OPENED
    story.refuse(500, error("api_error", "down"))
    story.wake_until_open()
    story.refuse(500, error("api_error", "down"))
    assert story.open is not None
    assert story.open.backend == BEDROCK
    story.answer()
    assert story.without_pings() == ANSWER


def test_an_error_after_opening_is_in_band() -> None:
    story = World().story()
    story.start()
    story.wake()
    story.refuse(400, error("invalid_request_error", "bad field"))
    assert story.told["error"] == {"type": "invalid_request_error", "message": "bad field"}
    assert story.status == 200
    assert story.kinds[-2:] == ["Finish", "Conclude"]


def test_a_whole_answer_to_an_open_stream_is_no_answer() -> None:
    story = World().story()
    story.start()
    story.wake()
    story.head(200, JSON)
    story.body(WHOLE)
    story.end()
    assert story.records[0].outcome is Outcome.MALFORMED
    assert WHOLE not in story.bytes_sent


def test_a_non_streaming_answer_commits_when_it_is_complete() -> None:
    story = World().story(stream=False)
    story.start()
    assert story.exchange.deadline == 1_600.0
    story.head(200, (*JSON, ("content-length", str(len(WHOLE)))))
    story.body(WHOLE[:10])
    story.body(WHOLE[10:])
    assert story.head_sent is None
    story.end()
    assert (story.status, story.bytes_sent, story.header("content-length")) == (200, WHOLE, str(len(WHOLE)))
    assert story.records[0].usage.output == 20


def test_a_non_streaming_answer_that_is_cut_is_tried_again() -> None:
    story = World().story(stream=False)
    story.start()
    story.head(200, JSON)
    story.body(WHOLE[:20])
    story.end(Failure.CUT)
    story.wake_until_open()
    assert story.opened[1].fresh
    story.head(200, JSON)
    story.body(WHOLE)
    story.end()
    assert story.bytes_sent == WHOLE


def test_a_compressed_request_is_passed_and_its_stream_relayed() -> None:
    """We cannot read whether it asks for a stream; the answer says it."""
    story = World().story(headers=(*OWN_LOGIN, ("content-encoding", "gzip")), body=b"\x1f\x8b\x08 not readable")
    story.start()
    story.answer()
    assert story.bytes_sent == ANSWER
    assert story.records[0].streaming is False


def test_a_clients_own_error_goes_back_byte_for_byte() -> None:
    story = World().story()
    story.start()
    body = error("invalid_request_error", "messages: field required")
    story.refuse(400, body, (*JSON, ("Request-Id", "req_9"), ("x-should-retry", "false")))
    assert (story.status, story.bytes_sent) == (400, body)
    assert story.head_sent is not None
    assert story.head_sent.headers[:3] == (*JSON, ("Request-Id", "req_9"), ("x-should-retry", "false"))
    assert story.conclusion is not None
    assert (story.conclusion.outcome, story.conclusion.backend) == ("passed_error", CLAUDE)


def test_an_error_without_a_body_has_none_here_either() -> None:
    story = World().story()
    story.start()
    story.head(403, ())
    story.end()
    assert (story.status, story.sent) == (403, [])


def test_the_body_of_an_error_is_not_waited_for_for_ever() -> None:
    story = World().story()
    story.start()
    story.head(404, JSON)
    story.body(b'{"type":"error"')
    story.wake()
    assert story.kinds[1] == "CloseAttempt"
    assert (story.status, story.bytes_sent) == (404, b'{"type":"error"')
    assert story.records[0].duration == 10.0


@pytest.mark.parametrize(("answered", "seconds"), [(False, 120.0), (True, 180.0)])
def test_a_silent_route_is_left_for_the_next_backend(*, answered: bool, seconds: float) -> None:
    story = World().story()
    story.start()
    if answered:
        story.head()
        story.body(START + PING)
    story.wake_until_open()
    assert story.records[0].outcome is Outcome.SILENT
    assert story.records[0].duration == seconds
    assert story.open is not None
    assert story.open.backend == BEDROCK


@pytest.mark.parametrize("answered", [False, True])
def test_a_client_that_leaves_ends_its_attempt_and_what_was_seen_is_counted(*, answered: bool) -> None:
    story = World().story()
    story.start()
    if answered:
        story.head()
        story.body(START + DELTA)
    commands = story.gone_away()
    assert [type(one) for one in commands] == [CloseAttempt, Record, Conclude]
    record = story.records[0]
    assert record.outcome is Outcome.CLIENT_GONE
    assert (record.usage.input, record.usage_state) == ((10, Ended.PARTIAL) if answered else (0, Ended.NOTHING))
    assert story.conclusion is not None
    assert story.conclusion.outcome == "client_gone"


def test_a_client_that_leaves_behind_the_end_has_been_served() -> None:
    story = World().story()
    story.start()
    story.head()
    story.body(ANSWER)
    story.gone_away()
    assert story.records[0].outcome is Outcome.SUCCESS
    assert story.conclusion is not None
    assert story.conclusion.outcome == "served"


def test_a_client_may_leave_during_a_wait() -> None:
    story = World().story()
    story.start()
    story.refuse(529)
    assert story.open is None
    story.exchange.listen(story.world.clock.now())
    story.world.clock.advance(0.25)
    assert [type(one) for one in story.gone_away()] == [Conclude]
    assert story.conclusion is not None
    assert story.conclusion.duration == 0.25
    assert story.conclusion.overhead == 0.0


def test_news_of_attempts_that_are_over_is_ignored() -> None:
    story = World().story()
    story.start()
    story.refuse(529)
    assert story.feed(BodyReceived(0, DELTA)) == []
    assert story.feed(HeadReceived(0, 200, SSE)) == []
    assert story.feed(AttemptEnded(0)) == []
    story.wake_until_open()
    assert story.feed(BodyReceived(1, DELTA)) == [], "a body before its head"
    story.answer()
    assert story.feed(Wakeup()) == []


def test_bedrock_that_names_what_it_refuses_gets_the_request_without_it() -> None:
    world = World()
    world.limit_primary()
    story = world.story(headers=(*OWN_LOGIN, ("anthropic-beta", "context-management-2025-06-27")))
    story.start()
    assert story.open is not None
    assert story.open.backend == BEDROCK
    message = "The provided model identifier is invalid."
    commands = story.refuse(
        400, json.dumps({"message": message}).encode(), (("x-amzn-errortype", "ValidationException"),)
    )
    learned = [one for one in commands if isinstance(one, Announce) and one.transition.kind is TransitionKind.LEARNED]
    assert learned
    assert story.opened[1].backend == BEDROCK
    story.answer()
    assert story.records[1].reason is Reason.REPAIR
    assert ("translated", BEDROCK) in story.steps()


def test_a_bedrock_refusal_that_nothing_mends_never_reaches_the_client() -> None:
    world = World()
    story = world.story()
    story.start()
    limit = error("rate_limit_error", "limit")
    story.refuse(429, limit, plan_limit(world.clock.now()))
    story.refuse(400, b'{"message":"Extra inputs are not permitted"}', (("x-amzn-errortype", "ValidationException"),))
    assert (story.status, story.bytes_sent) == (429, limit)
    assert story.header("retry-after") == "3600"
    assert story.records[1].outcome is Outcome.CLIENT_ERROR


def test_a_request_that_translation_refuses_leaves_that_backend_out() -> None:
    world = World()
    world.limit_primary()
    story = world.story(messages=[{"role": "user", "content": "x" * 21_000_000}])
    story.start()
    assert story.open is not None
    assert story.open.backend == CLAUDE, "the only one there is, whatever its state"
    story.refuse(429, error("rate_limit_error", "limit"), plan_limit(world.clock.now()))
    assert story.status == 429
    assert ("left out", BEDROCK) in story.steps()


def test_a_request_that_must_stay_at_a_primary_that_cannot_take_it_ends() -> None:
    story = World(Settings(backends=Settings().backends[1:])).story(
        max_tokens=1, messages=[{"role": "user", "content": "quota"}]
    )
    story.start()
    assert story.conclusion is not None, "asked again and again, it would hold up every other request"
    assert story.opened == []
    assert story.steps() == [("left out", BEDROCK), ("gave up", "")]


def test_a_backend_that_came_with_a_reload_is_not_for_requests_from_before() -> None:
    world = World()
    story = world.story()
    story.start()
    world.policy.reload(Settings(backends=(Settings().backends[0], EU)), world.clock.now())
    story.refuse(500)
    story.wake_until_open()
    story.refuse(500)
    assert story.conclusion is not None
    assert ("left out", EU.name) in story.steps()
    assert story.status == 500


def test_a_daily_limit_that_is_reached_is_said_and_not_retried() -> None:
    world = World(Settings(cost_tracking=CostTracking(daily_limit=0.0)), limit=0)
    story = world.story()
    story.start()
    story.refuse(429, error("rate_limit_error", "limit"), plan_limit(world.clock.now()))
    assert (story.status, story.header("x-should-retry")) == (429, "false")
    assert "daily limit of $0.00" in story.told["error"]["message"]
    assert story.conclusion is not None
    assert story.conclusion.outcome == "refused"


def test_a_stored_token_that_is_refused_is_looked_for_once_more() -> None:
    story = World().story(headers=())
    story.start()
    refused = error("authentication_error", "invalid x-api-key")
    story.refuse(401, refused)
    assert story.open is not None
    assert (story.open.backend, story.open.refresh_credentials) == (CLAUDE, True)
    story.refuse(401, refused)
    assert (story.status, story.bytes_sent, len(story.opened)) == (401, refused, 2)


def test_a_client_with_a_login_of_its_own_gets_its_401_at_once() -> None:
    story = World().story()
    story.start()
    story.refuse(401, error("authentication_error", "expired"))
    assert (story.status, len(story.opened)) == (401, 1)


def test_a_failure_of_our_own_is_written_down() -> None:
    world = World()
    story = world.story()
    story.start()
    commands = story.exchange.bypass(world.clock.now())
    assert [type(one) for one in commands] == [Record, Conclude]
    conclusion = commands[-1]
    assert isinstance(conclusion, Conclude)
    assert (conclusion.record.outcome, conclusion.record.backend) == ("bypassed", CLAUDE)
    assert world.policy.all_came_back()
    assert story.exchange.bypass(world.clock.now()) == []


def test_a_failure_of_our_own_after_the_commit_is_an_aborted_answer() -> None:
    world = World()
    story = world.story()
    story.start()
    story.head()
    story.body(START + DELTA)
    conclusion = story.exchange.bypass(world.clock.now())[-1]
    assert isinstance(conclusion, Conclude)
    assert conclusion.record.outcome == "aborted"


@pytest.mark.parametrize(
    ("body", "outcome", "ended"),
    [
        (START + DELTA, "aborted", Outcome.LOCAL),
        (START + DELTA + BLOCK_END + MESSAGE_DELTA + STOP, "served", Outcome.SUCCESS),
    ],
    ids=["in the middle", "behind message_stop"],
)
def test_an_answer_that_the_daemons_end_cuts_is_told_as_that(body: bytes, outcome: str, ended: Outcome) -> None:
    world = World()
    story = world.story()
    story.start()
    story.head()
    story.body(body)
    commands = story.exchange.cut(world.clock.now())
    assert [type(one) for one in commands] == [CloseAttempt, Record, Conclude]
    record, conclusion = commands[1:]
    assert isinstance(record, Record)
    assert isinstance(conclusion, Conclude)
    assert (record.record.outcome, conclusion.record.outcome) == (ended, outcome)
    assert world.policy.all_came_back()
    assert story.exchange.cut(world.clock.now()) == []


def test_a_request_that_waits_when_the_daemon_ends_is_told_too() -> None:
    world = World()
    story = world.story()
    [conclusion] = story.exchange.cut(world.clock.now())
    assert isinstance(conclusion, Conclude)
    assert conclusion.record.outcome == "aborted"


def test_a_permit_is_given_back_when_opening_fails() -> None:
    """The policy has said go, and then our own code throws: the probe's place must not be lost."""
    world = World()
    story = world.story()
    story.exchange.request = None
    with pytest.raises(AssertionError):
        story.start()
    assert not world.policy.all_came_back()
    assert [type(one) for one in story.exchange.bypass(world.clock.now())] == [Conclude]
    assert world.policy.all_came_back()


def test_a_failure_of_our_own_before_anything_was_decided_concludes_too() -> None:
    world = World()
    story = world.story()
    assert [type(one) for one in story.exchange.bypass(world.clock.now())] == [Conclude]


def test_waking_too_early_does_nothing() -> None:
    story = World().story()
    story.start()
    assert story.feed(Wakeup()) == []
    story.wake()
    assert story.feed(Wakeup()) == []
    plain = World().story(stream=False)
    plain.start()
    assert plain.feed(Wakeup()) == []


def test_starting_twice_starts_once() -> None:
    story = World().story()
    story.start()
    assert story.start() == []


def test_nothing_to_send_yet_is_nothing_sent() -> None:
    story = World().story()
    story.start()
    story.head()
    story.body(START + DELTA)
    assert story.body(b"event: err") == []
    assert story.body(event("error", error={"type": "overloaded_error", "message": "x"})[10:])[0] == CloseAttempt(0)


def test_an_answer_in_many_reads_is_relayed_as_it_comes() -> None:
    story = World().story()
    story.start()
    story.head()
    story.body(START + DELTA)
    assert story.body(delta("a")) == [SendBody(delta("a"))]
    assert story.body(delta("b")) == [SendBody(delta("b"))]


def throttled(story: Story) -> None:
    """Bedrock is throttled, as it is: without saying for how long."""
    message = '{"message":"Too many requests, please wait before trying again."}'
    story.refuse(429, message.encode(), (*JSON, ("x-amzn-errortype", "ThrottlingException")))


def test_with_the_plans_limit_at_hand_a_throttled_bedrock_is_waited_for_only_until_the_status_would_be_lost() -> None:
    world = World()
    story = world.story()
    story.start()
    story.refuse(429, error("rate_limit_error", "limit"), plan_limit(world.clock.now()))
    began = world.clock.monotonic
    for _ in range(40):
        if story.conclusion is not None:
            break
        if story.open is not None:
            throttled(story)
        else:
            story.wake()
    assert story.status == 429
    assert story.header("anthropic-ratelimit-unified-status") == "rejected"
    assert 0 < world.clock.monotonic - began <= world.settings.stream.hold_max
