from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler

import pytest

from claude_failover.clock import FakeClock
from claude_failover.core.types import Seconds
from claude_failover.credentials import redeem as module
from claude_failover.credentials.redeem import RefreshFailed, redeem
from claude_failover.credentials.secret import Secret
from tests.token_endpoint import TokenEndpoint, reply


def test_a_refresh_token_is_exchanged_for_a_new_pair_once() -> None:
    clock = FakeClock(wall=1_000.0)
    with TokenEndpoint(lives=60.0) as endpoint:
        pair = redeem(Secret("worth-nothing-refresh-0"), endpoint.url, clock)
        assert pair.access.reveal() == "sk-ant-oat01-worth-nothing-0001"
        assert pair.refresh is not None
        assert pair.refresh.reveal() == "worth-nothing-refresh-1"
        assert pair.expires == 1_060.0
        assert endpoint.requests == [
            {
                "grant_type": "refresh_token",
                "refresh_token": "worth-nothing-refresh-0",
                "client_id": "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
            }
        ]
        with pytest.raises(RefreshFailed, match="revoked, or used elsewhere") as caught:
            redeem(Secret("worth-nothing-refresh-0"), endpoint.url, clock)
        assert caught.value.final


def test_an_answer_may_leave_the_refresh_token_and_the_end_out() -> None:
    with TokenEndpoint() as endpoint:
        endpoint.answer = lambda handler: reply(handler, 200, {"access_token": "sk-ant-oat01-worth-nothing"})
        pair = redeem(Secret("worth-nothing-refresh-0"), endpoint.url)
    assert (pair.refresh, pair.expires) == (None, None)


@pytest.mark.parametrize(
    ("status", "body", "says", "final"),
    [
        (401, {"error": "invalid_grant"}, "revoked", True),
        (400, {"type": "error", "error": {"type": "invalid_grant", "message": "x"}}, "revoked", True),
        (400, {"error": "invalid_request"}, "answered 400", False),
        (429, b"slow down", "answered 429", False),
        (503, b"", "answered 503", False),
        (200, b"<html>", "is not understood", False),
        (200, {"access": 1}, "is not understood", False),
        (200, b"x" * 70_000, "is too long", False),
    ],
)
def test_what_an_endpoint_refuses_says_whether_there_is_hope(status: int, body: object, says: str, final: bool) -> None:
    with TokenEndpoint() as endpoint:
        endpoint.answer = lambda handler: reply(handler, status, body)
        with pytest.raises(RefreshFailed, match=says) as caught:
            redeem(Secret("worth-nothing-refresh-secret"), endpoint.url)
    assert caught.value.final is final
    assert "worth-nothing-refresh-secret" not in str(caught.value)


def test_a_redirect_is_not_followed_with_the_secret() -> None:
    with TokenEndpoint() as thief, TokenEndpoint() as endpoint:
        endpoint.answer = lambda handler: reply(handler, 307, {}, Location=thief.url)
        with pytest.raises(RefreshFailed, match="answered 307"):
            redeem(Secret("worth-nothing-refresh-0"), endpoint.url)
        assert thief.requests == []


def test_nobody_there() -> None:
    with pytest.raises(RefreshFailed, match="cannot be reached: ConnectionRefusedError"):
        redeem(Secret("worth-nothing-refresh-0"), "http://127.0.0.1:1/")
    with pytest.raises(RefreshFailed, match="cannot be reached"):
        redeem(Secret("worth-nothing-refresh-0"), "https://127.0.0.1:1/")


def test_an_endpoint_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ONE_STEP", 0.05)
    with TokenEndpoint() as endpoint:
        endpoint.delay = 5.0
        with pytest.raises(RefreshFailed, match="cannot be reached: TimeoutError"):
            redeem(Secret("worth-nothing-refresh-0"), endpoint.url)


def test_an_endpoint_that_drips_is_given_up() -> None:
    def drip(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.02)  # noqa: TID251 - a slow server, in a thread of its own
        return True

    with TokenEndpoint() as endpoint:
        endpoint.answer = drip
        with pytest.raises(RefreshFailed, match="is too slow"):
            redeem(Secret("worth-nothing-refresh-0"), endpoint.url, limit=Seconds(0.2))
