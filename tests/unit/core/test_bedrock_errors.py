from __future__ import annotations

import json

import pytest

from claude_failover.core.bedrock_errors import classify, classify_frame, present
from claude_failover.core.error_body import Told
from claude_failover.core.types import Epoch, Instant, Monotonic, Outcome, Scope, Seconds, Verdict

NOW = Instant(Epoch(1_795_000_000.0), Monotonic(50.0))
"""Wed, 18 Nov 2026 11:06:40 GMT; the next midnight is 1,795,046,400."""
MODEL, BACKEND, REQUEST = Scope.MODEL, Scope.BACKEND, Scope.REQUEST


def aws(name: str, message: str = "") -> Told:
    return Told(name=name, message=message)


def anthropic(error_type: str, message: str = "") -> Told:
    return Told(type=error_type, message=message)


NAMED_ROWS = [
    # bedrock.md 4.2, one row per exception; then names that AWS's front door is known to use.
    (429, aws("ThrottlingException", "Too many tokens, please wait before trying again."), Outcome.THROTTLED, MODEL),
    (429, aws("ThrottlingException", "Rate exceeded"), Outcome.THROTTLED, MODEL),
    (400, aws("ServiceQuotaExceededException", "You have exceeded your quota"), Outcome.THROTTLED, MODEL),
    (429, aws("ModelNotReadyException", "Model is not ready"), Outcome.OVERLOADED, MODEL),
    (503, aws("ServiceUnavailableException", "Bedrock is unable to process your request."), Outcome.OVERLOADED, MODEL),
    (500, aws("InternalServerException"), Outcome.SERVER_ERROR, REQUEST),
    (424, aws("ModelErrorException", "boom"), Outcome.SERVER_ERROR, REQUEST),
    (424, aws("ModelStreamErrorException", "boom"), Outcome.SERVER_ERROR, REQUEST),
    (424, Told(name="ModelErrorException", original_status=529), Outcome.OVERLOADED, MODEL),
    (424, Told(name="ModelStreamErrorException", original_status=429), Outcome.THROTTLED, MODEL),
    (424, Told(name="ModelErrorException", original_status=500), Outcome.SERVER_ERROR, REQUEST),
    (408, aws("ModelTimeoutException"), Outcome.SERVER_ERROR, REQUEST),
    (404, aws("ResourceNotFoundException", "Could not resolve the model identifier"), Outcome.DENIED, MODEL),
    (404, aws("ResourceNotFoundException", "Access denied. This Model is marked by provider as Legacy"),
     Outcome.DENIED, MODEL),
    (403, aws("AccessDeniedException", "You don't have access to the model with the specified model ID."),
     Outcome.DENIED, MODEL),
    (403, aws("AccessDeniedException", "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel"),
     Outcome.DENIED, MODEL),
    (403, aws("AccessDeniedException", "Model use case details have not been submitted for this account."),
     Outcome.DENIED, MODEL),
    (403, aws("AccessDeniedException", "Your AWS Marketplace subscription is being set up. Try again after 2 minutes."),
     Outcome.OVERLOADED, MODEL),
    (403, aws("AccessDeniedException", "Bearer Token has expired"), Outcome.CREDENTIALS, BACKEND),
    (403, aws("UnrecognizedClientException", "The security token included in the request is invalid."),
     Outcome.CREDENTIALS, BACKEND),
    (403, aws("ExpiredTokenException", "The security token included in the request is expired"),
     Outcome.CREDENTIALS, BACKEND),
    (403, aws("ExpiredToken", "expired"), Outcome.CREDENTIALS, BACKEND),
    (403, aws("InvalidSignatureException", "The request signature we calculated does not match"),
     Outcome.CREDENTIALS, BACKEND),
    (403, aws("MissingAuthenticationTokenException", "Missing Authentication Token"), Outcome.CREDENTIALS, BACKEND),
    (400, aws("IncompleteSignature", "Authorization header is missing"), Outcome.CREDENTIALS, BACKEND),
    (403, aws("OptInRequired", "The account is not signed up"), Outcome.DENIED, BACKEND),
    (413, aws("RequestEntityTooLargeException"), Outcome.CLIENT_ERROR, REQUEST),
    (404, aws("UnknownOperationException"), Outcome.REPAIRABLE, REQUEST),
]  # fmt: skip


