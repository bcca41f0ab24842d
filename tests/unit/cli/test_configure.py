"""config init, path, check, show, import: as typed, in a home of its own."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from claude_failover.cli.app import main
from claude_failover.config_text import default_text


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of our own, and no setting from outside."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLAUDE_FAILOVER_HOME", str(tmp_path / "cf"))
    monkeypatch.setenv("CLAUDE_FAILOVER_CONFIG", "")  # --config sets it for child processes; undone after the test
    return tmp_path / "cf"


def test_init_writes_the_defaults_for_their_owner_only(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "init"]) == 0
    file = home / "config.yaml"
    assert file.read_text() == default_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"wrote {file}\nedit it, then: claude-failover config check\n"


def test_init_never_replaces_a_file_unless_told_to_and_then_keeps_the_old_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir(mode=0o700)
    file = home / "config.yaml"
    file.write_text("listen: {port: 1}\n")
    assert main(["config", "init"]) == 2
    assert file.read_text() == "listen: {port: 1}\n"
    assert "hint: claude-failover config init --force" in capsys.readouterr().err
    assert main(["config", "init", "--force"]) == 0
    assert file.read_text() == default_text()
    assert (home / "config.yaml.old").read_text() == "listen: {port: 1}\n"


def test_init_does_not_change_the_mode_of_a_directory_that_is_there(tmp_path: Path) -> None:
    place = tmp_path / "etc"
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    assert main(["--config", str(place / "cf.yaml"), "config", "init"]) == 0
    assert (place / "cf.yaml").exists()
    assert stat.S_IMODE(place.stat().st_mode) == 0o755


def test_init_says_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--config", str(tmp_path / "file" / "cf.yaml"), "config", "init"]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_path_prints_the_file_alone_and_all_places_on_request(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "path"]) == 0
    assert capsys.readouterr().out == f"{home}/config.yaml\n"
    assert main(["config", "path", "--all"]) == 0
    assert f"ledger       {home}/state/ledger.db\n" in capsys.readouterr().out
    assert main(["config", "path", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema_version"] == 1
    assert answer["config_file"] == f"{home}/config.yaml"


def test_check_is_good_with_and_without_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == f"{home}/config.yaml: not there, which is good too: every value is the default\n"
    assert main(["config", "init"]) == 0
    capsys.readouterr()
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == f"{home}/config.yaml: good\n"


def test_check_tells_everything_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("lisen: {}\ntimeouts: {connect: 0}\n")
    assert main(["config", "check", str(file)]) == 2
    error = capsys.readouterr().err
    assert f'{file}:1: unknown key "lisen"; did you mean "listen"?' in error
    assert f"{file}:2: timeouts.connect: expected a number above 0" in error


def test_check_as_json_has_the_same_problems_and_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cf.yaml"
    file.write_text("timeouts: {connect: 0}\n")
    assert main(["--config", str(file), "config", "check", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert (answer["good"], len(answer["problems"])) == (False, 1)
    file.write_text("stream: {ping_interval: 60}\n")
    assert main(["--config", str(file), "config", "check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["good"], answer["problems"], len(answer["warnings"])) == (True, [], 1)


def test_warnings_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cf.yaml"
    file.write_text("stream: {ping_interval: 60}\n")
    for command in ("check", "show"):
        assert main(["--config", str(file), "config", command]) == 0
        output = capsys.readouterr()
        assert "warning: cf.yaml:1: stream.ping_interval" in output.err
        assert "warning:" not in output.out


def test_show_gives_each_value_its_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cf.yaml"
    file.write_text("\nlogging: {level: debug}\n")
    monkeypatch.setenv("CLAUDE_FAILOVER_LISTEN_PORT", "9")
    assert main(["--config", str(file), "config", "show"]) == 0
    output = capsys.readouterr()
    assert "  level: debug                         # cf.yaml:2\n" in output.out
    assert "  port: 9                              # env CLAUDE_FAILOVER_LISTEN_PORT\n" in output.out
    assert "  host: 127.0.0.1                      # default\n" in output.out
    assert output.err == f"# {file}\n"
    assert main(["--config", str(file), "config", "show", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["path"] == str(file)
    assert answer["origins"]["logging.level"] == "cf.yaml:2"


def test_claude_settings_need_the_key_that_the_first_start_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--claude-settings"]) == 2
    error = capsys.readouterr().err
    assert "there is no client key yet" in error
    assert "hint: claude-failover start" in error


def test_claude_settings_are_what_run_would_set_and_never_a_credential(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "state").mkdir(parents=True, mode=0o700)
    (home / "state" / "client.key").write_text("k3y\n")
    monkeypatch.setenv("CLAUDE_FAILOVER_LISTEN_HOST", "::1")
    assert main(["config", "show", "--claude-settings"]) == 0
    output = capsys.readouterr()
    values = json.loads(output.out)["env"]
    assert values["ANTHROPIC_BASE_URL"] == "http://[::1]:8484"
    assert values["ANTHROPIC_CUSTOM_HEADERS"] == "x-claude-failover-key: k3y"
    assert "ANTHROPIC_AUTH_TOKEN" not in values
    assert "ANTHROPIC_API_KEY" not in values
    assert "To undo, take the same names out again: ANTHROPIC_BASE_URL" in output.err
    assert "k3y" not in output.err


def test_claude_settings_without_a_key_where_none_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAUDE_FAILOVER_LISTEN_CLIENT_KEY", "off")
    assert main(["config", "show", "--claude-settings"]) == 0
    assert "ANTHROPIC_CUSTOM_HEADERS" not in json.loads(capsys.readouterr().out)["env"]


def test_claude_settings_of_a_port_that_is_chosen_at_start_need_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_FAILOVER_LISTEN_PORT", "0")
    assert main(["config", "show", "--claude-settings"]) == 3


def test_a_key_that_cannot_be_read_says_where(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "state" / "client.key").mkdir(parents=True)
    assert main(["config", "show", "--claude-settings"]) == 2
    assert "client.key: the client key cannot be read" in capsys.readouterr().err


def test_import_prints_our_file_and_says_what_stayed_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "lite.yaml"
    source.write_text("router_settings: {allowed_fails: 7, zzz: 1}\n")
    assert main(["config", "import", str(source)]) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"# Imported from {source}.\n")
    assert "  failure_threshold: 7\n" in output.out
    assert output.err == f"{source}:1: router_settings.zzz: no counterpart; not carried over\n"


def test_import_writes_where_it_is_told_but_never_over_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "lite.yaml", tmp_path / "ours.yaml"
    source.write_text("router_settings: {allowed_fails: 7}\n")
    assert main(["config", "import", str(source), "-o", str(target)]) == 0
    assert "failure_threshold: 7" in target.read_text()
    assert f"next: claude-failover config check {target}" in capsys.readouterr().err
    assert main(["config", "import", str(source), "-o", str(target)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["config", "check", str(target)]) == 0


def test_import_of_a_file_that_is_not_there_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "import", str(tmp_path / "gone.yaml")]) == 2
    assert "gone.yaml: cannot be read: No such file or directory" in capsys.readouterr().err
