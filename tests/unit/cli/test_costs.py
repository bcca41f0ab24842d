"""The words of ``costs`` as a question. What it prints, over a real file and socket: integration/test_cli_costs.py."""

from __future__ import annotations

import pytest

from claude_failover.cli.costs import question
from claude_failover.errors import UsageError


def ask(**words: str | bool | None) -> dict[str, str]:
    return question(
        today=bool(words.get("today")),
        month=bool(words.get("month")),
        since=_text(words.get("since")),
        until=_text(words.get("until")),
        by=_text(words.get("by")),
    )


def _text(word: str | bool | None) -> str | None:
    return word if isinstance(word, str) else None


def test_the_words_become_a_question() -> None:
    assert ask() == ask(today=True) == {"since": "today"}
    assert ask(month=True) == {"since": "month"}
    assert ask(since="7d", until="yesterday", by=" Model ") == {"since": "7d", "until": "yesterday", "by": "model"}


def test_two_beginnings_are_refused() -> None:
    with pytest.raises(UsageError, match="--month and --since: choose one"):
        ask(month=True, since="7d")
    with pytest.raises(UsageError, match="--by colour"):
        ask(by="colour")
