from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from claude_failover.core.capabilities import Capabilities
from claude_failover.core.commands import Translated, UpstreamRequest
from claude_failover.core.models import Target
from claude_failover.core.refusals import Finding, Remedy
from claude_failover.core.repair import ANY_MODEL, DENIALS_MAX, TTL, Denials, Repair
from claude_failover.core.rules import Rules, Switch
from claude_failover.core.types import Epoch, Instant, Monotonic, Outcome, Surface, Transition, TransitionKind, Verdict

NOW = Instant(Epoch(1_800_000_000.0), Monotonic(50.0))
OPUS = "claude-opus-5-5"
TARGET = Target(
    claude_model=OPUS,
    bedrock_id="global.anthropic.claude-opus-5-5",
    family="opus",
    capabilities=Capabilities(adaptive=True),
    forms=("global.anthropic.claude-opus-5-5", "us.anthropic.claude-opus-5-5"),
)
REPAIRABLE = Verdict(Outcome.REPAIRABLE)


def later(seconds: float) -> Instant:
    return Instant(Epoch(NOW.wall + seconds), Monotonic(NOW.monotonic + seconds))


def sent(body: bytes = b"{}", betas: str = "", session: str = "") -> Translated:
    request = UpstreamRequest("POST", "/anthropic/v1/messages", (), body)
    return Translated(request, TARGET.bedrock_id, extra={"session": session, "betas": betas})


THINKING = (
    b'{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","signature":"s"}]},'
    b'{"role":"user","content":"q"}]}'
)


def error(message: str) -> bytes:
    return msgspec.json.encode({"message": message})


def propose(message: str, request: Translated, denials: Denials | None = None, **options: Any) -> Repair | None:
    values: dict[str, Any] = {"status": 400, "verdict": REPAIRABLE, "surface": Surface.MESSAGES, "now": NOW} | options
    return (denials or Denials()).propose(body=error(message), request=request, target=TARGET, **values)


def lesson(remedy: Remedy, value: str, session: str | None = None, surface: Surface = Surface.MESSAGES) -> Repair:
    return Repair(surface, OPUS, session, (Finding(remedy, value, "why"),))


def test_what_a_refusal_names_becomes_a_lesson_and_the_lesson_a_rule() -> None:
    denials = Denials()
    repair = propose("invalid beta flag", sent(betas="effort-2025-11-24"), denials)
    assert repair == Repair(
        Surface.MESSAGES,
        OPUS,
        None,
        (Finding(Remedy.BETA, "effort-2025-11-24", "one of the betas was refused, unnamed"),),
    )
    assert denials.rules(Surface.MESSAGES, OPUS, None) == Rules()
    assert denials.learn(repair, NOW) == [
        Transition(
            kind=TransitionKind.LEARNED,
            model=OPUS,
            detail="messages: beta effort-2025-11-24: one of the betas was refused, unnamed",
            until=Epoch(NOW.wall + TTL),
            fields={"surface": "messages", "remedy": "beta", "value": "effort-2025-11-24"},
        )
    ]
    assert denials.rules(Surface.MESSAGES, OPUS, None) == Rules(betas=frozenset({"effort-2025-11-24"}))


@pytest.mark.parametrize(
    ("options", "request_"),
    [
        ({"verdict": Verdict(Outcome.TOO_LONG)}, sent(betas="effort-2025-11-24")),
        ({"status": 500}, sent(betas="effort-2025-11-24")),
        ({}, sent()),
        ({}, sent(body=b"{")),
        ({}, sent(body=b"[]")),
    ],
)
def test_nothing_is_proposed_where_nothing_can_be_mended(options: dict[str, Any], request_: Translated) -> None:
    assert propose("invalid beta flag", request_, **options) is None


def test_a_lesson_is_for_its_surface_and_model_only() -> None:
    denials = Denials()
    denials.learn(lesson(Remedy.PATH, "metadata"), NOW)
    assert denials.rules(Surface.MESSAGES, OPUS, "s").paths == (("metadata",),)
    assert denials.rules(Surface.INVOKE, OPUS, "s") == Rules()
    assert denials.rules(Surface.MESSAGES, "claude-opus-5", "s") == Rules()


def test_a_lesson_about_a_history_is_for_that_conversation_only() -> None:
    denials = Denials()
    text = "messages.1.content.0.thinking.signature: Field required"
    repair = propose(text, sent(THINKING, session="s1"), denials)
    assert repair is not None
    denials.learn(repair, NOW)
    assert denials.rules(Surface.MESSAGES, OPUS, "s1").switches == {Switch.STRIP_THINKING}
    assert denials.rules(Surface.MESSAGES, OPUS, "s2") == Rules()
    assert denials.rules(Surface.MESSAGES, OPUS, None) == Rules()


def test_a_second_refusal_of_the_same_sort_goes_a_step_further() -> None:
    denials = Denials()
    steps: list[Any] = []
    for _ in range(2):
        repair = propose("thinking.signature: Field required", sent(THINKING, session="s1"), denials)
        assert repair is not None
        steps += [transition.fields["value"] for transition in denials.learn(repair, NOW)]
    assert steps == ["strip_thinking", "strip_all_thinking"]


