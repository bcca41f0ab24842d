"""Heads that a careful client sends are read, all others are refused."""

from __future__ import annotations

import pytest

from claude_failover.drill.http1 import BadRequest, parse_head, phrase


def test_a_head_is_read_as_it_came() -> None:
    head = parse_head(b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: x\r\nAnthropic-Beta: a \r\nanthropic-beta:b")
    assert (head.method, head.target) == ("POST", "/v1/messages?beta=true")
    assert head.headers == (("Host", "x"), ("Anthropic-Beta", "a"), ("anthropic-beta", "b"))


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /\r\nHost: x",
        b"POST / HTTP/1.0\r\nHost: x",
        b"PO ST / HTTP/1.1\r\nHost: x",
        b"POST http://x/ HTTP/1.1\r\nHost: x",
        b"POST /\xc3\xa4 HTTP/1.1\r\nHost: x",
        b"POST / HTTP/1.1",
        b"POST / HTTP/1.1\r\nHost: x\r\nHost: y",
        b"POST / HTTP/1.1\r\nHost: x\r\n folded",
        b"POST / HTTP/1.1\r\nHost: x\r\nbad name: y",
        b"POST / HTTP/1.1\r\nHost: x\r\na: b\nc",
    ],
)
def test_anything_doubtful_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_head(raw)


def test_a_header_that_may_come_once_comes_once() -> None:
    head = parse_head(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\ncontent-length: 2")
    with pytest.raises(BadRequest):
        head.only("content-length")


def test_statuses_without_a_name_have_a_phrase() -> None:
    assert (phrase(200), phrase(529)) == ("OK", "Unknown")
