"""Whose connection it is: asked of the kernel about real sockets; and what the data port makes of the answer."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from claude_failover.proxy.neighbours import Neighbours, ends

OWN = os.geteuid()
ANOTHER = OWN + 1
"""As whom we would have to run for our own connections to be another user's."""


@contextmanager
def connected(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: the client's, ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, 0), family=family))
        client = stack.enter_context(socket.create_connection(listener.getsockname()[:2]))
        ours = stack.enter_context(listener.accept()[0])
        yield client, ours


@pytest.fixture
def neighbours() -> Iterator[Neighbours]:
    """As somebody sees it who is neither root nor us."""
    made = Neighbours(ANOTHER)
    made._own = {ANOTHER}
    yield made
    made.close()


def test_our_own_connections_are_nobody_elses() -> None:
    made = Neighbours()
    with connected() as (_, ours):
        assert made.stranger(ours.getsockname(), ours.getpeername()) is None
    made.close()


def test_what_cannot_be_found_out_is_nobodys(neighbours: Neighbours) -> None:
    with connected() as (client, ours):
        addresses = ours.getsockname(), ours.getpeername()
        assert neighbours.stranger(("127.0.0.1", 1), ("127.0.0.1", 2)) is None
        assert neighbours.stranger(("192.0.2.1", 80), ("192.0.2.7", 40_000)) is None
        assert neighbours.stranger(("here", 80), ("there", 81)) is None
        assert neighbours.stranger(("127.0.0.1", 80), ("::1", 81)) is None
        client.close()
        assert neighbours.stranger(*addresses) is None


def test_without_a_kernel_that_tells_it_is_nobodys(neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "AF_NETLINK", -1, raising=False)
    with connected() as (_, ours):
        assert neighbours.stranger(ours.getsockname(), ours.getpeername()) is None


async def test_the_ends_of_a_connection_that_is_gone_are_not_there() -> None:
    class Gone:
        def get_extra_info(self, name: str) -> None:
            return None

    assert ends(Gone()) is None
    with connected() as (client, ours):
        _, writer = await asyncio.open_connection(sock=ours.dup())
        assert ends(writer.transport) == (ours.getsockname(), client.getsockname())
        writer.close()
        await writer.wait_closed()


if sys.platform == "linux":

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    def test_the_far_ends_user_is_known(neighbours: Neighbours, host: str) -> None:
        with connected(host) as (client, ours):
            assert neighbours.stranger(ours.getsockname(), ours.getpeername()) == OWN
            client.shutdown(socket.SHUT_WR)  # he still wants the answer
            assert neighbours.stranger(ours.getsockname(), ours.getpeername()) == OWN
        # A line to the kernel that was lost is opened again.
        neighbours.close()
        with connected(host) as (_, ours):
            assert neighbours.stranger(ours.getsockname(), ours.getpeername()) == OWN

    def test_an_answer_to_another_question_is_not_taken(neighbours: Neighbours) -> None:
        with connected() as (_, ours):
            addresses = ours.getsockname(), ours.getpeername()
            assert neighbours.stranger(*addresses) == OWN
            assert neighbours._kernel is not None
            neighbours._kernel.send(b"\x10\0\0\0\x14\0\x05\0" + bytes(8))  # too short a question: it is refused
            assert neighbours.stranger(*addresses) is None
