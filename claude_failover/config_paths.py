"""Where files live, and that nobody else can write there.

Rule: everything that we keep is private to its owner. Directories are 0700, files 0600, both
from the moment they exist; a place that another user could write to, or swap, is refused and
never repaired behind the user's back. A daemon that trusted such a place would run a stranger's
``alerts.command`` and hand a stranger its socket.

Apart from :mod:`claude_failover.config` because ``status`` and its kin need the socket's path
and nothing else: this module imports no YAML.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from claude_failover.errors import ConfigError

APP: Final = "claude-failover"

MAX_SOCKET_PATH: Final = 100
"""Bytes, exclusive. ``sun_path`` holds 108 on Linux and 104 on macOS, the closing NUL included (unix(7), unix(4))."""

PRIVATE_DIRECTORY: Final = 0o700
PRIVATE_FILE: Final = 0o600

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Paths:
    """Every file that we read or write, by its full path."""

    config_file: Path
    state_dir: Path
    log_dir: Path
    runtime_dir: Path
    """Below 100 bytes even with the socket's name; ``/tmp/cf-UID/…`` where the proper one is too long or missing."""

    @property
    def socket(self) -> Path:
        """The control channel."""
        return self.runtime_dir / "control.sock"

    @property
    def lock(self) -> Path:
        """Held by the one daemon of this state directory (``flock``); never deleted, so there is one at a time."""
        return self.state_dir / "daemon.lock"

    @property
    def pid(self) -> Path:
        """The daemon's process id, for people; nothing is decided by it."""
        return self.runtime_dir / "daemon.pid"

    @property
    def log(self) -> Path:
        """The structured log."""
        return self.log_dir / "daemon.log"

    @property
    def audit(self) -> Path:
        """Who did what."""
        return self.log_dir / "audit.log"

    @property
    def ledger(self) -> Path:
        """One row per attempt."""
        return self.state_dir / "ledger.db"

    @property
    def client_key(self) -> Path:
        """What a client must show on the data port."""
        return self.state_dir / "client.key"

    @property
    def state(self) -> Path:
        """Cooldowns, overrides and learned denials, for the next start."""
        return self.state_dir / "state.json"

    def prepare(self) -> None:
        """Make the directories that are ours, and refuse what others could write to.

        Raises:
            ConfigError: A directory cannot be made, is not ours, or can be written by others.
        """
        for directory in (self.state_dir, self.log_dir, self.runtime_dir):
            make_private_directory(directory)


def find_paths(config: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Paths:
    """Say where everything lives; touches nothing.

    Args:
        config: What ``--config`` said; wins over ``CLAUDE_FAILOVER_CONFIG``.
        environ: The environment, ``os.environ`` unless given. ``CLAUDE_FAILOVER_HOME`` puts everything below one
            directory; otherwise the platform's user directories, which honour ``XDG_*``, are used.

    Raises:
        ConfigError: ``CLAUDE_FAILOVER_HOME`` is not absolute. A relative one would mean another place in each shell.
    """
    environ = os.environ if environ is None else environ
    home = environ.get("CLAUDE_FAILOVER_HOME")
    if home:
        root = Path(home).expanduser()
        if not root.is_absolute():
            raise ConfigError(
                f"CLAUDE_FAILOVER_HOME: {home!r} is not an absolute path",
                hint=f'export CLAUDE_FAILOVER_HOME="$PWD/{home}"',
            )
        default, state, log, runtime = root / "config.yaml", root / "state", root / "log", root / "run"
    else:
        dirs = platformdirs.PlatformDirs(APP, appauthor=False)
        default = dirs.user_config_path / "config.yaml"
        state, log = dirs.user_state_path, dirs.user_log_path
        with warnings.catch_warnings():
            # It warns where no login session has made the directory; that is dealt with below.
            warnings.simplefilter("ignore")
            runtime = dirs.user_runtime_path
        if not runtime.parent.is_dir():
            # No login session made it (cron, ssh without logind, containers): $TMPDIR/runtime-UID would be a guess.
            runtime = _short_runtime(state)
    if len(os.fsencode(runtime / "control.sock")) >= MAX_SOCKET_PATH:
        runtime = _short_runtime(state)
    chosen = config or environ.get("CLAUDE_FAILOVER_CONFIG")
    return Paths(Path(chosen).expanduser().absolute() if chosen else default, state, log, runtime)


def _short_runtime(state_dir: Path) -> Path:
    """Name a short place for the socket, one per state directory, so that two daemons of one user never meet there."""
    tag = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:10]
    return Path("/tmp") / f"cf-{os.geteuid()}" / tag  # noqa: S108 - made 0700, owner checked, links refused


