"""service: let systemd --user or launchd start the daemon at login and keep it running."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli import service_units as units
from claude_failover.cli.invocation import PROGRAM, Invocation, out, say
from claude_failover.cli.presence import take_down
from claude_failover.cli.progress import waiting
from claude_failover.cli.service_hardening import sandbox
from claude_failover.cli.spawn import wait_until_gone
from claude_failover.config_paths import write_private
from claude_failover.control import claim
from claude_failover.core.types import Seconds
from claude_failover.errors import (
    EXIT_FAILED,
    EXIT_OK,
    ConfigError,
    DaemonFailed,
    DaemonNotRunning,
    FailoverError,
    UsageError,
)

app = typer.Typer(
    help="Start the daemon at login and keep it running (systemd --user, launchd).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_PATIENCE: Final = 60.0
"""Seconds for the service manager; its start waits for the daemon's readiness."""

SCHEMA_VERSION: Final = 1


def command() -> list[str]:
    """Say how to run the daemon, by a path that an upgrade keeps.

    pip, pipx and uv put a small program on PATH that stays where it is; the interpreter behind it may be replaced.

    Raises:
        UsageError: We run from a place that is not meant to stay.
    """
    found = shutil.which(PROGRAM)
    beside = Path(sys.executable).parent / PROGRAM
    program = found or (str(beside) if beside.exists() else None)
    if program is None:
        return [sys.executable, "-P", "-m", "claude_failover", "start", "--foreground"]
    if any(part in {"uv-cache", "archive-v0", ".cache"} for part in Path(program).resolve().parts):
        raise UsageError(f"{program}: lies in a cache that is emptied at times", hint=f"uv tool install {PROGRAM}")
    return [str(Path(program).absolute()), "start", "--foreground"]


def unit_file(environ: Mapping[str, str], home: Path) -> Path:
    """Say where the definition goes on this platform."""
    if sys.platform == "darwin":
        return home / "Library/LaunchAgents" / f"{units.LABEL}.plist"
    base = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "systemd/user" / units.UNIT


def definition(invocation: Invocation, environ: Mapping[str, str], *, hardened: bool = False) -> bytes:
    """Write the definition for this platform; *hardened*: with a sandbox, which only systemd has."""
    if sys.platform == "darwin":
        return units.launchd_agent(command(), units.kept(environ), invocation.paths.log_dir)
    paths = invocation.paths
    walls = sandbox((paths.state_dir, paths.log_dir), paths.runtime_dir, Path.home()) if hardened else ""
    return units.systemd_unit(command(), units.kept(environ), walls).encode()


@app.command()
def install(
    context: typer.Context,
    only_print: Annotated[bool, typer.Option("--print", help="Print the definition; install nothing.")] = False,
    hardened: Annotated[
        bool, typer.Option("--hardened", help="With a sandbox (systemd; needs user namespaces).")
    ] = False,
) -> int:
    """Install the service and start it; a daemon that runs already is replaced by the service's.

    Paths and the AWS profile and region of this shell go into the definition; secrets never do.
    """
    invocation = cli.of(context)
    if hardened and sys.platform == "darwin":
        raise UsageError("--hardened: launchd has no such sandbox", hint=f"{PROGRAM} service install")
    text = definition(invocation, os.environ, hardened=hardened)
    if only_print:
        out(text.decode())
        return EXIT_OK
    if hardened:
        invocation.paths.prepare()  # what is not there cannot be made writable
    path = unit_file(os.environ, Path.home())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}", hint=f"ls -ld {path.parent}") from error
    say(f"wrote {path}")
    for name in units.left_out(os.environ):
        say(f"  {name} of this shell was left out: secrets are not written; keep it in the keyring or a profile")
    _make_room(invocation)
    for words in _start_commands(path):
        _manage(words)
    say("the service runs, and will start at login")
    if sys.platform != "darwin" and not _lingers():
        say("  to have it run while you are logged out: loginctl enable-linger")
    return EXIT_OK


def _make_room(invocation: Invocation) -> None:
    """Stop a daemon that was started by hand: two cannot hold the lock."""
    if claim.holder(invocation.paths.lock) is None:
        return
    say("stopping the daemon that runs now")
    with contextlib.suppress(DaemonNotRunning):  # it ended by itself meanwhile
        take_down(invocation, Seconds(30.0), now=False)


def _start_commands(path: Path) -> list[list[str]]:
    if sys.platform == "darwin":
        return [["launchctl", "bootstrap", f"gui/{os.getuid()}", str(path)]]
    return [["systemctl", "--user", "daemon-reload"], ["systemctl", "--user", "enable", "--now", units.UNIT]]


