from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from claude_failover.core import betas
from claude_failover.core.capabilities import Binding, Capabilities
from claude_failover.core.refusals import TEXT_MAX, Finding, Remedy, Sent, findings, message_of
from claude_failover.core.rules import Rules, Switch

INTERLEAVED = "interleaved-thinking-2025-05-14"
SENT = Sent(
    body={"messages": [{"role": "user", "content": "hi"}], "max_tokens": 64_000},
    betas=(INTERLEAVED, betas.TOOL_SEARCH, "afk-mode-2026-01-31"),
    model="global.anthropic.claude-opus-5-5",
    forms=("global.anthropic.claude-opus-5-5", "us.anthropic.claude-opus-5-5"),
    caps=Capabilities(adaptive=True, binding=Binding.ACCEPTED),
    rules=Rules(),
    other_surface=True,
)


def found(text: str, sent: Sent = SENT, **body: Any) -> list[tuple[Remedy, str]]:
    whole = replace(sent, body=sent.body | body)
    return [(finding.remedy, finding.value) for finding in findings(text, whole)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"type":"error","error":{"type":"invalid_request_error","message":"invalid beta flag"}}',
            "invalid beta flag",
        ),
        (b'{"message":"invalid beta flag"}', "invalid beta flag"),
        (b'{"Message":"no"}', "no"),
        (b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}', None),
        (b'{"message":5}', '{"message":5}'),
        (b"[1]", "[1]"),
        (b"bad \xff", "bad �"),
        (b'{"message":"' + b"x" * 30_000 + b'"}', "x" * TEXT_MAX),
    ],
)
def test_the_sentence_is_found_in_every_shape_of_error(body: bytes, message: str | None) -> None:
    assert message_of(body) == (message or "com.amazon.coral.service#UnknownOperationException")


def test_a_text_that_names_nothing_mends_nothing() -> None:
    for text in ("", "Input is too long for requested model.", "tool type 'x' is not supported", "Too many tokens"):
        assert found(text) == []


def test_a_missing_route_leads_to_the_other_surface() -> None:
    text = "com.amazon.coral.service#UnknownOperationException"
    assert found(text) == [(Remedy.SURFACE, "")]
    assert found(text, replace(SENT, other_surface=False)) == []


@pytest.mark.parametrize(
    "text",
    [
        "Invocation of model ID anthropic.claude-opus-5-5 with on-demand throughput isn\u2019t supported. Retry",
        "The provided model identifier is invalid.",
        "Invalid model identifier",
    ],
)
def test_a_refused_id_leads_to_its_next_form(text: str) -> None:
    assert findings(text, SENT) == (
        Finding(
            Remedy.ID,
            "global.anthropic.claude-opus-5-5",
            "refused as a model id; us.anthropic.claude-opus-5-5 is next",
        ),
    )
    assert found(text, replace(SENT, rules=Rules(refused_ids=frozenset({"us.anthropic.claude-opus-5-5"})))) == []
    assert found(text, replace(SENT, forms=())) == []


def test_betas_that_are_named_go_and_only_they() -> None:
    text = f"Unexpected value(s) `afk-mode-2026-01-31`, `{betas.TOOL_SEARCH}` for the `anthropic-beta` header."
    assert found(text) == [(Remedy.BETA, betas.TOOL_SEARCH), (Remedy.BETA, "afk-mode-2026-01-31")]
    assert found(f"capability_rejected: beta_header:{INTERLEAVED}") == [(Remedy.BETA, INTERLEAVED)]


def test_an_unnamed_one_costs_all_that_can_be_done_without_then_all() -> None:
    assert found("invalid beta flag") == [(Remedy.BETA, INTERLEAVED), (Remedy.BETA, "afk-mode-2026-01-31")]
    assert found("The model returned the following errors: invalid beta flag") == found("invalid beta flag")
    assert found("invalid beta flag", replace(SENT, betas=(betas.TOOL_SEARCH,))) == [(Remedy.BETA, betas.TOOL_SEARCH)]
    assert found("invalid beta flag", replace(SENT, betas=())) == []


