"""Making the process hard to look into, giving it the descriptors that a thousand streams need, and few pauses.

Source of the effects: prctl(2) PR_SET_DUMPABLE (other processes of the same user can no longer read
/proc/PID/environ and /proc/PID/mem), setrlimit(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4

WANTED_FILES: Final = 65_536
"""Two descriptors per stream, and room."""

GARBAGE_AFTER: Final = 10_000
"""Objects more than before, until the garbage collector looks for cycles among the new ones; Python's own is 700."""


def harden(*, debuggable: bool = False) -> None:
    """No core dumps, no peeking by other processes, private files, as many descriptors as we may have.

    Args:
        debuggable: Leave the process open to debuggers and profilers of the same user.
    """
    os.umask(0o077)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    raise_file_limit()
    if sys.platform == "linux" and not debuggable:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_file_limit() -> int:
    """Raise the soft limit of descriptors towards the hard one; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


def settle_down() -> None:
    """Once everything is loaded: spare the garbage collector what stays for ever.

    A full collection looks at every object, and stops every stream meanwhile: tens of milliseconds for what is
    loaded here (measured). And it looks less often: a request that is answered leaves no cycle behind (measured: none
    in 1,500), while a crowd of them would be looked through over and over for nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)


def give_back() -> None:
    """Return memory that is free to the system: what a burst of large requests needed is not needed for ever.

    glibc keeps what is freed below something that is not; ``malloc_trim(3)`` finds it. Call this in a thread: it takes
    milliseconds. Where there is no such function, nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
