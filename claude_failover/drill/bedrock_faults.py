"""Bedrock's refusals and broken streams, in its own two shapes and its own words (wire/bedrock.md 2.3, 2.4, 4).

``ThrottlingException`` and its kin come from the front door in AWS's shape; what the model side refuses comes in
Anthropic's shape on newer models. Neither ever names a ``retry-after``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial

from claude_failover.core.types import Headers
from claude_failover.drill import frames
from claude_failover.drill.bedrock_models import INVALID_ID, on_demand_refused, validation
from claude_failover.drill.bedrock_rules import EXTRA, INVALID_BETA, TOO_LONG, UNEXPECTED_BETA
from claude_failover.drill.script import Answer, Cut, How, InBand, Mark, Refusal, Step, Wire
from claude_failover.drill.sigv4 import MISMATCH, forbidden

CORAL = b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException","message":null},"Version":"1.0"}'
"""What unknown routes below ``/anthropic/v1`` answer, with status 200 (wire/bedrock.md 1.1)."""

THROTTLES: Mapping[str, str] = {
    "tokens": "Too many tokens, please wait before trying again.",
    "requests": "Too many requests, please wait before trying again.",
    "rate": "Rate exceeded",
    "day": "Too many tokens per day, please wait before trying again.",
}


def aws(status: int, name: str, message: str, *, headers: Headers = ()) -> Refusal:
    """Any exception in AWS's shape."""
    return Refusal(status, name, message, shape="aws", headers=headers)


def model_side(message: str, status: int = 400, error_type: str = "invalid_request_error") -> Refusal:
    """A refusal in Anthropic's shape, as newer models make it."""
    return Refusal(status, error_type, message, shape="anthropic")


def throttled(kind: str = "tokens") -> Refusal:
    """429 ``ThrottlingException``: ``tokens``, ``requests``, ``rate``, or the one per ``day``."""
    return aws(429, "ThrottlingException", THROTTLES[kind])


