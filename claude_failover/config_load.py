"""All sources of settings together: defaults, the file, environment variables, flags.

Rule: later sources win, every value remembers where it came from, and whatever is wrong anywhere
is collected and told together. A file is right or it is refused; there is no half-loaded state.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from claude_failover import config_schema as schema
from claude_failover.config_check import check
from claude_failover.config_draft import Draft, Origin
from claude_failover.config_file import take_file
from claude_failover.config_paths import check_private_file, find_paths
from claude_failover.config_rules import Rule, Unfit
from claude_failover.config_yaml import MAX_BYTES, Problem, bare, read
from claude_failover.core.settings import Settings
from claude_failover.errors import ConfigError

_OTHER_VARIABLES: Final = ("CLAUDE_FAILOVER_HOME", "CLAUDE_FAILOVER_CONFIG")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings that may be used, and their story."""

    settings: Settings
    origins: Mapping[str, str]
    """Dotted key -> ``default``, ``config.yaml:12``, ``env NAME`` or ``flag``; backends by name."""
    warnings: tuple[str, ...] = ()
    """Allowed, but perhaps not meant; each says where."""
    path: Path | None = None
    """The file that was read; ``None`` if there is none."""


def load(
    config: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Loaded:
    """Load the settings that are in force.

    Args:
        config: What ``--config`` said; such a file must exist, the default one need not.
        environ: The environment, ``os.environ`` unless given.
        flags: Dotted key -> text, from the command line; wins over everything.

    Raises:
        ConfigError: Everything that is wrong, one line each.
    """
    environ = os.environ if environ is None else environ
    path = find_paths(config, environ).config_file
    data = _content(path)
    if data is None and (config or environ.get("CLAUDE_FAILOVER_CONFIG")):
        raise ConfigError(f"{path}: no such file", hint="claude-failover config init")
    loaded = parse(data or b"", name=str(path), environ=environ, flags=flags)
    if loaded.settings.cost_tracking.price_file is not None:
        read_prices(loaded.settings.cost_tracking.price_file)  # so that `config check` finds what is wrong there
    return loaded if data is None else replace(loaded, path=path)


def _content(path: Path) -> bytes | None:
    """Read a file that only its owner can have written; ``None`` if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint=f"ls -l {path}") from error
    with os.fdopen(descriptor, "rb") as file:
        check_private_file(path, os.fstat(file.fileno()))
        return file.read(MAX_BYTES + 1)


def read_prices(file: str) -> dict[str, object]:
    """Read the user's own prices, for :meth:`~claude_failover.core.prices.PriceTable.build`, which knows their shape.

    Raises:
        ConfigError: There is no such file, others could have written it, or it is not YAML that can be read.
    """
    path = Path(file).expanduser()
    data = _content(path)
    if data is None:
        raise ConfigError(f"cost_tracking.price_file: {path}: no such file", hint="claude-failover config show")
    document = read(data)
    if document.problems:
        raise ConfigError("\n".join(f"{path}:{problem.line}: {problem.text}" for problem in sorted(document.problems)))
    found = {} if document.tree is None else bare(document.tree)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}:1: expected keys such as models:", hint="claude-failover config show")
    return found


def parse(
    data: bytes,
    *,
    name: str = "config.yaml",
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Loaded:
    """Make settings of a file's content; touches nothing.

    Args:
        data: The file's bytes; empty means that there is none.
        name: What messages call it.
        environ: Variables; none unless given.
        flags: As for :func:`load`.

    Raises:
        ConfigError: Everything that is wrong, one line each.
    """
    document = read(data)
    draft = Draft(name, document.problems)
    take_file(draft, document.tree)
    _take_environment(draft, environ or {})
    _take_flags(draft, flags or {})
    settings = check(draft, draft.build())
    if draft.problems:
        problems = sorted(dict.fromkeys(draft.problems), key=lambda problem: (bool(problem.where), problem.line))
        raise ConfigError(
            "\n".join(f"{problem.where or f'{name}:{problem.line}'}: {problem.text}" for problem in problems),
            hint="claude-failover config check",
        )
    return Loaded(settings, draft.all_origins(), tuple(draft.warnings))


def _take_environment(draft: Draft, environ: Mapping[str, str]) -> None:
    """Read every variable of ours; an empty one is as good as unset."""
    known = schema.variables(draft.backends)
    groups = tuple(schema.variable(word) for word in schema.TOP_KEYS)
    for name in sorted(environ):
        if not environ[name] or not name.startswith(schema.PREFIX) or name in _OTHER_VARIABLES:
            continue
        if name in known:
            _take_text(draft, *known[name], environ[name], Origin(f"env {name}", where=name))
        elif any(name == group or name.startswith(f"{group}_") for group in groups):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            guess = f"; did you mean {near[0]}?" if near else "; lists and tables are set in the file"
            draft.problems.append(Problem(0, f"no setting has this variable{guess}", name))


def _take_flags(draft: Draft, flags: Mapping[str, str]) -> None:
    """Read what the command line said."""
    known = dict(schema.variables(draft.backends).values())
    for name, text in flags.items():
        where = f"flag {name}"
        if name in known:
            _take_text(draft, name, known[name], text, Origin("flag", where=where))
        else:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f'; did you mean "{near[0]}"?' if near else ""
            draft.problems.append(Problem(0, f"no such setting{guess}", where))


def _take_text(draft: Draft, name: str, rule: Rule, text: str, origin: Origin) -> None:
    try:
        draft.values[name] = rule.read_text(text)
    except Unfit as unfit:
        draft.problems.append(Problem(0, f"{name}: {unfit.wrong[0][1]}", origin.where))
        return
    draft.origins[name] = origin
