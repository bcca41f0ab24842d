"""What the pages tell people to type exists: commands, options, settings; and what they quote, the code says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from claude_failover.cli import tree
from claude_failover.cli.invocation import PROGRAM
from claude_failover.config_load import parse

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
TYPED = re.compile(r"^\$ (.+)$", re.MULTILINE)
INLINE = re.compile(r"`(claude-failover [^`]+)`")
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)

PLACEHOLDER = re.compile(r"^[A-Z][A-Z_]*$|[…|*\[\]<>]")
"""Words that stand for something: ``NAME``, ``claude|bedrock``."""

QUOTED_ELSEWHERE = (
    "Too many tokens",
    "Model use case details",
    "data retention mode",
    "You don't have access",
    "invalid x-api-key",
    "OAuth token has expired",
    "API Error",
    "NoRegionError",
)
"""Beginnings of what AWS, Anthropic or Claude Code say, not we."""


def label(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fences(page: Path, language: str) -> Iterator[str]:
    for _, tongue, text in FENCED.findall(page.read_text("utf-8")):
        if tongue == language:
            yield text


def lines_typed(page: Path) -> Iterator[str]:
    """Every line that a reader would type and that begins with us, comments and pipes cut off."""
    for text in fences(page, "console"):
        for line in TYPED.findall(text):
            for part in re.split(r"\s+#\s|\||&&|;|\$\(", line):
                if part.strip().startswith(f"{PROGRAM} "):
                    yield re.sub(r"\)\"?$", "", part.strip())
    prose = FENCED.sub("", page.read_text("utf-8"))
    for one in INLINE.findall(prose):
        yield " ".join(re.split(r"\s+#\s|\|\s|&&|;|\$\(", " ".join(one.split()))[0].split())


@cache
def root() -> tuple[Any, Any]:
    command = typer.main.get_command(tree.app)
    return command, command.make_context(PROGRAM, [], resilient_parsing=True)


def options_of(command: Any) -> set[str]:
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}


def complaint(line: str) -> str:
    """Why *line* could not be typed; empty if it could."""
    try:
        words = shlex.split(line)[1:]
    except ValueError as error:
        return str(error)
    command, context = root()
    globals_ = options_of(command)
    while words and words[0].startswith("-"):
        if words.pop(0).partition("=")[0] not in globals_:
            return f"{line}: no such global option"
        if words and not words[0].startswith("-") and command.get_command(context, words[0]) is None:
            words.pop(0)
    while words and hasattr(command, "get_command") and not words[0].startswith("-"):
        if PLACEHOLDER.search(words[0]):
            return ""
        found = command.get_command(context, words[0])
        if found is None:
            return f"{line}: no command {words[0]!r}"
        command, context = found, type(context)(found, info_name=words.pop(0), parent=context)
    for word in words:
        if word == "--":
            break
        name = word.partition("=")[0]
        if name.startswith("-") and not PLACEHOLDER.search(name) and name not in options_of(command):
            return f"{line}: no option {name}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_command_of_a_page_can_be_typed(page: Path) -> None:
    assert [problem for line in lines_typed(page) if (problem := complaint(line))] == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_configuration_of_a_page_is_accepted(page: Path) -> None:
    for text in fences(page, "yaml"):
        lines = text.splitlines()
        indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        whole = "\n".join(line[indent:] for line in lines)
        keys = yaml.safe_load(whole)
        if isinstance(keys, dict) and set(keys) & {"backends", "models", "listen", "cost_tracking", "alerts"}:
            parse(whole.encode())


def sources() -> str:
    """The code's texts with their breaks undone, so that a sentence over two lines is found."""
    text = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "claude_failover").rglob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_the_symptoms_are_what_the_code_says() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    cells = re.findall(r"^\| (.+?) \|", page, re.MULTILINE)
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    code = sources()
    missing = [
        text
        for text in quoted
        if not text.startswith(QUOTED_ELSEWHERE)
        and not all(part.strip() in code for part in re.split(r"…|'…'|\$…", text) if part.strip(" :'"))
    ]
    assert len(quoted) > 10
    assert missing == []


def test_the_check_finds_what_is_wrong() -> None:
    assert complaint("claude-failover status --watch") == ""
    assert complaint("claude-failover token set anthropic --store file") == ""
    assert complaint("claude-failover --config FILE status") == ""
    assert complaint("claude-failover run -- -p hi") == ""
    assert "no command" in complaint("claude-failover budget set 5")
    assert "no option" in complaint("claude-failover status --frobnicate")