@pytest.mark.parametrize(("status", "told", "outcome", "scope"), NAMED_ROWS)
def test_an_exception_name_decides(status: int, told: Told, outcome: Outcome, scope: Scope) -> None:
    verdict = classify(status, {}, told, NOW)
    assert (verdict.outcome, verdict.scope, verdict.error_type) == (outcome, scope, told.name)


WORD_ROWS = [
    # bedrock.md 4.4, then 2.2 and 2.3.
    ("Invocation of model ID anthropic.claude-opus-5-5 with on-demand throughput isn't supported.", Outcome.REPAIRABLE),
    ("Invocation of model ID x with on-demand throughput isn\u2019t supported", Outcome.REPAIRABLE),
    ("The provided model identifier is invalid.", Outcome.REPAIRABLE),
    ("Input is too long for requested model.", Outcome.TOO_LONG),
    ("prompt is too long: 213000 tokens > 200000 maximum", Outcome.TOO_LONG),
    ("capability_rejected: prompt_too_long", Outcome.TOO_LONG),
    ("invalid beta flag", Outcome.REPAIRABLE),
    ("Unexpected value(s) `a`, `b` for the `anthropic-beta` header.", Outcome.REPAIRABLE),
    ("context_management: Extra inputs are not permitted", Outcome.REPAIRABLE),
    ("messages.369.content.0.thinking.signature: Field required", Outcome.REPAIRABLE),
    ("tools.0.custom.name: Field required", Outcome.REPAIRABLE),
    ("messages.3.content.1: Invalid `signature` in `thinking` block", Outcome.REPAIRABLE),
    ("thinking.type.enabled is not supported for this model. Use thinking.type.adaptive", Outcome.REPAIRABLE),
    ("Request metadata contains a value that violates the regular expression", Outcome.REPAIRABLE),
    ("role 'system' is not supported on this model", Outcome.REPAIRABLE),
    ("messages.0: use the top-level 'system' parameter for the initial system prompt", Outcome.REPAIRABLE),
    ("This model does not support the effort parameter", Outcome.REPAIRABLE),
    ("The maximum tokens you requested exceeds the model limit of 64000.", Outcome.REPAIRABLE),
    ("max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens", Outcome.REPAIRABLE),
    ("data retention mode 'default' is not available for this model", Outcome.DENIED),
    ("`temperature` is deprecated for this model", Outcome.CLIENT_ERROR),
    ("tool_choice: type tool and any are not supported", Outcome.CLIENT_ERROR),
    ("tool type 'web_search_20250305' is not supported", Outcome.CLIENT_ERROR),
    ("The provided request is not valid", Outcome.CLIENT_ERROR),
    ("Too many requests, please wait before trying again.", Outcome.THROTTLED),
    ("", Outcome.CLIENT_ERROR),
]


@pytest.mark.parametrize(("message", "outcome"), WORD_ROWS)
@pytest.mark.parametrize(
    "told",
    [aws("ValidationException"), anthropic("invalid_request_error"), Told()],
    ids=["named", "anthropic", "bare"],
)
def test_a_validation_error_is_judged_by_its_words_in_every_shape(told: Told, message: str, outcome: Outcome) -> None:
    said = Told(type=told.type, name=told.name, message=message)
    assert classify(400, {}, said, NOW).outcome is outcome


TYPE_ROWS = [
    # bedrock.md 4.1: Anthropic's shape on the newer surfaces, and bare statuses.
    (429, anthropic("rate_limit_error", "slow"), Outcome.THROTTLED),
    (529, anthropic("overloaded_error", "Overloaded"), Outcome.OVERLOADED),
    (500, anthropic("api_error"), Outcome.SERVER_ERROR),
    (504, anthropic("timeout_error"), Outcome.SERVER_ERROR),
    (401, anthropic("authentication_error"), Outcome.CREDENTIALS),
    (403, anthropic("permission_error", "account not granted that model"), Outcome.DENIED),
    (403, anthropic("permission_error", "Authorization header is missing"), Outcome.CREDENTIALS),
    (404, anthropic("not_found_error", "model does not exist"), Outcome.DENIED),
    (402, anthropic("billing_error"), Outcome.BILLING),
    (413, anthropic("request_too_large"), Outcome.CLIENT_ERROR),
    (418, anthropic("teapot_error"), Outcome.CLIENT_ERROR),
    (401, Told(), Outcome.CREDENTIALS),
    (402, Told(), Outcome.BILLING),
    (403, Told(message="Invalid API Key format: Must start with pre-defined prefix"), Outcome.CREDENTIALS),
    (403, Told(message="Authorization header is missing"), Outcome.CREDENTIALS),
    (403, Told(message="Forbidden"), Outcome.DENIED),
    (404, Told(), Outcome.DENIED),
    (408, Told(), Outcome.SERVER_ERROR),
    (413, Told(), Outcome.CLIENT_ERROR),
    (424, Told(), Outcome.SERVER_ERROR),
    (429, Told(), Outcome.THROTTLED),
    (301, Told(), Outcome.SERVER_ERROR),
    (500, Told(), Outcome.SERVER_ERROR),
    (502, Told(name="BrandNewException"), Outcome.SERVER_ERROR),
    (503, Told(), Outcome.OVERLOADED),
    (529, Told(), Outcome.OVERLOADED),
]


