"""The pages say what the code does: nothing in the code that they lack, nothing in them that the code lacks.

What is generated is compared by ``make docs``, too; here is what a person writes and may get wrong. What can be typed
(commands, options, configurations) is tried in ``tests/integration/test_docs_commands.py``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from claude_failover import errors
from claude_failover.cli import tree
from claude_failover.cli.invocation import PROGRAM
from claude_failover.config_schema import BACKEND_KEYS, SECTIONS, TOP_KEYS, variable
from claude_failover.core.alert_rules import RULES
from claude_failover.core.prices import PriceTable
from claude_failover.core.types import Kind
from claude_failover.events.names import NAMES
from tests import generated, generated_pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "claude_failover"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")))
"""Every page that a user may read."""

HISTORY = {"CHANGELOG.md"}
"""May name what is gone."""

FENCE = re.compile(r"(?ms)^( *)```(\w*)\n(.*?)^ *```$")
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")

PROGRAMS = {
    *("claude-failover", "claude", "make", "pip", "pipx", "uv", "python", ".venv/bin/python", "aws"),
    *("export", "unset", "eval", "pass", "printf", "curl", "cat", "chmod", "timedatectl", "loginctl"),
    *("systemctl", "journalctl", "promtool"),
    *("dbus-run-session", "gnome-keyring-daemon", "git", "cp", "npm", "npx"),
}  # fmt: skip
"""What a block of commands may begin a line with."""

LANGUAGES = {"console", "bash", "text", "json", "yaml", "mermaid", "toml", "ini", "python", "promql"}


def read(page: Path) -> str:
    """A page as text."""
    return page.read_text("utf-8")


def fences(text: str, *languages: str) -> Iterator[str]:
    """The contents of fenced blocks in one of *languages*."""
    for _, language, content in FENCE.findall(text):
        if language in languages:
            yield content


def spans(text: str) -> Iterator[str]:
    """What stands between single backticks, outside of fences; a line break is a space."""
    for span in SPAN.findall(FENCE.sub("", text)):
        yield " ".join(span.split())


def named(page: Path) -> str:
    """Everything of a page that is code."""
    text = read(page)
    return "\n".join([*spans(text), *(content for _, _, content in FENCE.findall(text))])


def by_page(*but: str) -> pytest.MarkDecorator:
    """Run a test for each page."""
    pages = [page for page in PAGES if page.name not in but]
    return pytest.mark.parametrize("page", pages, ids=[page.name for page in pages])


@functools.cache
def helps() -> dict[str, str]:
    """Every command, such as ``claude-failover token set``, and its help."""
    root: Any = typer.main.get_command(tree.app)
    return dict(generated.commands(root, root.make_context(PROGRAM, [], resilient_parsing=True)))


@functools.cache
def source() -> str:
    """The package's own text."""
    return "\n".join(read(path) for path in sorted(PACKAGE.rglob("*.py")))


def settings() -> set[str]:
    """Every key in full, ``cost_tracking.daily_limit``; of a backend as ``backends[].region``."""
    keys = {".".join([*section.path, key.name]) for section in SECTIONS for key in section.keys}
    return keys | {f"backends[].{key.name}" for key in BACKEND_KEYS}


def metrics() -> set[str]:
    """Every metric, histograms also with their suffixes."""
    known = set()
    for name, kind, _, _ in generated_pages.families():
        known |= {name, *(name + end for end in ("_bucket", "_sum", "_count") if kind == "histogram")}
    return known


# --- nothing in the code that the pages lack ------------------------------------------------------


@pytest.mark.parametrize("page", generated_pages.PAGES)
def test_what_the_code_writes_on_a_page_is_up_to_date(page: str) -> None:
    text = read(DOCS / page)
    assert generated_pages.filled(text) == text, "make completions"


def test_every_generated_part_has_its_place() -> None:
    together = "".join(read(DOCS / page) for page in generated_pages.PAGES)
    for name in generated_pages.BLOCKS:
        assert together.count(f"<!-- {name}: generated -->") == together.count(f"<!-- {name}: end -->") == 1


def test_every_event_outcome_and_reason_has_words() -> None:
    assert set(generated_pages.EVENTS) == set(NAMES)
    assert all(words.strip() for words in generated_pages.OUTCOMES.values())
    assert all(words.strip() for words in generated_pages.REASONS.values())


def test_every_metric_is_on_the_page() -> None:
    table = read(DOCS / "monitoring.md")
    assert [name for name, *_ in generated_pages.families() if f"| `{name}` |" not in table] == []


def test_every_alert_has_its_section_in_the_runbook() -> None:
    anchors = generated.anchors(DOCS / "runbook.md")
    assert [rule.code for rule in RULES if f"claudefailover{rule.code.replace('_', '')}" not in anchors] == []


def test_every_setting_is_in_the_reference() -> None:
    reference = read(DOCS / "configuration.md")
    assert [word for word in TOP_KEYS if f"### `{word}`" not in reference] == []
    assert [key for key in settings() if f"| `{key.rpartition('.')[2]}` |" not in reference] == []


