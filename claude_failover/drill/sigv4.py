"""Checks AWS signatures (Signature Version 4) the way a service does, with hashlib and hmac only.

The verifier rebuilds the canonical request from the bytes that arrived. Its one peculiarity is AWS's own:
for every service but S3 each segment of the *already encoded* path is encoded once more (wire/bedrock.md 2.1),
so a path sent as ``…v1:0`` is signed as ``…v1%3A0``, one sent as ``…v1%3A0`` as ``…v1%253A0``.

Source: AWS "Create a signed AWS API request"; error wordings wire/bedrock.md 4.2.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from claude_failover.drill.script import Refusal, Seen

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW = timedelta(minutes=5)
_STAMP = "%Y%m%dT%H%M%SZ"

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<key>[^/,\s]+)/(?P<scope>[^,\s]+)\s*,\s*"
    r"SignedHeaders=(?P<signed>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]{64})\Z"
)

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True, slots=True)
class Credential:
    """A key pair that the simulated account knows."""

    access_key: str
    secret: str
    session_token: str | None = None
    """``None`` for a long-term key: then no token may be sent."""
    expires: float | None = None
    """Epoch seconds; afterwards the token "is expired"."""

    def __repr__(self) -> str:
        return f"Credential({self.access_key})"


def forbidden(name: str, message: str) -> Refusal:
    """A 403 of the front door."""
    return Refusal(403, name, message, shape="aws")


def verify(
    request: Seen, credentials: Mapping[str, Credential], region: str, service: str, now: float
) -> Refusal | None:
    """Check a request's signature.

    Args:
        request: As it arrived, the target still encoded.
        credentials: By access key.
        region: The endpoint's.
        service: Its signing name.
        now: The simulated service's clock, epoch seconds.

    Returns:
        ``None`` if it is good, else the refusal.
    """
    match = _AUTHORIZATION.match(request.header("authorization") or "")
    if match is None:
        return Refusal(403, "IncompleteSignatureException", "Authorization header is not complete.", shape="aws")
    credential = credentials.get(match["key"])
    if credential is None:
        return forbidden("UnrecognizedClientException", "The security token included in the request is invalid.")
    problem = (
        _token(request, credential, now)
        or _time(request, now)
        or _scope(request, match["scope"], region, service)
        or _headers(request, match["signed"].split(";"))
    )
    if problem is not None:
        return problem
    expected = signature(request, credential.secret, match["scope"], match["signed"])
    if not hmac.compare_digest(expected, match["signature"]):
        return forbidden("InvalidSignatureException", MISMATCH)
    return None


def _token(request: Seen, credential: Credential, now: float) -> Refusal | None:
    if request.header("x-amz-security-token") != credential.session_token:
        return forbidden("UnrecognizedClientException", "The security token included in the request is invalid.")
    if credential.expires is not None and now >= credential.expires:
        return forbidden("ExpiredTokenException", "The security token included in the request is expired")
    return None


def _time(request: Seen, now: float) -> Refusal | None:
    stamp = request.header("x-amz-date")
    try:
        signed_at = datetime.strptime(stamp or "", _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return forbidden("IncompleteSignatureException", "Authorization header requires existence of a 'X-Amz-Date'.")
    server = datetime.fromtimestamp(now, UTC)
    if signed_at < server - MAX_SKEW:
        limit, here = f"{server - MAX_SKEW:{_STAMP}}", f"{server:{_STAMP}}"
        wording = f"Signature expired: {stamp} is now earlier than {limit} ({here} - 5 min.)"
        return forbidden("InvalidSignatureException", wording)
    if signed_at > server + MAX_SKEW:
        limit, here = f"{server + MAX_SKEW:{_STAMP}}", f"{server:{_STAMP}}"
        wording = f"Signature not yet current: {stamp} is still later than {limit} ({here} + 5 min.)"
        return forbidden("InvalidSignatureException", wording)
    return None


def _scope(request: Seen, scope: str, region: str, service: str) -> Refusal | None:
    day, *rest = scope.split("/")
    if day != (request.header("x-amz-date") or "")[:8]:
        return forbidden("InvalidSignatureException", f"Date in Credential scope does not match: '{day}'.")
    if len(rest) != 3 or rest[2] != "aws4_request":
        return forbidden(
            "InvalidSignatureException", "Credential should be scoped with a valid terminator: 'aws4_request'."
        )
    if rest[0] != region:
        return forbidden("InvalidSignatureException", f"Credential should be scoped to a valid region: '{region}'.")
    if rest[1] != service:
        return forbidden("InvalidSignatureException", f"Credential should be scoped to correct service: '{service}'.")
    return None


def _headers(request: Seen, signed: list[str]) -> Refusal | None:
    """Host and every ``x-amz-`` header must be signed; a stated payload hash must be true."""
    must = {"host"} | {name.lower() for name, _ in request.headers if name.lower().startswith("x-amz-")}
    missing = sorted(must - set(signed))
    if missing:
        return forbidden(
            "InvalidSignatureException",
            f"There were headers present in the request which were not signed: {', '.join(missing)}",
        )
    stated = request.header("x-amz-content-sha256")
    if stated is not None and stated != hashlib.sha256(request.body).hexdigest():
        return forbidden("InvalidSignatureException", MISMATCH)
    return None


def signature(request: Seen, secret: str, scope: str, signed: str) -> str:
    """The signature that this request has to carry."""
    stamp = request.header("x-amz-date") or ""
    hashed = hashlib.sha256(canonical_request(request, signed).encode()).hexdigest()
    text = "\n".join((ALGORITHM, stamp, scope, hashed))
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def canonical_request(request: Seen, signed: str) -> str:
    """The canonical request, from what arrived on the wire."""
    lines = []
    for name in signed.split(";"):
        values = (" ".join(value.split()) for value in request.all(name))
        lines.append(f"{name}:{','.join(values)}\n")
    return "\n".join((
        request.method,
        canonical_path(request.path),
        canonical_query(request.query),
        "".join(lines),
        signed,
        hashlib.sha256(request.body).hexdigest(),
    ))  # fmt: skip


def canonical_path(path: str) -> str:
    """The wire's path with dot segments and empty ones removed, every segment encoded once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept[-1:] = []
        elif segment not in ("", "."):
            kept.append(segment)
    slash = "/" if kept and path.endswith("/") else ""
    return "/" + "/".join(quote(segment, safe="-_.~") for segment in kept) + slash


def canonical_query(query: str) -> str:
    """Pairs decoded, encoded again and sorted."""
    if not query:
        return ""
    pairs = (pair.partition("=") for pair in query.split("&"))
    encoded = sorted((_strict(name), _strict(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _strict(value: str) -> str:
    return quote(unquote(value), safe="-_.~")
