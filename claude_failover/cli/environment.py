"""What Claude Code must be told so that it talks to us, and what would make it talk past us.

Only the variables of :data:`NAMES` are ever set. ``ANTHROPIC_AUTH_TOKEN`` and
``ANTHROPIC_API_KEY`` are not among them: either would replace the user's own login for the
session (claude.md 1.6), which is what we promise to leave alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from claude_failover.errors import UsageError

KEY_HEADER: Final = "x-claude-failover-key"
FORCE_HEADER: Final = "x-claude-failover-force"
BUDGET_HEADER: Final = "x-claude-failover-budget"
"""US dollars that this session may spend at paid backends."""

NAMES: Final = (
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ENABLE_TOOL_SEARCH",
    "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING",
    "CLAUDE_CODE_GATEWAY_HINT_HEADERS",
    "NO_PROXY",
    "CLAUDE_FAILOVER",
)
"""Everything that we set (product.md 2)."""

LOOPBACK: Final = "127.0.0.1"

OTHER_PROVIDERS: Final = (
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
)
"""Each makes Claude Code talk to a cloud by itself; they win over ``ANTHROPIC_BASE_URL`` (claude.md 1.6, 1.8)."""

_OVERRIDING: Final = ("ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_CUSTOM_HEADERS")
"""In a settings file's ``env``, these beat what we set in the environment (claude.md 1.8)."""

_FALSE: Final = frozenset({"", "0", "false", "no", "off"})

_MANAGED: Final = (
    Path("/etc/claude-code/managed-settings.json"),
    Path("/Library/Application Support/ClaudeCode/managed-settings.json"),
)


def claude_environment(
    base: Mapping[str, str],
    address: str,
    key: str | None,
    *,
    backend: str | None = None,
    budget: float | None = None,
) -> dict[str, str]:
    """Build the variables to set, on top of *base*.

    Args:
        base: The environment that claude would get without us.
        address: Our data port's URL.
        key: The client key; ``None`` when the daemon asks for none.
        backend: Pin the session's requests to this backend.
        budget: US dollars that the session may spend at paid backends.

    Returns:
        Only what is to be set; headers and NO_PROXY are appended to what is there.
    """
    ours = {KEY_HEADER: key, FORCE_HEADER: backend, BUDGET_HEADER: None if budget is None else f"{budget:g}"}
    changed = {
        "ANTHROPIC_BASE_URL": address,
        "ENABLE_TOOL_SEARCH": "true",
        "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1",
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
        "NO_PROXY": _with_loopback(base.get("NO_PROXY") or base.get("no_proxy") or ""),
        "CLAUDE_FAILOVER": "1",
    }
    headers = custom_headers(base.get("ANTHROPIC_CUSTOM_HEADERS", ""), ours)
    if headers:
        changed["ANTHROPIC_CUSTOM_HEADERS"] = headers
    if "no_proxy" in base:
        # Node's and curl's readers prefer the lower-case name: where it is set, ours alone would go unseen.
        changed["no_proxy"] = _with_loopback(base["no_proxy"])
    return {name: changed[name] for name in (*NAMES, "no_proxy") if name in changed}


def custom_headers(existing: str, ours: Mapping[str, str | None]) -> str:
    """Append our lines to ``ANTHROPIC_CUSTOM_HEADERS`` (one ``Name: value`` a line), replacing older ones of ours."""
    kept = [line for line in existing.splitlines() if line.strip() and not _is_ours(line)]
    return "\n".join([*kept, *(f"{name}: {value}" for name, value in ours.items() if value is not None)])


def _is_ours(line: str) -> bool:
    return line.partition(":")[0].strip().lower().startswith("x-claude-failover-")


def without_ours(base: Mapping[str, str]) -> dict[str, str | None]:
    """Say how to undo :func:`claude_environment`: name -> what it should be again, ``None`` = unset."""
    undone: dict[str, str | None] = dict.fromkeys(NAMES)
    undone["ANTHROPIC_CUSTOM_HEADERS"] = custom_headers(base.get("ANTHROPIC_CUSTOM_HEADERS", ""), {}) or None
    for name in ("NO_PROXY", "no_proxy"):
        if name in base:
            parts = [part for part in base[name].split(",") if part.strip() not in {"", LOOPBACK}]
            undone[name] = ",".join(parts) or None
    return undone


def _with_loopback(existing: str) -> str:
    parts = [part.strip() for part in existing.split(",") if part.strip()]
    return ",".join(parts if LOOPBACK in parts or "*" in parts else [*parts, LOOPBACK])


def is_on(value: str | None) -> bool:
    """Whether Claude Code takes a switch with this value as on."""
    return value is not None and value.strip().lower() not in _FALSE


