"""Each module of the core must be covered, every line and branch, by its own test files.

Run by ``make cov``: ``python tests/coverage_by_module.py [NAME ...]``. A rule that is only
exercised by somebody else's tests has no test of its own; it can change its meaning and
nobody by that name complains.

How: one pytest over all test files of the core, each file's tests in a coverage context of
its own; then one report per module, of its own contexts only. What runs when a module is
imported counts for everybody. With several processors the files are shared out among processes.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "claude_failover" / "core"
TESTS = ROOT / "tests" / "unit" / "core"

IMPORTED = "imported"
"""The context of what runs when modules are imported."""


def own_tests(module: str) -> list[Path]:
    """``test_sse.py`` and ``test_sse_properties.py`` for ``sse``, unless there is a module ``sse_properties``."""
    others = {path.stem for path in CORE.glob("*.py")} - {module}
    files = sorted({TESTS / f"test_{module}.py", *TESTS.glob(f"test_{module}_*.py")})
    return [
        file
        for file in files
        if file.exists()
        and not any(f"{file.stem}_".startswith(f"test_{name}_") for name in others if len(name) > len(module))
    ]


class ByFile:
    """A pytest plugin that tells coverage whose code is running."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured = measured

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[None]:
        """Importing a test file may already call what it is about."""
        self.measured.switch_context(collector.path.name if collector.path.suffix == ".py" else "")
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Fixtures count for the test that asked for them."""
        self.measured.switch_context(item.path.name)
        return (yield)


def measure(data_file: str, files: list[str]) -> int:
    """Run *files* and leave what they covered in *data_file*."""
    measured = coverage.Coverage(
        data_file=data_file, config_file=False, branch=True, include=[f"{CORE}/*.py"], data_suffix=False
    )
    measured.start()
    measured.switch_context(IMPORTED)
    for path in sorted(CORE.glob("*.py")):
        __import__(f"claude_failover.core.{path.stem}".removesuffix(".__init__"))
    outcome = pytest.main(["-q", "-p", "no:cacheprovider", "--no-header", *files], plugins=[ByFile(measured)])
    measured.stop()
    measured.save()
    return int(outcome)


def shares(files: list[Path], count: int) -> list[list[str]]:
    """Deal the files, largest first, so that every process has about as much to do."""
    dealt: list[list[Path]] = [[] for _ in range(count)]
    for file in sorted(files, key=lambda path: -path.stat().st_size):
        min(dealt, key=lambda share: sum(path.stat().st_size for path in share)).append(file)
    return [[str(path) for path in sorted(share)] for share in dealt if share]


def main(names: list[str]) -> int:
    """Measure and judge; returns the exit code."""
    modules = sorted(
        path.stem for path in CORE.glob("*.py") if path.stem != "__init__" and (not names or path.stem in names)
    )
    files = sorted({file for module in modules for file in own_tests(module)})
    with tempfile.TemporaryDirectory() as scratch:
        runs = [
            subprocess.Popen([sys.executable, __file__, "--measure", f"{scratch}/.coverage.{index}", *share], cwd=ROOT)
            for index, share in enumerate(shares(files, os.cpu_count() or 1))
        ]
        codes = [run.wait() for run in runs]
        if any(codes):
            print("coverage by module: the tests themselves failed", file=sys.stderr)
            return 1
        config = str(ROOT / "pyproject.toml")
        measured = coverage.Coverage(data_file=f"{scratch}/.coverage", config_file=config)
        measured.combine([scratch])
        short = [module for module in modules if not complete(measured, module)]
    done = len(modules) - len(short)
    print(f"coverage by module: {done} of {len(modules)} modules of the core are covered by their own tests")
    return 1 if short else 0


def complete(measured: coverage.Coverage, module: str) -> bool:
    """Whether a module's own test files reach all of it; says what they do not."""
    contexts = [IMPORTED, *(file.name for file in own_tests(module))]
    page = io.StringIO()
    patterns = [f"^{context.replace('.', r'[.]')}$" for context in contexts]
    total = measured.report(
        morfs=[str(CORE / f"{module}.py")], contexts=patterns, file=page, show_missing=True, skip_covered=False
    )
    if total < 100:
        line = next(
            (line for line in page.getvalue().splitlines() if line.strip().endswith("py") or ".py " in line), ""
        )
        print(f"core/{module}.py is not covered by {', '.join(contexts[1:]) or 'any test file of its own'}: {line}")
    return total >= 100


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        sys.exit(measure(sys.argv[2], sys.argv[3:]))
    sys.exit(main(sys.argv[1:]))
