"""Where our own secrets are kept: the keyring, or a file that its owner chose by name.

Rule: never from one to the other by itself. An index beside the state says which item is kept
where, without any value: so a daemon for which nothing was ever stored never touches a keyring, and
a change is noticed by looking at one small file. Writers, the refresh among them, hold a lock that
every process of this user shares.

Everything here blocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from claude_failover.clock import Clock, SystemClock, pause
from claude_failover.config_paths import write_private
from claude_failover.core.request import UNREADABLE
from claude_failover.core.types import Seconds
from claude_failover.credentials.entry import Entry
from claude_failover.credentials.files import read_secret_file, refuse_loose
from claude_failover.credentials.keyrings import KeyringVault
from claude_failover.errors import CredentialError

KEYRING: Final = "keyring"
FILE: Final = "file"

LOCK_LIMIT: Final = Seconds(30.0)
_LOCK_PAUSE: Final = Seconds(0.05)


class Vault(Protocol):
    """A place that keeps texts."""

    def get(self, item: str) -> str | None:
        """What is kept under *item*."""
        ...

    def set(self, item: str, value: str) -> None:
        """Keep it."""
        ...

    def delete(self, item: str) -> bool:
        """Forget it; whether it was there."""
        ...


class FileVault:
    """A JSON file of mode 0600. Honest: whoever can read this user's files can read it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self) -> dict[str, str]:
        read = read_secret_file(self.path, "what we keep")
        if read is None:
            return {}
        refuse_loose(self.path, "what we keep", read)
        try:
            return msgspec.json.decode(read.data, type=dict[str, str])
        except UNREADABLE as error:
            raise CredentialError(f"{self.path}: does not hold what we wrote", hint=f"rm {self.path}") from error

    def _write(self, kept: dict[str, str]) -> None:
        try:
            write_private(self.path, msgspec.json.encode(kept))
        except OSError as error:
            raise CredentialError(f"{self.path}: cannot be written: {error.strerror}") from error

    def get(self, item: str) -> str | None:
        """What is kept under *item*.

        Raises:
            CredentialError: The file is not ours alone, or does not parse.
        """
        return self._read().get(item)

    def set(self, item: str, value: str) -> None:
        """Keep *value* under *item*.

        Raises:
            CredentialError: As for :meth:`get`, or the disk is full.
        """
        self._write({**self._read(), item: value})

    def delete(self, item: str) -> bool:
        """Forget *item*; whether there was one.

        Raises:
            CredentialError: As for :meth:`set`.
        """
        kept = self._read()
        if kept.pop(item, None) is None:
            return False
        if kept:
            self._write(kept)
        else:
            self.path.unlink(missing_ok=True)
        return True


def shared_lock(environ: Mapping[str, str]) -> Path:
    """The lock of this user's keyring: two daemons with different state directories share the keyring."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "claude-failover.lock") if runtime else Path(f"/tmp/claude-failover-{os.getuid()}.lock")  # noqa: S108 - opened without following links, owner checked


class Box:
    """Our secrets, by item.

    Args:
        directory: The state directory; the index and, if chosen, the file are there.
        lock: Held while something is written; see :func:`shared_lock`.
        keyring: The keyring to use.
        clock: For the lock's limit.
    """

    def __init__(self, directory: Path, lock: Path, keyring: Vault | None = None, clock: Clock | None = None) -> None:
        self._index = directory / "stored.json"
        self._file = FileVault(directory / "secrets.json")
        # Both, in this order: by the environment two processes may name different places of the shared one (cron has no
        # XDG_RUNTIME_DIR), and two daemons with a directory each may share the keyring.
        self._locks = (directory / "stored.lock", lock)
        self._keyring: Vault = keyring if keyring is not None else KeyringVault()
        self._clock = clock or SystemClock()

    # --- reading

    def stores(self) -> dict[str, str]:
        """Which item is kept where; no value, and no keyring is touched.

        Raises:
            CredentialError: The index does not parse.
        """
        try:
            return msgspec.json.decode(self._index.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, *UNREADABLE) as error:
            raise CredentialError(f"{self._index}: cannot be read", hint=f"rm {self._index}") from error

    def mark(self) -> tuple[object, ...]:
        """Changes whenever something is kept, or forgotten. Cheap."""
        marks: list[object] = []
        for path in (self._index, self._file.path):
            with contextlib.suppress(OSError):
                info = path.stat()
                marks.append((info.st_mtime_ns, info.st_size, info.st_ino, info.st_mode))
        return tuple(marks)

    def where(self, item: str) -> str:
        """Its place, for people."""
        return str(self._file.path) if self.stores().get(item) == FILE else KEYRING

    def read(self, item: str) -> Entry | None:
        """What is kept under *item*.

        Raises:
            CredentialError: There is something, and it cannot be got.
        """
        store = self.stores().get(item)
        if store is None:
            return None
        text = self._vault(store).get(item)
        return None if text is None else Entry.load(text, f"{item} in {self.where(item)}")

    def _vault(self, store: str) -> Vault:
        return self._file if store == FILE else self._keyring

    # --- writing

    @contextlib.contextmanager
    def locked(self, limit: Seconds = LOCK_LIMIT) -> Iterator[None]:
        """Keep every other process of this user from writing.

        Raises:
            CredentialError: Somebody holds it for longer than *limit*.
        """
        ends = self._clock.now().monotonic + limit
        with contextlib.ExitStack() as held:
            for path in self._locks:
                descriptor = _open_lock(path)
                if descriptor is None:
                    continue
                held.callback(os.close, descriptor)
                while not _try(descriptor):
                    if self._clock.now().monotonic >= ends:
                        raise CredentialError(f"{path}: another process has been writing for {limit:.0f} s")
                    pause(_LOCK_PAUSE)
            yield

    def keep(self, item: str, entry: Entry, store: str) -> None:
        """Keep *entry*; what was kept elsewhere under this name is forgotten afterwards. Takes the lock.

        Raises:
            CredentialError: It could not be kept; nothing has changed.
        """
        with self.locked():
            before = self.stores().get(item)
            self._vault(store).set(item, entry.dump())
            self._note({**self.stores(), item: store})
            if before is not None and before != store:
                self._vault(before).delete(item)

    def replace(self, item: str, entry: Entry) -> None:
        """Keep *entry* where *item* is kept already; the caller holds the lock.

        Raises:
            CredentialError: It could not be kept.
        """
        store = self.stores().get(item, KEYRING)
        self._vault(store).set(item, entry.dump())

    def forget(self, item: str) -> bool:
        """Forget *item*; whether there was one. Takes the lock.

        Raises:
            CredentialError: The place cannot be reached.
        """
        with self.locked():
            stores = self.stores()
            store = stores.pop(item, None)
            if store is None:
                return False
            self._vault(store).delete(item)
            self._note(stores)
            return True

    def _note(self, stores: dict[str, str]) -> None:
        try:
            write_private(self._index, msgspec.json.encode(stores))
        except OSError as error:
            raise CredentialError(f"{self._index}: cannot be written: {error.strerror}") from error


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open_lock(path: Path) -> int | None:
    """Open it; ``None`` where its directory is no more: a session's goes with the session, and its locks with it.

    Raises:
        CredentialError: It cannot be opened, or is not ours.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CredentialError(f"{path}: cannot be opened: {error.strerror}") from error
    info = os.fstat(descriptor)
    if info.st_uid != os.geteuid() or not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise CredentialError(f"{path}: is not a file of this user's")
    return descriptor
