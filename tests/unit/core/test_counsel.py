"""The memory of limits that were told."""

from __future__ import annotations

import pytest

from claude_failover.core.counsel import MET, REMEMBERED, ErrorAnswer, Memory
from claude_failover.core.types import BackendName, Epoch, Outcome, Scope, Verdict
from tests.exchanges import BEDROCK, CLAUDE

NOW = Epoch(1000.0)


def limit(
    until: float | None, scope: Scope = Scope.MODEL, family: str | None = None, backend: BackendName = CLAUDE
) -> ErrorAnswer:
    told = Verdict(Outcome.THROTTLED, scope=scope, family=family, until=None if until is None else Epoch(until))
    return ErrorAnswer(backend, 429, (), b"", told)


def test_a_limit_is_told_again_while_it_holds() -> None:
    memory = Memory()
    memory.keep("opus", limit(1100.0))
    assert memory.recall(CLAUDE, "opus", "opus", NOW) == limit(1100.0)
    assert memory.recall(CLAUDE, "opus", "opus", Epoch(1100.0)) is None
    assert memory.recall(BEDROCK, "opus", "opus", NOW) is None
    assert memory.recall(CLAUDE, "sonnet", "sonnet", NOW) is None


def test_who_was_told_nothing_remembers_nothing() -> None:
    assert Memory().recall(CLAUDE, "opus", "opus", NOW) is None


def test_a_limit_without_an_end_is_not_told_again() -> None:
    memory = Memory()
    memory.keep("opus", limit(None))
    assert memory.recall(CLAUDE, "opus", "opus", NOW) is None


@pytest.mark.parametrize(
    ("answer", "family", "reaches"),
    [
        (limit(1100.0, Scope.BACKEND), None, True),
        (limit(1100.0, Scope.FAMILY, "opus"), "opus", True),
        (limit(1100.0, Scope.FAMILY, "opus"), "sonnet", False),
        (limit(1100.0, Scope.MODEL), "opus", False),
    ],
)
def test_a_limit_reaches_other_models_as_far_as_it_said(answer: ErrorAnswer, family: str | None, reaches: bool) -> None:
    memory = Memory()
    memory.keep("opus-a", answer)
    assert (memory.recall(CLAUDE, "other", family, NOW) is not None) is reaches


def test_of_several_the_one_that_ends_last_is_the_honest_one() -> None:
    memory = Memory()
    memory.keep("opus", limit(1100.0))
    memory.keep("sonnet", limit(1200.0, Scope.BACKEND))
    assert memory.recall(CLAUDE, "opus", "opus", NOW) == limit(1200.0, Scope.BACKEND)


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    memory = Memory()
    for count in range(REMEMBERED):
        memory.keep(f"m{count}", limit(1100.0))
    memory.keep("m0", limit(1101.0))
    memory.keep("new", limit(1100.0))
    assert memory.recall(CLAUDE, "m1", None, NOW) is None
    assert memory.recall(CLAUDE, "m0", None, NOW) == limit(1101.0)
    assert memory.recall(CLAUDE, "new", None, NOW) is not None


def test_a_name_is_news_once() -> None:
    memory = Memory()
    assert memory.first_met(["a", "b"]) == ["a", "b"]
    assert memory.first_met(["b", "c"]) == ["c"]
    assert memory.first_met(["a", "b", "c"]) == []


def test_so_many_names_are_news_and_no_more() -> None:
    memory = Memory()
    names = [str(number) for number in range(MET + 2)]
    assert memory.first_met(names[:-3]) == names[:-3]
    assert memory.first_met(names[-3:]) == [names[-3]]
    assert memory.first_met(names[-2:]) == []
