"""config init, path, check, show, import: the configuration as a file, and as what is in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from claude_failover.cli import environment
from claude_failover.cli import invocation as cli
from claude_failover.cli.invocation import Invocation, out, say
from claude_failover.config_import import import_litellm
from claude_failover.config_load import Loaded, load
from claude_failover.config_paths import make_private_directory, write_private
from claude_failover.config_text import SCHEMA_VERSION, default_text, effective_json, effective_text
from claude_failover.config_yaml import MAX_BYTES
from claude_failover.errors import EXIT_USAGE, ConfigError, DaemonNotRunning, UsageError

app = typer.Typer(
    help="Make, check and show the configuration.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_PLACES: Final = (
    "config_file",
    "state_dir",
    "log_dir",
    "runtime_dir",
    "socket",
    "log",
    "audit",
    "ledger",
    "client_key",
)


@app.command()
def init(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Replace the file; the old one is kept as FILE.old.")] = False,
) -> None:
    """Write a commented file of all the defaults."""
    target = cli.of(context).paths.config_file
    _write(target, default_text(), force=force, command="config init")
    say(f"wrote {target}\nedit it, then: claude-failover config check")


def _write(target: Path, text: str, *, force: bool, command: str) -> None:
    """Write a file that a person is going to edit; never over another without being told to."""
    if target.exists() or target.is_symlink():
        if not force:
            raise UsageError(f"{target}: is there already", hint=f"claude-failover {command} --force")
        if target.is_file():
            write_private(target.with_name(f"{target.name}.old"), target.read_bytes())
    try:
        if not target.parent.exists():
            make_private_directory(target.parent)
        write_private(target, text.encode())
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror}", hint=f"ls -ld {target.parent}") from error


@app.command()
def path(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also state, logs, socket and key.")] = False,
    as_json: Json = False,
) -> None:
    """Print where the configuration file is, or would be."""
    paths = cli.of(context).paths
    places = {name: str(getattr(paths, name)) for name in _PLACES}
    if as_json:
        out(json.dumps({"schema_version": SCHEMA_VERSION, **places}, indent=2))
    elif every:
        out("\n".join(f"{name:<12} {place}" for name, place in places.items()))
    else:
        out(str(paths.config_file))


@app.command()
def check(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Another file than the one in force.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong in the configuration, by line."""
    invocation = cli.of(context)
    target = file or invocation.paths.config_file
    try:
        loaded = load(file or invocation.config)
    except ConfigError as error:
        if not as_json:
            raise
        _print_check(target, str(error).splitlines(), ())
        raise typer.Exit(EXIT_USAGE) from error
    if as_json:
        _print_check(target, [], loaded.warnings)
        return
    for warning in loaded.warnings:
        say(f"warning: {warning}")
    out(
        f"{loaded.path}: good" if loaded.path else f"{target}: not there, which is good too: every value is the default"
    )


def _print_check(target: Path, problems: list[str], warnings: tuple[str, ...]) -> None:
    answer = {"path": str(target), "good": not problems, "problems": problems, "warnings": list(warnings)}
    out(json.dumps({"schema_version": SCHEMA_VERSION, **answer}, indent=2))


@app.command()
def show(
    context: typer.Context,
    as_json: Json = False,
    claude_settings: Annotated[
        bool, typer.Option("--claude-settings", help="Print what Claude Code's settings.json needs to talk to us.")
    ] = False,
) -> None:
    """Print what is in force, and where it is from.

    Each value is shown with its origin: the default, a line of the file, a variable.
    """
    invocation = cli.of(context)
    loaded = load(invocation.config)
    if claude_settings:
        _claude_settings(invocation, loaded)
        return
    if as_json:
        out(json.dumps(effective_json(loaded), indent=2))
        return
    say(f"# {loaded.path}" if loaded.path else f"# no file ({invocation.paths.config_file})")
    out(effective_text(loaded))
    for warning in loaded.warnings:
        say(f"warning: {warning}")


def _claude_settings(invocation: Invocation, loaded: Loaded) -> None:
    """Print the ``env`` of a settings.json, for what does not start claude from a shell (IDEs, background agents)."""
    try:
        status = invocation.client().status()
        address, keyed = status.listen, status.client_key_required
    except DaemonNotRunning:
        listen = loaded.settings.listen
        if listen.port == 0:
            raise
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        address, keyed = f"http://{host}:{listen.port}", listen.client_key == "required"
    key = _key(invocation.paths.client_key) if keyed else None
    values = environment.claude_environment({}, address, key)
    out(json.dumps({"env": values}, indent=2))
    say(
        "Merge this into ~/.claude/settings.json (it wins over the shell, and background agents inherit it).\n"
        "To undo, take the same names out again: " + ", ".join(values)
    )
    if key is not None:
        say("The file then holds the client key of this machine: keep it at mode 0600, and out of repositories.")


def _key(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError as error:
        raise UsageError(
            f"{file}: there is no client key yet; the first start makes it", hint="claude-failover start"
        ) from (error)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the client key cannot be read", hint=f"ls -l {file}") from error


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A LiteLLM config.yaml.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write there instead of to stdout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUTPUT; the old one is kept as OUTPUT.old.")] = False,
) -> None:
    """Carry a LiteLLM config.yaml over into ours.

    What has no counterpart is named on stderr, with its line and the reason.
    """
    try:
        with file.open("rb") as source:
            data = source.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}", hint=f"ls -l {file}") from error
    imported = import_litellm(data, str(file))
    for note in imported.notes:
        say(note)
    if output is None:
        out(imported.text)
    else:
        _write(output, imported.text, force=force, command=f"config import {file} -o {output}")
        say(f"wrote {output}\nnext: claude-failover config check {output}")
