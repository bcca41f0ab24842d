"""What every command's help ends with: an example that can be typed, and each exit code it can end with.

One table, so that the help, the reference in ``docs/`` and the tests say the same. The numbers' common meaning is
:mod:`claude_failover.errors`'; here is what they mean for each command. Codes that any program may end with are told
once, under the program's own help: 130 interrupted, 141 nobody reads the output.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from claude_failover.errors import (
    EXIT_DEGRADED,
    EXIT_FAILED,
    EXIT_LAUNCH,
    EXIT_NOT_RUNNING,
    EXIT_OK,
    EXIT_SPEND_LIMIT,
    EXIT_USAGE,
)

WIDTH: Final = 66
"""Columns of a meaning: with what stands before it, it fits on a terminal of 80."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """The end of one command's help."""

    example: str
    codes: Mapping[int, str]
    others: str = ""
    """Whose the other codes are."""

    def epilog(self) -> str:
        """Write it; the form feed character keeps the parser's help from filling the lines up."""
        rows = [(str(code), meaning) for code, meaning in self.codes.items()]
        if self.others:
            rows.append(("else", self.others))
        lines = []
        for code, meaning in rows:
            first, *rest = textwrap.wrap(meaning, WIDTH)
            lines += [f"  {code:<5} {first}", *(f"{'':8}{line}" for line in rest)]
        return "\n".join(["\b", f"Example: {self.example}", "", "\b", "Exit codes:", *lines])


_USAGE: Final = "an option or an argument is wrong"
_CONFIG: Final = "the configuration is"
_NONE: Final = "no command below it was named"
_ANSWER: Final = "the daemon answered with an error, or not at all in time"
_NOBODY: Final = "the daemon does not run"


def _codes(
    good: str, *, failed: str = "", usage: str = "", nobody: str = "", more: Mapping[int, str] | None = None
) -> dict[int, str]:
    """Put the codes in their order; what is empty cannot happen."""
    wrong = f"{_USAGE}, or {usage}" if usage else _USAGE
    every = {EXIT_OK: good, EXIT_FAILED: failed, EXIT_USAGE: wrong, EXIT_NOT_RUNNING: nobody, **(more or {})}
    return {code: meaning for code, meaning in every.items() if meaning}