def test_paths_that_are_named_go_from_every_element() -> None:
    assert found(
        "messages.7.output_config: Extra inputs are not permitted; metadata: Extra inputs are not permitted",
        messages=[{"role": "user", "output_config": {}}],
        metadata={},
    ) == [(Remedy.PATH, "messages.*.output_config"), (Remedy.PATH, "metadata")]
    assert found("Malformed input request: #: extraneous key [safeguards] is not permitted", safeguards=[]) == [
        (Remedy.PATH, "safeguards")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "output_config.format: Extra inputs are not permitted",
        "messages.0.role: Extra inputs are not permitted",
        "messages: Extra inputs are not permitted",
        "max_tokens: Extra inputs are not permitted",
    ],
)
def test_a_path_that_was_not_sent_or_that_carries_the_request_stays(text: str) -> None:
    assert found(text) == []


def test_a_refused_deferral_takes_the_references_with_it() -> None:
    text = "tools.0.custom.defer_loading: Extra inputs are not permitted"
    tools = [{"name": "a", "defer_loading": True}]
    assert found(text, tools=tools) == [(Remedy.BETA, betas.TOOL_SEARCH)]
    assert found(text, replace(SENT, betas=()), tools=tools) == [(Remedy.PATH, "tools.*.custom.defer_loading")]


BOUND = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation"
MISSING = "messages.369.content.0.thinking.signature: Field required"
THOUGHT = {"type": "thinking", "thinking": "", "signature": "s"}
QUESTION = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "a"}]}
CALL = {"role": "assistant", "content": [THOUGHT, {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]}
FINISHED: list[Any] = [QUESTION, ANSWER, QUESTION]
OPEN: list[Any] = [QUESTION, CALL, RESULT]


def test_a_refused_signature_is_first_answered_by_asking_to_drop_the_block() -> None:
    assert found(BOUND, thinking={"type": "adaptive"}) == [(Remedy.SWITCH, "drop_block")]


@pytest.mark.parametrize(
    ("sent", "thinking"),
    [
        (SENT, {"type": "disabled"}),
        (SENT, None),
        (SENT, {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}),
        (replace(SENT, caps=Capabilities()), {"type": "adaptive"}),
        (replace(SENT, rules=Rules(betas=frozenset({betas.BINDING}))), {"type": "adaptive"}),
        (replace(SENT, rules=Rules(switches=frozenset({Switch.DROP_BLOCK}))), {"type": "adaptive"}),
    ],
)
def test_where_that_cannot_help_thinking_of_finished_turns_goes(sent: Sent, thinking: Any) -> None:
    assert found(BOUND, sent, thinking=thinking, messages=FINISHED) == [(Remedy.SWITCH, "strip_thinking")]


@pytest.mark.parametrize("text", [MISSING, "Invalid signature in thinking block"])
def test_a_signature_that_is_not_bound_to_a_prefix_is_never_answered_by_its_dropping(text: str) -> None:
    sent = replace(SENT, caps=Capabilities()) if "Invalid" in text else SENT
    assert found(text, sent, thinking={"type": "adaptive"}, messages=FINISHED) == [(Remedy.SWITCH, "strip_thinking")]


@pytest.mark.parametrize(
    ("text", "messages", "switches", "expected"),
    [
        (MISSING.replace("369", "1"), FINISHED, [], [(Remedy.SWITCH, "strip_thinking")]),
        (MISSING.replace("369", "1"), OPEN, [], [(Remedy.SWITCH, "strip_all_thinking")]),
        (MISSING.replace("369", "1"), FINISHED[:2] + OPEN, [], [(Remedy.SWITCH, "strip_thinking")]),
        (MISSING.replace("369", "3"), FINISHED[:2] + OPEN, [], [(Remedy.SWITCH, "strip_all_thinking")]),
        ("thinking.signature: Field required", OPEN, [], [(Remedy.SWITCH, "strip_all_thinking")]),
        (
            "thinking.signature: Field required",
            FINISHED,
            [Switch.STRIP_THINKING],
            [(Remedy.SWITCH, "strip_all_thinking")],
        ),
        ("thinking.signature: Field required", [{"role": "user", "content": "q"}, "odd"], [], []),
        ("thinking.signature: Field required", 5, [], []),
    ],
)
def test_thinking_of_the_open_turn_goes_only_if_it_is_what_was_refused_or_all_that_is_left(
    text: str, messages: Any, switches: list[Switch], expected: Any
) -> None:
    sent = replace(SENT, rules=Rules(switches=frozenset(switches)))
    assert found(text, sent, messages=messages) == expected


ENABLED = "thinking.type.enabled is not supported for this model. Use thinking.type.adaptive and output_config.effort"


@pytest.mark.parametrize(
    ("text", "thinking", "expected"),
    [
        (ENABLED, {"type": "enabled"}, [(Remedy.SWITCH, "adaptive")]),
        (ENABLED.replace("enabled", 'enabled"'), {"type": "enabled"}, [(Remedy.SWITCH, "adaptive")]),
        (ENABLED, {"type": "adaptive"}, []),
        ("adaptive thinking is not supported on this model", {"type": "adaptive"}, [(Remedy.SWITCH, "no_adaptive")]),
        ("adaptive thinking is not supported on this model", {"type": "enabled"}, []),
        (
            "thinking.adaptive.display: Input should be 'summarized' or 'omitted'",
            {"type": "adaptive", "display": "updates"},
            [(Remedy.SWITCH, "no_display_updates")],
        ),
        ("thinking.adaptive.display: no", {"type": "adaptive", "display": "omitted"}, []),
        (ENABLED, None, []),
    ],
)
def test_a_refused_shape_of_thinking_leads_to_the_other(text: str, thinking: Any, expected: Any) -> None:
    assert found(text, thinking=thinking) == expected


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("The maximum tokens you requested exceeds the model limit of 8192. Try again with a maximum", "8192"),
        ("max_tokens: 64000 > 32000, which is the maximum allowed number of output tokens for x", "32000"),
    ],
)
def test_a_limit_on_the_output_that_is_named_is_kept(text: str, limit: str) -> None:
    assert found(text) == [(Remedy.MAX_OUTPUT, limit)]
    assert found(text, max_tokens=8000) == []
    assert found(text, max_tokens="many") == []


