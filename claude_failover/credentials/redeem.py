"""Redeeming a refresh token: one request to a token endpoint. Blocks.

Rule: within a limit, whatever the other side does: connect, every read and the whole. No redirect
is followed, because the body is a secret. The answer's new refresh token replaces the old one, which
works no more from that moment (claude.md 2; RFC 6749, 6).
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO, Any, Final

import msgspec

from claude_failover.clock import Clock, SystemClock
from claude_failover.core.request import UNREADABLE
from claude_failover.core.types import Epoch, Seconds
from claude_failover.credentials.secret import Secret

ENDPOINT: Final = "https://platform.claude.com/v1/oauth/token"
CLIENT_ID: Final = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
"""Public: the one that logins of claude.ai are issued to (claude.md 2)."""

LIMIT: Final = Seconds(30.0)
_ONE_STEP: Final = 10.0
_MAX_ANSWER: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A new pair."""

    access: Secret
    refresh: Secret | None
    expires: Epoch | None


class RefreshFailed(Exception):  # noqa: N818 - named for what is the case
    """No new pair came. *final*: none will, with this refresh token."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class _Answer(msgspec.Struct):
    access_token: str
    refresh_token: str | None = None
    expires_in: float | None = None


class _Error(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"null")


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def redeem(refresh: Secret, endpoint: str = ENDPOINT, clock: Clock | None = None, limit: Seconds = LIMIT) -> Redeemed:
    """Exchange *refresh* for a new pair.

    Raises:
        RefreshFailed: It did not work; says why, without any secret.
    """
    clock = clock or SystemClock()
    ends = clock.now().monotonic + limit
    question = {"grant_type": "refresh_token", "refresh_token": refresh.reveal(), "client_id": CLIENT_ID}
    request = urllib.request.Request(  # noqa: S310 - a constant, or a test's loopback address
        endpoint,
        msgspec.json.encode(question),
        {"content-type": "application/json", "accept": "application/json", "user-agent": "claude-failover"},
        method="POST",
    )
    handlers: list[urllib.request.BaseHandler] = [_StayHere()]
    if endpoint.startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=min(_ONE_STEP, limit)) as response:
            data = _read(response, clock, ends)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error.code, error.read(_MAX_ANSWER)) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        kind = reason if isinstance(reason, str) else type(reason).__name__
        raise RefreshFailed(f"the token endpoint cannot be reached: {kind}") from None
    return _new_pair(data, clock)


def _read(response: IO[bytes], clock: Clock, ends: float) -> bytes:
    """Read the answer in steps: each has the socket's limit, all of them together ours."""
    data = b""
    while len(data) <= _MAX_ANSWER:
        if clock.now().monotonic >= ends:
            raise RefreshFailed("the token endpoint is too slow")
        read_some = getattr(response, "read1", response.read)
        piece = read_some(4096)
        if not piece:
            return data
        data += piece
    raise RefreshFailed("the token endpoint's answer is too long")


def _new_pair(data: bytes, clock: Clock) -> Redeemed:
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except UNREADABLE:
        raise RefreshFailed("the token endpoint's answer is not understood") from None
    expires = None if answer.expires_in is None else Epoch(clock.now().wall + answer.expires_in)
    refresh = Secret(answer.refresh_token) if answer.refresh_token else None
    return Redeemed(Secret(answer.access_token), refresh, expires)


def _refused(status: int, body: bytes) -> RefreshFailed:
    """RFC 6749, 5.2: ``invalid_grant`` is the end of this refresh token; everything else may pass."""
    try:
        code = msgspec.json.decode(body, type=_Error).error
    except UNREADABLE:
        code = msgspec.Raw(b"")
    if b"invalid_grant" in bytes(code):
        return RefreshFailed("the refresh token was revoked, or used elsewhere", final=True)
    return RefreshFailed(f"the token endpoint answered {status}")
