"""Bounds: the most tokens that a request's body can be, without counting them.

Rule: never less than the truth. A token of text is at least one byte, so text counts its bytes; an image
costs at most :data:`IMAGE_TOKENS` however large its base64 is, so that is what it counts; a PDF is billed by
its pages, text and picture of each, which its size says nothing about, so with one the model's whole context
is assumed. Only what is certainly an image's data is taken out of the bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

IMAGE_TOKENS: Final = 6_000
"""An image has at most 4,784 tokens (2,576 pixels on the long edge, models since Opus 4.7; 1,600 before).

Source: platform.claude.com/docs/en/build-with-claude/vision, "Calculate image costs"; the rest is margin.
"""

UNKNOWN: Final = 1 << 40
"""More than any context: :meth:`PriceTable.worst_case <claude_failover.core.prices.PriceTable.worst_case>` caps it."""

_NEAR: Final = 200
"""Bytes before and after an image's data within which its ``source``, a flat object, begins and ends."""

_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\"
"""With the backslash of a ``\\/`` that some serialisers write."""


_MARKS: Final = re.compile(rb'"(?:1h|base64)"')


@dataclass(frozen=True, slots=True)
class PromptBound:
    """What is known of a prompt's size and caching without reading it."""

    tokens: int
    """At most; pass it as ``prompt_bytes``."""
    hour_cache: bool
    """Whether any of it may be written to the one-hour cache, the dearest way to read a token."""


def prompt_bound(body: bytes) -> PromptBound:
    """Bound a Messages body. Never raises; a few scans at memory speed, also of 30 MB.

    Args:
        body: As it came; need not be JSON.
    """
    # One search for both: most bodies have neither, and each search of 80 KB takes 30 to 40 us (measured).
    mark = _MARKS.search(body)
    if mark is None:
        return PromptBound(len(body), hour_cache=False)
    hour = body.find(b'"1h"', mark.start()) >= 0
    if body.find(b'"base64"', mark.start()) < 0:
        return PromptBound(len(body), hour)
    if b"application/pdf" in body or b"application\\/pdf" in body:
        return PromptBound(UNKNOWN, hour)
    tokens, at = len(body), 0
    while (at := body.find(b'"data"', at)) >= 0:
        begin = body.find(b'"', at + 6) + 1
        end = body.find(b'"', begin) if begin else -1
        if end < 0:
            break
        if _is_image(body, at, begin, end):
            tokens += IMAGE_TOKENS - (end - begin)
            at = end
        else:
            at += 6
    return PromptBound(tokens, hour)


def _is_image(body: bytes, at: int, begin: int, end: int) -> bool:
    """Whether this is the ``data`` of an image source: base64 all through, its type and encoding beside it."""
    if end - begin <= IMAGE_TOKENS or body[at + 6 : begin - 1].strip() != b":":
        return False
    opened, closed = body.rfind(b"{", max(0, at - _NEAR), at), body.find(b"}", end, end + _NEAR)
    if opened < 0 or closed < 0:
        return False
    around = body[opened:at] + body[end:closed]
    named = b'"base64"' in around and (b'"image/' in around or b'"image\\/' in around)
    return named and not body[begin:end].translate(None, _BASE64)
