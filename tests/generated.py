"""What is written by the code itself: completions, the configuration reference, the CLI reference, parts of pages.

``make completions`` writes them (``--write``); ``make docs`` compares them (``--check``) and
follows every link between the pages of ``docs/`` and the README.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from claude_failover.cli import tree
from claude_failover.cli.completion import FILES, script
from claude_failover.cli.invocation import PROGRAM
from claude_failover.config_schema import BACKEND_KEYS, LISTS, RETRY_SAYS, SECTIONS, TOP_KEYS, Key, Section, variable
from claude_failover.config_text import default_text, scalar, value_of
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Kind

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # This runs as a file, too.

from tests import generated_pages  # noqa: E402

GENERATED = "<!-- Written by `make completions`; `make docs` fails if it is out of date. -->"

# --- docs/configuration.md ----------------------------------------------------------------------

CONFIGURATION = f"""\
{GENERATED}

# Configuration reference

One file, `config.yaml`. It need not exist: every key has a default. `claude-failover config init` writes one in which
everything is shown and nothing is changed, `config path` says where it is, `config check` what is wrong in it, and
`config show` what is in force and where each value comes from.

**Nothing is silently ignored.** An unknown key, a wrong type, an impossible value, a variable that names nothing: each
is an error that says where (file, line, key) and what is allowed, and all of them are told at once. `true` is not `1`,
`"100"` is not `100`. A file that is wrong is refused whole; a running daemon keeps the one it has.

## Where a value comes from

Later wins:

1. the default;
2. the file: `--config PATH`, or `CLAUDE_FAILOVER_CONFIG`, or `config.yaml` in the platform's configuration directory;
3. an environment variable: `CLAUDE_FAILOVER_` and the path of the key in capitals, as listed below. An empty variable
   is as good as unset; `null` takes a value away;
4. a flag of the command line.

`CLAUDE_FAILOVER_HOME=DIR` (an absolute path) puts everything below one directory: `config.yaml`, `state/`, `log/` and
`run/`. Otherwise the platform's user directories are used, which honour `XDG_CONFIG_HOME`, `XDG_STATE_HOME` and
`XDG_RUNTIME_DIR`. Directories are made with mode 0700. A configuration file or a state directory that other users could
write to is refused.

All durations are seconds, all money US dollars.

## The file

YAML without its surprises: no anchors, aliases, tags or second documents, no key twice. `off`, `no` and `010` are not
silently something else.
"""


def table(rows: Iterator[tuple[str, ...]], *head: str) -> str:
    """Lay out a Markdown table."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines])


def section_rows(section: Section) -> Iterator[tuple[str, ...]]:
    """One row per key."""
    for key in section.keys:
        default = f"`{scalar(value_of(Settings(), section, key))}`"
        name = f"`{variable(*section.path, key.name)}`" if key.rule.single else "-"
        yield f"`{key.name}`", default, key.rule.allowed, key.says, name


def backend_rows(kind: Kind | None) -> Iterator[tuple[str, ...]]:
    """One row per key that a kind has, or that all have."""
    for key in BACKEND_KEYS:
        if key.only is kind:
            yield f"`{key.name}`", backend_default(key), key.rule.allowed, key.says


def backend_default(key: Key) -> str:
    """A backend's name and kind have no default."""
    if key.name in {"name", "kind"}:
        return "-"
    return f"`{scalar(getattr(Backend(BackendName('x'), key.only or Kind.ANTHROPIC), key.name))}`"


def configuration() -> str:
    """Write ``docs/configuration.md``."""
    parts = [CONFIGURATION]
    head = ("key", "default", "allowed", "what it does", "variable")
    for word in TOP_KEYS:
        sections = [section for section in SECTIONS if section.path[0] == word]
        if word == "backends":
            parts.append(f"### `backends`\n\n{LISTS[word]} The first is the *primary*.")
            parts += [
                f"{words}\n\n{table(backend_rows(kind), *head[:4])}"
                for words, kind in (
                    ("Of every backend:", None),
                    ("Of `kind: anthropic`:", Kind.ANTHROPIC),
                    ("Of `kind: bedrock`:", Kind.BEDROCK),
                )
            ]
            parts.append(
                f"Variables carry the backend's name: `{variable('backends', 'bedrock', 'region')}`."
                " Without `backends:` there are two, `claude` and `bedrock`, as in the default file."
            )
        elif word in LISTS:
            parts.append(f"### `{word}`\n\n{LISTS[word]}")
        elif len(sections) == 1 and len(sections[0].path) == 1:
            parts.append(f"### `{word}`\n\n{sections[0].says}\n\n{table(section_rows(sections[0]), *head)}")
        else:
            parts.append(f"### `{word}`\n\n{RETRY_SAYS}")
            parts += [
                f"#### `{section.name}`\n\n{section.says}\n\n{table(section_rows(section), *head)}"
                for section in sections
            ]
    parts.append(f"## The default file\n\n```yaml\n{default_text()}```")
    return "\n\n".join(part.strip() for part in parts) + "\n"


# --- docs/cli.md --------------------------------------------------------------------------------

CLI = f"""\
{GENERATED}

# Command reference

Data goes to standard output, talk to standard error; every command that reads has `--json`. Colour is used on a
terminal only, and not with `NO_COLOR`.

{tree.EPILOG}
"""


def commands(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    """Every command with its help, depth first."""
    yield context.command_path, command.get_help(context)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        inner = command.get_command(context, name)
        if inner is not None and not inner.hidden:
            yield from commands(inner, type(context)(inner, info_name=name, parent=context))


def command_line() -> str:
    """Write ``docs/cli.md``."""
    root = typer.main.get_command(tree.app)
    context = root.make_context(PROGRAM, [], resilient_parsing=True, terminal_width=100, max_content_width=100)
    pages = [f"## `{path}`\n\n```text\n{help_text.strip()}\n```" for path, help_text in commands(root, context)]
    return "\n\n".join([CLI.strip(), *pages]) + "\n"


# --- all of it ----------------------------------------------------------------------------------


def files() -> dict[Path, str]:
    """Everything that is generated."""
    return {
        ROOT / "docs" / "configuration.md": configuration(),
        ROOT / "docs" / "cli.md": command_line(),
        **{ROOT / "completions" / name: script(shell) for shell, name in FILES.items()},
        **generated_pages.files(),
    }


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown viewers make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def dead_links() -> Iterator[str]:
    """Links between pages that lead nowhere."""
    for page in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))):
        text = re.sub(r"(?ms)^```.*?^```", "", page.read_text("utf-8"))
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            if not target.exists():
                yield f"{page.relative_to(ROOT)}: {link}: there is no such file"
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                yield f"{page.relative_to(ROOT)}: {link}: there is no such heading"


def main(arguments: list[str]) -> int:
    """Write or compare; returns the exit code."""
    if arguments == ["--write"]:
        for path, text in files().items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
        return 0
    stale = [
        f"{path.relative_to(ROOT)} is not what the code says: make completions"
        for path, text in files().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    complaints = [*stale, *dead_links()]
    print("\n".join(complaints) or "docs: generated pages are up to date, links lead somewhere")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
