"""doctor: the configuration, our files, the port, the daemon, and the machine that they are on."""

from __future__ import annotations

import fnmatch
import resource
import shutil
import site
import socket
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from claude_failover import __version__
from claude_failover.cli.diagnosis import Finding, Patient, failed, good, note, warning
from claude_failover.config_load import load
from claude_failover.config_paths import check_private_directory
from claude_failover.control import claim, ports
from claude_failover.control.status import Severity
from claude_failover.errors import ConfigError, DaemonNotRunning, FailoverError

LEAST_FREE: Final = 50_000_000
"""Bytes of free disk below which the ledger and the logs may soon be lost."""
LITTLE_FREE: Final = 500_000_000

FEW_FILES: Final = 4096
"""Descriptors: two per stream, and room for a thousand."""

KNOWN_PTH: Final = (
    "distutils-precedence.pth",
    "__editable__*.pth",
    "_virtualenv.pth",
    "*-nspkg.pth",
    "a1_coverage.pth",
    "matplotlib*.pth",
    "protobuf*.pth",
)
"""Files that set up an interpreter and are known to hold an ``import`` line."""

PTH_MAX: Final = 4096
"""Bytes; the one that stole credentials in 2026 had 34,628 (reliability-security.md 2.1), known ones hundreds."""


def check_config(patient: Patient) -> Iterator[Finding]:
    """What is wrong in the configuration, by line."""
    try:
        file = patient.invocation.paths.config_file
    except ConfigError as error:
        patient.lost = True
        yield failed("config.place", str(error), error.hint or "unset CLAUDE_FAILOVER_HOME")
        return
    try:
        patient.loaded = load(patient.invocation.config, environ=patient.environ)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield failed("config.file", line, error.hint or "claude-failover config check")
        return
    loaded = patient.loaded
    if loaded.path is None:
        yield good("config.file", f"no file at {file}: every value is the default")
    else:
        yield good("config.file", f"{loaded.path} is good")
    for text in loaded.warnings:
        yield warning("config.warning", text, "claude-failover config show")


def check_files(patient: Patient) -> Iterator[Finding]:
    """Whether our places are ours alone, and have room."""
    paths = patient.invocation.paths
    for name, directory in (("state", paths.state_dir), ("log", paths.log_dir), ("runtime", paths.runtime_dir)):
        if not directory.exists() and not directory.is_symlink():
            yield good(f"files.{name}", f"{directory} is not there yet; the first start makes it")
            continue
        try:
            check_private_directory(directory)
        except ConfigError as error:
            yield failed(f"files.{name}", str(error), error.hint or f"ls -ld {directory}")
        else:
            yield good(f"files.{name}", f"{directory} is private")
    for path in (paths.client_key, paths.ledger, paths.state, paths.state_dir / "secrets.json"):
        yield from _check_private(path)
    yield _check_room(paths.state_dir)


def _check_private(path: Path) -> Iterator[Finding]:
    try:
        info = path.stat()
    except OSError:
        return
    mode = stat.S_IMODE(info.st_mode)
    if mode & 0o077:
        yield failed("files.private", f"{path}: other users may read it (mode {mode:04o})", f"chmod 600 {path}")


def _check_room(directory: Path) -> Finding:
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    said = f"{free / 1e9:.1f} GB free for state and logs" if free >= 1e8 else f"{free / 1e6:.0f} MB free"
    if free < LEAST_FREE:
        return failed(
            "files.disk", f"{place}: {said}: the ledger and the logs cannot be written for long", f"df -h {place}"
        )
    if free < LITTLE_FREE:
        return warning("files.disk", f"{place}: {said}", f"df -h {place}")
    return good("files.disk", said)


def check_daemon(patient: Patient) -> Iterator[Finding]:
    """Whether it runs, is of this version, and what it says of itself."""
    invocation = patient.invocation
    holder = claim.holder(invocation.paths.lock)
    said: list[str] = []
    try:
        patient.status = status = invocation.client(warn=said.append).status()
    except DaemonNotRunning:
        if holder is None:
            yield note("daemon.running", "the daemon does not run; `claude-failover run` starts it when needed",
                       "claude-failover start")  # fmt: skip
        else:
            yield failed(
                "daemon.running", f"pid {holder} holds the lock and does not answer", "claude-failover restart"
            )
        return
    except FailoverError as error:
        yield failed("daemon.running", str(error), error.hint or "claude-failover restart")
        return
    yield good("daemon.running", f"runs as pid {status.pid} on {status.listen}")
    if said or status.version != __version__:
        yield warning(
            "daemon.version", f"the daemon is version {status.version}, this command {__version__}",
            "claude-failover restart",
        )  # fmt: skip
    else:
        yield good("daemon.version", f"version {status.version}, like this command")
    if status.config_error:
        yield failed(
            "daemon.config", f"it keeps an older configuration: {status.config_error}", "claude-failover config check"
        )
    for store in (status.ledger, status.log):
        if not store.ok:
            yield failed("daemon.store", f"{store.path}: cannot be written: {store.detail}", f"df -h {store.path}")
    for notice in status.needs_you:
        make = failed if notice.severity is Severity.CRITICAL else warning
        yield make("daemon.needs_you", notice.title, notice.hint or "claude-failover status")


