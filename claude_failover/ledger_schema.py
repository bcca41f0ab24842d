"""The ledger's file: its tables, how an older one is brought up to date, what is done with a broken one.

Rules:

- ``user_version`` counts migrations. Each is one ``BEGIN IMMEDIATE`` transaction; before the first of
  them an existing file is copied beside itself (``VACUUM INTO …before-vN``). A file of a newer version is
  never written to.
- A file that is no database, or one that ``quick_check`` finds damaged, is set aside with its journal
  under ``.corrupt-…`` and a new one is begun. What its daily sums still say is carried over, else the sums
  come from the little mirror beside it: a limit does not start anew because a disk had a bad day.
- Readable for nobody else (0600). One connection of one process writes; everybody else reads with
  ``mode=ro`` and never checkpoints. Versions of SQLite up to 3.51.2 can corrupt a WAL database when two
  connections write or checkpoint at the same moment (sqlite.org, "The WAL-reset bug", fixed in 3.51.3).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claude_failover.errors import LedgerError

APPLICATION_ID: Final = 0x43464C47
"""``CFLG``, so that ``file(1)`` and we know the file."""

PRIVATE: Final = 0o600

_STRICT: Final = " STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""

_FIRST: Final = (
    f"""CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        exchange TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        started_ms INTEGER NOT NULL,
        day TEXT NOT NULL,
        hour TEXT NOT NULL,
        backend TEXT NOT NULL,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        upstream_model TEXT NOT NULL,
        scope TEXT NOT NULL,
        region TEXT NOT NULL,
        surface TEXT,
        reason TEXT NOT NULL,
        outcome TEXT NOT NULL,
        detail TEXT NOT NULL,
        status INTEGER,
        ttfb_ms INTEGER,
        ttft_ms INTEGER,
        duration_ms INTEGER NOT NULL,
        input INTEGER NOT NULL,
        output INTEGER NOT NULL,
        cache_read INTEGER NOT NULL,
        write_5m INTEGER NOT NULL,
        write_1h INTEGER NOT NULL,
        web_searches INTEGER NOT NULL,
        thinking INTEGER NOT NULL,
        geo_us INTEGER NOT NULL,
        fast INTEGER NOT NULL,
        usage_state TEXT NOT NULL,
        upstream_request_id TEXT,
        session TEXT,
        agent TEXT,
        request_class TEXT,
        paid INTEGER NOT NULL,
        cost_nusd INTEGER NOT NULL,
        list_nusd INTEGER NOT NULL,
        rebuild_nusd INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        committed INTEGER NOT NULL,
        streaming INTEGER NOT NULL,
        failover INTEGER NOT NULL,
        prices_as_of TEXT NOT NULL,
        UNIQUE (exchange, attempt)
    ){_STRICT}""",
    "CREATE INDEX attempts_started ON attempts (started_ms)",
    "CREATE INDEX attempts_session ON attempts (session, started_ms) WHERE session IS NOT NULL",
    f"""CREATE TABLE days (
        day TEXT NOT NULL,
        backend TEXT NOT NULL,
        model TEXT NOT NULL,
        requests INTEGER NOT NULL DEFAULT 0,
        rescued INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        input INTEGER NOT NULL DEFAULT 0,
        output INTEGER NOT NULL DEFAULT 0,
        cache_read INTEGER NOT NULL DEFAULT 0,
        write_5m INTEGER NOT NULL DEFAULT 0,
        write_1h INTEGER NOT NULL DEFAULT 0,
        spent_nusd INTEGER NOT NULL DEFAULT 0,
        notional_nusd INTEGER NOT NULL DEFAULT 0,
        failover_nusd INTEGER NOT NULL DEFAULT 0,
        primary_nusd INTEGER NOT NULL DEFAULT 0,
        rebuild_nusd INTEGER NOT NULL DEFAULT 0,
        estimated INTEGER NOT NULL DEFAULT 0,
        partial INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (day, backend, model)
    ){_STRICT}""",
)

_SECOND: Final = (
    f"""CREATE TABLE exchanges (
        exchange TEXT PRIMARY KEY,
        started_ms INTEGER NOT NULL,
        day TEXT NOT NULL,
        hour TEXT NOT NULL,
        model TEXT NOT NULL,
        outcome TEXT NOT NULL,
        status INTEGER,
        backend TEXT,
        reason TEXT,
        duration_ms INTEGER NOT NULL,
        overhead_ms INTEGER NOT NULL,
        ttft_ms INTEGER,
        session TEXT,
        agent TEXT,
        request_class TEXT,
        failed_over INTEGER NOT NULL,
        streaming INTEGER NOT NULL,
        steps TEXT NOT NULL
    ){_STRICT}""",
    "CREATE INDEX exchanges_started ON exchanges (started_ms)",
    f"""CREATE TABLE holds (
        id TEXT PRIMARY KEY,
        day TEXT NOT NULL,
        amount_nusd INTEGER NOT NULL,
        session TEXT,
        held_ms INTEGER NOT NULL
    ){_STRICT}""",
)

MIGRATIONS: Final = (_FIRST, _SECOND)
"""Statements that lead from version N to N + 1. Never changed once released; only added to."""

VERSION: Final = len(MIGRATIONS)

MIRROR_BYTES: Final = 512
"""The mirror's size, always: a sector, which a disk writes whole or not at all even when power is cut."""

