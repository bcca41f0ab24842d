from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from typing import Any

import msgspec
import pytest
import yaml

from claude_failover.core.commands import ClientRequest, Rewrite, Translated, Untranslatable
from claude_failover.core.models import Catalog, Target
from claude_failover.core.refusals import Finding, Remedy
from claude_failover.core.repair import Denials, Repair
from claude_failover.core.request import peek
from claude_failover.core.settings import Backend
from claude_failover.core.translate import BODY_MAX, to_bedrock
from claude_failover.core.types import BackendName, Epoch, Instant, Kind, Monotonic, Surface

TABLE = yaml.safe_load((files("claude_failover") / "data" / "models.yaml").read_text("utf-8"))
CATALOG = Catalog.build(TABLE, {})
BEDROCK = Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1")
NOW = Instant(Epoch(1_800_000_000.0), Monotonic(5.0))
MAIN_TURN = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,per-turn-control-2026-07-01,"
    "mid-conversation-tool-changes-2026-07-01,thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20,"
    "effort-2025-11-24,oauth-2025-04-20"
)


def target(model: str = "claude-opus-5-5") -> Target:
    found = CATALOG.resolve(model, BEDROCK)
    assert isinstance(found, Target)
    return found


def ask(
    body: bytes | dict[str, Any],
    surface: Surface = Surface.MESSAGES,
    model: Target | None = None,
    backend: Backend = BEDROCK,
    denials: Denials | None = None,
    headers: tuple[tuple[str, str], ...] = (("anthropic-beta", MAIN_TURN),),
) -> Translated | Untranslatable:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    request = ClientRequest("cfr_1", "/v1/messages?beta=true", headers, data)
    return to_bedrock(request, peek(request), model or target(), surface, backend, denials or Denials())


def made(*args: Any, **options: Any) -> Translated:
    result = ask(*args, **options)
    assert isinstance(result, Translated), result.why
    return result


def refused(*args: Any, **options: Any) -> str:
    result = ask(*args, **options)
    assert isinstance(result, Untranslatable)
    return result.why


