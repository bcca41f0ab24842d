"""monitoring export: the dashboard, the scrape configuration and the alert rules, as files."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli.invocation import out, say
from claude_failover.errors import EXIT_OK, UsageError
from claude_failover.monitoring import FILES

app = typer.Typer(
    help="Files for Prometheus and Grafana.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

SCHEMA_VERSION: Final = 1


@app.callback()
def monitoring() -> None:
    """Files for Prometheus and Grafana."""


@app.command()
def export(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if it is not there.")],
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ from ours.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written, for programs.")] = False,
) -> int:
    """Write the Grafana dashboard, the Prometheus scrape configuration, the alert rules and their tests.

    A file that is there already and differs is left alone, and nothing is written, unless --force is given.
    """
    ours = {name: resources.files("claude_failover.monitoring").joinpath(name).read_bytes() for name in FILES}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        changed = [name for name in FILES if _differs(directory / name, ours[name])]
        if changed and not force:
            named = ", ".join(str(directory / name) for name in changed)
            raise UsageError(f"{named}: there already, and different", hint=f"monitoring export {directory} --force")
        for name, data in ours.items():
            (directory / name).write_bytes(data)
    except OSError as error:
        raise UsageError(f"{directory}: cannot be written: {error.strerror}", hint=f"ls -ld {directory}") from error
    if as_json:
        files = [str(directory / name) for name in FILES]
        out(json.dumps({"schema_version": SCHEMA_VERSION, "directory": str(directory), "files": files}, indent=2))
        return EXIT_OK
    for name in FILES:
        out(str(directory / name))
    key = cli.of(context).paths.client_key
    say(f"next: copy {key} to {directory / 'client-key'} (mode 0600, readable by Prometheus),")
    say(f"  prometheus --config.file={directory / 'prometheus.yml'}, and import dashboard.json in Grafana")
    return EXIT_OK


def _differs(path: Path, data: bytes) -> bool:
    return path.exists() and path.read_bytes() != data