@pytest.mark.parametrize(("status", "told", "outcome"), TYPE_ROWS)
def test_without_a_name_that_we_know_the_type_then_the_status_decides(
    status: int, told: Told, outcome: Outcome
) -> None:
    assert classify(status, {}, told, NOW).outcome is outcome


def test_a_per_day_throttle_lasts_until_the_next_utc_midnight() -> None:
    told = aws("ThrottlingException", "Too many tokens per day, please wait before trying again.")
    verdict = classify(429, {"retry-after": "5"}, told, NOW)
    assert verdict.per_day
    assert verdict.until == 1_795_046_400.0
    assert verdict.retry_after == 5.0


def test_a_throttle_without_an_end_names_none_and_one_with_an_end_names_it() -> None:
    told = aws("ThrottlingException", "Rate exceeded")
    assert classify(429, {}, told, NOW).until is None
    assert classify(429, {"retry-after": "20"}, told, NOW).until == 1_795_000_020.0


@pytest.mark.parametrize(
    ("name", "message", "date", "skew"),
    [
        ("InvalidSignatureException", "Signature expired: 1 is now earlier than 2 (3 - 5 min.)",
         "Wed, 18 Nov 2026 11:16:40 GMT", Seconds(600.0)),
        ("InvalidSignatureException", "Signature not yet current", "Wed, 18 Nov 2026 10:06:40 GMT", Seconds(-3600.0)),
        ("RequestTimeTooSkewed", "", "Wed, 18 Nov 2026 11:08:40 GMT", Seconds(120.0)),
        ("InvalidSignatureException", "does not match", "Wed, 18 Nov 2026 11:07:00 GMT", None),
        ("InvalidSignatureException", "does not match", "yesterday", None),
        ("ExpiredTokenException", "The security token is expired", "Wed, 18 Nov 2026 12:06:40 GMT", None),
    ],
    ids=["behind", "ahead", "named", "too little to matter", "no date", "a token's age is not the clock's fault"],
)  # fmt: skip
def test_a_refused_signature_tells_how_far_our_clock_is_off(
    name: str, message: str, date: str, skew: Seconds | None
) -> None:
    """bedrock.md 4.2, InvalidSignatureException; fault matrix, line 28."""
    assert classify(403, {"date": date}, aws(name, message), NOW).clock_skew == skew


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("internalServerException", Outcome.SERVER_ERROR),
        ("modelStreamErrorException", Outcome.SERVER_ERROR),
        ("validationException", Outcome.CLIENT_ERROR),
        ("throttlingException", Outcome.THROTTLED),
        ("modelTimeoutException", Outcome.SERVER_ERROR),
        ("serviceUnavailableException", Outcome.OVERLOADED),
        ("brandNewException", Outcome.SERVER_ERROR),
    ],
)
def test_exception_frames_are_judged_like_exceptions(name: str, outcome: Outcome) -> None:
    """bedrock.md 3: the members of ResponseStream, in lower camel case."""
    verdict = classify_frame(name, Told(message="text"), NOW)
    assert (verdict.outcome, verdict.error_type) == (outcome, name)


def test_a_frame_without_a_message_says_what_it_is() -> None:
    assert classify_frame("modelTimeoutException", Told(), NOW).detail == "modelTimeoutException (HTTP 408)"


