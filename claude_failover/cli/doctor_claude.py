"""doctor: Claude Code, and what would make it talk past us."""

from __future__ import annotations

import hmac
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from claude_failover.cli import environment
from claude_failover.cli.become import find_claude
from claude_failover.cli.diagnosis import Finding, Patient, failed, good, note, warning
from claude_failover.cli.doctor_machine import is_reachable
from claude_failover.errors import LaunchError

VERSION_LIMIT: Final = 10.0
"""Seconds for ``claude --version``; Node starts slowly on a busy machine."""

OLDEST: Final = (2, 0, 65)
"""Before it, a project's settings could redirect the key before the trust prompt (CVE-2026-21852)."""

THROUGH_US: Final = 'claude-failover run, or: eval "$(claude-failover env)"'

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def check_claude(patient: Patient) -> Iterator[Finding]:
    """All of this module, in order."""
    yield from _check_program(patient)
    settings = list(_settings(patient))
    for path, tree in settings:
        if tree is None:
            yield warning(
                "claude.settings", f"{path}: is not JSON, so Claude Code ignores it", f"python3 -m json.tool {path}"
            )
    trees = [(str(path), tree) for path, tree in settings if tree is not None]
    yield from _check_bypasses(patient, trees)
    yield from _check_credentials_of_shell(patient)
    yield from _check_address(patient, trees)
    yield from _check_proxies(patient)
    yield from check_processes(patient, trees)


def _check_program(patient: Patient) -> Iterator[Finding]:
    try:
        program = find_claude(patient.environ)
    except LaunchError as error:
        yield failed("claude.program", str(error), error.hint or "")
        return
    version = _version_of(program, patient.environ)
    if version is None:
        yield warning("claude.program", f"{program}: does not say its version", f"{program} --version")
        return
    numbers = tuple(int(part) for part in version.split("."))
    if numbers < OLDEST:
        least = ".".join(map(str, OLDEST))
        yield warning(
            "claude.program", f"{program} is version {version}; before {least} a repository could redirect your key",
            "claude update",
        )  # fmt: skip
    else:
        yield good("claude.program", f"{program}, version {version}")


def _version_of(program: str, environ: Mapping[str, str]) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - the program that `run` would start
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_LIMIT, check=False,
            env=dict(environ), stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    match = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return match[0] if match else None


def _settings(patient: Patient) -> Iterator[tuple[Path, Mapping[str, Any] | None]]:
    """Claude Code's settings files, strongest first; ``None`` for one that it cannot read."""
    # In the home directory the project's file is the user's.
    for path in dict.fromkeys(environment.settings_files(patient.environ, patient.home, patient.directory)):
        try:
            tree = json.loads(path.read_text("utf-8"))
        except OSError:
            continue
        except ValueError:
            tree = None
        yield path, tree if isinstance(tree, Mapping) else None


def _check_bypasses(patient: Patient, settings: list[tuple[str, Mapping[str, Any]]]) -> Iterator[Finding]:
    found = list(environment.bypasses(patient.environ, settings, patient.address))
    for one in found:
        yield failed("claude.bypass", f"{one.where}: {one.why}", one.fix)
    for file, tree in settings:
        if tree.get("apiKeyHelper"):
            found.append(environment.Bypass(file, "", ""))
            yield warning(
                "claude.bypass", f"{file}: apiKeyHelper: its key replaces your login for every request",
                f"remove apiKeyHelper from {file} if that is not meant",
            )  # fmt: skip
    if not found:
        names = f"{len(settings)} settings file{'' if len(settings) == 1 else 's'}"
        yield good("claude.bypass", f"nothing in this shell or in {names} leads past us")


def _check_credentials_of_shell(patient: Patient) -> Iterator[Finding]:
    for name in ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"):
        if patient.environ.get(name):
            yield note(
                "claude.credential", f"{name} is set: claude started from this shell uses it in place of your login",
                f"unset {name}",
            )  # fmt: skip


def _check_address(patient: Patient, settings: list[tuple[str, Mapping[str, Any]]]) -> Iterator[Finding]:
    """Where claude, started from this shell as it is, would send its requests."""
    url = patient.environ.get("ANTHROPIC_BASE_URL", "")
    if not url:
        if _settings_lead_here(settings, patient.address):
            yield good("claude.shell", "settings.json leads Claude Code here")
            return
        yield note(
            "claude.shell", "claude, started from this shell by its own name, talks to the API directly", THROUGH_US
        )
        return
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        yield failed("claude.shell", f"ANTHROPIC_BASE_URL: {url!r} is no URL", "unset ANTHROPIC_BASE_URL")
        return
    if parts.hostname not in _LOOPBACK:
        yield warning("claude.shell", f"ANTHROPIC_BASE_URL leads to {parts.hostname}, not here", THROUGH_US)
    elif not is_reachable(str(parts.hostname), port):
        yield failed(
            "claude.shell", f"this shell's environment is stale: ANTHROPIC_BASE_URL is {url}, where nobody answers",
            'claude-failover start, then: eval "$(claude-failover env)"',
        )  # fmt: skip
    elif url.rstrip("/") != patient.address.rstrip("/"):
        yield warning("claude.shell", f"ANTHROPIC_BASE_URL is {url}, but we are at {patient.address}", THROUGH_US)
    else:
        yield _check_key(patient)


