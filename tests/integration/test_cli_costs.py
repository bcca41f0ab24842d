"""``costs`` as a subprocess: beside a daemon, without one, and with a ledger that is not as it should be."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from claude_failover.clock import SystemClock
from claude_failover.config_paths import find_paths, make_private_directory
from claude_failover.core.types import Epoch
from claude_failover.ledger import Ledger
from claude_failover.ledger_report import Money, report
from claude_failover.ledger_schema import write_mirror
from tests.control_fakes import FakeDaemon, cli, cli_async, serving, short_directory
from tests.ledger_records import AT_BEDROCK, AT_CLAUDE, SERVED, UTC, open_ledger


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        paths = find_paths(environ={"CLAUDE_FAILOVER_HOME": str(directory / "cf")})
        make_private_directory(directory / "cf")
        paths.prepare()
        yield directory


def ledger_path(home: Path) -> Path:
    return find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")}).ledger


def open_filled(home: Path) -> Ledger:
    """A turn at Claude, then one that Bedrock rescued, just now; and one a week ago."""
    now = SystemClock().now().wall
    ledger = open_ledger(ledger_path(home), now=now)
    ledger.record(replace(AT_CLAUDE, started=Epoch(now - 2)))
    ledger.record(replace(AT_BEDROCK, started=Epoch(now - 1)))
    ledger.record_exchange(replace(SERVED, started=Epoch(now - 1)))
    ledger.record(replace(AT_CLAUDE, exchange="cfr_0", started=Epoch(now - 7 * 86_400)))
    return ledger


@pytest.fixture
def stopped(home: Path) -> Path:
    open_filled(home).close()
    return home


def test_it_works_while_the_daemon_is_stopped(stopped: Path) -> None:
    done = cli("costs", home=stopped, COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert "today: $0.27 spent, $0.0200 notional on 1 request, 1 rescued" in done.stdout
    assert "$0.27 of $100.00, resets 00:00 UTC" in done.stdout
    assert "$0.25 for prompt caches built anew" in done.stdout
    assert "\x1b[" not in done.stdout, "not a terminal"
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_reading_leaves_the_ledger_as_it_is(stopped: Path) -> None:
    before = ledger_path(stopped).read_bytes()
    assert cli("costs", "--month", home=stopped).returncode == 0
    assert ledger_path(stopped).read_bytes() == before


def test_json_and_csv_for_programs(stopped: Path) -> None:
    tree = json.loads(cli("costs", "--since", "30d", "--by", "model", "--json", home=stopped).stdout)
    assert (tree["schema_version"], tree["by"], tree["zone"]) == (1, "model", "local")
    assert tree["total"]["spent_nusd"] == 264_040_000
    assert tree["total"]["notional_nusd"] == 40_000_000
    rows = list(
        csv.DictReader(io.StringIO(cli("costs", "--since", "30d", "--by", "day", "--csv", home=stopped).stdout))
    )
    assert len(rows) == 2
    assert sum(float(row["spent_usd"]) for row in rows) == pytest.approx(0.26404)


def test_the_configured_limit_and_zone_are_used(stopped: Path) -> None:
    config = stopped / "cf" / "config.yaml"
    config.write_text("cost_tracking: {daily_limit: 0.20, alert_threshold: 0.10, timezone: Pacific/Kiritimati}\n")
    config.chmod(0o600)
    done = cli("costs", "--since", "2d", home=stopped)
    assert "of $0.20, resets 00:00 Pacific/Kiritimati" in done.stdout


def test_a_wrong_configuration_does_not_hide_the_costs(stopped: Path) -> None:
    config = stopped / "cf" / "config.yaml"
    config.write_text("cost_trakking: {}\n")
    config.chmod(0o600)
    done = cli("costs", home=stopped)
    assert done.returncode == 0
    assert "the configuration is wrong, so the limit shown is the default" in done.stdout


async def test_a_running_daemon_is_asked(home: Path) -> None:
    """It knows what it has not written yet, and its own sum and prices."""
    ledger = open_filled(home)

    class Daemon(FakeDaemon):
        async def costs(self, query: Mapping[str, str]) -> object:
            self.asked.append(query)
            money = Money(limit_nusd=5_000_000_000, spent_today_nusd=1_000_000_000, prices_as_of="2026-11-22")
            return ledger.ask(lambda reader: report(reader, query, UTC, SystemClock().now().wall, money)).result(30)

    daemon = Daemon()
    async with serving(daemon, find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")}).socket):
        done = await cli_async("costs", "--by", "backend", home=home)
    ledger.close()
    assert daemon.asked == [{"since": "today", "by": "backend"}]
    assert "$1.00 of $5.00, resets 00:00 UTC" in done.stdout
    assert "bedrock" in done.stdout


async def test_a_daemon_that_cannot_tell_is_no_obstacle(stopped: Path) -> None:
    async with serving(FakeDaemon(), find_paths(environ={"CLAUDE_FAILOVER_HOME": str(stopped / "cf")}).socket):
        done = await cli_async("costs", home=stopped)
    assert (done.returncode, "$0.27 spent" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--today", "--month"), "--today and --month: choose one"),
        (("--json", "--csv"), "--json and --csv are two formats; choose one"),
        (("--by", "colour"), "--by colour: expected one of day, hour, model, backend, session"),
        (("--since", "soon"), "--since soon: not a day"),
        (("--since", "today", "--until", "2020-01-01"), "is after 2020-01-01"),
    ],
    ids=["two spans", "two formats", "by", "since", "until"],
)
def test_a_question_that_makes_no_sense_is_refused(stopped: Path, arguments: tuple[str, ...], message: str) -> None:
    done = cli("costs", *arguments, home=stopped)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_before_anything_was_recorded_it_says_so(home: Path) -> None:
    done = cli("costs", home=home)
    assert done.returncode == 1
    assert "nothing has been recorded yet" in done.stderr
    assert "hint: claude-failover start" in done.stderr


def test_a_damaged_ledger_still_says_what_was_spent_today(stopped: Path) -> None:
    ledger_path(stopped).write_bytes(b"rubbish" * 999)
    done = cli("costs", home=stopped)
    assert done.returncode == 1
    assert "spent today, by the copy beside it: $0.27" in done.stderr
    write_mirror(ledger_path(stopped), {})
    assert "by the copy" not in cli("costs", home=stopped).stderr


def test_help_has_every_option(home: Path) -> None:
    text = cli("costs", "--help", home=home).stdout
    assert all(option in text for option in ("--today", "--month", "--since", "--until", "--by", "--json", "--csv"))