def test_an_absurd_limit_is_not_believed() -> None:
    assert found("max_tokens: 64000 > 0, which is") == []
    assert found("max_tokens: 64000 > " + "9" * 5000) == []


SYSTEM = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]


def test_features_that_the_model_does_not_have_go() -> None:
    effort = "This model does not support the effort parameter."
    assert found(effort, output_config={"effort": "low"}) == [(Remedy.PATH, "output_config.effort")]
    assert found(effort) == []
    edits = "`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive"
    assert found(edits, context_management={"edits": []}) == [(Remedy.PATH, "context_management")]
    assert found(edits) == []
    binding = "thinking.adaptive.block_binding.mismatch_behavior: Field required"
    assert found(binding, replace(SENT, betas=(betas.BINDING,))) == [(Remedy.BETA, betas.BINDING)]
    assert found(binding) == []
    metadata = "Request metadata contains a value that violates the regular expression"
    assert found(metadata, metadata={"user_id": "x"}) == [(Remedy.PATH, "metadata")]
    assert found(metadata) == []
    role = "messages.1: role 'system' is not supported on this model"
    assert found(role, messages=SYSTEM) == [(Remedy.SWITCH, "convert_system")]
    assert found("messages.1.role: Input should be 'user' or 'assistant'", messages=SYSTEM) == found(
        role, messages=SYSTEM
    )
    assert found(role) == []
    assert found(role, replace(SENT, rules=Rules(switches=frozenset({Switch.CONVERT_SYSTEM}))), messages=SYSTEM) == []
