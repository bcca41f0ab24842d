from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from claude_failover.core.types import Seconds
from claude_failover.credentials import shapes
from claude_failover.credentials.box import FILE, KEYRING, Box, FileVault, shared_lock
from claude_failover.credentials.entry import ANTHROPIC, BEDROCK, Entry
from claude_failover.credentials.secret import Secret
from claude_failover.errors import CredentialError


class Memory:
    """A keyring that may be locked."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.locked = False
        self.asked = 0

    def _check(self) -> None:
        self.asked += 1
        if self.locked:
            raise CredentialError("the keyring is locked")

    def get(self, item: str) -> str | None:
        self._check()
        return self.kept.get(item)

    def set(self, item: str, value: str) -> None:
        self._check()
        self.kept[item] = value

    def delete(self, item: str) -> bool:
        self._check()
        return self.kept.pop(item, None) is not None


@pytest.fixture
def keyring() -> Memory:
    return Memory()


@pytest.fixture
def box(tmp_path: Path, keyring: Memory) -> Box:
    return Box(tmp_path, tmp_path / "lock", keyring)


def entry(value: str = "sk-ant-api03-0123456789abcdef") -> Entry:
    return Entry(shapes.API_KEY, Secret(value))


def value_of(box: Box, item: str = ANTHROPIC) -> str | None:
    found = box.read(item)
    return None if found is None else found.access.reveal()


def test_a_machine_on_which_nothing_was_stored_never_touches_its_keyring(box: Box, keyring: Memory) -> None:
    assert box.stores() == {}
    assert box.mark() == ()
    assert box.read(ANTHROPIC) is None
    assert box.forget(ANTHROPIC) is False
    assert keyring.asked == 0


@pytest.mark.parametrize("store", [KEYRING, FILE])
def test_what_is_kept_is_read_where_it_was_put(store: str, box: Box, keyring: Memory, tmp_path: Path) -> None:
    before = box.mark()
    box.keep(ANTHROPIC, entry("one"), store)
    box.keep(BEDROCK, entry("two"), KEYRING)
    assert (value_of(box), value_of(box, BEDROCK)) == ("one", "two")
    assert box.stores() == {ANTHROPIC: store, BEDROCK: KEYRING}
    assert box.mark() != before
    assert box.where(ANTHROPIC) == ("keyring" if store == KEYRING else str(tmp_path / "secrets.json"))
    assert (ANTHROPIC in keyring.kept) is (store == KEYRING)
    assert box.forget(ANTHROPIC) is True
    assert value_of(box) is None
    assert box.stores() == {BEDROCK: KEYRING}


def test_what_moves_to_another_place_is_not_left_in_the_old_one(box: Box, keyring: Memory, tmp_path: Path) -> None:
    box.keep(ANTHROPIC, entry("one"), KEYRING)
    box.keep(ANTHROPIC, entry("two"), FILE)
    assert keyring.kept == {}
    assert value_of(box) == "two"
    box.keep(ANTHROPIC, entry("three"), KEYRING)
    assert not (tmp_path / "secrets.json").exists()


def test_a_keyring_that_refuses_changes_nothing(box: Box, keyring: Memory) -> None:
    box.keep(ANTHROPIC, entry("one"), FILE)
    keyring.locked = True
    with pytest.raises(CredentialError, match="locked"):
        box.keep(ANTHROPIC, entry("two"), KEYRING)
    assert value_of(box) == "one"


def test_a_replacement_stays_where_the_item_is(box: Box, tmp_path: Path) -> None:
    box.keep(ANTHROPIC, entry("one"), FILE)
    with box.locked():
        box.replace(ANTHROPIC, entry("two"))
    assert value_of(box) == "two"
    assert box.stores() == {ANTHROPIC: FILE}


def test_files_are_for_their_owner_only_and_the_index_holds_no_value(box: Box, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        box.keep(ANTHROPIC, entry(), FILE)
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"secrets.json": 0o600, "stored.json": 0o600, "stored.lock": 0o600, "lock": 0o600}
    assert (tmp_path / "stored.json").read_text() == '{"anthropic":"file"}'


def test_a_file_that_others_can_read_is_refused(box: Box, tmp_path: Path) -> None:
    box.keep(ANTHROPIC, entry(), FILE)
    (tmp_path / "secrets.json").chmod(0o644)
    with pytest.raises(CredentialError, match="mode 0644"):
        box.read(ANTHROPIC)


@pytest.mark.parametrize("name", ["secrets.json", "stored.json"])
def test_a_file_that_does_not_parse_is_named(name: str, box: Box, tmp_path: Path) -> None:
    box.keep(ANTHROPIC, entry(), FILE)
    (tmp_path / name).write_text("[]")
    (tmp_path / name).chmod(0o600)
    with pytest.raises(CredentialError, match=name):
        box.read(ANTHROPIC)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="cannot be written"):
        FileVault(tmp_path / "absent" / "secrets.json").set("x", "y")
    lost = Box(tmp_path / "absent", tmp_path / "lock", Memory())
    with pytest.raises(CredentialError, match=r"stored\.json: cannot be written"):
        lost.keep(ANTHROPIC, entry(), KEYRING)


@pytest.mark.parametrize("lock", ["lock", "another"], ids=["the same lock", "cron's, without XDG_RUNTIME_DIR"])
def test_one_writer_at_a_time(lock: str, box: Box, tmp_path: Path) -> None:
    other = Box(tmp_path, tmp_path / lock, Memory())
    with (
        box.locked(),
        pytest.raises(CredentialError, match="another process has been writing"),
        other.locked(Seconds(0)),
    ):
        pass
    with other.locked(Seconds(0)):
        pass


def test_who_outlives_the_session_whose_directory_the_lock_was_in_can_still_write(tmp_path: Path) -> None:
    box = Box(tmp_path, tmp_path / "gone with the session" / "lock", Memory())
    box.keep(ANTHROPIC, entry("one"), FILE)
    assert value_of(box) == "one"


def test_a_lock_that_is_not_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(CredentialError, match="cannot be opened"), Box(tmp_path, tmp_path / "link").locked():
        pass
    somebody = os.geteuid() + 1
    monkeypatch.setattr("claude_failover.credentials.box.os.geteuid", lambda: somebody)
    with (
        pytest.raises(CredentialError, match="is not a file of this user's"),
        Box(tmp_path, tmp_path / "mine").locked(),
    ):
        pass


def test_the_lock_is_the_user_s_and_not_the_daemon_s() -> None:
    assert shared_lock({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/run/user/7/claude-failover.lock")
    assert str(os.getuid()) in shared_lock({}).name
