"""Reading files that hold secrets: what was checked is what is read.

Rule: opened first, then judged by its descriptor, then read from it. A file that is not a regular
file of this user's is refused; one that others can read is either refused (our own: whoever could
read it may have) or reported (another program's: it is not ours to be strict about).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claude_failover.errors import CredentialError

MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Read:
    """A file's content."""

    data: bytes
    loose: str = ""
    """Its mode, if others can read it."""


def read_secret_file(path: Path, what: str, *, follow: bool = False) -> Read | None:
    """Read a file; ``None`` if there is none.

    Args:
        path: The file.
        what: What it holds, for messages.
        follow: Whether it may be a symbolic link.

    Raises:
        CredentialError: It cannot be read, or is not a file of this user's.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CredentialError(f"{path}: {what} cannot be read: {error.strerror}") from error
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
            raise CredentialError(f"{path}: {what} is not in a file of this user's")
        mode = stat.S_IMODE(info.st_mode)
        return Read(os.read(descriptor, MAX_BYTES), f"{mode:04o}" if mode & 0o077 else "")
    finally:
        os.close(descriptor)


def refuse_loose(path: Path, what: str, read: Read) -> None:
    """Refuse a file that others can read.

    Raises:
        CredentialError: They can.
    """
    if read.loose:
        raise CredentialError(
            f"{path}: other users can read {what} (mode {read.loose}), so it is no secret",
            hint=f"chmod 600 {path} if nobody did, else replace it",
        )
