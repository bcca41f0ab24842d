"""The one place that ends with an error: message, hint, exit code; bugs are shown as bugs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from claude_failover import __version__
from claude_failover.cli import app, glance
from claude_failover.cli.app import main
from claude_failover.cli.invocation import Invocation
from claude_failover.cli.tree import COMMANDS
from claude_failover.errors import AlreadyRunning, ConfigError, DaemonNotRunning, FailoverError, LaunchError


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_FAILOVER_HOME", str(tmp_path))
    monkeypatch.delenv("CLAUDE_FAILOVER_CONFIG", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def show(invocation: Invocation) -> int:
        raise error

    monkeypatch.setattr(glance, "show_statusline", show)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FailoverError("no"), 1),
        (ConfigError("no"), 2),
        (DaemonNotRunning("no"), 3),
        (LaunchError("no"), 125),
        (AlreadyRunning("no"), 0),
    ],
)
def test_an_error_of_ours_is_its_sentence_and_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: FailoverError, code: int
) -> None:
    fail_with(monkeypatch, error)
    assert main(["statusline"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: no\n")
    assert "Traceback" not in shown.err


def test_the_hint_stands_under_a_blank_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, ConfigError("config.yaml:3: no", hint="claude-failover config check"))
    main(["statusline"])
    assert capsys.readouterr().err == "error: config.yaml:3: no\n\nhint: claude-failover config check\n"


def test_a_bug_shows_where_it_is_and_where_to_report_it_but_no_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def show(invocation: Invocation) -> int:
        token = "sk-ant-" + "canary" * 3
        raise RuntimeError(f"{len(token)} characters")

    monkeypatch.setattr(glance, "show_statusline", show)
    assert main(["statusline"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert f"This is a bug in claude-failover {__version__}" in said
    assert "issue tracker" in said
    assert "canarycanary" not in said


def test_an_interrupt_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    assert main(["statusline"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, BrokenPipeError())
    assert main(["statusline"]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("error", "code"), [(SystemExit(5), 5), (SystemExit("text"), 1)])
def test_an_exit_of_the_parsers_keeps_its_code(monkeypatch: pytest.MonkeyPatch, error: SystemExit, code: int) -> None:
    fail_with(monkeypatch, error)
    assert main(["statusline"]) == code


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "--json"],
        ["status", "--short", "--check"],
        ["statusline"],
        ["start"],
        ["run"],
        ["run", "--", "--help"],
        ["costs"],
        ["logs"],
        ["logs", "-f"],
        ["logs", "-n", "5"],
    ],
)
def test_the_plain_forms_are_recognised_without_the_parser(words: list[str]) -> None:
    assert app._quick(words) is not None


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["status", "--watch"],
        ["status", "x"],
        ["--verbose", "status"],
        ["statusline", "--help"],
        ["logs", "-n", "many"],
        ["logs", "--json"],
        ["costs", "--json"],
        ["run", "--budget", "5"],
        ["run", "-p"],
        ["start", "--foreground"],
    ],
)
def test_everything_else_is_the_parsers(words: list[str]) -> None:
    assert app._quick(words) is None


def test_a_completion_request_is_the_parsers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_CLAUDE_FAILOVER_COMPLETE", "complete_bash")
    assert app._quick(["status"]) is None


@pytest.mark.parametrize(
    ("words", "code"), [("status --short", 3), ("costs", 1), ("logs", 0), ("logs -n 1", 0)], ids=str
)
def test_quick_and_parsed_say_the_same(
    words: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAUDE_FAILOVER_HOME", str(tmp_path))
    quick, quick_said = main(words.split()), capsys.readouterr()
    parsed, parsed_said = main(["--verbose", *words.split()]), capsys.readouterr()
    assert (quick, quick_said) == (parsed, parsed_said)
    assert quick == code


def test_nothing_asked_for_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: claude-failover" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["status", "--nope"], ["stop", "extra"], ["logs", "-n", "many"], ["nope"]])
def test_words_that_cannot_be_are_usage_errors(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "hint: claude-failover" in shown.err


def test_colour_marks_the_word_error_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "coloured", lambda stream: True)
    app.report("no", None)
    assert capsys.readouterr().err == "\x1b[31merror:\x1b[0m no\n"


def test_config_is_seen_by_every_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLAUDE_FAILOVER_CONFIG", "/elsewhere.yaml")
    assert main(["--config", "mine.yaml", "statusline"]) == 0
    assert os.environ["CLAUDE_FAILOVER_CONFIG"] == str(tmp_path / "mine.yaml")


def test_the_module_can_be_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "claude_failover", "--version"],
        capture_output=True, text=True, check=False,
        env={"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"claude-failover {__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_short_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([name, "--help"])
    if code == 0:
        sentence = capsys.readouterr().out.split("\n\n")[1].strip()
        assert sentence[0].isupper()
