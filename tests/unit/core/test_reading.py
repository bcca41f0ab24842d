"""From bytes and ends of an attempt to what they mean."""

from __future__ import annotations

import pytest

from claude_failover.core import attempt as attempts
from claude_failover.core import reading
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import AttemptEnded, Failure, HeadReceived
from claude_failover.core.reading import Begun, Broken, Completed, Failed, Progress, Whole
from claude_failover.core.reply import PING
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import Ended, Headers, Outcome, Surface
from claude_failover.drill import frames
from tests.exchanges import (
    ANSWER,
    BLOCK,
    BLOCK_END,
    DELTA,
    JSON,
    MESSAGE_DELTA,
    OVERLOADED,
    SSE,
    START,
    STOP,
    WHOLE,
    World,
    an_attempt,
    delta,
    error,
)

NOW = World().clock.now()
BEDROCK = Settings().backends[1]
MALFORMED = b"event: content_block_delta\ndata: nonsense\n\n"


def headed(
    status: int = 200, headers: Headers = SSE, backend: Backend | None = None, *, streaming: bool = True
) -> Attempt:
    attempt = an_attempt(backend)
    reading.begin(attempt, HeadReceived(0, status, headers), NOW, streaming=streaming)
    return attempt


def take(attempt: Attempt, data: bytes, *, streaming: bool = True, opened: bool = False) -> Progress:
    return reading.take(attempt, data, NOW, streaming, opened=opened)


def end(attempt: Attempt, failure: Failure | None = None, *, streaming: bool = True, opened: bool = False) -> Progress:
    return reading.end(attempt, AttemptEnded(0, failure), NOW, streaming, opened=opened)


def outcome(progress: Progress) -> Outcome:
    assert isinstance(progress, Failed | Broken), progress
    return progress.verdict.outcome


def test_how_a_body_is_read_is_chosen_at_the_head() -> None:
    assert headed().streams
    assert not headed(429).streams
    assert not headed(200, JSON).streams
    assert headed(streaming=False).streams, "a compressed request: the Claude API's answer says it"
    assert not headed(backend=BEDROCK, streaming=False).streams
    assert reading.is_error(headed(302))
    assert not reading.is_error(headed())
    assert not reading.is_error(an_attempt())


def test_an_encoding_that_nobody_asked_for_is_never_read_as_a_stream() -> None:
    """Seen in the laboratory: broken gzip before the first event was relayed as the answer's beginning."""
    for backend in Settings().backends:
        encoded = headed(200, (*SSE, ("Content-Encoding", "gzip")), backend)
        assert take(encoded, b"\x1f\x8b\x08\x00broken" + START + DELTA + STOP) is None
        assert outcome(end(encoded)) in {Outcome.CUT, Outcome.MALFORMED}
    assert headed(200, (*SSE, ("content-encoding", "Identity"))).streams


@pytest.mark.parametrize("proof", [DELTA, BLOCK_END, MESSAGE_DELTA])
def test_what_proves_an_answer_commits_it_with_everything_held(proof: bytes) -> None:
    attempt = headed()
    assert take(attempt, START + PING + BLOCK) is None
    assert take(attempt, proof) == Begun(START + PING + BLOCK + proof)
    assert attempt.committed
    assert attempt.usage.usage.input == 10


def test_what_is_there_of_the_next_event_goes_out_too() -> None:
    attempt = headed()
    assert take(attempt, START + DELTA + BLOCK_END[:25]) == Begun(START + DELTA + BLOCK_END[:25])
    assert reading.relay(attempt, BLOCK_END[25:], NOW) == (BLOCK_END[25:], None)


def test_a_whole_answer_in_one_read_is_one() -> None:
    attempt = headed()
    assert take(attempt, ANSWER) == Begun(ANSWER)
    assert attempt.stopped
    assert end(attempt) == Completed()
    assert end(attempt, Failure.CUT) == Completed(), "behind the end nothing can be cut"
    assert attempt.usage.state(complete=True) is Ended.COMPLETE


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (START + OVERLOADED, Outcome.OVERLOADED),
        (START + MALFORMED, Outcome.MALFORMED),
        (START + STOP, Outcome.CUT),
        (DELTA, Outcome.MALFORMED),
        (STOP, Outcome.MALFORMED),
        (BLOCK, Outcome.MALFORMED),
    ],
    ids=["overload", "malformed", "nothing in it", "no start", "only an end", "a block of nothing"],
)
def test_what_is_no_answer_fails_before_the_commit(data: bytes, expected: Outcome) -> None:
    progress = take(headed(), data)
    assert outcome(progress) is expected
    assert isinstance(progress, Failed)
    assert progress.close