@dataclass(frozen=True, slots=True)
class Bypass:
    """Something that would make claude talk past us."""

    where: str
    """The variable, or ``file: env.NAME``."""
    why: str
    fix: str


def bypasses(
    environ: Mapping[str, str], settings: Sequence[tuple[str, Mapping[str, Any]]], address: str
) -> Iterator[Bypass]:
    """Find what would make claude talk past us.

    Args:
        environ: What claude would get.
        settings: Claude Code's settings files, each with its name, strongest first.
        address: Our data port's URL.
    """
    for name in OTHER_PROVIDERS:
        if is_on(environ.get(name)):
            yield Bypass(name, "sends Claude Code to that cloud directly, past claude-failover", f"unset {name}")
    for file, tree in settings:
        variables = tree.get("env")
        if not isinstance(variables, Mapping):
            continue
        for name in OTHER_PROVIDERS:
            if is_on(_text(variables.get(name))):
                yield Bypass(
                    f"{file}: env.{name}",
                    "sends Claude Code to that cloud directly, past claude-failover",
                    f"remove {name} from {file}",
                )
        for name in _OVERRIDING:
            value = _text(variables.get(name))
            if value and not (name == "ANTHROPIC_BASE_URL" and value.rstrip("/") == address.rstrip("/")):
                if name == "ANTHROPIC_CUSTOM_HEADERS" and KEY_HEADER in value.lower():
                    continue
                yield Bypass(
                    f"{file}: env.{name}", _WHY[name], f"remove {name} from {file} (set it in the shell if needed)"
                )


_WHY: Final = {
    "ANTHROPIC_BASE_URL": "wins over the environment and sends Claude Code elsewhere",
    "ANTHROPIC_AUTH_TOKEN": "wins over the environment and replaces your login for every request",
    "ANTHROPIC_API_KEY": "wins over the environment and replaces your login for every request",
    "ANTHROPIC_CUSTOM_HEADERS": "wins over the environment, so that the daemon's key would be missing",
}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def settings_files(environ: Mapping[str, str], home: Path, directory: Path) -> list[Path]:
    """Name the settings files that Claude Code would read in *directory*, strongest first."""
    configured = environ.get("CLAUDE_CONFIG_DIR")
    user = Path(configured).expanduser() if configured else home / ".claude"
    project = directory / ".claude"
    return [*_MANAGED, project / "settings.local.json", project / "settings.json", user / "settings.json"]


def read_settings(files: Sequence[Path]) -> list[tuple[str, Mapping[str, Any]]]:
    """Read the files that are there. One that is not JSON is Claude Code's to complain about, and is passed over."""
    found = []
    for file in files:
        try:
            tree = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(tree, Mapping):
            found.append((str(file), tree))
    return found


def settings_argument(arguments: Sequence[str], directory: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Read what ``claude --settings FILE-OR-JSON`` would bring."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for index, word in enumerate(arguments):
        if word == "--":
            break
        value = word.partition("=")[2] if word.startswith("--settings=") else None
        if word == "--settings" and index + 1 < len(arguments):
            value = arguments[index + 1]
        if value is None:
            continue
        if value.lstrip().startswith("{"):
            try:
                tree = json.loads(value)
            except ValueError:
                continue
            found.append(("--settings", tree))
        else:
            found.extend(read_settings([directory / value]))
    return found


SHELLS: Final = ("bash", "zsh", "fish")


def check_shell(name: str) -> str:
    """Accept ``bash``, ``zsh``, ``fish``, or a path to one.

    Raises:
        UsageError: It is another one.
    """
    shell = Path(name).name.lstrip("-")
    if shell not in SHELLS:
        raise UsageError(f"--shell: {name!r} is not known", hint=f"one of {', '.join(SHELLS)}")
    return shell


def quote(value: str, shell: str) -> str:
    """Quote for *shell* so that nothing in *value* is interpreted, newlines included."""
    if shell == "fish":
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "'" + value.replace("'", "'\\''") + "'"


def assignments(values: Mapping[str, str | None], shell: str) -> str:
    """Write eval-safe lines that set or unset *values*."""
    lines = []
    for name, value in values.items():
        if shell == "fish":
            lines.append(f"set -e {name};" if value is None else f"set -gx {name} {quote(value, shell)};")
        else:
            lines.append(f"unset {name};" if value is None else f"export {name}={quote(value, shell)};")
    return "\n".join(lines)


FUNCTION: Final = {
    "bash": 'claude() {\n  command claude-failover run -- "$@"\n}\n',
    "zsh": 'claude() {\n  command claude-failover run -- "$@"\n}\n',
    "fish": "function claude --wraps claude\n  command claude-failover run -- $argv\nend\n",
}
"""What ``shell-init`` prints. ``run`` execs the claude it finds on PATH, so the function cannot call itself."""
