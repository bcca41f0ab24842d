"""Bedrock's errors: exception names, statuses and words, judged for failover and told in Anthropic's shape.

An error is judged by the most exact thing that it says: AWS's exception name (header, body, or an exception frame),
else Anthropic's ``error.type`` (the newer surfaces answer in that shape), else the HTTP status; a
ValidationException, which means a dozen things, by its words. Statuses alone mislead here: a quota comes as 400, a
failing model as 424, a model that warms up as 429.

Sources: bedrock.md 1.1 (coral 200), 2.3 (words about betas), 3 (exception frames), 4.1-4.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from claude_failover.core import limits
from claude_failover.core.error_body import Told, described, error_body, safe_id, short
from claude_failover.core.types import Epoch, Headers, Instant, Outcome, Scope, Seconds, Verdict

MIN_SKEW = Seconds(60.0)
"""Below this a refused signature is not the clock's fault: AWS allows five minutes, and ``Date`` has whole seconds."""

FRAME_STATUS: Final = {
    "internalserver": 500,
    "modelstreamerror": 424,
    "validation": 400,
    "throttling": 429,
    "modeltimeout": 408,
    "serviceunavailable": 503,
}
"""The statuses of the exceptions that can come as frames within a 200 (botocore's service model; bedrock.md 3)."""

PER_DAY = re.compile(r"\bper day\b", re.IGNORECASE)
TOO_LONG = re.compile(
    r"input is too long|prompt is too long|prompt_too_long|exceeds? the maximum (?:context|prompt) length",
    re.IGNORECASE,
)
REPAIRABLE = re.compile(
    r"invalid beta flag|unexpected value\(s\)|extra inputs are not permitted|: field required|field required$"
    r"|on-demand throughput isn.t supported|provided model identifier is invalid"
    r"|thinking\.type\.enabled|invalid `?signature`? in `?thinking`? block|signature: field required"
    r"|request metadata contains a value|role '?system'? is not supported|top-level '?system'? parameter"
    r"|does not support the effort parameter|maximum tokens you requested exceeds"
    r"|max_tokens: \d+ > \d+|block_binding|clear_thinking",
    re.IGNORECASE,
)
"""Words that name something which can be taken out or put differently (bedrock.md 2.2, 2.3, 4.4)."""
UNAVAILABLE = re.compile(
    r"data retention mode|marked by provider as legacy|have not been granted|use case details"
    r"|don.t have access to the model|model access is denied|end of (?:its )?life",
    re.IGNORECASE,
)
"""The account may not use this model, whatever the request says."""
_REFUSED_SIGN = re.compile(
    r"security token|signature (?:we calculated|expired|not yet current)|authorization header|invalid api key"
    r"|api key .*(?:expired|invalid)|bearer token|missing authentication|credential",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"signature|not yet current", re.IGNORECASE)
_SETTING_UP = re.compile(r"subscription is being set ?up|try again (?:in|after) .*minutes", re.IGNORECASE)
_TOO_MANY = re.compile(r"too many (?:tokens|requests|concurrent)|rate exceeded|throttl", re.IGNORECASE)

_NAMES: Final = {
    "throttling": Outcome.THROTTLED,
    "throttled": Outcome.THROTTLED,
    "toomanyrequests": Outcome.THROTTLED,
    "requestlimitexceeded": Outcome.THROTTLED,
    "servicequotaexceeded": Outcome.THROTTLED,
    "limitexceeded": Outcome.THROTTLED,
    "modelnotready": Outcome.OVERLOADED,
    "serviceunavailable": Outcome.OVERLOADED,
    "slowdown": Outcome.OVERLOADED,
    "internalserver": Outcome.SERVER_ERROR,
    "internalservererror": Outcome.SERVER_ERROR,
    "internalfailure": Outcome.SERVER_ERROR,
    "modelerror": Outcome.SERVER_ERROR,
    "modelstreamerror": Outcome.SERVER_ERROR,
    "modeltimeout": Outcome.SERVER_ERROR,
    "requesttimeout": Outcome.SERVER_ERROR,
    "resourcenotfound": Outcome.DENIED,
    "accessdenied": Outcome.DENIED,
    "notsignedup": Outcome.DENIED,
    "optinrequired": Outcome.DENIED,
    "subscriptionrequired": Outcome.DENIED,
    "unrecognizedclient": Outcome.CREDENTIALS,
    "invalidclienttokenid": Outcome.CREDENTIALS,
    "expiredtoken": Outcome.CREDENTIALS,
    "invalidsignature": Outcome.CREDENTIALS,
    "signaturedoesnotmatch": Outcome.CREDENTIALS,
    "requestexpired": Outcome.CREDENTIALS,
    "requesttimetooskewed": Outcome.CREDENTIALS,
    "missingauthenticationtoken": Outcome.CREDENTIALS,
    "incompletesignature": Outcome.CREDENTIALS,
    "invalidaccesskeyid": Outcome.CREDENTIALS,
    "requestentitytoolarge": Outcome.CLIENT_ERROR,
    "unknownoperation": Outcome.REPAIRABLE,
}
"""Exception names in lower case, without their "Exception". Not here: validation, judged by its words."""