def test_all_sorts_of_lessons_become_rules() -> None:
    denials = Denials()
    for remedy, value in [
        (Remedy.PATH, "tools.*.strict"),
        (Remedy.PATH, "metadata"),
        (Remedy.SWITCH, "adaptive"),
        (Remedy.MAX_OUTPUT, "64000"),
        (Remedy.MAX_OUTPUT, "8192"),
        (Remedy.ID, "global.anthropic.claude-opus-5-5"),
    ]:
        denials.learn(lesson(remedy, value), NOW)
    assert denials.rules(Surface.MESSAGES, OPUS, None) == Rules(
        paths=(("metadata",), ("tools", "*", "strict")),
        switches=frozenset({Switch.ADAPTIVE}),
        max_output=8192,
        refused_ids=frozenset({"global.anthropic.claude-opus-5-5"}),
    )


def test_a_missing_route_is_remembered_for_every_model_until_it_is_forgotten() -> None:
    denials = Denials()
    repair = propose("UnknownOperationException", sent(), denials, status=404)
    assert repair is not None
    assert denials.surface(TARGET, NOW) is Surface.MESSAGES
    (transition,) = denials.learn(repair, NOW)
    assert (transition.model, transition.detail) == (ANY_MODEL, "messages: surface: the route does not exist there")
    assert denials.surface(TARGET, NOW) is Surface.INVOKE
    assert denials.surface(replace(TARGET, surfaces=(Surface.MESSAGES,)), NOW) is Surface.MESSAGES
    assert denials.surface(TARGET, later(TTL)) is Surface.MESSAGES


def test_without_a_further_surface_there_is_no_way_out() -> None:
    denials = Denials()
    repair = propose("UnknownOperationException", sent(), denials, status=200)
    assert repair is not None
    denials.learn(repair, NOW)
    assert propose("UnknownOperationException", sent(), denials, surface=Surface.INVOKE) is None


def test_a_lesson_is_forgotten_in_time_and_renewed_by_another_refusal() -> None:
    denials = Denials()
    denials.learn(lesson(Remedy.PATH, "metadata"), NOW)
    assert denials.learn(lesson(Remedy.PATH, "metadata"), later(3600)) == []
    assert denials.entries(later(TTL)) != []
    assert denials.entries(later(TTL + 3600)) == []
    assert denials.rules(Surface.MESSAGES, OPUS, None) == Rules()


def test_the_table_is_bounded_and_the_oldest_goes_first() -> None:
    denials = Denials()
    for number in range(DENIALS_MAX + 2):
        denials.learn(lesson(Remedy.PATH, f"f{number}"), NOW)
    kept = {denial.value for denial in denials.entries(NOW)}
    assert len(kept) == DENIALS_MAX
    assert not kept & {"f0", "f1"}


def test_entries_are_listed_by_surface_and_model() -> None:
    denials = Denials()
    denials.learn(lesson(Remedy.PATH, "b"), NOW)
    denials.learn(lesson(Remedy.PATH, "a", surface=Surface.INVOKE), NOW)
    assert [(denial.surface, denial.value) for denial in denials.entries(NOW)] == [
        (Surface.INVOKE, "a"),
        (Surface.MESSAGES, "b"),
    ]


def test_a_snapshot_survives_a_restart() -> None:
    before, after = Denials(), Denials()
    before.learn(lesson(Remedy.SWITCH, "strip_thinking", "s1"), NOW)
    before.learn(lesson(Remedy.MAX_OUTPUT, "8192"), NOW)
    after.restore(msgspec.json.decode(msgspec.json.encode(before.snapshot())), later(60))
    assert after.entries(later(60)) == before.entries(later(60))
    assert after.rules(Surface.MESSAGES, OPUS, "s1").switches == {Switch.STRIP_THINKING}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, 1),
        ({"expires": NOW.wall}, 0),
        ({"expires": NOW.wall + TTL + 1}, 0),
        ({"remedy": "switch", "value": "no such"}, 0),
        ({"remedy": "max_output", "value": "many"}, 0),
        ({"remedy": "max_output", "value": "٣"}, 0),
        ({"remedy": "max_output", "value": "0"}, 0),
        ({"surface": "other"}, 0),
        ({"value": 5}, 0),
    ],
)
def test_of_a_snapshot_only_what_is_sound_is_taken_up(change: dict[str, Any], kept: int) -> None:
    denials = Denials()
    denials.learn(lesson(Remedy.PATH, "metadata"), NOW)
    data = msgspec.json.decode(msgspec.json.encode(denials.snapshot()))
    data["denials"][0] |= change
    restored = Denials()
    restored.restore(data, NOW)
    assert len(restored.entries(NOW)) == kept


@pytest.mark.parametrize(
    "data", [None, [], {}, {"version": 2, "denials": []}, {"version": 1, "denials": 5}, {"version": 1, "denials": [5]}]
)
def test_a_snapshot_of_another_shape_is_nothing(data: object) -> None:
    restored = Denials()
    restored.restore(data, NOW)
    assert restored.snapshot() == {"version": 1, "denials": []}
