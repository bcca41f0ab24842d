from __future__ import annotations

from claude_failover.core.bounded import Bounded


def filled(*keys: str) -> Bounded[str, int]:
    table: Bounded[str, int] = Bounded(3)
    for number, key in enumerate(keys):
        table.put(key, number)
    return table


def test_the_entry_that_was_used_longest_ago_is_forgotten() -> None:
    table = filled("a", "b", "c")
    assert table.get("a") == 0
    table.put("d", 3)
    assert list(table) == ["c", "a", "d"]
    assert "b" not in table
    assert len(table) == 3


def test_peeking_is_no_use() -> None:
    table = filled("a", "b", "c")
    assert table.peek("a") == 0
    table.put("d", 3)
    assert list(table) == ["b", "c", "d"]


def test_putting_again_replaces_and_makes_young() -> None:
    table = filled("a", "b", "c")
    table.put("a", 9)
    assert table.items() == [("b", 1), ("c", 2), ("a", 9)]
    assert table.values() == [1, 2, 9]


def test_what_is_not_there_is_none() -> None:
    table = filled("a")
    assert table.get("x") is None
    assert table.peek("x") is None
    assert table.pop("x") is None
    assert table.pop("a") == 0
    assert len(table) == 0


def test_a_loop_over_it_may_remove() -> None:
    table = filled("a", "b", "c")
    for key in table:
        table.pop(key)
    assert table.items() == []
