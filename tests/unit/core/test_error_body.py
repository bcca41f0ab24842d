from __future__ import annotations

import json

import pytest

from claude_failover.core.error_body import (
    MAX_DETAIL,
    MAX_READ,
    Told,
    described,
    error_body,
    error_event,
    exception_name,
    is_json,
    read,
    read_success,
    short,
)

ANTHROPIC = (
    b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down",'
    b'"details":{"error_code":"credits_required"}},"request_id":"req_011"}'
)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            ANTHROPIC,
            Told("rate_limit_error", "", "slow down", "credits_required", "req_011"),
        ),
        (b'{"message":"Too many tokens"}', Told(message="Too many tokens")),
        (b'{"Message":"Invalid API Key format"}', Told(message="Invalid API Key format")),
        (
            b'{"__type":"com.amazon.coral.service#ThrottlingException","message":"Rate exceeded"}',
            Told(name="ThrottlingException", message="Rate exceeded"),
        ),
        (
            b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException","message":"no"},"Version":"1.0"}',
            Told(name="UnknownOperationException", message="no"),
        ),
        (
            b'{"message":"The model returned the following errors: invalid beta flag"}',
            Told(message="invalid beta flag"),
        ),
        (
            b'{"message":"boom","originalStatusCode":529,"resourceName":"x"}',
            Told(message="boom", original_status=529),
        ),
        (b'{"message":"boom","originalStatusCode":true}', Told(message="boom")),
        (b'{"type":"error","error":"text","request_id":7,"Output":"x"}', Told()),
        (b'{"type":"error","error":{"type":3,"message":null,"details":[1]}}', Told()),
        (b'{"error":{"type":"a_b\\nx"},"request_id":"r\\r\\nx-evil: 1","__type":"a#B\\nC"}', Told("a_b", "B")),
        (b"<html><body>502 Bad Gateway</body></html>", Told()),
        (b"", Told()),
        (b"[1,2]", Told()),
        (b'{"message":"\xff\xfe"}', Told()),
        (b"[" * 50_000, Told()),
        (b'{"error":' * 20_000, Told()),
    ],
    ids=[
        "anthropic", "aws", "aws capital", "aws type", "coral", "wrapped", "model error", "odd status", "odd types",
        "odd inner types", "line ends", "html", "empty", "array", "not utf-8", "deep array", "deep object",
    ],
)  # fmt: skip
def test_every_shape_of_an_error_is_read(body: bytes, told: Told) -> None:
    """Shapes: claude.md 3.1, bedrock.md 1.1 and 4.1."""
    assert read(body) == told


def test_an_error_too_long_to_mean_anything_is_not_read() -> None:
    assert read(b'{"message":"' + b"x" * MAX_READ + b'"}') == Told()


def test_a_success_that_speaks_of_errors_is_no_error() -> None:
    body = b'{"id":"msg_1","type":"message","content":[{"type":"text","text":"{\\"error\\":{\\"type\\":\\"x\\"}}"}]}'
    assert read_success(body) == Told()
    assert read_success(b'{"message":"a tool might answer so"}') == Told()


def test_an_error_in_a_success_is_found_however_long_the_body() -> None:
    body = b'{"pad":"' + b"x" * MAX_READ + b'","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert read_success(body) == Told("overloaded_error", message="Overloaded")


def test_a_success_that_is_no_object_is_told_from_one_that_says_nothing() -> None:
    assert read_success(b"<html>") is None
    assert read_success(b"[]") is None
    assert read_success(b"{}") == Told()


@pytest.mark.parametrize(
    "body",
    [b'{"error":{}}', b'{"__type":""}', b'{"code":7}', b'{"Output":{"message":"hm"}}'],
)
def test_where_an_error_could_stand_and_none_does_a_success_is_one(body: bytes) -> None:
    assert read_success(body) == Told()


