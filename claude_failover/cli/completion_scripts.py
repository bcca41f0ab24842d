"""Completion scripts for bash, zsh and fish, from the same values. Pure.

Each has the same two parts: find which command the words before the cursor name, then offer
that command's words, or the values of the option just typed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from claude_failover.cli.completion_model import Command, Flag

_HEAD: Final = "Completion of claude-failover. Written by `claude-failover completion {}`; do not edit."


def _descents(commands: Sequence[Command]) -> list[tuple[str, str]]:
    """Every ``path word`` that leads one level down, and where to; aliases included."""
    return [
        (f"{' '.join(one.path[:-1])} {name}", one.key)
        for one in commands
        if one.path
        for name in (one.path[-1], *one.aliases)
    ]


def _valued(commands: Sequence[Command]) -> list[tuple[Command, Flag]]:
    return [(one, flag) for one in commands for flag in one.flags if flag.takes_value]


def bash(commands: Sequence[Command]) -> str:
    """Write the script for bash, 3.2 (macOS) included."""
    lines = [
        f"# {_HEAD.format('bash')}",
        "_claude_failover() {",
        '    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command="" i',
        "    for ((i = 1; i < COMP_CWORD; i++)); do",
        '        case "$command ${COMP_WORDS[i]}" in',
        *(f'            "{words}") command="{key}" ;;' for words, key in _descents(commands)),
        "        esac",
        "    done",
        "    COMPREPLY=()",
        '    case "$command:$previous" in',
    ]
    for command, flag in _valued(commands):
        keys = " | ".join(f'"{command.key}:{name}"' for name in flag.names)
        offer = (
            f'COMPREPLY=($(compgen -W "{" ".join(flag.values)}" -- "$current")); return'
            if flag.values
            else 'COMPREPLY=($(compgen -f -- "$current")); return'
            if flag.takes_file
            else "return"
        )
        lines.append(f"        {keys}) {offer} ;;")
    lines += ["    esac", '    case "$command" in']
    for command in commands:
        names = [name for flag in command.flags for name in flag.names]
        words = " ".join([*(name for name, _ in command.children), *command.values])
        offer = (
            f'if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "{" ".join(names)}" -- "$current")); '
            f'else COMPREPLY=($(compgen -W "{words}" -- "$current")); fi'
        )
        lines.append(f'        "{command.key}") {offer} ;;')
    lines += ["    esac", "}", "complete -o default -F _claude_failover claude-failover"]
    return "\n".join(lines) + "\n"


def _zsh_word(name: str, text: str) -> str:
    """A ``name:description`` of ``_describe``, quoted."""
    return _quoted(f"{name.replace(':', chr(92) + ':')}:{text}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def zsh(commands: Sequence[Command]) -> str:
    """Write the script for zsh."""
    lines = [
        "#compdef claude-failover",
        f"# {_HEAD.format('zsh')}",
        "_claude-failover() {",
        "  local -a offered flags",
        '  local command=""',
        "  integer i",
        "  for ((i = 2; i < CURRENT; i++)); do",
        '    case "$command ${words[i]}" in',
        *(f'      "{words}") command="{key}" ;;' for words, key in _descents(commands)),
        "    esac",
        "  done",
        '  case "$command:${words[CURRENT-1]}" in',
    ]
    for command, flag in _valued(commands):
        keys = "|".join(f'"{command.key}:{name}"' for name in flag.names)
        offer = (
            f"compadd -- {' '.join(flag.values)}; return"
            if flag.values
            else "_files; return"
            if flag.takes_file
            else "return"
        )
        lines.append(f"    {keys}) {offer} ;;")
    lines += ["  esac", '  case "$command" in']
    for command in commands:
        words = [_zsh_word(name, text) for name, text in command.children]
        words += [_zsh_word(value, "") for value in command.values]
        flags = [_zsh_word(name, flag.help) for flag in command.flags for name in flag.names]
        lines.append(f'    "{command.key}")')
        lines.append(f"      flags=({' '.join(flags)})")
        if words:
            lines += [f"      offered=({' '.join(words)})", "      _describe -t commands command offered"]
        lines.append("      _describe -o -t options option flags")
        if command.files:
            lines.append("      _files")
        lines.append("      ;;")
    lines += [
        "  esac",
        "}",
        "# Loaded from $fpath it is called at once; sourced it registers itself.",
        'if [[ "${funcstack[1]}" == "_claude-failover" ]]; then',
        '  _claude-failover "$@"',
        "else",
        "  compdef _claude-failover claude-failover",
        "fi",
    ]
    return "\n".join(lines) + "\n"


def fish(commands: Sequence[Command]) -> str:
    """Write the script for fish."""
    lines = [
        f"# {_HEAD.format('fish')}",
        "function __claude_failover_at",
        '    set -l command ""',
        "    for word in (commandline -opc)[2..-1]",
        '        switch "$command $word"',
        *(f"            case '{words}'\n                set command '{key}'" for words, key in _descents(commands)),
        "        end",
        "    end",
        '    test "$command" = "$argv[1]"',
        "end",
        "complete -c claude-failover -f",
    ]
    for command in commands:
        at = f"complete -c claude-failover -n \"__claude_failover_at '{command.key}'\""
        lines.extend(f"{at} -a {name} -d {_fish(text)}" for name, text in command.children)
        lines.extend(f"{at} -a {value}" for value in command.values)
        if command.files:
            lines.append(f"{at} -F")
        for flag in command.flags:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
            takes = f" -x -a {_fish(' '.join(flag.values))}" if flag.values else " -r -F" if flag.takes_file else " -x"
            lines.append(f"{at} {names}{takes if flag.takes_value else ''} -d {_fish(flag.help)}")
    return "\n".join(lines) + "\n"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


WRITERS: Final[dict[str, Callable[[Sequence[Command]], str]]] = {"bash": bash, "zsh": zsh, "fish": fish}
