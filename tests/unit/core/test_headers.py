"""Which header lines cross which border."""

from __future__ import annotations

from claude_failover.core import headers


def test_the_first_value_counts_whatever_the_spelling() -> None:
    lines = (("X-A", "1"), ("x-a", "2"))
    assert headers.get(lines, "x-a") == "1"
    assert headers.get(lines, "x-b") is None
    assert headers.get(lines, "x-aa") is None


def test_to_the_primary_everything_goes_as_it_came_but_the_hop_and_ours() -> None:
    lines = (
        ("Host", "127.0.0.1:8484"),
        ("Authorization", "Bearer made-up"),
        ("anthropic-beta", "b,a"),
        ("anthropic-beta", "c"),
        ("X-Stainless-OS", "Linux"),
        ("Connection", "keep-alive, X-Private"),
        ("x-private", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "12"),
        ("Content-Encoding", "gzip"),
        ("Accept-Encoding", "gzip, br"),
        ("Expect", "100-continue"),
        ("X-Claude-Failover-Key", "secret"),
        ("x-claude-failover-force", "bedrock"),
        ("TE", "trailers"),
        ("x-new-thing", "kept"),
    )
    assert headers.to_primary(lines) == (
        ("Authorization", "Bearer made-up"),
        ("anthropic-beta", "b,a"),
        ("anthropic-beta", "c"),
        ("X-Stainless-OS", "Linux"),
        ("Content-Encoding", "gzip"),
        ("x-new-thing", "kept"),
        ("accept-encoding", "identity"),
    )


def test_to_the_client_the_limits_and_ids_come_back() -> None:
    lines = (
        ("Date", "Sun, 22 Nov 2026 10:00:00 GMT"),
        ("Server", "cloudflare"),
        ("Connection", "close"),
        ("request-id", "req_1"),
        ("retry-after", "7"),
        ("x-should-retry", "true"),
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("Set-Cookie", "a"),
        ("set-cookie", "b"),
        ("content-length", "3"),
        ("x-claude-failover-backend", "forged"),
    )
    assert headers.to_client(lines) == (
        ("Date", "Sun, 22 Nov 2026 10:00:00 GMT"),
        ("Server", "cloudflare"),
        ("request-id", "req_1"),
        ("retry-after", "7"),
        ("x-should-retry", "true"),
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("Set-Cookie", "a"),
        ("set-cookie", "b"),
        ("content-length", "3"),
    )


def test_a_body_that_is_not_relayed_whole_has_no_length() -> None:
    assert headers.to_client((("Content-Length", "3"), ("request-id", "req_1")), whole=False) == (
        ("request-id", "req_1"),
    )


def test_lines_can_be_left_out_by_name() -> None:
    assert headers.without((("A", "1"), ("b", "2"), ("a", "3")), "a") == (("b", "2"),)
