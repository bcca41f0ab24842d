"""The ledger's file: made, brought up to date, refused, set aside."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from claude_failover.errors import LedgerError
from claude_failover.ledger_query import By, Reader
from claude_failover.ledger_schema import (
    APPLICATION_ID,
    CARRIED,
    MIGRATIONS,
    MIRROR_BYTES,
    VERSION,
    immediate,
    is_damage,
    mirror_path,
    open_for_reading,
    open_for_writing,
    read_mirror,
    set_aside,
    write_mirror,
)

FIXTURES = Path(__file__).parent.parent / "fixtures"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def make(path: Path, spent: int = 7) -> None:
    """A ledger with one day's sum."""
    connection = open_for_writing(path, "x").connection
    connection.execute(
        "INSERT INTO days (day, backend, model, spent_nusd) VALUES ('2026-11-22', 'b', 'm', ?)", (spent,)
    )
    connection.close()


def old(path: Path, version: int) -> None:
    """A ledger as the release of that schema left it."""
    connection = sqlite3.connect(path)
    connection.executescript((FIXTURES / f"ledger-schema-{version}.sql").read_text())
    connection.close()


def test_a_new_ledger_is_private_and_known_by_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    opened = open_for_writing(path, "x")
    opened.connection.execute("INSERT INTO holds VALUES ('a', 'd', 1, NULL, 1)")
    assert mode(path) == mode(tmp_path / "ledger.db-wal") == 0o600
    assert opened.connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert opened.connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert opened.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert opened.set_aside is None
    opened.connection.close()


def test_tables_are_strict_where_sqlite_can(tmp_path: Path) -> None:
    connection = open_for_writing(tmp_path / "l.db", "x").connection
    if sqlite3.sqlite_version_info >= (3, 37):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO holds VALUES ('a', 'd', 'much', NULL, 1)")
    connection.close()


def test_a_file_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make(path)
    path.chmod(0o644)
    open_for_writing(path, "x").connection.close()
    assert mode(path) == 0o600


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_ledger_of_every_released_schema_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    path = tmp_path / "ledger.db"
    old(path, version)
    connection = open_for_writing(path, "x").connection
    reader = Reader(connection)
    assert reader.spent("2026-11-20") == 264_040_000
    assert [line.spent_nusd for line in reader.costs("2026-11-20", "2026-11-20", By.HOUR)[0]] == [264_040_000]
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    fresh = open_for_writing(tmp_path / "fresh.db", "x").connection
    describe = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    assert connection.execute(describe).fetchall() == fresh.execute(describe).fetchall()
    connection.close()
    fresh.close()


def test_a_copy_is_kept_before_a_migration(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    old(path, 1)
    (tmp_path / f"ledger.db.before-v{VERSION}").write_bytes(b"of an earlier try")
    open_for_writing(path, "x").connection.close()
    copy = tmp_path / f"ledger.db.before-v{VERSION}"
    assert mode(copy) == 0o600
    kept = sqlite3.connect(copy)
    assert kept.execute("PRAGMA user_version").fetchone() == (1,)
    assert kept.execute("SELECT count(*) FROM attempts").fetchone() == (1,)
    kept.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    make(path)
    bad = (*MIGRATIONS, ("CREATE TABLE extra (a)", "NONSENSE"))
    monkeypatch.setattr("claude_failover.ledger_schema.MIGRATIONS", bad)
    monkeypatch.setattr("claude_failover.ledger_schema.VERSION", len(bad))
    with pytest.raises(sqlite3.OperationalError):
        open_for_writing(path, "x")
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    connection.close()


def test_a_newer_ledger_is_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 5}")
    connection.close()
    before = path.read_bytes()
    for opening in (lambda: open_for_writing(path, "x"), lambda: open_for_reading(path)):
        with pytest.raises(LedgerError, match=rf"newer claude-failover \(schema {VERSION + 5}") as error:
            opening()
        assert error.value.hint == "upgrade claude-failover, or move the file away"
    assert path.read_bytes() == before


