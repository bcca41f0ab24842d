from __future__ import annotations

from claude_failover.core.capabilities import Capabilities
from claude_failover.core.commands import Rewrite
from claude_failover.core.draft import PATH_MAX, REWRITES_MAX, Draft, Rewrites, dicts, kind_of, role_of
from claude_failover.core.types import Surface


def test_what_is_of_another_type_reads_as_nothing() -> None:
    assert dicts([{"a": 1}, 2, [], {}]) == [{"a": 1}, {}]
    assert dicts({"a": 1}) == []
    assert (kind_of({"type": "text"}), kind_of({"type": ["text"]}), kind_of({}), kind_of("text")) == (
        "text",
        "",
        "",
        "",
    )
    assert (role_of({"role": "user"}), role_of({"role": {}}), role_of(None)) == ("user", "", "")


def test_the_same_change_is_listed_once_with_how_often() -> None:
    rewrites = Rewrites()
    rewrites.add("messages.*.output_config", "dropped", "not taken")
    rewrites.add("diagnostics", "dropped")
    rewrites.add("messages.*.output_config", "dropped", "not taken", 2)
    rewrites.add("diagnostics", "dropped")
    assert rewrites.listed() == (
        Rewrite("messages.*.output_config", "dropped", "not taken (3 times)"),
        Rewrite("diagnostics", "dropped", "(2 times)"),
    )


def test_the_list_is_bounded_in_number_and_length() -> None:
    rewrites = Rewrites()
    for number in range(REWRITES_MAX + 3):
        rewrites.add(f"{number:03}" + "x" * 500, "dropped")
    rewrites.add("000" + "x" * 500, "dropped")
    listed = rewrites.listed()
    assert len(listed) == REWRITES_MAX + 1
    assert listed[0] == Rewrite("000" + "x" * (PATH_MAX - 3), "dropped", "(2 times)")
    assert listed[-1] == Rewrite("…", "changed", "3 more")


def test_fields_and_keys_are_taken_out_and_noted_only_if_they_are_there() -> None:
    draft = Draft({"speed": None, "metadata": {"user_id": 1, "x": 2, "y": 3}}, Surface.MESSAGES, Capabilities())
    draft.drop("speed", "why")
    draft.drop("absent", "why")
    draft.keep_keys(draft.body["metadata"], frozenset({"user_id"}), "metadata", "unknown")
    draft.keep_keys(draft.body["metadata"], frozenset({"user_id", "more"}), "metadata", "unknown")
    assert draft.body == {"metadata": {"user_id": 1}}
    assert draft.rewrites.listed() == (
        Rewrite("speed", "dropped", "why"),
        Rewrite("metadata.x", "dropped", "unknown"),
        Rewrite("metadata.y", "dropped", "unknown"),
    )
