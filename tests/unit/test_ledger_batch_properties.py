"""Whatever is recorded, in whatever batches, how often, and however much memory there is: the sums are right."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from claude_failover.core.types import AttemptRecord, BackendName, Ended, Epoch, Reason, Usage
from claude_failover.ledger_batch import Batch, write
from claude_failover.ledger_query import By, Reader
from claude_failover.ledger_rows import Conversations, Rows
from claude_failover.ledger_schema import open_for_writing
from tests.ledger_records import AT_BEDROCK, CLAUDE, NOON, PRICES, UTC

counts = st.integers(0, 10**6)


@st.composite
def records(draw: st.DrawFn) -> AttemptRecord:
    """An attempt at either backend, on one of three days, of one of three conversations."""
    cost = draw(st.integers(0, 10**12))
    return replace(
        AT_BEDROCK,
        backend=BackendName(draw(st.sampled_from(["claude", "bedrock", "other"]))),
        model=draw(st.sampled_from(["claude-opus-5-5", "claude-haiku-5-5", "unheard-of"])),
        reason=draw(st.sampled_from(list(Reason))),
        started=Epoch(NOON + draw(st.integers(-1, 1)) * 86_400),
        session=draw(st.sampled_from([None, "s1", "s2"])),
        usage=Usage(input=draw(counts), output=draw(counts), cache_read=draw(counts), cache_write_5m=draw(counts)),
        usage_state=draw(st.sampled_from(list(Ended))),
        paid=draw(st.booleans()),
        cost_nusd=cost,
        list_cost_nusd=draw(st.integers(0, cost)),
    )


@given(
    batches=st.lists(st.lists(records(), max_size=6), max_size=5),
    most=st.sampled_from([1, 3, 100]),
    again=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_the_sums_are_those_of_the_records(batches: list[list[AttemptRecord]], most: int, again: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        connection = open_for_writing(Path(directory) / "ledger.db", "x").connection
        rows = Rows(UTC, CLAUDE, PRICES, Conversations())
        number, given_up = 0, 0
        for wanted in batches:
            batch = Batch()
            for record in wanted:
                given_up += batch.attempt(rows.attempt(replace(record, exchange=f"cfr_{number}")), most)
                number += 1
            write(connection, batch)
            if again:
                # As after a failure whose transaction had got through: only sums of rows given up have no memory.
                batch.given_up.clear()
                write(connection, batch)
        every = [record for wanted in batches for record in wanted]
        reader = Reader(connection)
        total = reader.costs("2000-01-01", "2100-01-01", By.DAY)[1]
        assert total.attempts == len(every)
        assert total.spent_nusd == sum(record.cost_nusd for record in every if record.paid)
        assert total.notional_nusd == sum(record.cost_nusd for record in every if not record.paid)
        assert total.input == sum(record.usage.input for record in every)
        assert total.partial == sum(record.usage_state is Ended.PARTIAL for record in every)
        assert total.failover_nusd <= total.spent_nusd
        assert sum(reader.spent_by_day("2000-01-01").values()) == total.spent_nusd
        if not given_up:
            for by in By:
                assert reader.costs("2000-01-01", "2100-01-01", by)[1] == total
        connection.close()