def check_port(patient: Patient) -> Iterator[Finding]:
    """Whether the port is free, ours, or whose."""
    listen = patient.settings.listen
    if listen.port == 0:
        yield good("port.free", "the daemon takes any free port")
        return
    where = f"{listen.host}:{listen.port}"
    problem = _cannot_bind(listen.host, listen.port)
    if not problem:
        yield good("port.free", f"{where} is free")
        return
    ours = patient.status
    if ours is not None and ours.listen.endswith(f":{listen.port}"):
        yield good("port.free", f"{where} is the daemon's (pid {ours.pid})")
        return
    if ours is None and claim.holder(patient.invocation.paths.lock):
        yield note("port.free", f"{where} is in use, by a daemon that does not answer as it seems")
        return
    owner = ports.owner(listen.port)
    if owner is None and not sys.platform.startswith("linux"):
        owner = f"somebody: lsof -nP -iTCP:{listen.port}"
    held = f"{where} is taken by {owner}" if owner else f"{where}: {problem}"
    yield failed("port.free", held, f"end it, or set another port: CLAUDE_FAILOVER_LISTEN_PORT={listen.port + 1}")


def _cannot_bind(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error.strerror or type(error).__name__
    return ""


def check_machine(patient: Patient) -> Iterator[Finding]:
    """Limits, clock, and what runs with every interpreter."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FEW_FILES:
        yield warning(
            "machine.files", f"at most {hard} open files: that is {hard // 2} streams at once",
            f"raise the hard limit: ulimit -Hn {FEW_FILES}",
        )  # fmt: skip
    else:
        shown = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
        yield good("machine.files", f"open files: {soft}, and the daemon raises it towards {shown}")
    yield from _check_clock(patient)
    odd = list(odd_pth(site_directories()))
    for path, why in odd:
        yield warning("machine.pth", f"{path}: {why}; it runs whenever this Python starts",
                      f"read it; if you do not know it: rm {path}")  # fmt: skip
    if not odd:
        yield good("machine.pth", "no unknown code runs when this Python starts")


def _check_clock(patient: Patient) -> Iterator[Finding]:
    if not patient.known:
        yield note("machine.clock", "the clock was compared with nobody's", "claude-failover doctor --online")
        return
    name, skew = max(patient.known.items(), key=lambda item: abs(item[1]))
    if abs(skew) > 300:
        minutes = abs(skew) / 60
        yield failed(
            "machine.clock",
            f"the clock is {minutes:.0f} min {'behind' if skew > 0 else 'ahead of'} {name}'s: "
            "AWS refuses what is signed by such a clock (we correct for it after the first refusal)",
            "timedatectl set-ntp true",
        )
    elif abs(skew) > 30:
        yield warning("machine.clock", f"the clock is {abs(skew):.0f} s off {name}'s", "timedatectl set-ntp true")
    else:
        yield good("machine.clock", f"the clock agrees with {name}'s")


def site_directories() -> list[Path]:
    """Where this interpreter looks for ``.pth`` files."""
    found = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    return [Path(name) for name in sorted(found) if name]


def odd_pth(directories: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Find ``.pth`` files that run code and are none of the well-known ones, each with what is odd about it."""
    for directory in directories:
        for path in sorted(directory.glob("*.pth")):
            try:
                with path.open("rb") as file:
                    data = file.read(1 << 20)
            except OSError:
                continue
            runs = any(line.startswith((b"import ", b"import\t")) for line in data.splitlines())
            if not runs:
                continue
            if not any(fnmatch.fnmatch(path.name, known) for known in KNOWN_PTH):
                yield path, "an unknown file with an import line"
            elif len(data) > PTH_MAX:
                yield path, f"{len(data)} bytes of code, far more than such a file needs"


def is_reachable(host: str, port: int) -> bool:
    """Whether anybody accepts connections there, within a second."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
