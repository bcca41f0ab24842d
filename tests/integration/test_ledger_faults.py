"""The ledger through kill -9, a full disk, a file that breaks under it, and readers beside it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from claude_failover.clock import pause
from claude_failover.core.spend import Refusal, Reservation, SpendBudget
from claude_failover.core.types import Instant, Monotonic, Seconds
from claude_failover.ledger import Ledger
from claude_failover.ledger_query import By, Reader
from claude_failover.ledger_schema import open_for_reading
from tests.ledger_records import AT_BEDROCK, DAY, NOON, UTC, Told, open_ledger

ROOT = Path(__file__).parents[2]
COST = AT_BEDROCK.cost_nusd
NOW = Instant(NOON, Monotonic(0))

WRITER = """
import sys
from msgspec.structs import replace
from pathlib import Path
from tests.ledger_records import AT_BEDROCK, open_ledger

path, run = Path(sys.argv[1]), sys.argv[2]
ledger = open_ledger(path)
number = 0
while True:
    for _ in range(50):
        ledger.record(replace(AT_BEDROCK, exchange=f"cfr_{run}_{number}"))
        number += 1
    # Answered only after everything before it is in the file.
    ledger.ask(lambda reader: None).result(10)
    print(number, flush=True)
"""

FULL = """
import resource, sys
from msgspec.structs import replace
from pathlib import Path
from claude_failover.ledger_query import By
from tests.ledger_records import AT_BEDROCK, DAY, Told, open_ledger

path, told = Path(sys.argv[1]), Told()
ledger = open_ledger(path, announce=told)
ledger.ask(lambda reader: None).result(10)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
# A file may not grow beyond what the journal has already: SIGXFSZ is ignored by Python, write(2) fails with EFBIG.
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
for number in range(2_000):
    ledger.record(replace(AT_BEDROCK, exchange=f"cfr_{number}"))
try:
    readable = ledger.ask(lambda reader: reader.costs(DAY, DAY, By.DAY)[1].attempts).result(10)
except Exception as error:
    readable = str(error)
status = ledger.status()
print(status.failing, status.queued > 0, status.write_failures > 0, isinstance(readable, int), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
ledger.record(replace(AT_BEDROCK, exchange="cfr_after"))
lost = ledger.close(30)
print(lost, *told.names, flush=True)
"""


def script(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


def sums(path: Path) -> tuple[int, int, int]:
    """Rows, what the rows cost, what the day's sum says."""
    connection = open_for_reading(path)
    (rows, cost) = connection.execute("SELECT count(*), coalesce(sum(cost_nusd), 0) FROM attempts").fetchone()
    total = Reader(connection).spent(DAY)
    connection.close()
    return int(rows), int(cost), total


def test_kill_9_loses_nothing_that_was_written_and_never_breaks_the_file(tmp_path: Path) -> None:
    """Every time the sum of the day is the sum of the rows, and no row that was acknowledged is missing."""
    path = tmp_path / "ledger.db"
    rng = random.Random(9)
    acknowledged = 0
    for run in range(8):
        with script(WRITER, str(path), str(run)) as child:
            assert child.stdout is not None
            told = [int(child.stdout.readline()) for _ in range(rng.randint(1, 12))]
            pause(Seconds(rng.random() * 0.02))
            child.send_signal(signal.SIGKILL)
            rest = [int(line) for line in child.stdout.read().split()]
        acknowledged += (told + rest)[-1]
        rows, cost, total = sums(path)
        assert rows >= acknowledged
        assert cost == total == rows * COST
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        acknowledged = rows


def test_a_full_disk_stops_nobody_and_is_caught_up_with(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with script(FULL, str(path)) as child:
        assert child.stdout is not None
        full, caught_up = child.stdout.read().splitlines()
    assert full.split()[:3] == ["True", "True", "True"]
    assert full.split()[3] == "True", "what is in the file can still be read"
    assert caught_up.split() == ["0", "ledger.write_failed", "ledger.recovered"]
    assert sums(path) == (2_001, 2_001 * COST, 2_001 * COST)


def eventually(ledger: Ledger, told: Told, name: str) -> None:
    """Wait until the writer has announced something."""
    for _ in range(2000):
        if name in told.names:
            return
        pause(Seconds(0.02))
    raise AssertionError(f"{name} was not announced: {told.names}, {ledger.status()}")


def test_a_file_that_breaks_under_the_daemon_is_replaced_and_the_limit_goes_on(tmp_path: Path) -> None:
    path, told = tmp_path / "ledger.db", Told()
    ledger = open_ledger(path, announce=told)
    for number in range(300):
        ledger.record(replace(AT_BEDROCK, exchange=f"cfr_{number}"))
    assert ledger.spent(DAY) == 300 * COST
    ledger.ask(lambda reader: reader._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()).result(30)
    ledger.ask(lambda reader: reader._db.execute("PRAGMA cache_size = 0")).result(30)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    ledger.record(replace(AT_BEDROCK, exchange="cfr_new"))
    eventually(ledger, told, "ledger.recovered")
    assert "ledger.replaced" in told.names
    assert ledger.status().set_aside.startswith(str(path))
    assert ledger.spent(DAY) == 301 * COST, "300 from the mirror, one new"
    ledger.close()


@pytest.mark.parametrize("by", list(By))
def test_readers_beside_the_writer_see_whole_batches_and_change_nothing(tmp_path: Path, by: By) -> None:
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path)
    last = 0
    for round_ in range(10):
        for number in range(100):
            ledger.record(replace(AT_BEDROCK, exchange=f"cfr_{round_}_{number}"))
        connection = open_for_reading(path)
        total = Reader(connection).costs(DAY, DAY, by)[1]
        connection.close()
        assert total.spent_nusd == total.attempts * COST
        assert total.attempts >= last
        last = total.attempts
    assert ledger.spent(DAY) == 1_000 * COST
    ledger.close()


def test_five_hundred_requests_and_a_crash_in_their_middle_stay_within_the_limit(tmp_path: Path) -> None:
    """The limit allows twenty; the daemon dies with some under way; the next one goes on with the same sum."""
    path = tmp_path / "ledger.db"
    limit, most, rng = 20_000_000_000, 1_000_000_000, random.Random(3)
    really_spent = 0
    refused = 0
    for run in range(3):
        ledger = open_ledger(path, now=NOON + run)
        budget = SpendBudget(limit, None, UTC.day, ledger)
        budget.restore(DAY, ledger.spent(DAY))
        under_way: list[Reservation] = []
        for number in range(500):
            answer = budget.reserve(most, NOW)
            if isinstance(answer, Refusal):
                refused += 1
                assert "daily limit of $20.00" in answer.message
            else:
                under_way.append(answer)
            if under_way and rng.random() < 0.05:
                ended, cost = under_way.pop(0), rng.randint(0, most)
                really_spent += cost
                budget.settle(ended, cost, NOW)
                ledger.record(replace(AT_BEDROCK, exchange=f"cfr_{run}_{number}", cost_nusd=cost))
        really_spent += len(under_way) * most  # those under way cost their most: nobody knows, so it must fit too
        ledger.close()  # what is under way is neither settled nor released, as after a kill
        assert really_spent <= limit
    after = open_ledger(path, now=NOON + 10)
    assert really_spent <= after.spent(DAY) <= limit
    assert refused > 1_000
    after.close()
