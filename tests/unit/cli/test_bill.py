"""The report from the ledger's file. Over a real file and socket: integration/test_cli_costs.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from claude_failover.cli.bill import TODAY, read_file
from claude_failover.cli.invocation import Invocation
from claude_failover.clock import FakeClock
from claude_failover.errors import LedgerError
from claude_failover.ledger_schema import mirror_path
from tests.ledger_records import AT_BEDROCK, NOON, open_ledger


@pytest.fixture
def invocation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invocation:
    for name in ("CLAUDE_FAILOVER_CONFIG", "CLAUDE_FAILOVER_COST_TRACKING_TIMEZONE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLAUDE_FAILOVER_HOME", str(tmp_path))
    found = Invocation(clock=FakeClock(wall=NOON))
    found.paths.state_dir.mkdir()
    return found


def test_the_file_is_read_with_the_limits_of_the_configuration(invocation: Invocation) -> None:
    ledger = open_ledger(invocation.paths.ledger)
    ledger.record(AT_BEDROCK)
    ledger.close()
    invocation.paths.config_file.write_text("cost_tracking: {daily_limit: 3, alert_threshold: 2, timezone: UTC}\n")
    invocation.paths.config_file.chmod(0o600)
    found = read_file(invocation, TODAY)
    assert (found.today, found.limit_nusd, found.alert_nusd) == ("2026-11-22", 3_000_000_000, 2_000_000_000)
    assert (found.total.spent_nusd, found.notes) == (264_040_000, ())
    assert found.prices_as_of == "2026-11-22"


def test_a_ledger_that_cannot_be_read_names_the_sum_of_its_mirror(invocation: Invocation) -> None:
    with pytest.raises(LedgerError, match=r"nothing has been recorded yet$"):
        read_file(invocation, TODAY)
    mirror_path(invocation.paths.ledger).write_text('{"2026-11-22": 5000000000}')
    invocation.paths.config_file.write_text("cost_tracking: {timezone: UTC}\n")
    invocation.paths.config_file.chmod(0o600)
    with pytest.raises(LedgerError, match=r"spent today, by the copy beside it: \$5\.00"):
        read_file(invocation, TODAY)
