"""A file that lines are appended to, and that is bounded: renamed when full, oldest copies removed.

Rule: nothing here raises on a disk that is full, read-only or gone. A line that cannot be written is counted and
lost, the file is opened anew at the next try, and a torn line is ended before the next one begins.
"""

from __future__ import annotations

import contextlib
import os
from itertools import accumulate
from pathlib import Path
from typing import Final

MODE: Final = 0o600


class RotatingFile:
    """Appends whole lines to *path*; keeps *backups* older files as ``path.1`` … ``path.N``."""

    def __init__(self, path: Path, *, max_bytes: int, backups: int, sync: bool = False) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.backups = backups
        self._sync = sync
        self._fd: int | None = None
        self._identity = (0, 0)
        self._size = 0
        self._torn = False
        self.error: str | None = None
        """Why the last write failed; ``None`` = it did not."""
        self.rotations = 0

    def write(self, lines: list[bytes]) -> int:
        """Append *lines*; answer how many were lost."""
        lost = 0
        group: list[bytes] = []
        size = 0
        for line in lines:
            if group and size + len(line) > self.max_bytes:
                lost += self._write_group(group)
                group, size = [], 0
            group.append(line)
            size += len(line)
        return lost + self._write_group(group) if group else lost

    def close(self) -> None:
        """Let go of the file; the next write opens it again."""
        descriptor, self._fd = self._fd, None
        if descriptor is not None:
            # A disk that is full or gone may say so only now. The number is free all the same, and soon another
            # file's or a client's: it must not be used again, not even to be closed.
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _write_group(self, lines: list[bytes]) -> int:
        """Write what fits into one file; a disk that becomes full writes a part of it, then refuses."""
        data = b"".join(lines)
        begun = written = 0
        try:
            descriptor = self._open()
            if self._size and self._size + len(data) > self.max_bytes:
                descriptor = self._rotate()
            if self._torn:
                data, begun = b"\n" + data, 1
            while written < len(data):
                written += os.write(descriptor, data[written:])
            if self._sync:
                os.fsync(descriptor)
            self.error = None
        except OSError as error:
            self.error = error.strerror or type(error).__name__
            self.close()
        if written:
            self._size += written
            self._torn = data[written - 1 : written] != b"\n"
        return sum(1 for end in accumulate(map(len, lines)) if end + begun > written)

    def _open(self) -> int:
        """Open the file unless it is open and still the one at *path*: it may have been moved or removed."""
        if self._fd is not None:
            try:
                found = self.path.stat()
                if (found.st_dev, found.st_ino) == self._identity:
                    return self._fd
            except FileNotFoundError:
                pass
            self.close()
        # No link is followed: whoever can place one here could have us append to another file.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = descriptor = os.open(self.path, flags, MODE)
        found = os.fstat(descriptor)
        self._identity = (found.st_dev, found.st_ino)
        self._size = found.st_size
        if found.st_mode & 0o077:
            os.fchmod(descriptor, MODE)
        return descriptor

    def _rotate(self) -> int:
        """Move every file one number up. A file that cannot be moved is truncated rather than let grow."""
        self.close()
        try:
            if self.backups <= 0:
                self.path.unlink(missing_ok=True)
            for number in range(self.backups, 0, -1):
                source = self._numbered(number - 1)
                if source.exists():
                    source.replace(self._numbered(number))
            for number in range(self.backups + 1, self.backups + 100):
                if not self._numbered(number).exists():
                    break
                self._numbered(number).unlink()
        except OSError:
            os.truncate(self.path, 0)
        self.rotations += 1
        self._torn = False
        return self._open()

    def _numbered(self, number: int) -> Path:
        return self.path if number == 0 else self.path.with_name(f"{self.path.name}.{number}")
