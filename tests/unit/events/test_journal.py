from __future__ import annotations

import io
import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

import claude_failover.events.journal as module
from claude_failover.core.types import Epoch
from claude_failover.events.event import Event, Value
from claude_failover.events.journal import BATCH, Journal
from claude_failover.events.live_secrets import LiveSecrets
from claude_failover.events.names import EventName, Level, level_of

AT = Epoch(1_795_000_000.0)


def event(name: EventName = "exchange.ended", **fields: Value) -> Event:
    return Event(1, AT, name, level_of(name), fields)


def journal_in(
    folder: Path, *, level: Level = Level.INFO, queue_size: int = 100, secrets: LiveSecrets | None = None
) -> Journal:
    return Journal(
        folder / "log", folder / "audit", secrets=secrets or LiveSecrets(), level=level, queue_size=queue_size
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_events_are_written_and_audited_ones_twice(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.start()
    journal(event(exchange="cfr_1"))
    journal(event("override.set", backend="bedrock"))
    assert journal.flush()
    assert [line["event"] for line in lines(tmp_path / "log")] == ["exchange.ended", "override.set"]
    assert [line["event"] for line in lines(tmp_path / "audit")] == ["override.set"]
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o600
    journal.close()


def test_a_bug_costs_the_lines_it_is_about_and_not_the_log(tmp_path: Path) -> None:
    class Broken(LiveSecrets):
        def mask(self, text: str) -> str:
            if "cfr_1" in text:
                raise ZeroDivisionError
            return super().mask(text)

    journal = Journal(tmp_path / "log", None, secrets=Broken())
    journal.start()
    journal(event(exchange="cfr_1"))
    assert journal.flush()
    journal(event(exchange="cfr_2"))
    assert journal.flush()
    assert [(line.get("exchange"), line.get("count")) for line in lines(tmp_path / "log")] == [
        ("cfr_2", None),
        (None, 1),
    ]
    assert journal.health().dropped == 1
    journal.close()


def test_quiet_events_wait_for_a_lower_level_which_may_be_set_at_any_time(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.start()
    journal(event("attempt.ended"))
    journal.limits(level=Level.DEBUG, max_bytes=1_000_000, backups=1)
    journal(event("attempt.ended", attempt=1))
    journal.limits(level=Level.ERROR, max_bytes=1_000_000, backups=1)
    journal(event("exchange.ended"))
    journal(event("override.set"))
    journal.close()
    assert [line.get("attempt") for line in lines(tmp_path / "log")] == [1]
    assert [line["event"] for line in lines(tmp_path / "audit")] == ["override.set"]


def test_what_was_lost_is_counted_and_said_with_the_next_event(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, queue_size=3)
    for number in range(10):
        journal(event(n=number))
    assert journal.health().dropped == 7
    journal.start()
    assert journal.flush()
    journal(event(n=10))
    assert journal.flush()
    told = lines(tmp_path / "log")
    assert [line.get("n") for line in told if line["event"] == "exchange.ended"] == [0, 1, 2, 10]
    assert [line["count"] for line in told if line["event"] == "log.dropped"] == [7]
    journal.close()


def test_a_log_that_cannot_be_written_stops_nothing_and_says_what_it_lost_once_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    journal = journal_in(folder)
    journal.start()
    journal(event(n=1))
    journal(event("override.set", n=2))
    assert journal.flush()
    assert journal.health().error == "No such file or directory"
    # Two lines of the log and one of the audit.
    assert journal.health().dropped == 3
    journal(event(n=3))
    assert journal.flush()
    folder.mkdir()
    journal(event(n=4))
    journal(event("override.set"))
    assert journal.flush()
    assert journal.health().error is None
    told = lines(folder / "log")
    assert {line["count"] for line in told if line["event"] == "log.dropped"} == {4}
    assert [line["n"] for line in told if line["event"] == "exchange.ended"] == [4]
    journal.close()


def test_registered_secrets_are_masked_on_every_way_out(tmp_path: Path) -> None:
    secrets = LiveSecrets()
    secrets.register("hunter2-hunter2")
    journal = journal_in(tmp_path, secrets=secrets)
    stream = io.StringIO()
    journal.also_to(stream)
    journal.start()
    journal(event("override.set", detail="it is hunter2-hunter2", spelt=b"hunter2-hunter2".hex()))
    journal.close()
    for text in ((tmp_path / "log").read_text(), (tmp_path / "audit").read_text(), stream.getvalue()):
        assert "hunter2" not in text
        assert b"hunter2-hunter2".hex() not in text
        assert "it is [redacted]" in text


def test_a_secret_in_one_of_many_lines_is_masked_and_the_others_are_as_they_were(tmp_path: Path) -> None:
    secrets = LiveSecrets()
    secrets.register("hunter2-hunter2")
    journal = journal_in(tmp_path, secrets=secrets)
    for detail in ("ä", "it is hunter2-hunter2", "nothing"):
        journal(event("override.set", detail=detail))
    journal.start()
    journal.close()
    for name in ("log", "audit"):
        assert [line["detail"] for line in lines(tmp_path / name)] == ["ä", "it is [redacted]", "nothing"]


def test_the_foreground_gets_lines_for_people_for_journald_or_json(tmp_path: Path) -> None:
    shown = []
    for options in ({}, {"journald": True}, {"json": True}):
        stream = io.StringIO()
        journal = Journal(None, None, secrets=LiveSecrets())
        journal.also_to(stream, **options)
        journal.start()
        journal(event(a=1))
        journal.close()
        shown.append(stream.getvalue())
    assert shown[0].endswith("info     exchange.ended a=1\n")
    assert shown[1] == "<6>exchange.ended a=1\n"
    assert json.loads(shown[2])["event"] == "exchange.ended"
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_is_gone_does_not_stop_the_file(tmp_path: Path) -> None:
    stream = io.StringIO()
    journal = journal_in(tmp_path)
    journal.also_to(stream)
    stream.close()
    journal.start()
    journal(event(n=1))
    journal(event(n=2))
    journal.close()
    assert len(lines(tmp_path / "log")) == 2


def test_who_is_in_a_hurry_does_not_wait_for_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind more lines than one batch has: all that was there is written, not only as many as that."""
    monkeypatch.setattr(module, "LINGER", 30.0)
    journal = journal_in(tmp_path, queue_size=1_000)
    for _ in range(BATCH + 44):
        journal(event("exchange.ended"))
    journal(event("code.crashed"))
    journal.start()
    patience = 1_000
    while journal.health().queued and patience:
        threading.Event().wait(0.01)
        patience -= 1
    journal.close()
    assert patience
    assert len(lines(tmp_path / "log")) == BATCH + 45


def test_closing_writes_what_waits_and_may_be_done_twice(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for number in range(50):
        journal(event(n=number))
    journal.start()
    journal.start()
    journal.close()
    journal.close()
    assert len(lines(tmp_path / "log")) == 50


def test_a_writer_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait(10)
            return len(text)

    gate = threading.Event()
    journal = journal_in(tmp_path, queue_size=1)
    journal.also_to(Stuck())
    journal.start()
    journal(event(n=1))
    while not journal.flush(timeout=0.01) and journal.health().queued < 1:
        journal(event(n=2))
    journal.close(timeout=0.01)
    gate.set()


def test_a_journal_that_never_started_can_neither_flush_nor_hold_the_daemon_up(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, queue_size=1)
    assert not journal.flush(timeout=0.01)
    assert not journal.flush(timeout=0.01)
    journal.close()
