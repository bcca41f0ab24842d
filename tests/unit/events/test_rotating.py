from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from claude_failover.events.rotating import RotatingFile


def file_of(path: Path, *, max_bytes: int = 100, backups: int = 2, sync: bool = False) -> RotatingFile:
    return RotatingFile(path, max_bytes=max_bytes, backups=backups, sync=sync)


def line(mark: str, size: int = 40) -> bytes:
    return mark.encode() * (size - 1) + b"\n"


def test_lines_are_appended_to_what_is_there_and_only_the_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    path.chmod(0o644)
    file = file_of(path, sync=True)
    assert file.write([b"a\n", b"b\n"]) == 0
    file.close()
    assert path.read_bytes() == b"old\na\nb\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_file_moves_up_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = file_of(path)
    for mark in "abcdefgh":
        file.write([line(mark)])
    assert {one.name: one.read_bytes()[:1] + one.read_bytes()[-2:-1] for one in tmp_path.iterdir()} == {
        "log.2": b"cd",
        "log.1": b"ef",
        "log": b"gh",
    }
    assert file.rotations == 3


def test_without_backups_a_full_file_begins_anew(tmp_path: Path) -> None:
    file = file_of(tmp_path / "log", backups=0)
    for mark in "abc":
        file.write([line(mark)])
    assert [one.name for one in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").read_bytes() == line("c")


def test_a_batch_larger_than_a_file_is_spread_over_several(tmp_path: Path) -> None:
    file = file_of(tmp_path / "log")
    assert file.write([line(mark) for mark in "abcdef"]) == 0
    assert sorted(one.stat().st_size for one in tmp_path.iterdir()) == [80, 80, 80]


def test_fewer_backups_after_a_reload_remove_the_surplus(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = file_of(path, backups=3)
    for mark in "abcdefgh":
        file.write([line(mark)])
    file.backups = 1
    for mark in "ijk":
        file.write([line(mark)])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log", "log.1"]


def test_a_file_that_somebody_moved_or_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = file_of(path)
    file.write([b"a\n"])
    path.rename(tmp_path / "moved")
    file.write([b"b\n"])
    path.unlink()
    file.write([b"c\n"])
    assert path.read_bytes() == b"c\n"
    path.unlink()
    path.write_bytes(b"another's\n")
    file.write([b"d\n"])
    assert path.read_bytes() == b"another's\nd\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"x")
    (tmp_path / "log").symlink_to(target)
    file = file_of(tmp_path / "log")
    assert file.write([b"a\n", b"b\n"]) == 2
    assert target.read_bytes() == b"x"
    assert file.error is not None


def test_a_folder_that_is_gone_loses_lines_and_recovers_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    file = file_of(folder / "log")
    assert file.write([b"a\n"]) == 1
    assert file.error == "No such file or directory"
    folder.mkdir()
    assert file.write([b"b\n"]) == 0
    assert file.error is None
    assert (folder / "log").read_bytes() == b"b\n"


def test_a_disk_that_fills_up_tears_one_line_and_the_next_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    file = file_of(path)
    file.write([b"first\n"])
    room = [7]
    write = __import__("os").write

    def short(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        taken: int = write(descriptor, data[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr("claude_failover.events.rotating.os.write", short)
    assert file.write([b"aaa\n", b"bbbb\n", b"cc\n"]) == 2
    assert file.error == "No space left on device"
    assert file.write([b"dd\n"]) == 1
    room[0] = 100
    assert file.write([b"ee\n"]) == 0
    file.close()
    assert path.read_bytes() == b"first\naaa\nbbb\nee\n"


def test_a_file_that_cannot_be_moved_is_emptied_rather_than_let_grow(tmp_path: Path) -> None:
    path = tmp_path / "log"
    (tmp_path / "log.1").mkdir()
    (tmp_path / "log.1" / "x").touch()
    file = file_of(path, backups=1)
    for mark in "abc":
        file.write([line(mark)])
    assert path.read_bytes() == line("c")


def test_a_disk_that_complains_only_when_the_file_is_closed_costs_no_line_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_of(tmp_path / "log")
    file.write([b"first\n"])
    (tmp_path / "log").rename(tmp_path / "moved")
    close = os.close

    def complain(descriptor: int) -> None:
        close(descriptor)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("claude_failover.events.rotating.os.close", complain)
        file.close()
    # The number that was the log's is somebody else's now.
    with (tmp_path / "of another").open("wb") as another:
        (tmp_path / "moved").rename(tmp_path / "log")
        assert file.write([b"second\n"]) == 0
        file.close()
        another.write(b"mine")
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\n"
    assert (tmp_path / "of another").read_bytes() == b"mine"