def damaged(path: Path, how: str) -> None:
    data = path.read_bytes()
    match how:
        case "zeroed header":
            path.write_bytes(bytes(100) + data[100:])
        case "text":
            path.write_bytes(b"this is no database, it is a letter\n" * 200)
        case "truncated":
            path.write_bytes(data[: len(data) // 2])
        case "garbage page":
            path.write_bytes(data[:4096] + b"\xa5" * 8192 + data[12288:])
        case "of another program":
            path.unlink()
            other = sqlite3.connect(path)
            other.execute("CREATE TABLE notes (a)")
            other.close()
        case _:
            path.unlink()
            path.mkdir()


@pytest.mark.parametrize(
    "how", ["zeroed header", "text", "truncated", "garbage page", "of another program", "directory"]
)
def test_a_damaged_ledger_is_set_aside_and_the_days_sum_goes_on(tmp_path: Path, how: str) -> None:
    path = tmp_path / "ledger.db"
    make(path, spent=5)
    write_mirror(path, {"2026-11-22": 5})
    damaged(path, how)
    opened = open_for_writing(path, "20261122-120000")
    assert opened.set_aside == tmp_path / "ledger.db.corrupt-20261122-120000"
    assert opened.set_aside.exists()
    assert opened.why
    assert opened.carried == {"2026-11-22": 5}
    reader = Reader(opened.connection)
    assert reader.spent("2026-11-22") == 5
    assert [line.key for line in reader.costs("2026-11-22", "2026-11-22", By.BACKEND)[0]] == [CARRIED]
    opened.connection.close()


def test_an_empty_file_is_a_new_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    opened = open_for_writing(path, "x")
    assert opened.set_aside is None
    opened.connection.close()


def test_the_sum_of_a_damaged_file_is_the_larger_of_what_it_and_the_mirror_say(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make(path, spent=9)
    write_mirror(path, {"2026-11-22": 5, "2026-11-21": 3})
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 1")
    connection.close()
    opened = open_for_writing(path, "x")
    assert opened.carried == {"2026-11-22": 9, "2026-11-21": 3}
    opened.connection.close()


def test_setting_aside_never_overwrites_and_takes_the_journal_along(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    (tmp_path / "l.db.corrupt-x").touch()
    for name in ("l.db", "l.db-wal", "l.db-shm"):
        (tmp_path / name).touch()
    assert set_aside(path, "x") == tmp_path / "l.db.corrupt-x-2"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "l.db.corrupt-x", "l.db.corrupt-x-2", "l.db.corrupt-x-2-shm", "l.db.corrupt-x-2-wal",
    ]  # fmt: skip


def test_a_place_that_cannot_be_written_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="No such file or directory") as error:
        open_for_writing(tmp_path / "nowhere" / "ledger.db", "x")
    assert not is_damage(error.value)


# --- reading ---------------------------------------------------------------------------------------


def test_reading_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "a ledger #1?.db"
    make(path)
    connection = open_for_reading(path)
    assert Reader(connection).spent("2026-11-22") == 7
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM days")
    connection.close()


def test_reading_sees_what_a_killed_writer_left_in_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    writer = open_for_writing(path, "x").connection
    writer.execute("INSERT INTO days (day, backend, model, spent_nusd) VALUES ('2026-11-22', 'b', 'm', 7)")
    for suffix in ("", "-wal"):
        (tmp_path / f"copy.db{suffix}").write_bytes((tmp_path / f"ledger.db{suffix}").read_bytes())
    writer.close()
    journal = (tmp_path / "copy.db-wal").read_bytes()
    reader = open_for_reading(tmp_path / "copy.db")
    assert Reader(reader).spent("2026-11-22") == 7
    reader.close()
    assert (tmp_path / "copy.db-wal").read_bytes() == journal, "not checkpointed"


def test_reading_where_nothing_was_recorded_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="nothing has been recorded yet") as error:
        open_for_reading(tmp_path / "ledger.db")
    assert error.value.hint == "claude-failover start"
    (tmp_path / "ledger.db").touch()
    with pytest.raises(LedgerError, match="nothing has been recorded yet"):
        open_for_reading(tmp_path / "ledger.db")


def test_reading_a_damaged_ledger_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(LedgerError, match="not a database") as error:
        open_for_reading(tmp_path / "ledger.db")
    assert error.value.hint is not None
    assert error.value.hint.startswith("claude-failover start")


# --- the mirror ------------------------------------------------------------------------------------


def test_the_mirror_is_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    write_mirror(path, {"2026-11-22": 12})
    assert mode(mirror_path(path)) == 0o600
    assert read_mirror(path) == {"2026-11-22": 12}


def test_the_mirror_is_written_in_place_and_keeps_its_size(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    mirror_path(path).write_text('{"2026-11-21": 3}', encoding="ascii")  # as it was once written
    number = mirror_path(path).stat().st_ino
    for sums in ({"2026-11-22": 12}, {"2026-11-22": 10**18, "2026-11-21": 5}, {"2026-11-23": 1}):
        write_mirror(path, sums)
        assert read_mirror(path) == sums
        assert (mirror_path(path).stat().st_size, mirror_path(path).stat().st_ino) == (MIRROR_BYTES, number)


def test_a_mirror_with_something_behind_it_becomes_whole_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    mirror_path(path).write_text("x" * (MIRROR_BYTES + 1), encoding="ascii")
    write_mirror(path, {"2026-11-22": 12})
    assert read_mirror(path) == {"2026-11-22": 12}


def test_the_mirror_follows_no_link(tmp_path: Path) -> None:
    path, other = tmp_path / "ledger.db", tmp_path / "other"
    other.write_text("mine", encoding="ascii")
    mirror_path(path).symlink_to(other)
    write_mirror(path, {"2026-11-22": 12})
    assert other.read_text(encoding="ascii") == "mine"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"2026-11-22": "x", "d": -1}', "\u00fc"])
def test_a_mirror_that_cannot_be_understood_is_empty(tmp_path: Path, text: str) -> None:
    mirror_path(tmp_path / "l.db").write_text(text, encoding="utf-8")
    assert read_mirror(tmp_path / "l.db") == {}


def test_a_mirror_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    write_mirror(tmp_path / "nowhere" / "l.db", {})
    mirror_path(tmp_path / "l.db").mkdir()
    write_mirror(tmp_path / "l.db", {"d": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["l.db.sums"]


def test_a_transaction_that_fails_is_rolled_back(tmp_path: Path) -> None:
    connection = open_for_writing(tmp_path / "l.db", "x").connection
    statements = ("INSERT INTO holds VALUES ('a', 'd', 1, NULL, 1)", "NONSENSE")

    def both() -> None:
        with immediate(connection):
            for statement in statements:
                connection.execute(statement)

    with pytest.raises(sqlite3.OperationalError):
        both()
    assert connection.execute("SELECT count(*) FROM holds").fetchone() == (0,)
    connection.close()
