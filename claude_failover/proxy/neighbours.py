"""Whose process holds the other end of a loopback connection: the kernel is asked, once a connection (Linux).

TCP does not say who connects, but the kernel knows both ends of a connection that stays on this machine. One question
about exactly this connection costs some 15 us; listing all of them, as ``/proc/net/tcp`` does, a millisecond and more.

Rule: it can turn away, never let in. Whatever cannot be found out (another system, no answer, a client that is gone, or
on another machine) is left to the other locks: the client key first of all.

Source: sock_diag(7), linux/inet_diag.h; struct offsets as there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Any, Final

NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
NLM_F_REQUEST: Final = 1
ANY: Final = 0xFFFF_FFFF
"""Every state; and, twice, no cookie."""

_HEAD: Final = struct.Struct("=IHHII")
"""``nlmsghdr``: length, type, flags, number, port."""
_QUESTION: Final = struct.Struct("=BBBxI")
"""``inet_diag_req_v2``: family, protocol, extensions, states; then the connection."""
_PORTS: Final = struct.Struct("!HH")
_REST: Final = struct.Struct("=III")
"""The rest of ``inet_diag_sockid``: interface, cookie."""
_OWNER: Final = struct.Struct("=II")
"""In ``inet_diag_msg``: uid, inode."""
_OWNER_AT: Final = _HEAD.size + 64

Address = tuple[Any, ...]
"""As a socket names one: host and port first."""


class Neighbours:
    """Tells clients of other users from our own.

    Args:
        uid: Whose clients are our own, besides root's; this process's user unless given.
    """

    def __init__(self, uid: int | None = None) -> None:
        self._own = {0, os.geteuid() if uid is None else uid}
        self._number = 0
        self._kernel: socket.socket | None = None

    def stranger(self, ours: Address, theirs: Address) -> int | None:
        """The uid of another user who holds the far end; ``None``: nobody else, or nobody knows.

        Args:
            ours: Our end of the connection.
            theirs: The client's.
        """
        try:
            uid = self._owner(ours, theirs)
        except (OSError, ValueError, struct.error):
            self.close()
            return None
        return uid if uid is not None and uid not in self._own else None

    def close(self) -> None:
        """Let go of the line to the kernel."""
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    def _owner(self, ours: Address, theirs: Address) -> int | None:
        family = socket.AF_INET6 if ":" in ours[0] else socket.AF_INET
        if self._kernel is None:
            # Without the constant there is no such socket, and asking for it is an OSError.
            self._kernel = socket.socket(getattr(socket, "AF_NETLINK", -1), socket.SOCK_RAW, NETLINK_SOCK_DIAG)
            self._kernel.setblocking(False)  # it answers before `send` returns
        self._number = (self._number + 1) & ANY
        question = (
            _QUESTION.pack(family, socket.IPPROTO_TCP, 0, ANY)
            # The socket that we ask about is the client's: its own end first.
            + _PORTS.pack(theirs[1], ours[1])
            + _packed(family, theirs[0])
            + _packed(family, ours[0])
            + _REST.pack(0, ANY, ANY)
        )
        head = _HEAD.pack(_HEAD.size + len(question), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, self._number, 0)
        self._kernel.send(head + question)
        answer = self._kernel.recv(4096)
        _, kind, _, number, _ = _HEAD.unpack_from(answer)
        if kind != SOCK_DIAG_BY_FAMILY or number != self._number:
            return None
        uid, inode = _OWNER.unpack_from(answer, _OWNER_AT)
        return int(uid) if inode else None  # a socket that nobody holds any more belongs to nobody


def _packed(family: socket.AddressFamily, host: str) -> bytes:
    return socket.inet_pton(family, host.partition("%")[0]).ljust(16, b"\0")


def ends(transport: Any) -> tuple[Address, Address] | None:
    """Both ends of a connection; ``None`` if it is gone."""
    ours, theirs = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    with contextlib.suppress(TypeError):
        if len(ours) >= 2 and len(theirs) >= 2:
            return ours, theirs
    return None