CARRIED: Final = "(carried over)"
"""The backend's name of a day's sum that was saved from a damaged file."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A ledger that is ready for writing."""

    connection: sqlite3.Connection
    set_aside: Path | None = None
    """Where a damaged file went."""
    why: str = ""
    """What was wrong with it."""
    carried: Mapping[str, int] | None = None
    """With a damaged file: nano-dollars per day that the new one starts with."""


def open_for_writing(path: Path, stamp: str) -> Opened:
    """Open, check, repair or replace, and migrate.

    Args:
        path: Of the database; its directory exists.
        stamp: Part of the name of a damaged file set aside, such as a date and time.

    Raises:
        LedgerError: A newer version wrote the file.
        sqlite3.Error: The disk is full, the directory cannot be written: may pass, and is worth another try.
    """
    try:
        return Opened(_open(path))
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        why = str(error)
    carried = _salvage(path)
    aside = set_aside(path, stamp)
    connection = _open(path)
    with immediate(connection):
        connection.executemany(
            "INSERT INTO days (day, backend, model, spent_nusd) VALUES (?, ?, '', ?)",
            [(day, CARRIED, nusd) for day, nusd in carried.items()],
        )
    return Opened(connection, aside, why, carried)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open without ever writing or checkpointing; for the command line.

    Raises:
        LedgerError: There is no ledger yet, it is damaged, or a newer version wrote it.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: nothing has been recorded yet", hint="claude-failover start")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5)
        try:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA query_only = 1")
            _refuse_newer(connection, path)
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise LedgerError(
            f"{path}: {error}", hint="claude-failover start (it sets a damaged ledger aside and begins a new one)"
        ) from error
    if "days" not in tables:
        connection.close()
        raise LedgerError(f"{path}: nothing has been recorded yet", hint="claude-failover start")
    return connection


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file itself is broken, rather than the disk full or the file busy."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return isinstance(error, _DamagedError) or name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def set_aside(path: Path, stamp: str) -> Path:
    """Rename a damaged file and its journal; nothing is deleted."""
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            part.rename(aside.with_name(aside.name + suffix))
    return aside


# --- the mirror of the daily sums ------------------------------------------------------------------


def mirror_path(path: Path) -> Path:
    """Beside the ledger: the last days' sums, for when the ledger itself cannot be read."""
    return path.with_name(path.name + ".sums")


def write_mirror(path: Path, sums: Mapping[str, int]) -> None:
    """Write the mirror anew. Failing is no fault: it is a second line only.

    In place, for it is written with each batch that has money in it: renaming a new file over the old one makes ext4
    write it out at once (measured: 205 us of CPU instead of 15).
    """
    text = json.dumps(dict(sums)).encode("ascii").ljust(MIRROR_BYTES)
    with contextlib.suppress(OSError):
        descriptor = os.open(mirror_path(path), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
        try:
            if os.fstat(descriptor).st_size > len(text):
                os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text, 0)
        finally:
            os.close(descriptor)


def read_mirror(path: Path) -> dict[str, int]:
    """The mirror's sums; empty if there is none or it cannot be understood."""
    try:
        found = json.loads(mirror_path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {day: nusd for day, nusd in found.items() if isinstance(day, str) and isinstance(nusd, int) and nusd >= 0}


# --- inside ----------------------------------------------------------------------------------------


class _DamagedError(sqlite3.DatabaseError):
    """What ``quick_check`` found, or a file that another program made."""


def _open(path: Path) -> sqlite3.Connection:
    if path.is_dir():
        raise _DamagedError("is a directory")
    try:
        # Created by us, so that it is private from its first moment; the journal files copy its mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE))
        path.chmod(PRIVATE)
    except OSError as error:
        raise sqlite3.OperationalError(f"{error.strerror}: {path}") from error
    # Handed to the writer's thread after this; never used by two at a time.
    connection = sqlite3.connect(path, isolation_level=None, timeout=5, check_same_thread=False)
    try:
        _check(connection, path)
        _settle_in(connection)
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    _refuse_newer(connection, path)
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _DamagedError(found)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise _DamagedError("is a database of another program")


def _settle_in(connection: sqlite3.Connection) -> None:
    """Pragmas. Source of the numbers: measured on SQLite 3.40.1, 1.5 ms for a batch of 1,000 rows."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only of effect in a new file
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    # Where there is no WAL (network file systems refuse its shared memory), durability needs a full sync.
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    connection.execute("PRAGMA mmap_size = 0")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection)
    if version > VERSION:
        raise LedgerError(
            f"{path}: written by a newer claude-failover (schema {version}, this one knows {VERSION}); left untouched",
            hint="upgrade claude-failover, or move the file away",
        )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection)
    if 0 < version < VERSION:
        copy = path.with_name(f"{path.name}.before-v{VERSION}")
        copy.unlink(missing_ok=True)
        connection.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(PRIVATE)
    for step in range(version, VERSION):
        with immediate(connection):
            for statement in MIGRATIONS[step]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {step + 1}")


@contextlib.contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that takes the write lock at once; rolled back if anything is raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back already.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _salvage(path: Path) -> dict[str, int]:
    """Daily sums from a damaged file as far as they can be read, at least those of the mirror."""
    sums = read_mirror(path)
    with contextlib.suppress(sqlite3.Error, OSError):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        try:
            for day, nusd in connection.execute("SELECT day, sum(spent_nusd) FROM days GROUP BY day"):
                if isinstance(day, str) and isinstance(nusd, int):
                    sums[day] = max(sums.get(day, 0), nusd)
        finally:
            connection.close()
    return sums
