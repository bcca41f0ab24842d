"""AWS Signature Version 4 over exactly the bytes and the path that go out.

Rule: the signer is given a minimal set of headers, so that nothing that a library or a proxy
may touch is signed; what it signs is sent as it was signed. The path is signed as it stands in
the request line: botocore percent-encodes it once more for the canonical request, as the
algorithm demands for every service but S3 (bedrock.md 2.1, checked against a second
implementation).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from claude_failover.core.types import Epoch, Headers

_SIGNED_PREFIX: Final = "x-amzn-bedrock-"


class Revealing(Protocol):
    """A secret that says its value when asked by name."""

    def reveal(self) -> str:
        """The value."""
        ...


class AwsCredential(Protocol):
    """A frozen triple, or a Bedrock API key."""

    @property
    def access_key(self) -> str:
        """The key's id; empty with an API key."""
        ...

    @property
    def secret_key(self) -> Revealing | None:
        """The key."""
        ...

    @property
    def session_token(self) -> Revealing | None:
        """Of temporary credentials."""
        ...

    @property
    def api_key(self) -> Revealing | None:
        """Instead of the triple: goes out as a bearer token, nothing is signed."""
        ...


def load() -> Any:
    """Import botocore's signer: 100 ms and 5 MB that a daemon which never fails over does not pay."""
    from botocore import auth, awsrequest, credentials  # noqa: PLC0415 - see above

    return auth.SigV4Auth, awsrequest.AWSRequest, credentials.ReadOnlyCredentials


def payload_hash(body: bytes) -> str:
    """The hash that stands for the body in the signature."""
    return hashlib.sha256(body).hexdigest()


def sign(
    signer: Any,
    credential: AwsCredential,
    *,
    method: str,
    url: str,
    headers: Headers,
    body_hash: str,
    service: str,
    region: str,
    now: Epoch,
) -> Headers:
    """Give the header lines that sign a request.

    Args:
        signer: What :func:`load` returned.
        credential: A triple.
        method: Of the request.
        url: Origin and target, exactly as they go out.
        headers: The request's; only ``content-type`` and ``x-amzn-bedrock-*`` are signed.
        body_hash: :func:`payload_hash` of the bytes that go out.
        service: SigV4 service name.
        region: The signing region.
        now: The time to sign with: our clock, corrected by what the server said of its own.
    """
    make_signer, make_request, make_keys = signer
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = [("x-amz-date", stamp), ("x-amz-content-sha256", body_hash)]
    if credential.session_token is not None:
        added.append(("x-amz-security-token", credential.session_token.reveal()))
    signed = [
        line for line in headers if line[0].lower() == "content-type" or line[0].lower().startswith(_SIGNED_PREFIX)
    ]
    secret = credential.secret_key.reveal() if credential.secret_key is not None else ""
    maker = make_signer(make_keys(credential.access_key, secret, None), service, region)
    request = make_request(method=method, url=url, headers=dict([*signed, *added]))
    request.context["timestamp"] = stamp
    signature = maker.signature(maker.string_to_sign(request, maker.canonical_request(request)), request)
    names = maker.signed_headers(maker.headers_to_sign(request))
    value = f"AWS4-HMAC-SHA256 Credential={maker.scope(request)}, SignedHeaders={names}, Signature={signature}"
    return (*added, ("authorization", value))
