"""The shape of the code, held by a machine: what may be imported, how large a file may be, where its tests are.

The import-linter contracts in pyproject.toml forbid; this is the allow-list, because a list of
what is forbidden forgets.
"""

from __future__ import annotations

import ast
import functools
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "claude_failover"
TESTS = ROOT / "tests"
MODULES = sorted(PACKAGE.rglob("*.py"))
CORE = sorted((PACKAGE / "core").glob("*.py"))

MAX_LINES = 400

CORE_MAY_IMPORT = frozenset(
    {
        "__future__",
        "abc",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "collections.abc",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "email.utils",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "itertools",
        "json",
        "math",
        "msgspec",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
        "urllib.parse",
        "zlib",
    }
)
"""Apart from the core and ``errors``: what cannot do I/O, tell the time or roll dice."""

CORE_MUST_NOT_CALL = frozenset({"breakpoint", "eval", "exec", "input", "now", "open", "print", "today", "utcnow"})
"""Names that reach outside although their module may be imported (``datetime.now``)."""

WHO_MAY_IMPORT = {
    "aiohttp": ("upstream", "proxy", "control.server", "daemon", "drill"),
    "httptools": ("upstream.line",),
    "botocore": ("upstream", "credentials"),
    "keyring": ("credentials",),
    "prometheus_client": ("metrics",),
    "typer": ("cli",),
    "rich": ("cli",),
    "platformdirs": ("config_paths",),
    "sqlite3": ("ledger",),
    "yaml": ("config_yaml", "daemon"),
    "msgspec": ("core", "control", "events", "ledger", "credentials", "alerts", "daemon", "drill"),
    "time": ("clock",),
    "random": ("clock", "daemon"),
}
"""Dependency -> modules (with what is below them, or begins with them and ``_``) that may import it."""

THIRD_PARTY = frozenset({*WHO_MAY_IMPORT, "claude_failover", "multidict", "yarl", "uvloop"})


