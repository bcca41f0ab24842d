"""Where files live, and the places that are refused."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path

import pytest

from claude_failover import config_paths
from claude_failover.config_paths import (
    MAX_SOCKET_PATH,
    check_private_directory,
    check_private_file,
    find_paths,
    make_private_directory,
    write_private,
)
from claude_failover.errors import ConfigError

SOMEBODY = 4_242
"""A uid that is neither ours nor root's."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let us be another user than the one who owns what the test makes."""
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)


def test_everything_lies_below_claude_failover_home() -> None:
    paths = find_paths(environ={"CLAUDE_FAILOVER_HOME": "/srv/cf"})
    root = Path("/srv/cf")
    assert paths.config_file == root / "config.yaml"
    assert (paths.state_dir, paths.log_dir, paths.runtime_dir) == (root / "state", root / "log", root / "run")
    assert paths.socket == root / "run/control.sock"
    assert paths.pid == root / "run/daemon.pid"
    assert paths.lock == root / "state/daemon.lock"
    assert paths.ledger == root / "state/ledger.db"
    assert paths.client_key == root / "state/client.key"
    assert paths.state == root / "state/state.json"
    assert paths.log == root / "log/daemon.log"
    assert paths.audit == root / "log/audit.log"


def test_a_relative_home_is_refused_because_each_shell_would_see_another() -> None:
    with pytest.raises(ConfigError, match="'cf' is not an absolute path") as caught:
        find_paths(environ={"CLAUDE_FAILOVER_HOME": "cf"})
    assert caught.value.hint == 'export CLAUDE_FAILOVER_HOME="$PWD/cf"'


def test_without_a_home_the_users_directories_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    run = Path("/tmp") / tmp_path.parent.parent.name  # a short one that is there
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    paths = find_paths(environ={})
    assert paths.config_file == Path("/xdg_config_home/claude-failover/config.yaml")
    assert paths.state_dir == Path("/xdg_state_home/claude-failover")
    assert paths.log_dir == Path("/xdg_state_home/claude-failover/log")
    assert paths.runtime_dir == run / "claude-failover"


def test_the_flag_names_the_file_before_the_variable_does() -> None:
    environ = {"CLAUDE_FAILOVER_HOME": "/srv/cf", "CLAUDE_FAILOVER_CONFIG": "/etc/one.yaml"}
    assert find_paths(environ=environ).config_file == Path("/etc/one.yaml")
    assert find_paths("/etc/two.yaml", environ).config_file == Path("/etc/two.yaml")
    assert find_paths("three.yaml", environ).config_file == Path.cwd() / "three.yaml"


def test_a_runtime_directory_that_nobody_made_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    paths = find_paths(environ={})
    assert paths.runtime_dir.parent == Path("/tmp") / f"cf-{os.geteuid()}"


def test_a_machine_without_a_login_session_is_no_reason_to_warn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_paths(environ={}).runtime_dir.is_absolute()


def test_a_path_too_long_for_a_socket_is_replaced_by_a_short_one_of_its_own() -> None:
    longest = "/" + "x" * (MAX_SOCKET_PATH - len("/run/control.sock") - 2)
    fits = find_paths(environ={"CLAUDE_FAILOVER_HOME": longest})
    assert fits.runtime_dir == Path(longest) / "run"
    assert len(os.fsencode(fits.socket)) == MAX_SOCKET_PATH - 1
    one = find_paths(environ={"CLAUDE_FAILOVER_HOME": longest + "x"})
    other = find_paths(environ={"CLAUDE_FAILOVER_HOME": longest + "y"})
    assert one.runtime_dir.parent == Path("/tmp") / f"cf-{os.geteuid()}"
    assert one.runtime_dir != other.runtime_dir
    assert len(os.fsencode(one.socket)) < MAX_SOCKET_PATH


def test_preparing_makes_three_directories_that_only_we_can_open(tmp_path: Path) -> None:
    paths = find_paths(environ={"CLAUDE_FAILOVER_HOME": str(tmp_path / "home")})
    before = os.umask(0)
    try:
        paths.prepare()
    finally:
        os.umask(before)
    for directory in (tmp_path / "home", paths.state_dir, paths.log_dir, paths.runtime_dir):
        assert mode(directory) == 0o700
    paths.prepare()


