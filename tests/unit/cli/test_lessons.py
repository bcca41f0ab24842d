"""What every command's help ends with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from claude_failover import errors
from claude_failover.cli import tree
from claude_failover.cli.invocation import PROGRAM
from claude_failover.cli.lessons import LESSONS, Lesson


def commands(command: Any, context: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any, Any]]:
    """Every command below *command* with its context, depth first."""
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        inner = type(context)(below, info_name=name, parent=context, terminal_width=80)
        yield " ".join((*path, name)), below, inner
        yield from commands(below, inner, (*path, name))


def root() -> tuple[Any, Any]:
    command = typer.main.get_command(tree.app)
    return command, command.make_context(PROGRAM, [], resilient_parsing=True)


EVERY = {path: (command, context) for path, command, context in commands(*root())}

by_command = pytest.mark.parametrize("path", EVERY)


def parsed(line: str) -> str:
    """Parse what stands in *line* for us, without running it; the command's path."""
    [typed] = re.findall(rf"{PROGRAM} [^\"|>)]*", line)
    words = shlex.split(typed)[1:]
    path = []
    command, context = root()
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        if command is None:
            raise typer.BadParameter(f"no command {name}")
        path.append(name)
        context = (
            type(context)(command, info_name=name, parent=context)
            if hasattr(command, "resolve_command")
            else command.make_context(name, words, parent=context)
        )
    return " ".join(path)


def test_every_command_has_a_lesson_and_every_lesson_a_command() -> None:
    shown = {path for path, (command, _) in EVERY.items() if not command.hidden}
    assert shown == set(LESSONS)


@by_command
def test_the_help_says_it_in_a_sentence_and_ends_with_the_example_and_the_exit_codes(path: str) -> None:
    command, context = EVERY[path]
    lesson = LESSONS["force-backend" if path == "force" else path]
    told = command.get_help(context)
    lines = told.splitlines()
    assert re.match(r"[A-Z].*\.$", command.help.strip().split("\n\n")[0].replace("\n", " "))
    at = lines.index(f"  Example: {lesson.example}")
    assert lines[at + 1 : at + 3] == ["", "  Exit codes:"]
    codes = [int(found[1]) for line in lines[at + 3 :] if (found := re.match(r"    (\d+) ", line))]
    assert codes == list(lesson.codes)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("path", LESSONS)
def test_the_example_can_be_typed_and_is_one_of_this_command(path: str) -> None:
    assert parsed(LESSONS[path].example).startswith(path)


def test_an_example_that_cannot_be_typed_would_be_found() -> None:
    for line in ("claude-failover stop --gently", "claude-failover cease", "claude-failover shell-init"):
        with pytest.raises(tree.CLICK_ERROR):
            parsed(line)


def test_every_code_is_one_that_we_know_and_every_one_is_told_somewhere() -> None:
    known = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    told = {code for lesson in LESSONS.values() for code in lesson.codes}
    assert told == known - {errors.EXIT_INTERRUPTED, errors.EXIT_BROKEN_PIPE}


def test_a_long_meaning_goes_on_under_its_beginning() -> None:
    lesson = Lesson("claude-failover x", {0: "good", 1: " ".join(["word"] * 20)}, others="another's")
    assert lesson.epilog().split("\n") == [
        "\b",
        "Example: claude-failover x",
        "",
        "\b",
        "Exit codes:",
        "  0     good",
        f"  1     {' '.join(['word'] * 13)}",
        f"        {' '.join(['word'] * 7)}",
        "  else  another's",
    ]
