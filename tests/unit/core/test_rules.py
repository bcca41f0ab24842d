from __future__ import annotations

from typing import Any

import pytest

from claude_failover.core.rules import drop_path, parse_path


def test_positions_in_lists_stand_for_every_position() -> None:
    assert parse_path("messages.3.content.12.text.cache_control") == (
        "messages",
        "*",
        "content",
        "*",
        "text",
        "cache_control",
    )


@pytest.mark.parametrize(
    ("path", "node", "left", "dropped"),
    [
        ("metadata", {"metadata": {}, "model": "m"}, {"model": "m"}, 1),
        ("metadata", {"metadata": None}, {}, 1),
        ("output_config.format", {"output_config": {"format": 1, "effort": 2}}, {"output_config": {"effort": 2}}, 1),
        ("messages.1.output_config", {"messages": [{"output_config": 1}, {"role": "user"}, 5]}, None, 1),
        ("tools.0.custom.strict", {"tools": [{"strict": True}, {"type": "bash_1", "strict": 1}]}, None, 1),
        ("tools.0.custom.strict", {"tools": [{"type": "custom", "strict": True}]}, {"tools": [{"type": "custom"}]}, 1),
        (
            "system.2.cache_control.ephemeral.scope",
            {"system": [{"cache_control": {"type": "ephemeral", "scope": "global"}}, {"cache_control": {"scope": 1}}]},
            {"system": [{"cache_control": {"type": "ephemeral"}}, {"cache_control": {"scope": 1}}]},
            1,
        ),
        (
            "messages.0.content.0.text.citations",
            {
                "messages": [
                    {"content": [{"type": "text", "text": "t", "citations": []}, {"type": "x", "citations": 1}]}
                ]
            },
            {"messages": [{"content": [{"type": "text", "text": "t"}, {"type": "x", "citations": 1}]}]},
            1,
        ),
        (
            "thinking.adaptive.block_binding",
            {"thinking": {"type": "adaptive", "block_binding": {}}},
            {"thinking": {"type": "adaptive"}},
            1,
        ),
        ("absent", {"a": 1}, {"a": 1}, 0),
        ("a.b.c", {"a": {"b": "text"}}, {"a": {"b": "text"}}, 0),
        ("a.b", {"a": 1}, {"a": 1}, 0),
        ("tools.0", {"tools": [1]}, {"tools": [1]}, 0),
        ("tools.name", {"tools": [{"name": 1}]}, {"tools": [{"name": 1}]}, 0),
        ("tools.0.name", {"tools": [5]}, {"tools": [5]}, 0),
    ],
)
def test_a_path_takes_out_what_it_names_and_nothing_else(
    path: str, node: dict[str, Any], left: dict[str, Any] | None, dropped: int
) -> None:
    assert drop_path(node, parse_path(path)) == dropped
    if left is not None:
        assert node == left


def test_a_second_time_there_is_nothing_left_to_take_out() -> None:
    node = {"messages": [{"output_config": 1}, {"output_config": 2}]}
    assert drop_path(node, parse_path("messages.0.output_config")) == 2
    assert drop_path(node, parse_path("messages.0.output_config")) == 0