def test_every_command_is_in_the_reference_and_in_the_readme() -> None:
    reference, readme = read(DOCS / "cli.md"), read(ROOT / "README.md")
    assert [path for path in helps() if f"## `{path}`" not in reference] == []
    names = {path.split()[1] for path in helps() if " " in path}
    assert sorted(name for name in names if not re.search(rf"`(?:[^`]* )?{name}\b", readme)) == []


def test_every_exit_code_is_told() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    told = set(re.findall(r"\b\d+\b", tree.EPILOG))
    assert {str(code) for code in codes} == told
    assert tree.EPILOG in read(DOCS / "cli.md")


def test_every_page_is_in_the_index() -> None:
    index = read(DOCS / "README.md")
    pages = [page.name for page in DOCS.glob("*.md") if page.name != "README.md"]
    assert [name for name in pages if f"({name}" not in index] == []


def test_every_package_and_every_module_of_the_core_is_in_the_architecture() -> None:
    code = set(re.findall(r"[\w*]+", " ".join(spans(read(DOCS / "architecture.md")))))
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    core = {path.stem for path in (PACKAGE / "core").glob("*.py")} - {"__init__"}
    assert sorted((packages | core) - code) == []


# --- nothing on the pages that the code lacks -----------------------------------------------------


def test_every_link_leads_somewhere() -> None:
    assert list(generated.dead_links()) == []


@by_page(*HISTORY)
def test_every_metric_on_a_page_exists(page: Path) -> None:
    assert set(re.findall(r"\bclaude_failover_[a-z0-9_]+", read(page))) <= metrics()


@by_page(*HISTORY)
def test_every_event_on_a_page_exists(page: Path) -> None:
    nouns = "|".join({name.partition(".")[0] for name in NAMES})
    found = {span for span in spans(read(page)) if re.fullmatch(rf"(?:{nouns})\.[a-z_]+", span)}
    files_and_modules = {span for span in found if re.search(r"\.(?:yaml|yml|json|log|db|key|py|md)$", span)}
    files_and_modules |= {span for span in found if (PACKAGE / (span.replace(".", "/") + ".py")).exists()}
    assert found - files_and_modules <= set(NAMES)


@by_page(*HISTORY)
def test_every_setting_on_a_page_exists(page: Path) -> None:
    sections = "|".join(TOP_KEYS)
    found = {
        match[1]
        for span in spans(read(page))
        if (match := re.match(rf"((?:{sections})(?:\[\])?(?:\.\w+)+)(?=$|[ :=])", span))
    }
    known = settings() | {".".join(section.path) for section in SECTIONS}
    assert {name for name in found if not name.endswith((".yaml", ".json", ".py", ".md"))} <= known


@by_page(*HISTORY)
def test_every_variable_on_a_page_exists(page: Path) -> None:
    known = {variable(*section.path, key.name) for section in SECTIONS for key in section.keys}
    for name in set(re.findall(r"\bCLAUDE_FAILOVER_[A-Z0-9_]*[A-Z0-9]", named(page))) - known:
        assert name.startswith("CLAUDE_FAILOVER_BACKENDS_") or f'"{name}"' in source() or name in WRITE_DOCS, name


WRITE_DOCS = {"CLAUDE_FAILOVER_FUZZ_SECONDS", "CLAUDE_FAILOVER_WRITE_DOCS"}
"""For those who work on it."""


@by_page(*HISTORY)
def test_every_exit_code_on_a_page_exists(page: Path) -> None:
    known = {str(value) for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert set(re.findall(r"[Ee]xit codes? (\d+)", read(page))) <= known


@by_page()
def test_every_block_is_in_a_known_language_and_every_command_begins_with_a_known_program(page: Path) -> None:
    text = read(page)
    assert {language for _, language, _ in FENCE.findall(text)} <= LANGUAGES
    lines = [
        line[2:] for block in fences(text, "console") for line in map(str.strip, block.splitlines()) if line[:2] == "$ "
    ]
    lines += [line for block in fences(text, "bash") for line in block.splitlines() if line.strip()]
    for line in lines:
        for command in re.split(r" [|;] | && ", line.partition(" #")[0]):
            first = next(word for word in command.split() if not re.match(r"[A-Z_]+=", word))
            assert first in PROGRAMS, f"{page.name}: {line}"


def test_the_worst_cases_on_the_page_about_costs_are_those_of_the_price_table() -> None:
    prices = PriceTable.build(yaml.safe_load(files("claude_failover.data").joinpath("prices.yaml").read_text("utf-8")))
    rows = [line.split(" | ") for line in read(DOCS / "costs.md").splitlines() if re.match(r"\| (?:80|600) KB", line)]
    assert len(rows) == 3
    for size, hour, *told in rows:
        for model, dollars in zip(("claude-haiku-4-5", "claude-sonnet-5-5", "claude-opus-5-5"), told, strict=True):
            most = prices.worst_case(
                model, Kind.BEDROCK, "global", int(size.split()[1]) * 1_000, 32_000, hour_cache=hour == "yes"
            )
            assert f"${-(-most // 10_000_000) / 100:.2f}" == dollars.strip(" |"), (model, size, hour)
