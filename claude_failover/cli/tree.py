"""Every command, as a table; each is imported only when it is the one that was typed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from claude_failover import __version__
from claude_failover.cli.invocation import PROGRAM, Invocation
from claude_failover.cli.lessons import LESSONS
from claude_failover.errors import EXIT_OK, FailoverError, LaunchError, UsageError

EPILOG: Final = (
    "Exit codes: 0 good; 1 failed; 2 usage or configuration; 3 daemon not running; status --check: 4 degraded or "
    "failed over, 5 stopped by the spend limit; run: claude's own, 125 if it could not be started; "
    "130 interrupted, 141 nobody reads the output."
)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is."""

    module: str
    attribute: str
    alias_of: str = ""
    """The command that this is another name of; aliases are not listed."""
    raw: bool = False
    """Unknown options are the command's own: they belong to claude."""


COMMANDS: Final[dict[str, Entry]] = {
    "start": Entry("lifecycle", "start"),
    "stop": Entry("lifecycle", "stop"),
    "restart": Entry("lifecycle", "restart"),
    "reload": Entry("lifecycle", "reload"),
    "status": Entry("inspect", "status"),
    "run": Entry("launch", "run", raw=True),
    "env": Entry("launch", "env"),
    "shell-init": Entry("launch", "shell_init"),
    "force-backend": Entry("steer", "force_backend"),
    "force": Entry("steer", "force_backend", alias_of="force-backend"),
    "costs": Entry("costs", "costs"),
    "logs": Entry("logs", "logs"),
    "explain": Entry("inspect", "explain"),
    "drill": Entry("drill", "drill"),
    "doctor": Entry("doctor", "doctor"),
    "models": Entry("inspect", "models"),
    "config": Entry("configure", "app"),
    "token": Entry("tokens", "app"),
    "service": Entry("service", "app"),
    "monitoring": Entry("monitoring", "app"),
    "statusline": Entry("statusline", "statusline"),
    "completion": Entry("completion", "completion"),
}
"""Name typed -> module of this package and what to take from it: a function, or a Typer with commands of its own."""


class Commands(TyperGroup):
    """A group that imports a command's module when the command is named."""

    named: str = ""
    """The last command that was asked for: some of the parser's errors do not know."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands that this installation has, in the table's order."""
        return [name for name, entry in COMMANDS.items() if _present(entry)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        """Import and build one command; ``None`` if there is none of that name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None or not _present(entry):
            return None
        self.named = cmd_name
        found = getattr(importlib.import_module(f"claude_failover.cli.{entry.module}"), entry.attribute)
        if isinstance(found, typer.Typer):
            found.info.name = cmd_name
            group = typer.main.get_group(found)
            group.name = cmd_name
            group.epilog = LESSONS[cmd_name].epilog()
            for name, below in group.commands.items():
                below.epilog = LESSONS[f"{cmd_name} {name}"].epilog()
            return group
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        settings = {"ignore_unknown_options": True, "allow_interspersed_args": False} if entry.raw else {}
        single.command(
            cmd_name,
            hidden=bool(entry.alias_of),
            context_settings=settings or None,
            epilog=LESSONS[entry.alias_of or cmd_name].epilog(),
        )(found)
        return typer.main.get_command(single)


def _present(entry: Entry) -> bool:
    """Whether the module is there, without importing it."""
    return importlib.util.find_spec(f"claude_failover.cli.{entry.module}") is not None


app = typer.Typer(
    name=PROGRAM,
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"{PROGRAM} {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="PATH", help="Configuration file (also CLAUDE_FAILOVER_CONFIG)."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say more on stderr.")] = False,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep Claude Code working through rate limits and outages: the same request, answered by AWS Bedrock.

    Start with: claude-failover run
    """
    invocation = Invocation(config=None if config is None else config.expanduser().absolute(), verbose=verbose)
    invocation.export()
    context.obj = invocation


CLICK_ERROR: Final[type[Exception]] = typer.BadParameter.__mro__[2]
"""ClickException: what the parser raises. Typer exports only its grandchild, from click or from its own copy of it."""


def parse_and_run(arguments: list[str] | None) -> int:
    """Find the command, parse its words, run it.

    Raises:
        ParseError: The words are wrong.
    """
    command = typer.main.get_command(app)
    try:
        result = command.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except CLICK_ERROR as error:
        raise _parse_error(error, getattr(command, "named", "")) from error
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return result if isinstance(result, int) else EXIT_OK


def _parse_error(error: Any, named: str) -> FailoverError:
    """Say what was wrong with the words typed. ``run`` fails with its own code: 2 could be claude's."""
    context = getattr(error, "ctx", None)
    message = str(error.format_message()).rstrip(".")
    path = context.command_path if context is not None else f"{PROGRAM} {named}".rstrip()
    if type(error).__name__ == "NoArgsIsHelpError":
        return NoCommandError(message)
    if path == f"{PROGRAM} run":
        return LaunchError(message, hint=f"{path} --help")
    return UsageError(message, hint=f"{path} --help")


class NoCommandError(UsageError):
    """Nothing was asked for; the message is the help."""