def _settings_lead_here(settings: list[tuple[str, Mapping[str, Any]]], address: str) -> bool:
    for _, tree in settings:
        variables = tree.get("env")
        if isinstance(variables, Mapping) and variables.get("ANTHROPIC_BASE_URL"):
            return str(variables["ANTHROPIC_BASE_URL"]).rstrip("/") == address.rstrip("/")
    return False


def _check_key(patient: Patient) -> Finding:
    """Whether the key in this shell's headers is the one that the daemon wants."""
    if patient.status is not None and not patient.status.client_key_required:
        return good("claude.shell", "this shell leads claude here")
    try:
        key = patient.invocation.paths.client_key.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return warning(
            "claude.shell", "this shell leads claude here, but the client key cannot be read", "claude-failover restart"
        )
    lines = patient.environ.get("ANTHROPIC_CUSTOM_HEADERS", "").splitlines()
    shown = [line.partition(":")[2].strip() for line in lines if line.lower().startswith(environment.KEY_HEADER + ":")]
    if any(hmac.compare_digest(one.encode(), key.encode()) for one in shown):
        return good("claude.shell", "this shell leads claude here, with the right key")
    what = "another daemon's key" if shown else "no key"
    return failed(
        "claude.shell",
        f"this shell leads claude here with {what}: requests are refused",
        'eval "$(claude-failover env)"',
    )


def _check_proxies(patient: Patient) -> Iterator[Finding]:
    """Proxy variables that would put somebody between claude and us, or us between us and ourselves."""
    ours = urlsplit(patient.address)
    named = {name: patient.environ[name] for name in _PROXIES if patient.environ.get(name)}
    for name, value in named.items():
        try:
            proxy = urlsplit(value if "//" in value else f"http://{value}")
            loops = proxy.hostname in _LOOPBACK and proxy.port == ours.port
        except ValueError:
            yield failed("claude.proxy", f"{name}: is no URL", f"unset {name}")
            continue
        if loops:
            yield failed("claude.proxy", f"{name} leads to our own port, which is no proxy", f"unset {name}")
    if not named:
        return
    spared = {part.strip() for part in re.split(
        r"[,\s]+", patient.environ.get("no_proxy") or patient.environ.get("NO_PROXY") or "")}  # fmt: skip
    if spared & {environment.LOOPBACK, "*"}:
        yield good("claude.proxy", "a proxy is set, and 127.0.0.1 is spared")
        return
    first = next(iter(named))
    if patient.environ.get("ANTHROPIC_BASE_URL", "").rstrip("/") == patient.address.rstrip("/"):
        yield failed(
            "claude.proxy", f"{first} is set and NO_PROXY lacks 127.0.0.1: claude would ask the proxy for us",
            'eval "$(claude-failover env)"',
        )  # fmt: skip
    else:
        yield note("claude.proxy", f"{first} is set and NO_PROXY lacks 127.0.0.1; `run` and `env` add it", THROUGH_US)


def check_processes(
    patient: Patient, settings: list[tuple[str, Mapping[str, Any]]], proc: Path = Path("/proc")
) -> Iterator[Finding]:
    """Running claudes, background agents among them, that were started without our variables."""
    if _settings_lead_here(settings, patient.address):
        return
    past = [pid for pid, base in running_claudes(proc) if base.rstrip("/") != patient.address.rstrip("/")]
    if past:
        shown = ", ".join(map(str, past[:8])) + (" …" if len(past) > 8 else "")
        one = len(past) == 1
        yield warning(
            "claude.processes",
            f"{len(past)} running claude process{'' if one else 'es'} (pid {shown}) "
            f"do{'es' if one else ''} not talk to us: started without our variables",
            "start them again with claude-failover run; for background agents and IDEs:\n"
            "claude-failover config show --claude-settings",
        )
    elif sys.platform.startswith("linux"):
        yield good("claude.processes", "no claude runs past us")


def running_claudes(proc: Path) -> Iterator[tuple[int, str]]:
    """Our user's claude processes, each with its ``ANTHROPIC_BASE_URL``; only Linux shows them."""
    for directory in proc.iterdir() if proc.is_dir() else ():
        if not directory.name.isdigit():
            continue
        try:
            if directory.stat().st_uid != os.geteuid():
                continue
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if not _is_claude(words):
                continue
            variables = (directory / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        found = [
            value for name, _, value in (line.partition(b"=") for line in variables) if name == b"ANTHROPIC_BASE_URL"
        ]
        yield int(directory.name), found[0].decode("utf-8", "replace") if found else ""


def _is_claude(words: list[bytes]) -> bool:
    """The native program, or node with the package's script."""
    program = words[0].rpartition(b"/")[2] if words else b""
    if program == b"claude":
        return True
    script = words[1] if len(words) > 1 else b""
    return program.startswith(b"node") and (
        script.endswith(b"/claude") or (b"claude-code" in script and script.endswith(b".js"))
    )
