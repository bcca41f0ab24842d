"""Framing: the head says what the wire makes of the body, truly unless it is told to lie."""

from __future__ import annotations

import gzip

import pytest

from claude_failover.core.types import Usage
from claude_failover.drill.playback import Body, Part, Reply
from claude_failover.drill.script import Seen, Wire

DATE = "Wed, 18 Nov 2026 11:06:40 GMT"
PARTS = (Part(b"first"), Part(b"second", usage=Usage(input=1), last=True))


def body(
    wire: Wire | None = None, *, stream: bool = True, status: int = 200, method: str = "POST", headers: str = ""
) -> Body:
    request = Seen(1, method, "/", (("Connection", headers),) if headers else (), b"", 1, 0.0)
    return Body(request, Reply(status, (("x-one", "1"),), PARTS, wire or Wire(), stream=stream, content_type="text/x"))


def lines(it: Body) -> list[str]:
    return it.head(DATE).decode().removesuffix("\r\n\r\n").split("\r\n")


def sent(it: Body) -> bytes:
    return b"".join(piece for part in it.parts() for piece in it.pieces(part.data)) + it.end


def test_a_stream_is_chunked() -> None:
    it = body()
    assert lines(it) == [
        "HTTP/1.1 200 OK", f"date: {DATE}", "content-type: text/x", "transfer-encoding: chunked", "x-one: 1",
    ]  # fmt: skip
    assert sent(it) == b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"
    assert it.keeps_open


def test_a_whole_body_has_a_length() -> None:
    it = body(stream=False)
    assert "content-length: 11" in lines(it)
    assert sent(it) == b"firstsecond"


def test_a_body_until_close_says_nothing_of_its_length() -> None:
    it = body(Wire(framing="close"))
    assert lines(it)[3:] == ["connection: close", "x-one: 1"]
    assert sent(it) == b"firstsecond"
    assert not it.keeps_open


@pytest.mark.parametrize("error", [7, -7])
def test_a_lie_about_the_length_ends_the_connection(error: int) -> None:
    it = body(Wire(length_error=error))
    assert f"content-length: {11 + error}" in lines(it)
    assert not it.keeps_open


@pytest.mark.parametrize(("status", "method"), [(204, "POST"), (304, "GET"), (200, "HEAD")])
def test_where_http_allows_no_body_there_is_none(status: int, method: str) -> None:
    assert sent(body(status=status, method=method)) == b""


def test_a_client_that_wants_to_close_is_obeyed() -> None:
    assert not body(headers="Close").keeps_open
    assert body(headers="keep-alive").keeps_open


def test_drips_are_framed_one_by_one() -> None:
    assert sent(body(Wire(drip=4))) == b"4\r\nfirs\r\n1\r\nt\r\n4\r\nseco\r\n2\r\nnd\r\n0\r\n\r\n"


def test_gzip_keeps_what_the_parts_told() -> None:
    it = body(Wire(gzip="good"))
    (part,) = it.parts()
    assert gzip.decompress(part.data) == b"firstsecond"
    assert (part.usage, part.last) == (Usage(input=1), True)
    assert "content-encoding: gzip" in lines(it)


def test_the_replys_own_date_wins() -> None:
    request = Seen(1, "POST", "/", (), b"", 1, 0.0)
    it = Body(request, Reply(529, (("Date", "then"),)))
    assert [line for line in lines(it) if "ate: " in line] == ["Date: then"]
    assert lines(it)[0] == "HTTP/1.1 529 Unknown"