_TYPES: Final = {
    "rate_limit_error": Outcome.THROTTLED,
    "overloaded_error": Outcome.OVERLOADED,
    "api_error": Outcome.SERVER_ERROR,
    "timeout_error": Outcome.SERVER_ERROR,
    "authentication_error": Outcome.CREDENTIALS,
    "permission_error": Outcome.DENIED,
    "not_found_error": Outcome.DENIED,
    "billing_error": Outcome.BILLING,
    "request_too_large": Outcome.CLIENT_ERROR,
}
_STATUSES: Final = {
    401: Outcome.CREDENTIALS,
    402: Outcome.BILLING,
    403: Outcome.DENIED,
    404: Outcome.DENIED,
    408: Outcome.SERVER_ERROR,
    424: Outcome.SERVER_ERROR,
    429: Outcome.THROTTLED,
    503: Outcome.OVERLOADED,
    529: Outcome.OVERLOADED,
}
_ORIGINAL: Final = {429: Outcome.THROTTLED, 503: Outcome.OVERLOADED, 529: Outcome.OVERLOADED}
"""What a model's own status says about its ModelErrorException."""
_ACCOUNT_WIDE = frozenset({"notsignedup", "optinrequired", "subscriptionrequired"})


def classify(status: int, headers: Mapping[str, str], told: Told, now: Instant) -> Verdict:
    """Judge an error of Bedrock: a status that is no 2xx, or a coral body within a 200.

    Args:
        status: The HTTP status; for an exception frame, that of :data:`FRAME_STATUS`.
        headers: Names in lower case; ``x-amzn-errortype`` and ``date`` are looked at.
        told: What the body says.
        now: For the age of a refused signature, and the end of a day's quota.
    """
    name = told.name
    outcome = _outcome(status, _key(name), told)
    per_day = outcome is Outcome.THROTTLED and PER_DAY.search(told.message) is not None
    wait = limits.retry_after(headers, now.wall)
    until = None
    if per_day:
        until = limits.next_utc_midnight(now.wall)
    elif outcome is Outcome.THROTTLED and wait:
        until = limits.believable(Epoch(now.wall + wait), now.wall)
    return Verdict(
        outcome,
        _detail(status, headers, told),
        scope=_scope(outcome, _key(name)),
        until=until,
        retry_after=wait,
        per_day=per_day,
        error_type=name or told.type or None,
        clock_skew=_skew(headers, told, now) if outcome is Outcome.CREDENTIALS else None,
    )


def classify_frame(name: str, told: Told, now: Instant) -> Verdict:
    """Judge an exception frame, or an unmodelled error frame, inside a 200."""
    told = replace(told, name=told.name or name)
    return classify(FRAME_STATUS.get(_key(told.name), 500), {}, told, now)


def present(status: int, headers: Mapping[str, str], told: Told, verdict: Verdict) -> tuple[int, Headers, bytes]:
    """Tell an error of Bedrock in Anthropic's shape, so that Claude Code does the sensible thing with it.

    Never a bare 403 or 424, which it does not retry and shows as a failed login; never a unified header, so that
    it does not take Bedrock's throttle for the plan's (bedrock.md 4.2). Context overflow is worded so that it
    compacts the conversation.
    """
    code, error_type, message = _as_anthropic(status, told, verdict)
    amazon = safe_id(headers.get("x-amzn-requestid", ""))
    known = told.request_id or amazon or safe_id(headers.get("request-id", "")) or None
    kept: list[tuple[str, str]] = [("content-type", "application/json")]
    if known:
        kept.append(("request-id", known))
    if amazon:
        kept.append(("x-amzn-requestid", amazon))
    if code == 429 and verdict.retry_after is not None:
        kept.append(("retry-after", str(max(1, round(verdict.retry_after)))))
    return code, tuple(kept), error_body(error_type, message, known)


