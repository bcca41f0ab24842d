"""Turn into claude, with the daemon running and claude told of it. Imports no parser: typing claude must be quick."""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from claude_failover.cli import environment
from claude_failover.cli.ephemeral import stop_after
from claude_failover.cli.invocation import Invocation, say
from claude_failover.cli.presence import bring_up
from claude_failover.control.status import Status
from claude_failover.errors import (
    AlreadyRunning,
    ControlError,
    DaemonNotRunning,
    FailoverError,
    LaunchError,
    UsageError,
)

PATIENCE: Final = 3.0
"""Seconds to wait for a daemon that somebody else is starting at this moment."""

_SCRIPT_BYTES: Final = 4096
"""Of a program named claude, to see whether it is a wrapper around ourselves."""


def run_claude(
    invocation: Invocation,
    words: list[str],
    backend: str | None = None,
    budget: str | None = None,
    *,
    direct_if_down: bool = False,
    ephemeral: bool = False,
) -> NoReturn:
    """Do what ``run`` does.

    Raises:
        LaunchError: Whatever kept claude from being started: 125 tells it from claude's own exit codes.
    """
    try:
        _run(
            invocation,
            words,
            backend=backend,
            budget=_dollars(budget),
            direct_if_down=direct_if_down,
            ephemeral=ephemeral,
        )
    except LaunchError:
        raise
    except FailoverError as error:
        raise LaunchError(str(error), hint=error.hint) from error


def _dollars(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch(r"\$?\d+(\.\d+)?", text.strip()):
        raise UsageError(f"--budget: {text!r} is not an amount of US dollars", hint="such as 5 or 2.50")
    return float(text.strip().lstrip("$"))


def _run(
    invocation: Invocation,
    words: list[str],
    *,
    backend: str | None,
    budget: float | None,
    direct_if_down: bool,
    ephemeral: bool,
) -> NoReturn:
    program = find_claude(os.environ)
    try:
        started, status = _ensure(invocation)
    except FailoverError as error:
        if direct_if_down:
            say(f"claude-failover: {error}\nrunning claude without it (--direct-if-down)")
            _become(program, words, _plain(os.environ))
        raise
    _refuse_bypass(words, status.listen)
    if backend is not None and backend not in (names := [one.name for one in status.backends]):
        raise UsageError(f"--backend: {backend!r} is not configured", hint=f"one of {', '.join(names)}")
    elsewhere = os.environ.get("ANTHROPIC_BASE_URL", "").rstrip("/")
    if elsewhere not in {"", status.listen} and not os.environ.get("CLAUDE_FAILOVER"):
        say("note: ANTHROPIC_BASE_URL of this shell is not used; to go on to it, set it as the backend's base_url")
    changed = environment.claude_environment(
        os.environ, status.listen, client_key(invocation, status), backend=backend, budget=budget
    )
    if ephemeral and started:
        stop_after(os.getpid(), invocation.paths.socket)
    _become(program, words, {**os.environ, **changed})


def _plain(environ: Mapping[str, str]) -> dict[str, str]:
    """Take out what `run` or `env` put in before, so that claude goes to where it would without us."""
    plain = dict(environ)
    if environ.get("CLAUDE_FAILOVER"):
        for name, value in environment.without_ours(environ).items():
            if value is None:
                plain.pop(name, None)
            else:
                plain[name] = value
    return plain


def _ensure(invocation: Invocation) -> tuple[bool, Status]:
    """Make sure that the daemon answers; says whether it was started here."""
    try:
        return False, invocation.client().status()
    except DaemonNotRunning:
        pass
    try:
        bring_up(invocation)
        started = True
    except AlreadyRunning:
        started = False  # somebody was faster; wait for theirs
    return started, invocation.client(patience=PATIENCE).status()


def client_key(invocation: Invocation, status: Status) -> str | None:
    """Read the client key that the daemon made at its first start."""
    if not status.client_key_required:
        return None
    try:
        key = invocation.paths.client_key.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ControlError(
            f"{invocation.paths.client_key}: the client key cannot be read: {error}", hint="claude-failover restart"
        ) from error
    if not key or not key.isprintable():
        raise ControlError(f"{invocation.paths.client_key}: is no client key", hint="claude-failover restart")
    return key


def _refuse_bypass(words: list[str], address: str) -> None:
    """Say what would make claude talk past us, before it does."""
    directory = Path.cwd()
    files = environment.read_settings(environment.settings_files(os.environ, Path.home(), directory))
    given = environment.settings_argument(words, directory)
    found = list(environment.bypasses(os.environ, [*given, *files], address))
    if found:
        lines = "\n".join(f"  {one.where}: {one.why}" for one in found)
        raise LaunchError(
            f"claude would not go through claude-failover:\n{lines}", hint="\n      ".join(one.fix for one in found)
        )


def find_claude(environ: Mapping[str, str]) -> str:
    """Find the claude program: PATH, then where its installers put it; never a wrapper around ourselves.

    Raises:
        LaunchError: It is nowhere.
    """
    home = Path(environ.get("HOME") or Path.home())
    places = [Path(part) for part in environ.get("PATH", os.defpath).split(os.pathsep) if part]
    # The native installer's place, the one before it, and npm's global prefix when it is not on PATH.
    places += [home / ".local/bin", home / ".claude/local", home / ".npm-global/bin", Path("/usr/local/bin")]
    npm = environ.get("NPM_CONFIG_PREFIX") or environ.get("npm_config_prefix")
    if npm:
        places.append(Path(npm) / "bin")
    for place in places:
        candidate = place / "claude"
        if _is_program(candidate) and not _is_wrapper(candidate):
            return str(candidate)
    raise LaunchError(
        "claude is not installed: not on PATH and not where its installers put it",
        hint="npm install -g @anthropic-ai/claude-code",
    )


def _is_program(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode) and os.access(path, os.X_OK)
    except OSError:
        return False


def _is_wrapper(path: Path) -> bool:
    """Whether *path* is a script that calls us: exec'ing it would go round for ever."""
    try:
        with path.open("rb") as file:
            head = file.read(_SCRIPT_BYTES)
    except OSError:
        return False
    return head.startswith(b"#!") and b"claude-failover" in head


def _become(program: str, words: list[str], environ: Mapping[str, str]) -> NoReturn:
    """Turn into claude: its terminal, its signals and its exit code are then exactly its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores these two, and exec would hand that on
    try:
        os.execve(program, [program, *words], dict(environ))  # noqa: S606 - becoming claude is the purpose
    except OSError as error:
        raise LaunchError(f"{program}: cannot be run: {error.strerror}", hint=f"{program} --version") from error
