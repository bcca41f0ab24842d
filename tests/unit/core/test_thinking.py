from __future__ import annotations

from typing import Any

import msgspec
import pytest

from claude_failover.core import betas
from claude_failover.core.capabilities import Binding, Capabilities
from claude_failover.core.commands import Rewrite
from claude_failover.core.draft import Draft
from claude_failover.core.rules import Rules, Switch
from claude_failover.core.thinking import DROP_BLOCK, holds_thinking, strip_history, translate_thinking
from claude_failover.core.types import Surface

OLD = Capabilities(budget=True)
BETWEEN = Capabilities(adaptive=True, budget=True, display=True)
NEW = Capabilities(adaptive=True, budget=False, display=True, display_updates=True, binding=Binding.ACCEPTED)
STRICT = Capabilities(adaptive=True, budget=False, display=True, binding=Binding.ENFORCED)
ALLOWED = frozenset({betas.DISPLAY_UPDATES, betas.BINDING})


def translated(
    thinking: Any, caps: Capabilities, *switches: Switch, allowed: frozenset[str] = ALLOWED
) -> dict[str, Any]:
    draft = Draft({"thinking": thinking}, Surface.MESSAGES, caps, Rules(switches=frozenset(switches)), allowed)
    translate_thinking(draft)
    return draft.body


ADAPTIVE = {"type": "adaptive"}
BUDGET = {"type": "enabled", "budget_tokens": 31_999}


@pytest.mark.parametrize(
    ("thinking", "caps", "switches", "expected"),
    [
        (ADAPTIVE, NEW, [], {"thinking": ADAPTIVE}),
        (BUDGET, OLD, [], {"thinking": BUDGET}),
        (BUDGET, BETWEEN, [], {"thinking": BUDGET}),
        (BUDGET, NEW, [], {"thinking": ADAPTIVE}),
        ({"type": "enabled"}, NEW, [], {"thinking": ADAPTIVE}),
        (BUDGET, BETWEEN, [Switch.ADAPTIVE], {"thinking": ADAPTIVE}),
        (BUDGET, OLD, [Switch.ADAPTIVE], {"thinking": ADAPTIVE}),
        (BUDGET, OLD, [Switch.ADAPTIVE, Switch.NO_ADAPTIVE], {}),
        (ADAPTIVE, OLD, [], {}),
        (ADAPTIVE, NEW, [Switch.NO_ADAPTIVE], {}),
        ({"type": "disabled"}, OLD, [], {"thinking": {"type": "disabled"}}),
        ({"type": "disabled"}, NEW, [], {"thinking": {"type": "disabled"}}),
        ({"type": 5}, NEW, [], {"thinking": {"type": 5}}),
        ("odd", NEW, [], {"thinking": "odd"}),
    ],
)
def test_thinking_takes_the_shape_that_the_model_has_and_no_budget_is_invented(
    thinking: Any, caps: Capabilities, switches: list[Switch], expected: dict[str, Any]
) -> None:
    given = dict(thinking) if isinstance(thinking, dict) else thinking
    assert translated(given, caps, *switches) == expected


@pytest.mark.parametrize(
    ("display", "caps", "switches", "allowed", "expected"),
    [
        ("omitted", NEW, [], ALLOWED, "omitted"),
        ("summarized", BETWEEN, [], frozenset(), "summarized"),
        ("omitted", Capabilities(adaptive=True), [], ALLOWED, None),
        ("updates", NEW, [], ALLOWED, "updates"),
        ("updates", NEW, [], frozenset(), "omitted"),
        ("updates", NEW, [Switch.NO_DISPLAY_UPDATES], ALLOWED, "omitted"),
    ],
)
def test_display_goes_as_far_as_model_and_beta_go(
    display: str, caps: Capabilities, switches: list[Switch], allowed: frozenset[str], expected: str | None
) -> None:
    body = translated({"type": "adaptive", "display": display}, caps, *switches, allowed=allowed)
    assert body["thinking"].get("display") == expected