def make_private_directory(directory: Path) -> None:
    """Make *directory* (and what is missing above it) 0700, or refuse it.

    A directory of ours that others can only read is narrowed to 0700. One that others can write to is refused:
    what lies in it may already be theirs.

    Raises:
        ConfigError: It cannot be made, or :func:`check_private_directory` refuses it.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists() and not path.is_symlink()]
    for path in reversed(missing):
        try:
            path.mkdir(PRIVATE_DIRECTORY)
        except FileExistsError:
            continue  # another process of ours was faster; the check below decides
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be made: {error.strerror}",
                hint="export CLAUDE_FAILOVER_HOME=DIR",
            ) from error
    check_private_directory(directory)
    if stat.S_IMODE(directory.stat().st_mode) != PRIVATE_DIRECTORY:
        directory.chmod(PRIVATE_DIRECTORY)


def check_private_directory(directory: Path) -> None:
    """Refuse a directory that anybody but its owner, us, could change or replace.

    The levels above count too: whoever can write to one of them can put another directory in our place. Where
    everybody may make names (``/tmp``, sticky), the next level down must be ours or root's.

    Raises:
        ConfigError: *directory* is no directory, is another user's (also by way of a link), can be written by others,
            or lies where others can rename it.
    """
    link, info = _look(directory)
    _check_directory_itself(directory, link, info)
    _check_above(directory, link)


def _look(path: Path) -> tuple[os.stat_result, os.stat_result]:
    try:
        return path.lstat(), path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint=f"ls -ld {path}") from error


def _check_above(path: Path, link: os.stat_result) -> None:
    """Refuse *path* if somebody else may put another thing under its name."""
    for parent in path.parents:
        above, info = _look(parent)
        if info.st_mode & stat.S_IWOTH:
            if not info.st_mode & stat.S_ISVTX:
                raise _writable(parent, info)
            if link.st_uid not in {os.geteuid(), 0}:
                raise _foreign(path, link)
        path, link = parent, above


def _check_directory_itself(path: Path, link: os.stat_result, info: os.stat_result) -> None:
    """Check the last level: ours alone."""
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in {os.geteuid(), 0}:
        raise ConfigError(f"{path}: is a link made by another user (uid {link.st_uid})", hint=f"rm {path}")
    if not stat.S_ISDIR(info.st_mode):
        raise ConfigError(f"{path}: is not a directory", hint=f"mv {path} {path}.old")
    if info.st_uid != os.geteuid():
        raise _foreign(path, info)
    if info.st_mode & _OTHERS_WRITE:
        raise _writable(path, info)


def _foreign(path: Path, info: os.stat_result) -> ConfigError:
    return ConfigError(f"{path}: belongs to another user (uid {info.st_uid})", hint=f"ls -ld {path}")


def _writable(path: Path, info: os.stat_result) -> ConfigError:
    return ConfigError(
        f"{path}: other users can write to it (mode {stat.S_IMODE(info.st_mode):04o})", hint=f"chmod go-w {path}"
    )


def check_private_file(path: Path, info: os.stat_result) -> None:
    """Refuse a file whose content another user may have written.

    Args:
        path: Its name, for the message and for the directories above it.
        info: Of the file as opened, so that what was checked is what is read.

    Raises:
        ConfigError: It is a directory, belongs to another user than us or root, or can be written or swapped by others.
    """
    if stat.S_ISDIR(info.st_mode):
        raise ConfigError(f"{path}: is a directory", hint=f"--config {path / 'config.yaml'}")
    if info.st_uid not in {os.geteuid(), 0}:
        raise _foreign(path, info)
    if info.st_mode & _OTHERS_WRITE:
        raise _writable(path, info)
    _check_above(path, info)


def write_private(path: Path, data: bytes) -> None:
    """Replace *path* by *data*: a reader, or a crash, sees the old content or the new, never a part.

    The file is 0600 from its first byte; the rename is on disk when this returns.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 by its contract
    scratch = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Put the directory's entry on disk: without it a power loss may bring the old name back."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