def test_too_much_that_proves_nothing_is_no_answer() -> None:
    attempt = headed()
    take(attempt, START)
    comment = b": " + b"x" * 500_000 + b"\n\n"
    progress = None
    for _ in range(attempts.HELD_MAX // 500_000 + 1):
        progress = take(attempt, comment)
    assert outcome(progress) is Outcome.MALFORMED


def test_an_error_with_the_first_content_breaks_what_has_begun() -> None:
    attempt = headed()
    progress = take(attempt, START + DELTA + OVERLOADED + DELTA)
    assert isinstance(progress, Begun)
    assert progress.data == START + DELTA
    assert progress.broken is not None
    assert (progress.broken.told, outcome(progress.broken)) == (OVERLOADED, Outcome.OVERLOADED)


def test_an_error_behind_the_end_is_nobodys() -> None:
    whole, split = headed(), headed()
    assert take(whole, ANSWER + OVERLOADED + PING) == Begun(ANSWER)
    assert reading.relay(whole, PING, NOW) == (b"", None)
    take(split, ANSWER)
    assert reading.relay(split, OVERLOADED + PING, NOW) == (b"", None)
    assert reading.relay(split, PING, NOW) == (b"", None)
    assert end(whole) == end(split) == Completed()


def test_a_malformed_event_after_the_commit_goes_out_as_it_came_however_it_came() -> None:
    whole, split = headed(), headed()
    assert take(whole, START + DELTA + MALFORMED + MESSAGE_DELTA + STOP) == Begun(
        START + DELTA + MALFORMED + MESSAGE_DELTA + STOP
    )
    take(split, START + DELTA)
    assert reading.relay(split, MALFORMED + MESSAGE_DELTA + STOP, NOW) == (MALFORMED + MESSAGE_DELTA + STOP, None)
    assert whole.stopped
    assert split.stopped
    assert end(whole) == end(split) == Completed()


def test_an_error_event_after_the_commit_is_withheld_and_reported() -> None:
    attempt = headed()
    take(attempt, START + DELTA)
    out, broken = reading.relay(attempt, delta("x") + OVERLOADED, NOW)
    assert out == delta("x")
    assert broken is not None
    assert broken == Broken(broken.verdict, OVERLOADED)
    assert broken.close


def test_frames_become_events_and_a_broken_one_ends_the_answer() -> None:
    attempt = an_attempt(BEDROCK)
    attempt.surface = Surface.INVOKE
    stream: Headers = (("content-type", frames.CONTENT_TYPE),)
    reading.begin(attempt, HeadReceived(0, 200, stream), NOW, streaming=True)
    first = frames.chunk({"type": "message_start", "message": {"usage": {"input_tokens": 3}}})
    content = frames.chunk({"type": "content_block_delta", "index": 0})
    assert take(attempt, first) is None
    assert isinstance(take(attempt, content), Begun)
    out, broken = reading.relay(attempt, content + frames.corrupt(content), NOW)
    assert out == b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0}\n\n'
    assert broken is not None
    assert outcome(broken) is Outcome.MALFORMED


def test_a_failure_framed_behind_the_end_is_nobodys() -> None:
    attempt = an_attempt(BEDROCK)
    attempt.surface = Surface.INVOKE
    stream: Headers = (("content-type", frames.CONTENT_TYPE),)
    reading.begin(attempt, HeadReceived(0, 200, stream), NOW, streaming=True)
    first = frames.chunk({"type": "message_start", "message": {"usage": {"input_tokens": 3}}})
    rest = frames.chunk({"type": "message_delta"}) + frames.chunk({"type": "message_stop"})
    progress = take(attempt, first + rest + frames.exception("throttlingException", "late") + rest)
    assert isinstance(progress, Begun)
    assert progress.broken is None
    assert progress.data.endswith(b'{"type":"message_stop"}\n\n')
    assert reading.relay(attempt, rest, NOW) == (b"", None)
    assert end(attempt) == Completed()


def test_a_failure_framed_with_the_first_content_breaks_the_answer() -> None:
    attempt = an_attempt(BEDROCK)
    attempt.surface = Surface.INVOKE
    reading.begin(attempt, HeadReceived(0, 200, (("content-type", frames.CONTENT_TYPE),)), NOW, streaming=True)
    first = frames.chunk({"type": "message_start"}) + frames.chunk({"type": "content_block_delta"})
    progress = take(attempt, first + frames.exception("throttlingException", "slow down"))
    assert isinstance(progress, Begun)
    assert progress.broken is not None
    assert outcome(progress.broken) is Outcome.THROTTLED


