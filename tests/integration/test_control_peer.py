"""Who is at the other end of the control socket, as macOS tells it."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from claude_failover.control.server import Peer, peer_of


class OfMac(socket.socket):
    """Answers ``LOCAL_PEERCRED`` (sys/un.h: 1, at level 0) with ``struct xucred`` (sys/ucred.h), for uid 501."""

    answer: bytes | None = struct.pack("=IIhxx16I", 0, 501, 1, 20, *[0] * 15)

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes:  # type: ignore[override]
        if self.answer is None or (level, option, size) != (0, 1, 76):
            raise OSError(57, "Socket is not connected")
        return self.answer


class Transport(asyncio.BaseTransport):
    """A connection of the control server."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__()
        self._end = end

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._end if name == "socket" else default


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other, monkeypatch.context() as patch:
        patch.setattr(socket, "socket", OfMac)
        patch.setattr(sys, "platform", "darwin")
        yield Transport(one)


def test_macos_names_the_uid(transport: Transport) -> None:
    assert peer_of(transport) == Peer(501)


def test_what_macos_does_not_say_is_nobody(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OfMac, "answer", None)
    assert peer_of(transport) is None