LESSONS: Final[Mapping[str, Lesson]] = {
    "start": Lesson(
        "claude-failover start",
        _codes(
            "it answers, or one ran already; with --foreground: it ended as it was told to",
            failed="it did not come up; the reason and the end of its log are shown",
            usage=_CONFIG,
        ),
    ),
    "stop": Lesson(
        "claude-failover stop --drain 5",
        _codes("it has ended", failed="it did not end in time, or refused", nobody=_NOBODY),
    ),
    "restart": Lesson(
        "claude-failover restart",
        _codes(
            "the new one answers",
            failed="the old one did not end in time, or the new one did not come up",
            usage=f"{_CONFIG}: then the old daemon goes on",
        ),
    ),
    "reload": Lesson(
        "claude-failover reload",
        _codes(
            "the file is in force",
            failed=_ANSWER,
            usage=f"{_CONFIG}: then what was in force stays in force",
            nobody=_NOBODY,
        ),
    ),
    "status": Lesson(
        "claude-failover status --watch",
        _codes(
            "it was shown; with --check: protected",
            failed=_ANSWER,
            nobody=_NOBODY,
            more={
                EXIT_DEGRADED: "with --check: failed over, or nobody could take over, or nobody answers",
                EXIT_SPEND_LIMIT: "with --check: stopped by the daily limit",
            },
        ),
    ),
    "run": Lesson(
        "claude-failover run -- --model opus -p 'hello'",
        {EXIT_LAUNCH: "claude could not be started, or would have gone past the daemon"},
        others="claude's own",
    ),
    "env": Lesson(
        'eval "$(claude-failover env)"',
        _codes("printed", failed=f"{_ANSWER}, or its key cannot be read", nobody=f"{_NOBODY}; --unset needs none"),
    ),
    "shell-init": Lesson("claude-failover shell-init bash >> ~/.bashrc", _codes("printed")),
    "force-backend": Lesson(
        "claude-failover force-backend bedrock --for 30m",
        _codes("it is in force", failed=_ANSWER, usage="no backend has that name", nobody=_NOBODY),
    ),
    "costs": Lesson(
        "claude-failover costs --since 7d --by model",
        _codes("shown; no daemon is needed", failed="there is no ledger yet, or it cannot be read"),
    ),
    "logs": Lesson(
        "claude-failover logs -f --level warning",
        _codes("shown, or there is no log yet; no daemon is needed", failed="the log cannot be read"),
    ),
    "explain": Lesson(
        "claude-failover explain last",
        _codes("told", failed=f"no such request is remembered; or {_ANSWER}", nobody=_NOBODY),
    ),
    "drill": Lesson(
        "claude-failover drill plan-limit",
        _codes(
            "every request was rescued, or told honestly where nobody may answer it",
            failed="at least one was not",
            usage="there is no such scenario",
        ),
    ),
    "doctor": Lesson(
        "claude-failover doctor",
        _codes(
            "nothing fails; warnings alone are 0",
            failed="something does not work; what to type is shown with it",
            usage="--online has nobody to ask",
        ),
    ),
    "models": Lesson(
        "claude-failover models --json",
        _codes("listed", failed=_ANSWER, usage=_CONFIG, nobody="with --refresh: the daemon does not run"),
    ),
    "config": Lesson("claude-failover config check", _codes("the command below it is good", usage=_NONE)),
    "config init": Lesson(
        "claude-failover config init", _codes("written", usage="there is a file already, or it cannot be written")
    ),
    "config path": Lesson(
        "$EDITOR $(claude-failover config path)", _codes("printed", usage="CLAUDE_FAILOVER_HOME is no usable place")
    ),
    "config check": Lesson(
        "claude-failover config check",
        _codes(
            "good; a file that is not there is good too", usage=f"{_CONFIG}: each fault is told with file, line and key"
        ),
    ),
    "config show": Lesson(
        "claude-failover config show --json",
        _codes(
            "shown",
            failed=f"with --claude-settings: {_ANSWER}",
            usage=f"{_CONFIG}; or for --claude-settings there is no client key yet",
            nobody="with --claude-settings, and a port that the daemon chooses: it does not run",
        ),
    ),
    "config import": Lesson(
        "claude-failover config import ~/litellm/config.yaml -o config.yaml",
        _codes(
            "carried over; what could not be is named on stderr",
            usage="the file cannot be read or is no such configuration; or OUTPUT is there already",
        ),
    ),
    "token": Lesson("claude-failover token status", _codes("the command below it is good", usage=_NONE)),
    "token set": Lesson(
        "claude-failover token set anthropic",
        _codes(
            "kept",
            failed="it is no such secret, or there is no keyring",
            usage="nothing was given, or there is no secret of that name",
        ),
    ),
    "token status": Lesson(
        "claude-failover token status --json",
        _codes("shown", failed="what is kept cannot be used", usage=_CONFIG),
    ),
    "token clear": Lesson(
        "claude-failover token clear bedrock",
        _codes("nothing is kept any more", failed="the keyring or the file cannot be changed"),
    ),
    "service": Lesson("claude-failover service status", _codes("the command below it is good", usage=_NONE)),
    "service install": Lesson(
        "claude-failover service install",
        _codes(
            "the service runs",
            failed="the service manager refused, or is not there; or the daemon that ran did not end",
            usage="the definition cannot be written",
        ),
    ),
    "service uninstall": Lesson("claude-failover service uninstall", _codes("removed, or was not installed")),
    "service status": Lesson(
        "claude-failover service status --json",
        _codes(
            "installed, up to date and running",
            failed="not installed, or by another version or shell",
            nobody="installed, but the daemon does not run",
        ),
    ),
    "monitoring": Lesson(
        "claude-failover monitoring export ./monitoring",
        _codes("the command below it is good", usage=_NONE),
    ),
    "monitoring export": Lesson(
        "claude-failover monitoring export ./monitoring",
        _codes("written", usage="a file there differs from ours, or cannot be written"),
    ),
    "statusline": Lesson("claude-failover statusline", _codes("always: without a daemon the line says so")),
    "completion": Lesson("claude-failover completion zsh > _claude-failover", _codes("printed")),
}
"""A command's words -> the end of its help. The table of commands is :data:`claude_failover.cli.tree.COMMANDS`."""
