"""What ``doctor`` finds, as data, and how it is told.

Rule: a finding that is not good says what to type. ``failed`` means that something which is meant
to work does not; ``warning`` that it works and may not for long, or not for everything; ``note``
is worth knowing and no fault.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from claude_failover.cli.invocation import Invocation
from claude_failover.config_load import Loaded
from claude_failover.control.status import Status
from claude_failover.core.settings import Settings
from claude_failover.errors import EXIT_FAILED, EXIT_OK

SCHEMA_VERSION: Final = 1


class Level(StrEnum):
    """How much a finding matters."""

    GOOD = "good"
    NOTE = "note"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    check: str
    """Stable, such as ``config.file``; the part before the dot is the section."""
    level: Level
    title: str
    """What is the case, in one sentence."""
    fix: str = ""
    """What to type."""

    @property
    def section(self) -> str:
        """What it belongs to."""
        return self.check.partition(".")[0]


@dataclass
class Patient:
    """What the checks look at, gathered as they go."""

    invocation: Invocation
    environ: Mapping[str, str]
    home: Path
    directory: Path
    """Where the command was typed: Claude Code reads project settings there."""
    loaded: Loaded | None = None
    """``None``: the configuration is wrong, and the rest is judged by the defaults."""
    lost: bool = False
    """It cannot even be said where our files are; nothing else can be checked."""
    status: Status | None = None
    """The running daemon's."""
    regions: dict[str, str] = field(default_factory=dict)
    """Region by name of each Bedrock backend that has a credential."""
    known: dict[str, float] = field(default_factory=dict)
    """Seconds by which servers' clocks were ahead of ours, by their name."""

    @property
    def settings(self) -> Settings:
        """In force, as far as is known."""
        return self.loaded.settings if self.loaded is not None else Settings()

    @property
    def address(self) -> str:
        """The data port's URL."""
        if self.status is not None:
            return self.status.listen
        listen = self.settings.listen
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        return f"http://{host}:{listen.port}"


def good(check: str, title: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Level.GOOD, title)


def note(check: str, title: str, fix: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, Level.NOTE, title, fix)


def warning(check: str, title: str, fix: str) -> Finding:
    """Works, and may not for long, or not for everything."""
    return Finding(check, Level.WARNING, title, fix)


def failed(check: str, title: str, fix: str) -> Finding:
    """Does not work."""
    return Finding(check, Level.FAILED, title, fix)


SECTIONS: Final[Mapping[str, str]] = {
    "config": "Configuration",
    "files": "Files",
    "port": "Port",
    "daemon": "Daemon",
    "claude": "Claude Code",
    "token": "Anthropic credential",
    "aws": "AWS",
    "machine": "This machine",
    "online": "Asked over the network",
}
"""In order; every check belongs to one."""

_MARKS: Final[Mapping[Level, tuple[str, str]]] = {
    Level.GOOD: ("ok", "32"),
    Level.NOTE: ("note", "36"),
    Level.WARNING: ("warn", "33"),
    Level.FAILED: ("FAIL", "31"),
}


def render_section(name: str, findings: Iterable[Finding], *, colour: bool = False) -> str:
    """Write one section's findings for people."""
    lines = [SECTIONS[name]]
    for finding in findings:
        mark, ansi = _MARKS[finding.level]
        shown = f"\x1b[{ansi}m{mark:<4}\x1b[0m" if colour else f"{mark:<4}"
        first, *rest = finding.title.splitlines() or [""]
        lines.append(f"  {shown}  {first}")
        lines += [f"        {line}" for line in rest]
        if finding.fix:
            first, *rest = finding.fix.splitlines()
            lines.append(f"        fix: {first}")
            lines += [f"             {line}" for line in rest]
    return "\n".join(lines)


def render_end(findings: Sequence[Finding]) -> str:
    """Write the last line."""
    failures = sum(1 for one in findings if one.level is Level.FAILED)
    warnings = sum(1 for one in findings if one.level is Level.WARNING)
    if not failures and not warnings:
        return "All is well."
    parts = [f"{count} {what}{'' if count == 1 else 's'}" for count, what in ((failures, "failure"),) if count]
    parts += [f"{warnings} warning{'' if warnings == 1 else 's'}"] if warnings else []
    return ", ".join(parts) + "."


def exit_code(findings: Iterable[Finding]) -> int:
    """1 if something does not work."""
    return EXIT_FAILED if any(one.level is Level.FAILED for one in findings) else EXIT_OK


def render_json(findings: Sequence[Finding], *, online: bool) -> str:
    """Write all of it for programs."""
    return json.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "good": exit_code(findings) == EXIT_OK,
            "online": online,
            "findings": [{"section": one.section, **asdict(one)} for one in findings],
        },
        indent=2,
    )