def quota_exceeded() -> Refusal:
    """A quota, modelled as 400."""
    return aws(400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account.")


def unavailable() -> Refusal:
    """503."""
    return aws(503, "ServiceUnavailableException", "Bedrock is unable to process your request.")


def internal_error() -> Refusal:
    """500."""
    return aws(500, "InternalServerException", "The system encountered an unexpected error during processing.")


def model_not_ready() -> Refusal:
    """429, yet no throttle: the model is being warmed."""
    return aws(429, "ModelNotReadyException", "The model is not ready to serve inference requests.")


def model_error() -> Refusal:
    """424 before any byte."""
    return aws(424, "ModelErrorException", "The system encountered an error while the model was processing.")


def model_timeout() -> Refusal:
    """408."""
    return aws(408, "ModelTimeoutException", "The request took too long to process.")


def overloaded() -> Refusal:
    """529 that passes through from the model side."""
    return model_side("Overloaded", 529, "overloaded_error")


def expired_token() -> Refusal:
    """The session credentials ran out."""
    return forbidden("ExpiredTokenException", "The security token included in the request is expired")


def unrecognised() -> Refusal:
    """Nobody knows this access key."""
    return forbidden("UnrecognizedClientException", "The security token included in the request is invalid.")


def bad_signature() -> Refusal:
    """The signature is wrong."""
    return forbidden("InvalidSignatureException", MISMATCH)


def clock_skew(seconds: float = 600.0) -> Refusal:
    """The service's clock is *seconds* ahead of ours; its ``Date`` says so."""

    def headers(now: float) -> Headers:
        return (("Date", formatdate(now + seconds, usegmt=True)),)

    wording = "Signature expired: 20261122T000000Z is now earlier than 20261122T000500Z (20261122T001000Z - 5 min.)"
    return Refusal(403, "InvalidSignatureException", wording, shape="aws", headers_at=headers)


def access_denied(what: str = "model") -> Refusal:
    """No access: to the ``model``, by ``iam``, before the ``marketplace`` subscription, without the ``form``."""
    texts = {
        "model": "You don't have access to the model with the specified model ID.",
        "iam": (
            "User: arn:aws:iam::000000000000:user/drill is not authorized to perform: "
            "bedrock:InvokeModelWithResponseStream on resource: arn:aws:bedrock:us-east-1::foundation-model/x because "
            "no identity-based policy allows the bedrock:InvokeModelWithResponseStream action"
        ),
        "marketplace": "Model access is denied due to your AWS Marketplace subscription is being set up.",
        "form": (
            "Model use case details have not been submitted for this account. Fill out the Anthropic use case details "
            "form before using the model."
        ),
    }
    return aws(403, "AccessDeniedException", texts[what])


def not_found() -> Refusal:
    """404: retired, or never there."""
    return aws(404, "ResourceNotFoundException", "Could not resolve the foundation model from the model identifier.")


def invalid_id() -> Refusal:
    """Unknown id, unknown profile, or the wrong region."""
    return validation(INVALID_ID)


def on_demand(model_id: str = "anthropic.claude-opus-5-5") -> Refusal:
    """A bare FM id where a profile is needed."""
    return validation(on_demand_refused(model_id))


def too_long() -> Refusal:
    """The prompt does not fit."""
    return validation(TOO_LONG)


def invalid_beta(shape: str = "aws") -> Refusal:
    """A bad beta: ``aws``, ``wrapped`` (older wording), ``anthropic``; which one is bad nobody says."""
    if shape == "anthropic":
        return model_side(INVALID_BETA)
    return validation(
        f"The model returned the following errors: {INVALID_BETA}" if shape == "wrapped" else INVALID_BETA
    )


def unexpected_beta(*values: str) -> Refusal:
    """The wording of the Messages surface and of mantle, which does say."""
    listed = ", ".join(f"`{value}`" for value in values or ("thinking-token-count-2026-05-13",))
    return model_side(UNEXPECTED_BETA.format(listed))


def extra_input(path: str = "context_management", *, shape: str = "anthropic") -> Refusal:
    """A field that this model does not know here."""
    text = EXTRA.format(path)
    return model_side(text) if shape == "anthropic" else validation(text)


def bound_signature(path: str = "messages.1.content.0") -> Refusal:
    """A thinking block from another conversation."""
    return model_side(
        f"{path}: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
    )


def missing_signature(path: str = "messages.1.content.0") -> Refusal:
    """A thinking block without a signature, in Bedrock's own wording."""
    return validation(f"{path}.thinking.signature: Field required")


def data_retention() -> Refusal:
    """The account has not opted in to what this model needs."""
    return validation("data retention mode 'default' is not available for this model")


def unsupported_tool(kind: str = "web_search_20250305") -> Refusal:
    """A tool that only runs at Anthropic."""
    return model_side(f"tool type '{kind}' is not supported")


def coral() -> Refusal:
    """200, and yet no answer: the route does not exist."""
    return Refusal(200, body=CORAL)


def html(status: int = 200) -> Refusal:
    """A proxy in between answered with its own page."""
    page = b"<!DOCTYPE html><html><body><h1>Sign in to continue</h1></body></html>"
    return Refusal(status, body=page, content_type="text/html")


# --- broken streams ---


def exception_frame(
    name: str = "throttlingException", at: Mark = "first", message: str = "Too many tokens, please wait."
) -> Answer:
    """An exception inside the stream; the status has long been 200. On SSE surfaces it is an ``error`` event."""
    status = frames.EXCEPTION_STATUS[name]
    kind = {429: "rate_limit_error", 400: "invalid_request_error", 503: "overloaded_error"}.get(status, "api_error")
    fields = {"originalStatusCode": 529, "originalMessage": "Overloaded"} if name == "modelStreamErrorException" else {}
    return Answer(error=InBand(at, kind, message, name, fields))


def error_frame(at: Mark = "start") -> Answer:
    """An unmodelled error frame, then the end; for the event stream only."""
    data = frames.unmodelled_error("InternalFailure", "An internal failure occurred.")
    return Answer(wire=Wire(insert=data, insert_at=at, cut=Cut(at, How.END, len(data))))


def bad_checksum(at: Mark = "start") -> Answer:
    """One byte of a frame is wrong."""
    return Answer(wire=Wire(corrupt=at))


def truncated_frame(at: Mark = "content", size: int = 20, how: How = How.END) -> Answer:
    """The stream ends in the middle of a frame."""
    return Answer(wire=Wire(cut=Cut(at, how, size)))


def wrong_content_type(content_type: str | None = "text/event-stream") -> Answer:
    """The body is right and its label is wrong."""
    return Answer(wire=Wire(content_type=content_type))


CATALOGUE: Mapping[str, Callable[[], Step]] = {
    **{f"throttled-{kind}": partial(throttled, kind) for kind in THROTTLES},
    "quota-exceeded": quota_exceeded,
    "unavailable": unavailable,
    "internal-error": internal_error,
    "model-not-ready": model_not_ready,
    "model-error": model_error,
    "model-timeout": model_timeout,
    "overloaded": overloaded,
    "expired-token": expired_token,
    "unrecognised": unrecognised,
    "bad-signature": bad_signature,
    "clock-skew": clock_skew,
    "denied-model": access_denied,
    "denied-iam": lambda: access_denied("iam"),
    "denied-marketplace": lambda: access_denied("marketplace"),
    "denied-form": lambda: access_denied("form"),
    "not-found": not_found,
    "invalid-id": invalid_id,
    "on-demand": on_demand,
    "too-long": too_long,
    "invalid-beta": invalid_beta,
    "invalid-beta-wrapped": lambda: invalid_beta("wrapped"),
    "invalid-beta-anthropic": lambda: invalid_beta("anthropic"),
    "unexpected-beta": unexpected_beta,
    "extra-input": extra_input,
    "extra-input-aws": lambda: extra_input(shape="aws"),
    "bound-signature": bound_signature,
    "missing-signature": missing_signature,
    "data-retention": data_retention,
    "unsupported-tool": unsupported_tool,
    "coral": coral,
    "html": html,
    "exception-first": exception_frame,
    "exception-after-start": lambda: exception_frame("modelStreamErrorException", "start"),
    "exception-after-content": lambda: exception_frame("internalServerException", "content"),
    "error-frame": error_frame,
    "bad-checksum": bad_checksum,
    "truncated-frame": truncated_frame,
    "wrong-content-type": wrong_content_type,
}
"""Every fault by name, for drills and for tests that go through them all."""