def plain(**fields: Any) -> dict[str, Any]:
    return {"model": "claude-opus-5-5", "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]} | fields


def test_the_messages_surface_gets_the_body_with_its_own_model_and_headers_built_from_nothing() -> None:
    result = made(plain(stream=True), headers=(("anthropic-beta", "effort-2025-11-24"), ("authorization", "Bearer x")))
    assert result.upstream_model == "global.anthropic.claude-opus-5-5"
    assert (result.request.method, result.request.target, result.request.service, result.request.streaming) == (
        "POST",
        "/anthropic/v1/messages",
        "bedrock",
        True,
    )
    assert result.request.headers == (
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("accept-encoding", "identity"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "effort-2025-11-24"),
    )
    assert result.request.body == (
        b'{"model":"global.anthropic.claude-opus-5-5","max_tokens":1000,'
        b'"messages":[{"role":"user","content":"hi"}],"stream":true}'
    )


def test_without_betas_there_is_no_header_for_them() -> None:
    result = made(plain(), headers=())
    assert result.request.headers == (
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
        ("anthropic-version", "2023-06-01"),
    )
    assert (result.request.streaming, result.rewrites) == (False, ())


def test_a_later_api_version_is_put_back_to_the_one_that_every_model_takes() -> None:
    same = made(plain(), headers=(("anthropic-version", "2023-06-01"),))
    later = made(plain(), headers=(("Anthropic-Version", "2026-10-21"),))
    assert same.request == later.request
    assert [change.path for change in later.rewrites] == ["anthropic-version"]
    assert same.rewrites == ()


def test_mantle_is_signed_as_itself() -> None:
    mantle = replace(BEDROCK, surface="mantle")
    found = CATALOG.resolve("claude-haiku-4-5", mantle)
    assert isinstance(found, Target)
    result = made(plain(), Surface.MANTLE, found, mantle)
    assert (result.request.service, result.request.target) == ("bedrock-mantle", "/anthropic/v1/messages")
    assert msgspec.json.decode(result.request.body)["model"] == "anthropic.claude-haiku-4-5"


def test_invoke_has_the_model_in_the_path_and_betas_in_the_body() -> None:
    result = made(plain(stream=True), Surface.INVOKE, target("claude-haiku-4-5"), headers=())
    assert result.request.target == (
        "/model/global.anthropic.claude-haiku-4-5-20251001-v1:0/invoke-with-response-stream"
    )
    assert result.request.headers == (
        ("content-type", "application/json"),
        ("accept", "application/vnd.amazon.eventstream"),
        ("x-amzn-bedrock-accept", "application/json"),
        ("accept-encoding", "identity"),
    )
    assert result.request.body == (
        b'{"anthropic_version":"bedrock-2023-05-31","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}'
    )
    whole = made(plain(), Surface.INVOKE, headers=(("anthropic-beta", "interleaved-thinking-2025-05-14, x"),))
    assert whole.request.target == "/model/global.anthropic.claude-opus-5-5/invoke"
    assert msgspec.json.decode(whole.request.body)["anthropic_beta"] == ["interleaved-thinking-2025-05-14"]
    assert whole.request.headers == (
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
    )


def test_an_arns_slash_is_encoded_and_its_colons_are_not() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12"
    result = made(plain(), Surface.INVOKE, replace(target(), bedrock_id=arn, forms=(arn,)))
    assert result.request.target == (
        "/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fab12/invoke"
    )


def test_a_main_turn_of_claude_code_is_brought_into_shape_and_every_change_is_listed() -> None:
    body = plain(
        stream=True,
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330;"},
            {"type": "text", "text": "You are", "cache_control": {"type": "ephemeral", "scope": "global"}},
        ],
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "system", "content": "note", "output_config": {"effort": "xhigh"}},
        ],
        tools=[{"name": "Bash", "input_schema": {"type": "object"}, "defer_loading": True, "strict": True}],
        thinking={"type": "adaptive", "display": "omitted"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        metadata={"user_id": '{"device_id":"d"}'},
        diagnostics={"previous_message_id": "msg_1"},
    )
    result = made(body)
    assert msgspec.json.decode(result.request.body) == {
        "model": "global.anthropic.claude-opus-5-5",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": "note"}],
        "stream": True,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330;"},
            {"type": "text", "text": "You are", "cache_control": {"type": "ephemeral"}},
        ],
        "tools": [{"name": "Bash", "input_schema": {"type": "object"}, "defer_loading": True}],
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "357854d94db82037b8aba693c135488981582f38cb9a31b0da5fdefc732309ca"},
        "output_config": {"effort": "xhigh"},
    }
    assert [(change.path, change.action) for change in result.rewrites] == [
        ("output_config.effort", "converted"),
        ("diagnostics", "dropped"),
        ("system.* (text).cache_control.scope", "dropped"),
        ("messages.*.output_config", "dropped"),
        ("tools.*.strict", "dropped"),
        ("metadata.user_id", "hashed"),
        ("anthropic-beta: claude-code-20250219", "dropped"),
        ("anthropic-beta: per-turn-control-2026-07-01", "dropped"),
        ("anthropic-beta: mid-conversation-tool-changes-2026-07-01", "dropped"),
        ("anthropic-beta: advanced-tool-use-2025-11-20", "renamed"),
        ("anthropic-beta: oauth-2025-04-20", "dropped"),
    ]
    assert result.extra["betas"] == (
        "interleaved-thinking-2025-05-14,context-management-2025-06-27,tool-search-tool-2025-10-19,"
        "effort-2025-11-24,thinking-token-count-2026-05-13"
    )


def test_numbers_strings_and_unicode_survive() -> None:
    value = {"a": 123456789012345678901234567890, "b": 0.1, "c": -5, "d": 'é"\\\u2028😀\x00', "e": None, "f": 1.5e300}
    call = {"type": "tool_use", "id": "toolu_bdrk_1", "name": "n", "input": value}
    messages = [{"role": "assistant", "content": [call]}, {"role": "user", "content": "go on"}]
    body = msgspec.json.decode(made(plain(messages=messages)).request.body)
    assert body["messages"][0]["content"][0]["input"] == value


def test_the_primary_keeps_what_must_stay_there() -> None:
    thread = {"type": "continue", "previous_message_id": "msg_1"}
    assert refused(plain(thread=thread)) == "it continues a thread that only the primary holds"
    assert refused(b"[]") == "the body is not a JSON object"


def test_a_body_that_only_the_peek_could_read_is_left() -> None:
    assert refused(b'{"messages":[],"x":1e999}') == "the body cannot be read as a JSON object"