def _as_anthropic(status: int, told: Told, verdict: Verdict) -> tuple[int, str, str]:
    """Choose status, ``error.type`` and message; only a request's own fault is quoted whole."""
    if verdict.outcome in _TOLD_AS:
        code, error_type, prefix = _TOLD_AS[verdict.outcome]
        return code, error_type, f"{prefix}: {verdict.detail}"
    said = told.message or verdict.detail
    if verdict.outcome is Outcome.TOO_LONG and "prompt is too long" not in said.lower():
        said = f"prompt is too long ({said})"
    if status == 413:
        return 413, "request_too_large", said
    if verdict.outcome in {Outcome.CLIENT_ERROR, Outcome.REPAIRABLE, Outcome.TOO_LONG}:
        return 400, "invalid_request_error", said
    return 500, "api_error", f"Bedrock: {verdict.detail}"


_TOLD_AS: Final = {
    Outcome.THROTTLED: (429, "rate_limit_error", "Bedrock"),
    Outcome.OVERLOADED: (529, "overloaded_error", "Bedrock"),
    Outcome.BILLING: (402, "billing_error", "Bedrock"),
    # Claude Code answers a 404 with advice about the model; a 403 it shows as a failed login (bedrock.md 4.2).
    Outcome.DENIED: (404, "not_found_error", "Bedrock refused this model"),
    Outcome.CREDENTIALS: (400, "invalid_request_error", "Bedrock refused our AWS credentials"),
}


def _key(name: str) -> str:
    return name.lower().removesuffix("exception")


def _outcome(status: int, key: str, told: Told) -> Outcome:
    if _SETTING_UP.search(told.message) and status == 403:
        # A marketplace subscription's first minutes: the model will be there soon (bedrock.md 4.2).
        return Outcome.OVERLOADED
    if key in _NAMES:
        return _by_name(key, told)
    if key == "validation" or told.type == "invalid_request_error":
        return _by_words(told.message)
    if told.type in _TYPES and not _refuses_us(status, told):
        return _TYPES[told.type]
    return _by_status(status, told)


def _by_name(key: str, told: Told) -> Outcome:
    if key in {"modelerror", "modelstreamerror"} and told.original_status in _ORIGINAL:
        return _ORIGINAL[told.original_status]
    if key == "accessdenied" and _REFUSED_SIGN.search(told.message):
        return Outcome.CREDENTIALS
    return _NAMES[key]


def _by_status(status: int, told: Told) -> Outcome:
    if _refuses_us(status, told):
        return Outcome.CREDENTIALS
    if status in _STATUSES:
        return _STATUSES[status]
    if status < 400 or status >= 500:
        return Outcome.SERVER_ERROR
    return _by_words(told.message)


def _refuses_us(status: int, told: Told) -> bool:
    return status == 403 and _REFUSED_SIGN.search(told.message) is not None


def _by_words(message: str) -> Outcome:
    return next((outcome for pattern, outcome in _WORDS if pattern.search(message)), Outcome.CLIENT_ERROR)


_WORDS: Final = (
    (TOO_LONG, Outcome.TOO_LONG),
    (UNAVAILABLE, Outcome.DENIED),
    (REPAIRABLE, Outcome.REPAIRABLE),
    (_TOO_MANY, Outcome.THROTTLED),
)
"""The first that matches decides."""


def _scope(outcome: Outcome, key: str) -> Scope:
    if outcome is Outcome.CREDENTIALS or outcome is Outcome.BILLING or key in _ACCOUNT_WIDE:
        return Scope.BACKEND
    if outcome in {Outcome.THROTTLED, Outcome.OVERLOADED, Outcome.DENIED}:
        return Scope.MODEL
    return Scope.REQUEST


def _detail(status: int, headers: Mapping[str, str], told: Told) -> str:
    if told.name and not told.message:
        return f"{told.name} (HTTP {status})"
    line = described(status, headers, told)
    return short(f"{told.name}: {line}") if told.name else line


def _skew(headers: Mapping[str, str], told: Told, now: Instant) -> Seconds | None:
    """Server minus us, if a signature was refused and the clocks differ enough to explain it."""
    theirs = limits.http_date(headers.get("date"))
    about_signature = _SIGNATURE.search(told.message) or _key(told.name) in _SIGNATURE_NAMES
    if theirs is None or not about_signature or abs(theirs - now.wall) < MIN_SKEW:
        return None
    return Seconds(theirs - now.wall)


_SIGNATURE_NAMES = frozenset({"invalidsignature", "signaturedoesnotmatch", "requestexpired", "requesttimetooskewed"})