def test_a_detail_names_the_exception_and_leaves_the_canonical_request_out() -> None:
    told = aws(
        "InvalidSignatureException",
        "The request signature we calculated does not match.\n\nThe Canonical String was x-amz-security-token:SECRET",
    )
    assert (
        classify(403, {}, told, NOW).detail
        == "InvalidSignatureException: The request signature we calculated does not match."
    )


PRESENT_ROWS = [
    (429, aws("ThrottlingException", "Rate exceeded"), 429, "rate_limit_error",
     "Bedrock: ThrottlingException: Rate exceeded"),
    (400, aws("ServiceQuotaExceededException", "Quota"), 429, "rate_limit_error",
     "Bedrock: ServiceQuotaExceededException: Quota"),
    (429, aws("ModelNotReadyException", "warming"), 529, "overloaded_error",
     "Bedrock: ModelNotReadyException: warming"),
    (503, Told(message="Service Unavailable"), 529, "overloaded_error", "Bedrock: Service Unavailable"),
    (424, aws("ModelErrorException", "boom"), 500, "api_error", "Bedrock: ModelErrorException: boom"),
    (408, aws("ModelTimeoutException", "slow"), 500, "api_error", "Bedrock: ModelTimeoutException: slow"),
    (400, aws("ValidationException", "Input is too long for requested model."), 400, "invalid_request_error",
     "prompt is too long (Input is too long for requested model.)"),
    (400, anthropic("invalid_request_error", "Prompt is too long: 9 tokens > 8 maximum"), 400, "invalid_request_error",
     "Prompt is too long: 9 tokens > 8 maximum"),
    (400, aws("ValidationException", "invalid beta flag"), 400, "invalid_request_error", "invalid beta flag"),
    (400, aws("ValidationException", "`temperature` is deprecated"), 400, "invalid_request_error",
     "`temperature` is deprecated"),
    (413, Told(), 413, "request_too_large", "HTTP 413"),
    (404, aws("ResourceNotFoundException", "retired"), 404, "not_found_error",
     "Bedrock refused this model: ResourceNotFoundException: retired"),
    (403, aws("AccessDeniedException", "not authorized"), 404, "not_found_error",
     "Bedrock refused this model: AccessDeniedException: not authorized"),
    (403, aws("ExpiredTokenException", "expired"), 400, "invalid_request_error",
     "Bedrock refused our AWS credentials: ExpiredTokenException: expired"),
    (402, Told(message="pay"), 402, "billing_error", "Bedrock: pay"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "told", "code", "error_type", "message"), PRESENT_ROWS)
def test_bedrocks_errors_are_told_as_anthropics(
    status: int, told: Told, code: int, error_type: str, message: str
) -> None:
    """bedrock.md 4.2, column "present to Claude Code"."""
    shown, headers, body = present(status, {}, told, classify(status, {}, told, NOW))
    assert (shown, headers) == (code, (("content-type", "application/json"),))
    assert json.loads(body) == {"type": "error", "error": {"type": error_type, "message": message}}


def test_request_ids_of_both_sides_are_kept() -> None:
    headers = {"x-amzn-requestid": "aws-1", "request-id": "other"}
    told = Told(type="api_error", message="no", request_id="req_1")
    _, kept, body = present(500, headers, told, classify(500, headers, told, NOW))
    assert kept == (
        ("content-type", "application/json"),
        ("request-id", "req_1"),
        ("x-amzn-requestid", "aws-1"),
    )
    assert json.loads(body)["request_id"] == "req_1"


def test_a_request_id_of_aws_alone_becomes_the_request_id() -> None:
    headers = {"x-amzn-requestid": "aws-1"}
    _, kept, _ = present(500, headers, Told(), classify(500, headers, Told(), NOW))
    assert ("request-id", "aws-1") in kept


def test_a_throttle_is_told_without_unified_headers_and_with_its_wait() -> None:
    headers = {"retry-after": "0.2", "anthropic-ratelimit-unified-status": "rejected"}
    told = aws("ThrottlingException", "Rate exceeded")
    _, kept, _ = present(429, headers, told, classify(429, headers, told, NOW))
    assert kept == (("content-type", "application/json"), ("retry-after", "1"))


def test_what_is_no_judgement_about_the_request_is_a_server_error() -> None:
    status, _, body = present(200, {}, Told(), Verdict(Outcome.MALFORMED, "HTTP 200 with a web page"))
    assert (status, json.loads(body)["error"]["type"]) == (500, "api_error")