def test_a_request_larger_than_bedrocks_limit_says_its_size() -> None:
    assert refused(plain(system="x" * BODY_MAX)).endswith(f"bytes; Bedrock takes {BODY_MAX}")
    fits = msgspec.json.encode(plain(system=""))
    # Just under the limit as it came; the longer model id takes it over.
    body = fits.replace(b'"system":""', b'"system":"' + b"x" * (BODY_MAX - len(fits)) + b'"')
    assert len(body) == BODY_MAX
    assert refused(body) == f"the request has {BODY_MAX + 17} bytes; Bedrock takes {BODY_MAX}"


@pytest.mark.parametrize(
    ("model", "fields", "why"),
    [
        ("claude-opus-5-5", {"tool_choice": {"type": "any"}}, "the model takes no forced tool_choice"),
        ("claude-opus-5", {"top_p": 0.5}, "the model takes no temperature, top_p or top_k"),
        (
            "claude-opus-5",
            {"messages": [{"role": "assistant", "content": "a"}, {"role": "system", "content": "b"}]},
            "the model takes no last message of the assistant's",
        ),
        ("claude-opus-5", {"tools": [{"type": "new_20270101"}]}, 'Bedrock has no tool of the type "new_20270101"'),
        (
            "claude-opus-5",
            {"messages": [{"role": "user", "content": [{"type": "new"}]}]},
            'the conversation holds a block of the type "new"',
        ),
    ],
)
def test_what_no_rewriting_helps_keeps_the_primarys_answer(model: str, fields: dict[str, Any], why: str) -> None:
    assert refused(plain(**fields), model=target(model)) == why


def test_a_model_that_takes_them_gets_them() -> None:
    body = plain(
        temperature=0.5,
        tool_choice={"type": "any"},
        messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a"}],
    )
    result = made(body, Surface.INVOKE, target("claude-sonnet-4-5"))
    assert msgspec.json.decode(result.request.body)["temperature"] == 0.5


def taught(*findings: Finding, surface: Surface = Surface.MESSAGES) -> Denials:
    denials = Denials()
    denials.learn(Repair(surface, "claude-opus-5-5", "s1", findings), NOW)
    return denials


def test_what_was_refused_lately_is_left_out_everywhere() -> None:
    body = plain(metadata={"user_id": "u"}, messages=[{"role": "user", "content": "a"}], safeguards=[1])
    denials = taught(
        Finding(Remedy.PATH, "metadata.user_id", ""),
        Finding(Remedy.PATH, "output_config.format", ""),
        Finding(Remedy.BETA, "dangerous-tool-use-2026-09-03", ""),
        Finding(Remedy.MAX_OUTPUT, "500", ""),
        Finding(Remedy.ID, "global.anthropic.claude-opus-5-5", ""),
    )
    headers = (("anthropic-beta", "dangerous-tool-use-2026-09-03"),)
    result = made(body, denials=denials, headers=headers)
    assert result.upstream_model == "us.anthropic.claude-opus-5-5"
    assert msgspec.json.decode(result.request.body) == {
        "model": "us.anthropic.claude-opus-5-5",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "a"}],
    }
    assert Rewrite("metadata.user_id", "dropped", "Bedrock refused it lately") in result.rewrites
    other = made(body, Surface.INVOKE, denials=denials, headers=headers)
    assert other.extra["betas"] == "dangerous-tool-use-2026-09-03"


def test_when_every_form_of_an_id_was_refused_the_first_is_tried_again() -> None:
    denials = taught(*[Finding(Remedy.ID, form, "") for form in target().forms])
    assert made(plain(), denials=denials).upstream_model == "global.anthropic.claude-opus-5-5"


def test_a_target_without_forms_goes_out_under_its_id() -> None:
    assert made(plain(), model=replace(target(), forms=())).upstream_model == "global.anthropic.claude-opus-5-5"


def test_the_session_travels_with_the_request_for_lessons_about_one_conversation() -> None:
    assert made(plain(), headers=(("x-claude-code-session-id", "s1"),)).extra["session"] == "s1"


def test_the_owners_cap_lowers_max_tokens() -> None:
    result = made(plain(max_tokens=128_000), backend=replace(BEDROCK, max_output_tokens=32_000))
    assert msgspec.json.decode(result.request.body)["max_tokens"] == 32_000