def test_block_binding_is_the_clients_unless_the_model_enforces_it() -> None:
    own = {"prefix_mismatch_behavior": "error"}
    asked = {"type": "adaptive", "block_binding": own}
    assert translated(dict(asked), NEW)["thinking"]["block_binding"] == own
    assert translated(dict(asked), STRICT)["thinking"]["block_binding"] == DROP_BLOCK
    assert "block_binding" not in translated(dict(asked), STRICT, allowed=frozenset())["thinking"]
    assert "block_binding" not in translated(dict(ADAPTIVE), NEW)["thinking"]
    assert "block_binding" not in translated(dict(ADAPTIVE), NEW, allowed=frozenset())["thinking"]
    assert translated(dict(ADAPTIVE), STRICT)["thinking"]["block_binding"] == DROP_BLOCK
    assert translated(dict(ADAPTIVE), NEW, Switch.DROP_BLOCK)["thinking"]["block_binding"] == DROP_BLOCK
    assert translated({"type": "disabled"}, STRICT)["thinking"] == {"type": "disabled"}


def test_a_binding_that_is_right_already_is_no_change() -> None:
    draft = Draft(
        {"thinking": {"type": "adaptive", "block_binding": dict(DROP_BLOCK)}}, Surface.MESSAGES, STRICT, betas=ALLOWED
    )
    translate_thinking(draft)
    assert draft.rewrites.listed() == ()


THOUGHT = {"type": "thinking", "thinking": "", "signature": "s"}
HIDDEN = {"type": "redacted_thinking", "data": "d"}
WORDS = {"type": "text", "text": "a"}
CALL = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]}
QUESTION = {"role": "user", "content": "q"}


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def stripped(messages: Any, *switches: Switch, **fields: Any) -> Draft:
    body = msgspec.json.decode(msgspec.json.encode({"messages": messages, **fields}))
    draft = Draft(body, Surface.INVOKE, OLD, Rules(switches=frozenset(switches)))
    strip_history(draft)
    return draft


FINISHED = [QUESTION, said(THOUGHT, HIDDEN, WORDS), QUESTION]
OPEN = [QUESTION, said(THOUGHT, WORDS), QUESTION, said(THOUGHT, CALL), RESULT]


def test_thinking_is_found_wherever_it_is() -> None:
    assert holds_thinking(OPEN)
    assert holds_thinking([said(HIDDEN)])
    assert not holds_thinking([QUESTION, "odd", said(WORDS), RESULT])


def test_history_stays_as_it_is_until_it_was_refused() -> None:
    assert stripped(FINISHED).body["messages"] == FINISHED
    assert stripped(5, Switch.STRIP_THINKING).body["messages"] == 5


def test_thinking_of_finished_turns_goes_and_that_of_the_open_turn_stays() -> None:
    draft = stripped(FINISHED, Switch.STRIP_THINKING)
    assert draft.body["messages"] == [QUESTION, said(WORDS), QUESTION]
    assert draft.rewrites.listed() == (
        Rewrite("messages.*.content.* (thinking)", "dropped", "its signature was refused (2 times)"),
    )
    assert stripped(OPEN, Switch.STRIP_THINKING).body["messages"] == [
        QUESTION,
        said(WORDS),
        QUESTION,
        said(THOUGHT, CALL),
        RESULT,
    ]
    assert stripped([said(THOUGHT, CALL), RESULT], Switch.STRIP_THINKING).body["messages"] == [
        said(THOUGHT, CALL),
        RESULT,
    ]


def test_if_that_too_was_refused_all_of_it_goes_and_a_budget_with_it() -> None:
    adaptive = stripped(OPEN, Switch.STRIP_ALL_THINKING, thinking=ADAPTIVE)
    assert adaptive.body == {
        "messages": [QUESTION, said(WORDS), QUESTION, said(CALL), RESULT],
        "thinking": ADAPTIVE,
    }
    assert "thinking" not in stripped(OPEN, Switch.STRIP_ALL_THINKING, thinking=BUDGET).body
    assert stripped(FINISHED, Switch.STRIP_ALL_THINKING, thinking=BUDGET).body["thinking"] == BUDGET


def test_a_turn_that_was_nothing_but_thinking_goes_and_its_neighbours_are_joined() -> None:
    messages = [QUESTION, said(THOUGHT), "odd", QUESTION, said(THOUGHT), QUESTION, said(WORDS), QUESTION]
    block = {"type": "text", "text": "q"}
    assert stripped(messages, Switch.STRIP_THINKING).body["messages"] == [
        QUESTION,
        "odd",
        {"role": "user", "content": [block, block]},
        said(WORDS),
        QUESTION,
    ]


def test_turns_that_were_empty_before_stay() -> None:
    messages = [QUESTION, said(), QUESTION]
    assert stripped(messages, Switch.STRIP_THINKING).body["messages"] == messages
