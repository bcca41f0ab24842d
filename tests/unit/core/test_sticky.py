from __future__ import annotations

from claude_failover.core.sticky import MAX_CONVERSATIONS, Conversations
from claude_failover.core.types import BackendName, Monotonic

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
ME = ("session", "main")


def at(seconds: float) -> Monotonic:
    return Monotonic(seconds)


def test_a_conversation_is_at_home_where_it_was_answered_last() -> None:
    places = Conversations()
    assert places.home(ME, at(0)) is None
    places.answered(ME, CLAUDE, at(0))
    places.answered(ME, BEDROCK, at(10))
    assert places.home(ME, at(20)) == BEDROCK
    assert places.home(("session", "other agent"), at(20)) is None


def test_after_an_hour_without_use_no_cache_is_left_to_stay_for() -> None:
    places = Conversations()
    places.answered(ME, BEDROCK, at(0))
    assert places.home(ME, at(3600)) == BEDROCK
    assert places.home(ME, at(3601)) is None


def test_a_cut_is_avoided_for_a_minute_and_a_half() -> None:
    places = Conversations()
    assert places.avoids(ME, at(0)) is None
    places.cut(ME, CLAUDE, at(0))
    assert places.avoids(ME, at(90)) == CLAUDE
    assert places.avoids(ME, at(91)) is None


def test_an_answer_from_there_makes_good_for_the_cut() -> None:
    places = Conversations()
    places.cut(ME, CLAUDE, at(0))
    places.answered(ME, BEDROCK, at(1))
    assert places.avoids(ME, at(2)) == CLAUDE
    places.answered(ME, CLAUDE, at(3))
    assert places.avoids(ME, at(4)) is None


def test_without_a_session_nothing_is_remembered() -> None:
    places = Conversations()
    places.answered(None, CLAUDE, at(0))
    places.cut(None, CLAUDE, at(0))
    assert (places.home(None, at(0)), places.avoids(None, at(0)), len(places)) == (None, None, 0)


def test_the_number_of_conversations_is_bounded() -> None:
    places = Conversations()
    for number in range(MAX_CONVERSATIONS + 10):
        places.answered((str(number), ""), CLAUDE, at(0))
    assert len(places) == MAX_CONVERSATIONS
    assert places.home(("0", ""), at(0)) is None