def keeps(pid: int) -> bool:
    """Whether the service manager is the one that runs the daemon *pid*, and would bring it back."""
    if not unit_file(os.environ, Path.home()).exists():
        return False
    if sys.platform == "darwin":
        said = _ask("launchctl", "print", f"gui/{os.getuid()}/{units.LABEL}")
        return re.search(rf"^\s*pid = {pid}$", said, re.MULTILINE) is not None
    return _ask("systemctl", "--user", "show", units.UNIT, "--property=MainPID", "--value") == str(pid)


def start_again() -> None:
    """Have the service manager start the service that was stopped; with systemd it waits for its readiness.

    Asked to restart, not to start: it may not have noticed yet that the process is gone.
    """
    if sys.platform == "darwin":
        _manage(["launchctl", "kickstart", "-k", f"gui/{os.getuid()}/{units.LABEL}"])
    else:
        _manage(["systemctl", "--user", "restart", units.UNIT])


def _stop_commands() -> list[list[str]]:
    if sys.platform == "darwin":
        return [["launchctl", "bootout", f"gui/{os.getuid()}/{units.LABEL}"]]
    return [["systemctl", "--user", "disable", "--now", units.UNIT]]


@app.command()
def uninstall(context: typer.Context) -> int:
    """Stop the service and remove its definition; logs, state and configuration stay."""
    path = unit_file(os.environ, Path.home())
    if not path.exists():
        say(f"not installed: there is no {path}")
        return EXIT_OK
    for words in _stop_commands():
        try:
            _manage(words)
        except FailoverError as error:
            say(f"  {error}")
    path.unlink()
    if sys.platform != "darwin":
        _ask("systemctl", "--user", "daemon-reload")
    invocation = cli.of(context)
    wait_until_gone(invocation.paths, invocation.clock, Seconds(5.0), lambda: None)
    say(f"removed {path}")
    return EXIT_OK


@app.command()
def status(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> int:
    """Show whether the service is installed, enabled and running, and whether its definition is up to date."""
    invocation = cli.of(context)
    found = inspect_service(invocation, os.environ, Path.home())
    if as_json:
        out(json.dumps(found, indent=2))
    else:
        out(describe(found))
    if not found["installed"] or not found["current"]:
        return EXIT_FAILED
    return EXIT_OK if found["pid"] else DaemonNotRunning.exit_code


def inspect_service(invocation: Invocation, environ: Mapping[str, str], home: Path) -> dict[str, Any]:
    """Gather what ``service status`` says."""
    path = unit_file(environ, home)
    installed = path.exists()
    systemd = sys.platform != "darwin"
    return {
        "schema_version": SCHEMA_VERSION,
        "manager": "systemd" if systemd else "launchd",
        "file": str(path),
        "installed": installed,
        "current": installed and path.read_bytes() in _definitions(invocation, environ),
        "enabled": installed and (not systemd or _ask("systemctl", "--user", "is-enabled", units.UNIT) == "enabled"),
        "active": _ask("systemctl", "--user", "is-active", units.UNIT) if systemd and installed else "",
        "pid": claim.holder(invocation.paths.lock) or 0,
        "lingers": _lingers() if systemd else True,
    }


def _definitions(invocation: Invocation, environ: Mapping[str, str]) -> list[bytes]:
    """Every variant that this version and shell would write."""
    return [definition(invocation, environ, hardened=hardened) for hardened in (False, True)]


def describe(found: Mapping[str, Any]) -> str:
    """Say it in words."""
    if not found["installed"]:
        return f"not installed ({found['manager']}); to install it: claude-failover service install"
    lines = [f"installed: {found['file']}" + ("" if found["enabled"] else ", not enabled")]
    if not found["current"]:
        lines.append("  its definition is not what this version and shell would write: claude-failover service install")
    lines.append(f"running: pid {found['pid']}" if found["pid"] else "not running")
    if found["active"]:
        lines.append(f"{found['manager']} says: {found['active']}")
    if not found["lingers"]:
        lines.append("ends when you log out; to keep it: loginctl enable-linger")
    return "\n".join(lines)


def _lingers() -> bool:
    """Whether systemd keeps this user's services while nobody is logged in; ``True`` where it cannot be asked."""
    answer = _ask("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value")
    return answer != "no"


def _ask(*words: str) -> str:
    program = shutil.which(words[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            [program, *words[1:]], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _manage(words: list[str]) -> None:
    """Tell the service manager, and pass on what it says when it refuses."""
    program = shutil.which(words[0])
    if program is None:
        raise DaemonFailed(f"{words[0]} is not there: this system has no such service manager", hint=f"{PROGRAM} start")
    try:
        with waiting(f"waiting for {words[0]}"):
            done = subprocess.run(  # noqa: S603 - fixed words and our own path
                [program, *words[1:]], capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
    except subprocess.TimeoutExpired as error:
        raise DaemonFailed(f"`{' '.join(words)}` did not end within {_PATIENCE:.0f} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise DaemonFailed(f"`{' '.join(words)}` failed: {said}", hint=f"journalctl --user -u {units.UNIT} -n 30")
