"""What a pasted or found token is, by how it begins, and why it cannot be used.

Source: the prefixes of Anthropic's credentials as in claude.md 1.6 and 2 and reliability-security.md 2.6.
An unknown shape is no error: gateways issue their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from claude_failover.credentials.client_key import PREFIX as CLIENT_KEY
from claude_failover.credentials.secret import Secret

LOGIN: Final = "login token"
API_KEY: Final = "api key"
BEARER: Final = "bearer token"

_OAUTH: Final = "sk-ant-oat"
_KEY: Final = "sk-ant-api"
_USELESS: Final = {
    "sk-ant-ort": "is a refresh token; the access token beside it begins with sk-ant-oat",
    "sk-ant-admin": "is an admin key, which cannot send messages",
    "sk-ant-sid": "is a session cookie of the web page, which the API does not take",
    CLIENT_KEY: "is claude-failover's own client key and means nothing to Anthropic",
    "ABSK": "is a Bedrock API key; it belongs to: claude-failover token set bedrock",
    "bedrock-api-key-": "is a Bedrock API key; it belongs to: claude-failover token set bedrock",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a value looks like."""

    kind: str
    problem: str = ""
    """A verb phrase: why it is no use."""


def shape_of(value: Secret, otherwise: str = BEARER) -> Shape:
    """Tell what *value* is; *otherwise*: what an unknown shape is taken for."""
    text = value.reveal()
    if not text:
        return Shape("", "is empty")
    if not text.isascii() or not text.isprintable() or any(character.isspace() for character in text):
        return Shape("", "holds white space or other characters that no token has: was it pasted whole?")
    for prefix, problem in _USELESS.items():
        if text.startswith(prefix):
            return Shape("", problem)
    if text.startswith(_OAUTH):
        return Shape(LOGIN)
    return Shape(API_KEY if text.startswith(_KEY) else otherwise)
