"""What every command starts from."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli.invocation import Invocation, coloured, out, say, width


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM", "COLUMNS", "CLAUDE_FAILOVER_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_colour_is_for_terminals() -> None:
    assert coloured(Terminal())
    assert not coloured(io.StringIO())


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert not coloured(Terminal())


def test_an_empty_no_color_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """no-color.org: present *and not an empty string*."""
    monkeypatch.setenv("NO_COLOR", "")
    assert coloured(Terminal())


@pytest.mark.parametrize(("columns", "expected"), [("132", 132), ("10", 40)])
def test_the_width_is_the_terminals_within_reason(monkeypatch: pytest.MonkeyPatch, columns: str, expected: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert width() == expected


def test_data_and_talk_go_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    out("data")
    out("more\n")
    say("talk")
    assert capsys.readouterr() == ("data\nmore\n", "talk\n")


def test_the_chosen_file_is_the_flags_then_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Invocation().chosen is None
    monkeypatch.setenv("CLAUDE_FAILOVER_CONFIG", "/from/variable.yaml")
    assert Invocation().chosen == Path("/from/variable.yaml")
    assert Invocation(Path("/from/flag.yaml")).chosen == Path("/from/flag.yaml")


def test_a_command_without_the_callback_still_has_an_invocation() -> None:
    context = typer.Context(typer.main.get_command(app()))
    assert (cli.of(context).config, cli.of(context).verbose) == (None, False)
    context.obj = Invocation(verbose=True)
    assert cli.of(context).verbose


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(lambda: None)
    return made


def test_the_client_speaks_to_these_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLAUDE_FAILOVER_HOME", str(tmp_path))
    invocation = Invocation()
    assert invocation.client()._path == invocation.paths.socket == tmp_path / "run/control.sock"
