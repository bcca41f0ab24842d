"""The daemon's log files, read: the last lines over rotated files, and what is being written now.

The files are JSON lines, rotated by renaming: ``daemon.log`` -> ``daemon.log.1`` -> … .
Nothing here asks the daemon: a log is most wanted when there is none.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, BinaryIO, Final

from claude_failover.clock import pause
from claude_failover.core.types import Epoch, Seconds

LEVELS: Final = ("debug", "info", "warning", "error", "critical")

POLL: Final = Seconds(0.2)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log."""

    raw: str
    at: Epoch | None
    level: str
    name: str
    fields: dict[str, Any]


def parse(text: str) -> Line:
    """Read a line; one that is not JSON (a traceback, another program's) is kept as it is."""
    try:
        tree = json.loads(text)
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        return Line(text, None, "info", text, {})
    moment, level, name = tree.pop("ts", None), str(tree.pop("level", "info")).lower(), str(tree.pop("event", ""))
    return Line(text, _epoch(moment), level, name, tree)


def _epoch(stamp: object) -> Epoch | None:
    try:
        parsed = datetime.fromisoformat(str(stamp))
    except ValueError:
        return None
    return Epoch((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines."""

    level: str = "debug"
    since: Epoch | None = None

    def takes(self, line: Line) -> bool:
        """Whether *line* is among them. A line without a time belongs to the one before it and is kept."""
        if line.level in LEVELS and LEVELS.index(line.level) < LEVELS.index(self.level):
            return False
        return self.since is None or line.at is None or line.at >= self.since


def rotated(path: Path) -> list[Path]:
    """Name the log and its rotated forerunners, oldest first."""
    numbered = [
        (int(one.name.rpartition(".")[2]), one)
        for one in path.parent.glob(f"{path.name}.*")
        if one.name.rpartition(".")[2].isdigit()
    ]
    return [one for _, one in sorted(numbered, reverse=True)] + ([path] if path.exists() else [])


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, whatever the file's name is by now: where following goes on."""

    device: int
    inode: int
    offset: int


def last_lines(path: Path, count: int | None, wanted: Wanted, upto: Mark | None = None) -> list[Line]:
    """Read the last *count* wanted lines (``None`` = all) over the rotated files, but nothing from *upto* on."""
    kept: deque[Line] = deque(maxlen=count)
    for file in rotated(path):
        with file.open("rb") as source:
            here = os.fstat(source.fileno())
            last = upto is not None and (here.st_dev, here.st_ino) == (upto.device, upto.inode)
            left = upto.offset if upto is not None and last else None
            for raw in source:
                if left is not None:
                    left -= len(raw)
                    if left < 0:
                        break
                line = parse(raw.decode("utf-8", "replace").rstrip("\r\n"))
                if line.raw and wanted.takes(line):
                    kept.append(line)
        if last:
            break
    return list(kept)


class Follower:
    """Reads what is appended to *path*, and goes with it when it is rotated, truncated or not there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def skip_to_end(self) -> Mark | None:
        """Begin after the whole lines that are there now; says where that is, ``None`` if there is no file yet."""
        if not self._open() or self._file is None:
            return None
        data = self._file.read()
        self._rest = data[data.rfind(b"\n") + 1 :]
        here = os.fstat(self._file.fileno())
        return Mark(here.st_dev, here.st_ino, len(data) - len(self._rest))

    def read(self) -> Iterator[str]:
        """Give the complete lines that have come since the last call."""
        while self._file is not None or self._open():
            file = self._file
            if file is None:
                return
            data = file.read()
            if data:
                *lines, self._rest = (self._rest + data).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines if line)
            if not self._moved(file):
                return

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return False
        self._rest = b""
        return True

    def _moved(self, file: BinaryIO) -> bool:
        """Whether another file has the name now, or this one was cut; then reading goes on there, from its start."""
        mine = os.fstat(file.fileno())
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False  # between the two renames of a rotation; the next look will tell
        if (named.st_dev, named.st_ino) != (mine.st_dev, mine.st_ino):
            if file.read(1):
                file.seek(-1, 1)
                return True  # something was written to the old file between our read and the rename
            self.close()
            return True
        if named.st_size < file.tell():
            file.seek(0)
            self._rest = b""
            return True
        return False


def follow(
    follower: Follower, wanted: Wanted, show: Callable[[Line], None], until: Callable[[], bool] = lambda: False
) -> None:
    """Show each wanted line as it comes, until *until* says so or an interrupt does."""
    try:
        while not until():
            for text in follower.read():
                line = parse(text)
                if wanted.takes(line):
                    show(line)
            pause(POLL)
    finally:
        follower.close()


_STYLE: Final = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}


def readable(line: Line, *, colour: bool, zone: tzinfo | None = None) -> str:
    """Write a line for people: local time, level, event, then its fields as ``name=value``."""
    if line.at is None:
        return line.raw
    then = datetime.fromtimestamp(line.at, tz=UTC).astimezone(zone)
    stamp = then.strftime("%m-%d %H:%M:%S.") + f"{then.microsecond // 1000:03d}"
    fields = " ".join(
        f"{name}={_money(value) if name.endswith('_usd') else _value(value)}"
        for name, value in line.fields.items()
        if value is not None
    )
    text = f"{stamp} {line.level:<8} {line.name:<24} {fields}".rstrip()
    style = _STYLE.get(line.level, "") if colour else ""
    return f"{style}{text}\x1b[0m" if style else text


def _money(value: object) -> str:
    """Dollars: a cheap request's too, which three decimals would show as nothing."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else _value(value)


def _value(value: object) -> str:
    if isinstance(value, str):
        plain = value and all(letter.isprintable() and letter not in ' "=' for letter in value)
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return json.dumps(value, ensure_ascii=False)
