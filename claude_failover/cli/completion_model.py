"""What a completion script offers, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """An option."""

    names: tuple[str, ...]
    help: str
    takes_value: bool = False
    values: tuple[str, ...] = ()
    """What the value may be, where it is a closed set."""
    takes_file: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """The program (an empty path), a command, or a command of a command."""

    path: tuple[str, ...]
    help: str
    flags: tuple[Flag, ...]
    values: tuple[str, ...] = ()
    """Words that an argument may be."""
    children: tuple[tuple[str, str], ...] = ()
    """Names and sentences of the commands below."""
    aliases: tuple[str, ...] = ()
    """Other names of the same command; completed, not offered."""
    files: bool = False
    """Its arguments are files, or another program's."""

    @property
    def key(self) -> str:
        """The path as one word list."""
        return " ".join(self.path)
