"""run, env, shell-init: the words; how claude is found and told is in :mod:`~claude_failover.cli.become`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from claude_failover.cli import environment
from claude_failover.cli import invocation as cli
from claude_failover.cli.become import client_key, run_claude
from claude_failover.cli.invocation import out, say
from claude_failover.errors import EXIT_OK


def run(
    context: typer.Context,
    *,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[--] ARGS...", help="For claude, unchanged.")
    ] = None,
    backend: Annotated[str | None, typer.Option("--backend", metavar="NAME", help="Pin this session to it.")] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="USD", help="What this session may spend at Bedrock.")
    ] = None,
    direct_if_down: Annotated[
        bool, typer.Option("--direct-if-down", help="If the daemon cannot be started, run claude without it.")
    ] = False,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Stop the daemon when claude ends, if this command started it.")
    ] = False,
) -> None:
    """Run claude through the daemon.

    The daemon is started if it does not run. Everything after the options goes to claude unchanged; put -- before
    it if it starts with a dash that could be ours. Terminal, signals and exit code are claude's own.
    """
    words = [*(arguments or []), *context.args]
    run_claude(cli.of(context), words, backend, budget, direct_if_down=direct_if_down, ephemeral=ephemeral)


def env(
    context: typer.Context,
    shell: Annotated[
        str | None, typer.Option("--shell", metavar="bash|zsh|fish", help="Whose syntax; default: $SHELL's.")
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Print what takes it back.")] = False,
) -> int:
    """Print exports for this shell.

    They make claude, started from it, go through the daemon. The daemon must run, since the address and the key are
    its own. Only variables are set; no file is written.
    """
    name = environment.check_shell(shell) if shell else _login_shell()
    if unset:
        out(environment.assignments(environment.without_ours(os.environ), name))
        return EXIT_OK
    invocation = cli.of(context)
    status = invocation.client().status()
    changed = environment.claude_environment(os.environ, status.listen, client_key(invocation, status))
    for one in environment.bypasses(
        os.environ,
        environment.read_settings(environment.settings_files(os.environ, Path.home(), Path.cwd())),
        status.listen,
    ):
        say(f"warning: {one.where}: {one.why}: {one.fix}")
    out(environment.assignments(changed, name))
    return EXIT_OK


def _login_shell() -> str:
    """Take ``$SHELL`` where it is one that we know; bash's syntax is sh's too."""
    name = Path(os.environ.get("SHELL", "")).name
    return name if name in environment.SHELLS else "bash"


def shell_init(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="Whose syntax.")],
) -> int:
    """Print a claude function for your rc file.

    With it, typing claude means `claude-failover run`. To undo it, remove the function from the rc file.
    """
    out(environment.FUNCTION[environment.check_shell(shell)])
    return EXIT_OK
