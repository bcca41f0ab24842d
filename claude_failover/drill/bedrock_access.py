"""Who may call the simulated Bedrock, and what must never arrive there.

Signature or Bedrock API key, never both; never anything of Anthropic's, and none of the client's own headers
(wire/bedrock.md 1.1, 2.1, 6.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from claude_failover.drill.script import Refusal, Seen
from claude_failover.drill.sigv4 import Credential, forbidden, verify

ACCESS_KEY = "AKIASIMULATED0000001"
SECRET_KEY = "simulated/secret+key/worth/nothing/00001"  # noqa: S105 - made up, for loopback only
API_KEY = "ABSKsimulated-and-worth-nothing"
"""What the simulator accepts unless it is told otherwise."""

KEY_PREFIXES = ("ABSK", "bedrock-api-key-")
"""Long-term and short-term keys (wire/bedrock.md 6.2)."""

CLIENT_HEADERS = (
    "x-stainless-", "x-app", "x-claude-code", "x-claude-failover", "anthropic-dangerous", "anthropic-usage-limit",
    "anthropic-dispatch-id", "x-client-request-id", "cookie", "anthropic-organization-id",
)  # fmt: skip
"""Prefixes of headers that belong to the client's talk with Anthropic."""


@dataclass(slots=True)
class Account:
    """The simulated AWS account's credentials."""

    region: str
    credentials: dict[str, Credential]
    """By access key."""
    api_keys: set[str] = field(default_factory=set)

    def check(self, request: Seen, service: str, now: float, *, keyed: bool) -> Refusal | None:
        """Refuse whoever is not let in; *keyed* routes also take ``x-api-key``."""
        authorization = request.header("authorization")
        key = request.header("x-api-key") if keyed else None
        if authorization is not None and key is not None:
            return Refusal(
                400, "invalid_request_error", "Cannot provide both an API key and an Authorization header.",
                shape="anthropic",
            )  # fmt: skip
        if authorization is None and key is None:
            return forbidden("MissingAuthenticationTokenException", "Authorization header is missing")
        if authorization is not None and not authorization.startswith("Bearer "):
            return verify(request, self.credentials, self.region, service, now)
        return self._key(key if key is not None else (authorization or "").removeprefix("Bearer "))

    def _key(self, key: str) -> Refusal | None:
        if key in self.api_keys:
            return None
        if key.startswith(KEY_PREFIXES):
            return Refusal(403, "AccessDeniedException", "The API key is not valid.", shape="aws-capital")
        return Refusal(
            403, "AccessDeniedException", "Invalid API Key format: Must start with pre-defined prefix",
            shape="aws-capital",
        )  # fmt: skip


def leaks(request: Seen) -> list[str]:
    """Everything in a request that must never have come to AWS; names, never values."""
    found = []
    if "sk-ant-" in request.target:
        found.append("an Anthropic credential in the target at Bedrock")
    for name, value in request.headers:
        lower = name.lower()
        if "sk-ant-" in value or "sk-ant-" in lower:
            found.append(f"an Anthropic credential at Bedrock: {lower}")
        if "oauth-2025-04-20" in value:
            found.append(f"the oauth beta at Bedrock: {lower}")
        if lower.startswith(CLIENT_HEADERS):
            found.append(f"a header of the client's at Bedrock: {lower}")
        if lower == "user-agent" and "claude-cli" in value:
            found.append("the client's user-agent at Bedrock")
    if b'"oauth-2025-04-20"' in request.body:
        found.append("the oauth beta in the body at Bedrock")
    return found


def by_key(*credentials: Credential) -> Mapping[str, Credential]:
    """Index credentials by access key."""
    return {item.access_key: item for item in credentials}