def name_of(path: Path) -> str:
    """Dotted, below the package: ``core.sse``; the package's own is empty."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def imports(tree: ast.AST, *, typing_too: bool = False) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, as far as it is at run time."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            if typing_too:
                yield from imports(node, typing_too=True)
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
        else:
            yield from imports(node, typing_too=typing_too)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CORE, ids=label)
def test_the_core_imports_only_what_cannot_reach_outside(path: Path) -> None:
    strangers = [
        f"{label(path)}:{line}: {name}"
        for line, name in imports(parsed(path))
        if name not in CORE_MAY_IMPORT
        and name != "claude_failover.errors"
        and not f"{name}.".startswith("claude_failover.core.")
    ]
    assert strangers == []


@pytest.mark.parametrize("path", CORE, ids=label)
def test_the_core_calls_nothing_that_reaches_outside(path: Path) -> None:
    calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    found = [
        f"{label(path)}:{call.lineno}: {name}()"
        for call in calls
        if (name := getattr(call.func, "id", None) or getattr(call.func, "attr", "")) in CORE_MUST_NOT_CALL
        and not (
            name == "open" and isinstance(call.func, ast.Attribute)
        )  # an attempt or a circuit is opened, not a file
    ]
    assert found == []


@pytest.mark.parametrize("path", [path for path in CORE if ast.parse(path.read_text("utf-8")).body], ids=label)
def test_the_core_awaits_nothing(path: Path) -> None:
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, waits)] == []


@pytest.mark.parametrize("dependency", WHO_MAY_IMPORT)
def test_a_dependency_is_imported_only_where_the_table_says(dependency: str) -> None:
    allowed = WHO_MAY_IMPORT[dependency]
    strangers = [
        f"{label(path)}:{line}"
        for path in MODULES
        for line, name in imports(parsed(path))
        if name.split(".")[0] == dependency
        and not any(name_of(path) == word or name_of(path).startswith((f"{word}.", f"{word}_")) for word in allowed)
    ]
    assert strangers == []


def test_nothing_else_is_imported_from_outside() -> None:
    known = THIRD_PARTY | sys.stdlib_module_names
    strangers = {
        name.split(".")[0]
        for path in MODULES
        for _, name in imports(parsed(path), typing_too=True)
        if name.split(".")[0] not in known
    }
    assert strangers == set(), (
        "a new dependency needs a row in WHO_MAY_IMPORT, a contract, and a line in pyproject.toml"
    )


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_a_module_says_what_it_is_and_stays_small(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree) or not tree.body, f"{label(path)} has no docstring"
    lines = text.count("\n")
    assert lines <= MAX_LINES, f"{label(path)} has {lines} lines: split it along its ideas"


def only_tells(path: Path) -> bool:
    """Whether a module holds nothing to test: a docstring, imports, names given again, the call of a ``main``."""
    return all(
        isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign)
        or (isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "__name__ == '__main__'"})
        for node in parsed(path).body
    )


@functools.cache
def own_tests(path: Path) -> list[Path]:
    """Where a module's own test files may be; ``_properties`` and the like may stand beside each.

    At the edges a file may be about a family: ``test_ledger.py`` about ``ledger_rows`` too, ``test_drill_bedrock.py``
    about all of ``drill/bedrock_*.py``, and over sockets about a whole package whose parts only work together
    (``integration/test_control.py``: client and server). In the core each module has its own.
    """
    parts = name_of(path).removesuffix(".__main__").split(".")
    words = parts[-1].split("_")
    names = [parts[-1]] if parts[0] == "core" else ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    stems = [
        stem
        for name in names
        for stem in (
            TESTS / "unit" / Path(*parts[:-1]) / f"test_{name}",
            TESTS / "unit" / f"test_{'_'.join([*parts[:-1], name])}",
            TESTS / "integration" / f"test_{'_'.join([*parts[:-1], name])}",
            TESTS / "integration" / Path(*parts[:-1]) / f"test_{name}",
        )
    ]
    together = TESTS / "integration" / f"test_{parts[0]}.py"
    if parts[0] != "core" and together.exists():
        stems.append(together.with_suffix(""))
    return [
        file
        for stem in dict.fromkeys(stems)
        for file in sorted({stem.with_suffix(".py"), *stem.parent.glob(f"{stem.name}_*.py")})
        if file.exists()
    ]


@pytest.mark.parametrize("path", [path for path in MODULES if not only_tells(path)], ids=label)
def test_a_module_has_a_test_file_of_its_name(path: Path) -> None:
    assert own_tests(path), (
        f"no test file for {label(path)}, such as tests/unit/test_{'_'.join(name_of(path).split('.'))}.py"
    )


@pytest.mark.parametrize("path", CORE, ids=label)
def test_a_core_module_is_tested_in_the_cores_folder(path: Path) -> None:
    if only_tells(path):
        return
    assert (TESTS / "unit" / "core" / f"test_{path.stem}.py").exists()


@pytest.mark.parametrize("path", sorted((TESTS / "unit").rglob("test_*.py")), ids=label)
def test_a_unit_test_file_is_about_a_module_that_exists(path: Path) -> None:
    about_the_whole = {"test_architecture", "test_docs"}
    owners = [module for module in MODULES if path in own_tests(module)]
    assert owners or path.stem in about_the_whole


@pytest.mark.parametrize("path", [*MODULES, *sorted(TESTS.rglob("*.py"))], ids=label)
def test_nothing_is_left_to_do_or_mocked_or_skipped(path: Path) -> None:
    """A skip needs the real client (tests/real), and says so; elsewhere nothing is skipped."""
    text = path.read_text("utf-8")
    words = ["TO" + "DO", "FIX" + "ME", "unittest" + ".mock", "pytest" + ".mark.xfail"]
    if "real" not in path.relative_to(ROOT).parts:
        words += ["pytest" + ".skip", "mark" + ".skip", "importor" + "skip"]
    assert [word for word in words if word in text] == []


def test_every_module_stands_on_a_line_of_the_layers() -> None:
    """What the contract ``layers`` cannot see for itself: packages whose modules stand on several lines."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    named = {word.strip("() ") for line in layers for word in line.replace(":", "|").split("|")}
    control = {f"control.{path.stem}" for path in (PACKAGE / "control").glob("*.py") if path.stem != "__init__"}
    assert control - named == set()
