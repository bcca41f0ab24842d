"""Redaction: what looks like a secret, taken out of a text. The second net, never the first.

The first net is structure: an event has named fields, none of them a header, a body or a credential. This net is
for what slips through in a library's message or an upstream's error text. It errs on the side of masking.

Patterns are those of reliability-security.md 2.6, each linear in the length of the text.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Final
from urllib.parse import quote

MASK: Final = "[redacted]"

MIN_SECRET: Final = 8
"""Shorter values are not looked for: they would mask ordinary words."""

_HINTS: Final = (
    "sk-ant", "auth", "bearer", "basic ", "key", "token", "secret", "cookie", "signature", "credential", "password",
    "akia", "asia", "aroa", "aida", "absk", "eyj", "-----begin", "aws4-",
)  # fmt: skip
"""A text without any of these, in lower case, cannot match below: most texts need no search at all."""

_NAMES = (
    r"authorization|proxy-authorization|x-api-key|api[-_]?key|x-claude-failover-key|x-amz-security-token|set-cookie"
    r"|cookie|secret[-_]?access[-_]?key|aws_secret\w*|session[-_]?token|security[-_]?token|access[-_]?token"
    r"|refresh[-_]?token|auth[-_]?token|id[-_]?token|client[-_]?secret|client[-_]?key|oauth[-_]?token|password"
    r"|x-amz-(?:signature|credential)"
)
_VALUE = r"(?:\"[^\"\n]*\"?|'[^'\n]*'?|b\"[^\"\n]*|b'[^'\n]*'?|(?:bearer |basic |aws4-hmac-sha256 )?[^\s\"',;&)\]}]+)"
_NAMED = rf"((?<![\w-])[\"']?(?:{_NAMES})[\"']?\s*[:=]\s*)(?!(?:bearer |basic )?\[redacted){_VALUE}"
"""A name, its quotes if it has any, a separator, and everything up to the end of the value."""
_PATTERNS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE if ignore_case else 0), replacement)
    for pattern, replacement, ignore_case in (
        (r"-----BEGIN [A-Z ]{3,40}-----[\s\S]{0,20000}?(?:-----END [A-Z ]{3,40}-----|\Z)", MASK, False),
        (r"sk-ant-[\w-]{4,}", MASK, True),
        (r"\b(bearer|basic)\s+(?!\[redacted)[^\s\"',;]{4,}", r"\1 " + MASK, True),
        (_NAMED, r"\1" + MASK, True),
        (r"\b(signature|credential)=(?!\[redacted)[^\s,&]+", r"\1=" + MASK, True),
        (r"AWS4-HMAC-SHA256 [^\n]{0,600}", MASK, False),
        (r"(?<![A-Z0-9])(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Z0-9])", MASK, False),
        (r"\bABSK[\w+/=-]{12,}", MASK, False),
        (r"bedrock-api-key-[\w+/=-]{8,}", MASK, True),
        (r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", MASK, False),
    )
)


def is_suspicious(text: str) -> bool:
    """Whether *text* may hold what :func:`redact` takes out: a quick look, which rather sees too much."""
    lowered = text.lower()
    for hint in _HINTS:  # noqa: SIM110 - a generator costs more than all the looks, and every event comes by here
        if hint in lowered:
            return True
    return False


def redact(text: str) -> str:
    """Take out what looks like a secret."""
    if not is_suspicious(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def forms(secret: str) -> frozenset[str]:
    """Every spelling in which a known secret may turn up.

    Plain, as JSON and percent-encoded, in hexadecimal, and in base64 of both alphabets at each of the three places
    where it may begin within a longer text (``user:secret`` of Basic authentication).
    """
    if len(secret) < MIN_SECRET:
        return frozenset()
    data = secret.encode("utf-8", "surrogatepass")
    found = {secret, quote(data, safe=""), data.hex(), data.hex().upper()}
    found |= {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + data).decode("ascii").rstrip("=")
        # The first characters hold bits of what stands before, the last one bits of what comes after.
        inner = encoded[(0, 2, 3)[shift] : len(encoded) - (1 if (len(data) + shift) % 3 else 0)]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return frozenset(found)
