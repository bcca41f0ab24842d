from __future__ import annotations

from claude_failover.core.decision import RequestFacts


def test_a_conversation_is_a_session_and_an_agent() -> None:
    assert RequestFacts("x", "m", session="s", agent="a").conversation == ("s", "a")
    assert RequestFacts("x", "m", session="s").conversation == ("s", "")


def test_without_a_session_there_is_no_conversation() -> None:
    assert RequestFacts("x", "m", agent="a").conversation is None