def test_a_directory_that_others_can_only_read_is_narrowed(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(0o755)
    make_private_directory(directory)
    assert mode(directory) == 0o700


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_that_others_can_write_to_is_refused_as_it_is(tmp_path: Path, bits: int) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    directory.chmod(bits)
    with pytest.raises(ConfigError, match="other users can write to it") as caught:
        make_private_directory(directory)
    assert caught.value.hint == f"chmod go-w {directory}"
    assert mode(directory) == bits


def test_a_file_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("x")
    with pytest.raises(ConfigError, match="is not a directory"):
        make_private_directory(tmp_path / "state")


def test_a_directory_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be made: Not a directory") as caught:
        make_private_directory(tmp_path / "file" / "state")
    assert caught.value.hint == "export CLAUDE_FAILOVER_HOME=DIR"


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        make_private_directory(tmp_path / "state")


def test_our_own_link_to_our_own_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "state").symlink_to(tmp_path / "real")
    make_private_directory(tmp_path / "state")


@pytest.mark.usefixtures("somebody_else")
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(0o700)
    with pytest.raises(ConfigError, match=rf"state: belongs to another user \(uid {tmp_path.stat().st_uid}\)"):
        check_private_directory(tmp_path / "state")


def test_another_users_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir(0o700)
    link = tmp_path / "state"
    link.symlink_to(tmp_path / "real")
    real = os.lstat(link)
    theirs = os.stat_result((real.st_mode, *real[1:4], SOMEBODY, *real[5:]))
    monkeypatch.setattr(Path, "lstat", lambda path: theirs if path == link else os.lstat(path))
    with pytest.raises(ConfigError, match=rf"is a link made by another user \(uid {SOMEBODY}\)"):
        check_private_directory(link)


def test_a_directory_below_one_that_everybody_can_rename_in_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "state").mkdir(0o700)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ConfigError, match=r"open: other users can write to it \(mode 0777\)"):
        check_private_directory(tmp_path / "open" / "state")
    (tmp_path / "open").chmod(0o1777)
    check_private_directory(tmp_path / "open" / "state")


def test_in_a_sticky_directory_the_next_level_must_be_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    planted = tmp_path / "tmp" / "cf-0"
    planted.mkdir(0o755)
    (planted / "state").mkdir(0o700)
    (tmp_path / "tmp").chmod(0o1777)
    check_private_directory(planted / "state")
    real = os.lstat(planted)
    theirs = os.stat_result((real.st_mode, *real[1:4], SOMEBODY, *real[5:]))
    monkeypatch.setattr(Path, "lstat", lambda path: theirs if path == planted else os.lstat(path))
    with pytest.raises(ConfigError, match=rf"cf-0: belongs to another user \(uid {SOMEBODY}\)"):
        check_private_directory(planted / "state")


def test_a_directory_that_another_process_makes_meanwhile_is_checked_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Path.mkdir

    def lose_the_race(path: Path, bits: int) -> None:
        make(path, 0o777)
        path.chmod(0o777)
        raise FileExistsError

    monkeypatch.setattr(Path, "mkdir", lose_the_race)
    with pytest.raises(ConfigError, match="other users can write to it"):
        make_private_directory(tmp_path / "state")


def test_a_file_that_others_could_have_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("")
    file.chmod(0o644)
    check_private_file(file, file.stat())
    file.chmod(0o664)
    with pytest.raises(ConfigError, match=r"other users can write to it \(mode 0664\)") as caught:
        check_private_file(file, file.stat())
    assert caught.value.hint == f"chmod go-w {file}"


@pytest.mark.usefixtures("somebody_else")
def test_a_file_of_another_user_is_refused_but_not_one_of_root(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("")
    info = file.stat()
    check_private_file(file, os.stat_result((info.st_mode, *info[1:4], 0, *info[5:])))
    with pytest.raises(ConfigError, match="belongs to another user"):
        check_private_file(file, os.stat_result((info.st_mode, *info[1:4], SOMEBODY + 1, *info[5:])))


def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory") as caught:
        check_private_file(tmp_path, tmp_path.stat())
    assert caught.value.hint == f"--config {tmp_path}/config.yaml"


def test_a_write_replaces_the_whole_file_and_keeps_it_private(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    before = os.umask(0)
    try:
        write_private(file, b"one")
        write_private(file, b"two")
    finally:
        os.umask(before)
    assert file.read_bytes() == b"two"
    assert mode(file) == config_paths.PRIVATE_FILE
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state.json"
    write_private(file, b"old")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_private(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_write_through_a_link_replaces_the_link_and_not_its_target(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep")
    link = tmp_path / "state.json"
    link.symlink_to(victim)
    write_private(link, b"new")
    assert victim.read_text() == "keep"
    assert not link.is_symlink()