@pytest.mark.parametrize(
    ("data", "failure", "expected"),
    [
        (b"", None, Outcome.CUT),
        (START, Failure.CUT, Outcome.CUT),
        (START, Failure.PROTOCOL, Outcome.MALFORMED),
        (START + DELTA[:10], None, Outcome.CUT),
    ],
)
def test_an_end_before_any_content_is_a_failure(data: bytes, failure: Failure | None, expected: Outcome) -> None:
    attempt = headed()
    take(attempt, data)
    progress = end(attempt, failure)
    assert isinstance(progress, Failed)
    assert (outcome(progress), progress.close) == (expected, False)


def test_an_end_without_message_stop_breaks_what_has_begun() -> None:
    attempt = headed()
    take(attempt, START + DELTA)
    broken = end(attempt)
    assert isinstance(broken, Broken)
    assert (broken.verdict.outcome, broken.verdict.detail, broken.close) == (
        Outcome.CUT, "ended without message_stop", False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(Failure.DNS, Outcome.UNREACHABLE), (Failure.TLS, Outcome.TLS_FAILED), (None, Outcome.UNREACHABLE)],
)
def test_an_end_before_the_head_is_judged_by_what_broke(failure: Failure | None, expected: Outcome) -> None:
    assert outcome(end(an_attempt(), failure)) is expected


def test_an_error_is_judged_when_it_is_complete_or_too_long() -> None:
    attempt = headed(529, JSON)
    assert take(attempt, error()) is None
    assert outcome(end(attempt)) is Outcome.OVERLOADED
    endless = headed(500, JSON)
    progress = take(endless, b"x" * (reading.ERROR_BODY_MAX + 1))
    assert isinstance(progress, Failed)
    assert (outcome(progress), progress.close) == (Outcome.SERVER_ERROR, True)


def test_a_whole_answer_is_judged_when_it_is_complete() -> None:
    attempt = headed(200, JSON, streaming=False)
    take(attempt, WHOLE, streaming=False)
    assert end(attempt, streaming=False) == Whole(WHOLE)
    assert outcome(end(attempt, Failure.CUT, streaming=False)) is Outcome.CUT


def test_a_whole_answer_is_counted_when_it_is_judged() -> None:
    attempt = headed(200, JSON, streaming=False)
    take(attempt, WHOLE, streaming=False)
    end(attempt, streaming=False)
    assert (attempt.usage.usage.input, attempt.usage.usage.output) == (10, 20)


def test_a_whole_answer_of_another_media_type_is_read_to_its_last_byte() -> None:
    attempt = headed(200, (("content-type", "text/plain"),), streaming=False)
    take(attempt, b'{"usage":{},"error":{"in\xffx":1}}', streaming=False)
    assert outcome(end(attempt, streaming=False)) is Outcome.CUT


def test_a_whole_answer_whose_tokens_cannot_be_read_is_an_answer() -> None:
    odd = b'{"type":"message","content":[],"usage":"many"}'
    attempt = headed(200, JSON, streaming=False)
    take(attempt, odd, streaming=False)
    assert end(attempt, streaming=False) == Whole(odd)


def test_a_whole_answer_that_never_ends_is_none() -> None:
    attempt = headed(200, JSON, streaming=False)
    attempt.body_bytes = reading.WHOLE_BODY_MAX
    progress = take(attempt, b"{}", streaming=False)
    assert isinstance(progress, Failed)
    assert progress.close
    assert outcome(progress) is Outcome.MALFORMED


@pytest.mark.parametrize(
    ("backend", "opened", "whole"), [(None, False, True), (None, True, False), (BEDROCK, False, False)]
)
def test_a_whole_answer_to_a_stream_is_good_only_from_the_primary_in_time(
    backend: Backend | None, *, opened: bool, whole: bool
) -> None:
    attempt = headed(200, JSON, backend)
    take(attempt, WHOLE)
    progress = end(attempt, opened=opened)
    assert isinstance(progress, Whole if whole else Failed)


def test_a_200_that_holds_no_object_is_no_answer() -> None:
    attempt = headed(200, (("content-type", "text/plain"),), streaming=False)
    take(attempt, b"hello", streaming=False)
    assert outcome(end(attempt, streaming=False)) is Outcome.CUT
