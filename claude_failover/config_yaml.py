"""YAML text to a tree that knows its lines, and nothing more of YAML than a settings file needs.

Rule: what reads one way to a person reads that way here. Anchors, aliases, merge keys, tags,
several documents and duplicate keys are refused, each with its line; so a file is as large as it
looks, and no key hides another. Scalars follow YAML 1.2's core schema and keep their own text:
whether ``off`` means a switch or a word is for the key to say, not for the parser.

Source: YAML 1.2.2, section 10.3.2 (tag resolution of the core schema).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import yaml
from yaml.events import AliasEvent

MAX_BYTES: Final = 1024 * 1024
"""A settings file is a few kilobytes; a larger one is something else."""

MAX_DEPTH: Final = 12
"""Ours is four deep; the parser recurses once a level."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value."""

    line: int
    value: bool | int | float | str | None
    text: str
    """As written, without quotes."""
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    line: int
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; each key with its line."""

    line: int
    entries: dict[str, Tree]
    lines: dict[str, int]


Tree = Scalar | Items | Table


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong in a file (with its line) or elsewhere (line 0, and *where* says it all)."""

    line: int
    text: str
    where: str = ""
    """``env NAME`` or ``flag KEY`` where it is not the file."""


@dataclass(slots=True)
class Document:
    """What a text holds, as far as it can be read, and what is wrong with it."""

    tree: Tree | None = None
    problems: list[Problem] = field(default_factory=list)


def read(data: bytes) -> Document:
    """Parse a settings file; never raises for what is in it."""
    document = Document()
    if len(data) > MAX_BYTES:
        document.problems.append(Problem(1, f"the file has {len(data)} bytes; a settings file has at most {MAX_BYTES}"))
        return document
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        document.problems.append(Problem(line, "this is not UTF-8 text; save the file as UTF-8"))
        return document
    try:
        node = _compose(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problems.append(Problem(line, f"control character U+{ord(text[error.position]):04X} in the text"))
    except yaml.MarkedYAMLError as error:
        document.problems.append(_syntax_problem(error, text))
    else:
        if node is not None:
            document.tree = _tree(node, document.problems)
    return document


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that a settings file has no use for; its ``problem`` is already a sentence for people."""


class _Loader(yaml.SafeLoader):
    """Composes nodes only; nothing is constructed."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _Refused(None, None, "anchors (&) and aliases (*) are not supported: write it out", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _Refused(None, None, f"tags ({event.tag}) are not supported", event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(None, None, f"nested more than {MAX_DEPTH} deep", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    return node


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    words = error.problem or "this is not YAML"
    lines = text.splitlines()
    if isinstance(error, _Refused):
        return Problem(line, words)
    if line <= len(lines) and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]:
        return Problem(line, "a tab in the indentation; YAML takes spaces only")
    if "expected a single document" in (error.context or ""):
        return Problem(line, "a second document (---); a settings file is one")
    return Problem(line, f"not YAML: {words}")


def _tree(node: yaml.Node, problems: list[Problem]) -> Tree:
    line = node.start_mark.line + 1
    match node:
        case yaml.MappingNode():
            return _table(node, line, problems)
        case yaml.SequenceNode():
            return Items(line, tuple(_tree(item, problems) for item in node.value))
        case _:
            quoted = getattr(node, "style", None) is not None
            return Scalar(line, node.value if quoted else plain(node.value), node.value, quoted)


def _table(node: yaml.MappingNode, line: int, problems: list[Problem]) -> Table:
    entries: dict[str, Tree] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        at = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.append(Problem(at, "a key must be one word"))
        elif key.value in entries:
            problems.append(Problem(at, f'duplicate key "{key.value}" (first on line {lines[key.value]})'))
        else:
            entries[key.value] = _tree(value, problems)
            lines[key.value] = at
    return Table(line, entries, lines)


_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_SWITCHES: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_LONGEST_NUMBER: Final = 30
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9_]*)(\.[0-9_]*)?)([eE][-+]?[0-9]+)?\Z")
_INFINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")


def plain(text: str) -> bool | int | float | str | None:
    """Say what an unquoted word means: nothing, a switch, a number, or itself."""
    if text in _NULLS:
        return None
    if text in _SWITCHES:
        return _SWITCHES[text]
    if _INTEGER.match(text) and len(text) <= _LONGEST_NUMBER:
        return int(text.replace("_", ""))
    if _INFINITE.match(text):
        return float(text.replace(".", "", 1))
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    return text


def bare(tree: Tree) -> object:
    """Give a tree as plain values, its lines forgotten."""
    match tree:
        case Scalar(value=value):
            return value
        case Items(items=items):
            return [bare(item) for item in items]
        case Table(entries=entries):
            return {key: bare(item) for key, item in entries.items()}
