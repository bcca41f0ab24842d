"""What the simulated Claude API asks of a request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from claude_failover.drill.claude_rules import Caller, betas, caller, check, leaks, parse
from claude_failover.drill.script import Refusal, Seen
from tests.fakes import claude_headers

TOKENS, KEYS = {"token"}, {"key"}


def request(headers: dict[str, str], body: bytes = b"{}", target: str = "/v1/messages") -> Seen:
    return Seen(1, "POST", target, tuple(headers.items()), body, 1, 0.0)


def who(headers: dict[str, str]) -> Caller | str:
    found = caller(request(headers), TOKENS, KEYS)
    return found.message if isinstance(found, Refusal) else found


def test_a_bearer_with_the_oauth_beta_is_a_subscription() -> None:
    headers = {"Authorization": "Bearer token", "anthropic-beta": "claude-code-20250219, oauth-2025-04-20"}
    assert who(headers) is Caller.SUBSCRIPTION


def test_a_bearer_without_the_oauth_beta_is_told_about_a_missing_key() -> None:
    assert (
        who({"authorization": "Bearer token", "anthropic-beta": "effort-2025-11-24"}) == "x-api-key header is required"
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-api-key": "key"}, Caller.KEY),
        ({"authorization": "Bearer key"}, Caller.KEY),
        ({"x-api-key": "other"}, "invalid x-api-key"),
        ({"authorization": "Bearer other"}, "Invalid bearer token"),
        ({"authorization": "Basic token"}, "x-api-key header is required"),
        ({}, "x-api-key header is required"),
    ],
)
def test_other_credentials_are_judged_too(headers: dict[str, str], expected: Caller | str) -> None:
    assert who(headers) == expected


def test_betas_of_several_headers_are_joined() -> None:
    seen = Seen(1, "POST", "/", (("anthropic-beta", "a, b"), ("Anthropic-Beta", "c")), b"", 1, 0.0)
    assert betas(seen) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Amz-Date": "x"},
        {"authorization": "AWS4-HMAC-SHA256 Credential=x"},
        {"x-api-key": "ABSKabc"},
        {"authorization": "Bearer bedrock-api-key-abc"},
        {"x-claude-failover-key": "x"},
    ],
)
def test_what_belongs_elsewhere_is_a_leak_and_its_value_is_not_repeated(headers: dict[str, str]) -> None:
    found = leaks(request(headers))
    assert len(found) == 1
    assert not any(value in found[0] for value in headers.values() if len(value) > 1)


def test_claude_codes_own_headers_are_no_leak() -> None:
    assert leaks(request(claude_headers() | {"x-app": "cli", "x-claude-code-session-id": "s"})) == []


PLAIN = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [{"role": "user", "content": "x"}]}


def judged(changes: dict[str, Any], *sent: str, without: str = "", counting: bool = False) -> Refusal | None:
    body = {key: value for key, value in (PLAIN | changes).items() if key != without}
    seen = request(claude_headers(*sent))
    return check(seen, body, Caller.SUBSCRIPTION, lambda model: model == "claude-opus-5-5", counting=counting)


@pytest.mark.parametrize(
    ("changes", "wording"),
    [
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"context_management": {}}, "context_management: Extra inputs are not permitted"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": True}, "max_tokens: Input should be greater than or equal to 1"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages.0: use the top-level 'system' parameter"),
        ({"model": "gpt-4"}, "model: gpt-4"),
    ],
)
def test_a_bad_body_is_refused_in_the_real_words(changes: dict[str, Any], wording: str) -> None:
    problem = judged(changes)
    assert problem is not None
    assert wording in problem.message


@pytest.mark.parametrize("name", ["model", "max_tokens", "messages"])
def test_required_fields_are_missed(name: str) -> None:
    problem = judged({}, without=name)
    assert problem is not None
    assert problem.message == f"{name}: Field required"


def test_counting_needs_no_max_tokens() -> None:
    assert judged({}, without="max_tokens", counting=True) is None


def test_a_field_passes_under_its_beta_and_an_unknown_beta_is_named() -> None:
    assert judged({"context_management": {}}, "context-management-2025-06-27") is None
    problem = judged({}, "made-up-2026-01-01")
    assert problem is not None
    assert problem.message.startswith("Unexpected value(s) `made-up-2026-01-01` for the `anthropic-beta` header.")


@pytest.mark.parametrize(("version", "wording"), [(None, "header is required"), ("1", "not a valid version")])
def test_the_version_is_required(version: str | None, wording: str) -> None:
    headers = claude_headers()
    del headers["anthropic-version"]
    if version is not None:
        headers["anthropic-version"] = version
    problem = check(request(headers), PLAIN, Caller.KEY, lambda _: True, counting=False)
    assert problem is not None
    assert wording in problem.message


def test_a_body_is_a_json_object_within_the_limit() -> None:
    good = json.dumps(PLAIN).encode()
    assert parse(request(claude_headers(), good), 1000) == PLAIN
    for seen, status in (
        (request(claude_headers(), good), 413),
        (request(claude_headers(), b"{"), 400),
        (request(claude_headers(), b"[]"), 400),
        (request(claude_headers() | {"content-type": "text/plain"}, good), 400),
    ):
        refused = parse(seen, 10 if status == 413 else 1000)
        assert isinstance(refused, Refusal)
        assert refused.status == status
