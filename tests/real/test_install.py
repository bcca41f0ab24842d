"""The package as somebody gets it: built, installed into an empty environment, and used there with an empty HOME.

Needs the package index (for what the package depends on); without it these tests fail and say so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from claude_failover import __version__
from claude_failover.cli.lessons import LESSONS
from claude_failover.cli.tree import COMMANDS
from claude_failover.monitoring import FILES
from tests.real.clients import ROOT

SOURCES = ("claude_failover", "pyproject.toml", "README.md", "LICENSE", "SECURITY.md", "CHANGELOG.md")
ESCAPE = "\x1b"
FETCHING = re.compile(r"^(?:PIP_|SSL_CERT_|CI$|TMPDIR$)")
"""What pip needs to know of this machine; nothing else of it is passed on."""

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True, slots=True)
class Installed:
    """An installation, and the HOME it is used with."""

    program: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of this machine's, and no credential."""
        return {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }

    def __call__(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *words],
            env={**self.environment, **more},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=80,
            check=False,
        )


def quietly(*command: str | Path, cwd: Path, patience: int = 300) -> None:
    """Run a step of the installation; what it said is the failure."""
    environ = {name: value for name, value in os.environ.items() if FETCHING.match(name)}
    environ |= {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(cwd)), "LANG": "C.UTF-8"}
    ran = subprocess.run(
        command, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=patience, check=False,
    )  # fmt: skip
    if ran.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}: {ran.stdout[-1000:]}{ran.stderr[-2000:]}")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Short: a control socket's path must fit."""
    with tempfile.TemporaryDirectory(prefix="cf-wheel-") as name:
        yield Path(name).resolve()


@pytest.fixture(scope="module")
def built(place: Path) -> Path:
    """Where the wheel and the source distribution are: built from a copy, so that nothing is left in the tree."""
    source = place / "source"
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, source / name)
    quietly(sys.executable, "-m", "build", "--outdir", place / "dist", cwd=source)
    return place / "dist"


@pytest.fixture(scope="module")
def installed(built: Path, place: Path) -> Installed:
    venv.create(place / "venv", with_pip=True)
    (wheel,) = built.glob("*.whl")
    quietly(
        place / "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "-c", ROOT / "requirements-ci.txt", wheel, cwd=place,
    )  # fmt: skip
    (place / "home").mkdir()
    return Installed(place / "venv/bin/claude-failover", place / "home")


def test_wheel_and_source_hold_the_package_and_its_data(built: Path) -> None:
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert wheel.name == f"claude_failover-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    data = {"py.typed", "data/models.yaml", "data/prices.yaml", *(f"monitoring/{name}" for name in FILES)}
    modules = {str(path.relative_to(ROOT / "claude_failover")) for path in (ROOT / "claude_failover").rglob("*.py")}
    assert {f"claude_failover/{name}" for name in data | modules} <= held
    assert {name.partition("/")[0] for name in held} == {
        "claude_failover", f"claude_failover-{__version__}.dist-info",
    }  # fmt: skip
    with tarfile.open(source) as unpacked:
        sources = {name.partition("/")[2] for name in unpacked.getnames()}
    assert {f"claude_failover/{name}" for name in data} | {"pyproject.toml", "LICENSE", "README.md"} <= sources


def test_it_is_complete_and_says_its_version(installed: Installed) -> None:
    done = installed("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"claude-failover {__version__}\n", "")
    quietly(installed.program.with_name("python"), "-m", "pip", "check", cwd=installed.home)


def test_help_names_every_command_and_the_exit_codes(installed: Installed) -> None:
    done = installed("--help", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Exit codes: 0 good" in done.stdout
    shown = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line.strip()}
    assert {name for name, entry in COMMANDS.items() if not entry.alias_of} <= shown
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_with_an_example(installed: Installed, name: str) -> None:
    done = installed(name, "--help", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].strip() == "" or lines[0].startswith("Usage: claude-failover")
    sentence = next(line.strip() for line in lines if line.startswith("  ") and line.strip())
    assert sentence[0].isupper()
    assert ESCAPE not in done.stdout
    assert "  Example: " in done.stdout
    assert "  Exit codes:" in lines
    for below in (words.split()[1] for words in LESSONS if words.startswith(f"{name} ")):
        told = installed(name, below, "--help")
        assert (told.returncode, "  Exit codes:" in told.stdout.splitlines()) == (0, True), (name, below)


def test_the_drill_runs_from_the_wheel_with_an_empty_home(installed: Installed) -> None:
    done = installed("drill", "plan-limit", COLUMNS="100")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "plan-limit" in done.stdout
    assert ESCAPE not in done.stdout, "not a terminal"
    told = json.loads(installed("drill", "plan-limit", "--json").stdout)
    assert (told["schema_version"], told["expected"]) == (1, True)
    assert [one["name"] for one in told["results"]] == ["plan-limit"]
    assert list(installed.home.iterdir()) == []


@pytest.fixture(scope="module")
def started(installed: Installed) -> Iterator[Installed]:
    """A daemon from the wheel, which no backend is asked through."""
    config = installed.home / "config.yaml"
    config.write_text(
        "listen: {port: 0}\n"
        "alerts: {desktop: false}\n"
        "credentials: {sources: [env]}\n"
        "backends:\n"
        '  - {name: claude, kind: anthropic, base_url: "http://127.0.0.1:9"}\n'
        '  - {name: bedrock, kind: bedrock, region: us-east-1, endpoint_url: "http://127.0.0.1:9"}\n',
        "utf-8",
    )
    config.chmod(0o600)
    begun = installed("--config", str(config), "start")
    try:
        assert begun.returncode == 0, begun.stderr
        yield installed
    finally:
        ended = installed("stop", "--now")
        assert ended.returncode == 0, ended.stderr


JSON = [
    ("status",),
    ("models",),
    ("costs",),
    ("doctor",),
    ("config", "show"),
    ("token", "status"),
    ("service", "status"),
    ("drill", "--list"),
    ("force-backend", "auto"),
]


@pytest.mark.parametrize("words", JSON, ids=" ".join)
def test_what_programs_read_is_json_that_carries_its_version(started: Installed, words: tuple[str, ...]) -> None:
    done = started(*words, "--json")
    assert done.returncode in (0, 1), done.stderr
    tree = json.loads(done.stdout)
    assert isinstance(tree["schema_version"], int)


@pytest.mark.parametrize("words", [*JSON, ("logs",), ("status", "--short")], ids=" ".join)
def test_into_a_pipe_nothing_is_coloured(started: Installed, words: tuple[str, ...]) -> None:
    done = started(*words, COLUMNS="80")
    assert done.returncode in (0, 1), done.stderr
    assert ESCAPE not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}], ids=["terminal", "NO_COLOR"])
def test_a_terminal_gets_colours_unless_it_wants_none(started: Installed, more: dict[str, str]) -> None:
    shown, code = pexpect.run(
        f"{started.program} status", env={**started.environment, **more}, cwd=str(started.home),
        encoding="utf-8", withexitstatus=True, timeout=60,
    )  # fmt: skip
    assert code == 0
    assert "bedrock" in shown
    assert (ESCAPE in shown) == (not more)


def test_the_monitoring_files_come_out_of_the_wheel(started: Installed) -> None:
    done = started("monitoring", "export", str(started.home / "exported"))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (started.home / "exported").iterdir()} >= set(FILES)
