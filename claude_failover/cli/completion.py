"""completion: the scripts that shells load to complete our commands, options and their values.

The scripts hold everything they offer, so that a Tab costs no start of Python. They are
written from the command table itself, kept in ``completions/`` and compared with it by a
test: ``python -m claude_failover.cli.completion completions`` rewrites them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from claude_failover.cli import completion_scripts
from claude_failover.cli.completion_model import Command, Flag
from claude_failover.cli.environment import check_shell
from claude_failover.cli.invocation import out
from claude_failover.errors import EXIT_OK

FILES: Final = {"bash": "claude-failover.bash", "zsh": "_claude-failover", "fish": "claude-failover.fish"}
"""Named as each shell's loader looks for them."""

_ALIASES: Final[dict[tuple[str, ...], tuple[str, ...]]] = {("force-backend",): ("force",)}

_FILE_WORDS: Final = frozenset({"PATH", "FILE", "DIR"})


def completion(shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="Whose syntax.")]) -> int:
    """Print the completion script of a shell.

    bash: source it from ~/.bashrc. zsh: save it as _claude-failover in a directory of $fpath. fish: save it in
    ~/.config/fish/completions/.
    """
    out(script(check_shell(shell)))
    return EXIT_OK


def script(shell: str) -> str:
    """Write the script for *shell*."""
    return completion_scripts.WRITERS[shell](list(commands()))


def commands() -> Iterator[Command]:
    """Walk the command table: the program itself first, then each command and what is below it."""
    from claude_failover.cli.tree import app  # noqa: PLC0415 - the table names this module

    yield from _walk(typer.main.get_command(app), ())


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[Command]:
    context = _Context(command)
    children = [
        (name, child)
        for name in (command.list_commands(context) if hasattr(command, "list_commands") else [])
        if (child := command.get_command(context, name)) is not None and not child.hidden
    ]
    values: list[str] = []
    files = False
    flags = []
    for parameter in command.params:
        if parameter.param_type_name == "option":
            if not getattr(parameter, "hidden", False):
                flags.append(_flag(parameter))
        else:
            values.extend(_choices(parameter.metavar))
            files = files or _takes_files(parameter.metavar)
    flags.append(Flag(("-h", "--help"), "Show the help and exit"))
    yield Command(
        path,
        _sentence(command.help),
        tuple(flags),
        tuple(values),
        tuple((name, _sentence(child.help)) for name, child in children),
        _ALIASES.get(path, ()),
        files or path == ("run",),
    )
    for name, child in children:
        yield from _walk(child, (*path, name))


@dataclass(frozen=True, slots=True)
class _Context:
    """As much of a click context as listing commands needs."""

    command: Any


def _flag(option: Any) -> Flag:
    takes = not option.is_flag and not getattr(option, "count", False)
    return Flag(
        (*option.opts, *option.secondary_opts),
        _sentence(option.help),
        takes,
        tuple(_choices(option.metavar)) if takes else (),
        takes and _takes_files(option.metavar),
    )


def _choices(metavar: str | None) -> list[str]:
    """Read the words out of ``bash|zsh|fish`` or ``claude|NAME|auto``: what is in capitals is to be filled in."""
    parts = re.sub(r"[\[\]]", "", metavar or "").split("|")
    return (
        [part for part in parts if part and part == part.lower() and re.fullmatch(r"[\w-]+", part)] if parts[1:] else []
    )


def _takes_files(metavar: str | None) -> bool:
    return (metavar or "").strip("[]. ") in _FILE_WORDS


def _sentence(text: str | None) -> str:
    """Take the first sentence, on one line."""
    first = " ".join((text or "").split("\n\n")[0].split())
    return re.split(r"(?<=[^.])\. ", first)[0].rstrip(".")


def write_all(directory: Path) -> None:
    """Write every script to *directory*."""
    directory.mkdir(exist_ok=True)
    for shell, name in FILES.items():
        (directory / name).write_text(script(shell), "utf-8")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