def test_an_object_is_json_and_a_page_is_not() -> None:
    assert is_json(b'{"a":1}')
    assert not is_json(b"<html>")
    assert not is_json(b"{")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ThrottlingException", "ThrottlingException"),
        ("ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/", "ThrottlingException"),
        ("com.amazon.coral.service#UnknownOperationException", "UnknownOperationException"),
        (" ValidationException ", "ValidationException"),
        ("", ""),
        ("x" * 200, "x" * 79 + "…"),
    ],
)
def test_an_exception_name_loses_its_namespace_and_its_address(text: str, name: str) -> None:
    assert exception_name(text) == name


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("  one\n\ntwo", "one"),
        ("a\tb \x1b[31m c", "a b [31m c"),
        ("text/html\udc80", "text/html"),
        ("key sk-ant-api03-abcdefgh1234 refused", "key [redacted] refused"),
        ("id AKIAIOSFODNN7EXAMPLE is unknown", "id [redacted] is unknown"),
        ("x-amz-security-token:FwoGZXIvYXdzEXAMPLE end", "x-amz-security-token:[redacted] end"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer [redacted]"),
        ("Bearer abc.def.ghi was refused", "Bearer [redacted] was refused"),
        ("messages.3.content.0.thinking.signature: Field required",) * 2,
        ("does not match. The Canonical String for this request should have been POST", "does not match."),
        (f"messages.0: Input '{'secret plan ' * 10}' is not valid", "messages.0: Input '…' is not valid"),
        ("`temperature` is deprecated for this model", "`temperature` is deprecated for this model"),
        ("token IQoJb3JpZ2luX2VjEXAMPLE/AAAA+BBBB== has expired", "token … has expired"),
        ("the key is 'Ab1/Cd2+Ef3Gh4Ij5Kl6Mn7Op8Qr9', unknown", "the key is '…', unknown"),
        ("aVeryLongWordOfThePromptThatSomebodyQuotes: bad", "… bad"),
        ("User: arn:aws:sts::123456789012:assumed-role/Admin/me is not authorized",) * 2,
        ("see https://docs.example.com/en/A-Long-Page-Of-Words, or req_011CSHoEeqs5C35K2UUqR7Fy",) * 2,
        ("no pinned key: it has sha256/AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcdef0=",) * 2,
        ("ServiceQuotaExceededException: global.anthropic.claude-opus-5-5-v1:0",) * 2,
    ],
)
def test_a_detail_is_one_line_without_secrets_and_without_the_prompt(text: str, line: str) -> None:
    assert short(text) == line


def test_a_detail_is_cut_to_its_bound() -> None:
    line = short("word " * 500)
    assert len(line) == MAX_DETAIL
    assert line.endswith("…")


@pytest.mark.parametrize(
    ("headers", "told", "line"),
    [
        ({}, Told("api_error", message="Internal server error"), "Internal server error"),
        ({"content-type": "text/html; charset=utf-8"}, Told(), "HTTP 502 text/html"),
        ({"content-type": "text\nhtml"}, Told(), "HTTP 502 text"),
        ({}, Told("api_error"), "HTTP 502 api_error"),
        ({}, Told(name="InternalServerException"), "HTTP 502 InternalServerException"),
        ({}, Told(), "HTTP 502"),
    ],
)
def test_an_error_is_described_by_its_words_or_by_its_status(headers: dict[str, str], told: Told, line: str) -> None:
    assert described(502, headers, told) == line


def test_errors_are_written_as_the_messages_api_does() -> None:
    assert json.loads(error_body("api_error", "no")) == {
        "type": "error",
        "error": {"type": "api_error", "message": "no"},
    }
    assert json.loads(error_body("api_error", "no", "req_1"))["request_id"] == "req_1"


def test_an_error_event_is_one_server_sent_event() -> None:
    assert (
        error_event("overloaded_error", "Over\nloaded")
        == b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Over\\nloaded"}}\n\n'
    )
