"""completion: the script that a shell loads to complete our commands, options and backends."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from typer.completion import get_completion_script

from claude_failover.cli.environment import check_shell
from claude_failover.cli.invocation import out
from claude_failover.errors import EXIT_OK

PROGRAM: Final = "claude-failover"

VARIABLE: Final = "_CLAUDE_FAILOVER_COMPLETE"
"""How the script asks the program; the name follows from the program's."""

FILES: Final = {"bash": "claude-failover.bash", "zsh": "_claude-failover", "fish": "claude-failover.fish"}
"""Under ``completions/``, named as each shell's loader looks for them."""


def script(shell: str) -> str:
    """Write the script for *shell*."""
    return get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell).rstrip() + "\n"


def completion(shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="Whose syntax.")]) -> int:
    """Print the completion script of a shell.

    bash: source it from ~/.bashrc. zsh: save it as _claude-failover in a directory of $fpath. fish: save it in
    ~/.config/fish/completions/.
    """
    out(script(check_shell(shell)))
    return EXIT_OK
