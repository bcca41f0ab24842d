"""The model table as a message."""

from __future__ import annotations

from claude_failover.control.api import Learned, ModelEntry
from claude_failover.control.model_table import model_table
from claude_failover.core.models import Catalog
from claude_failover.core.prices import PriceTable
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Kind
from claude_failover.daemon.tables import read_table

EAST = Backend(BackendName("east"), Kind.BEDROCK, region="us-east-1")
EUROPE = Backend(BackendName("europe"), Kind.BEDROCK, region="eu-central-1", scope="eu")
CLAUDE = Backend(BackendName("claude"), Kind.ANTHROPIC)
PRICES = PriceTable.build(read_table("prices"))
CATALOG = Catalog.build(read_table("models"), {})


def entries(*backends: Backend) -> dict[tuple[str, str], ModelEntry]:
    table = model_table(Settings(backends=(CLAUDE, *backends)), CATALOG, PRICES)
    return {(one.backend, one.claude_id): one for one in table.entries}


def test_a_model_has_its_id_surfaces_source_and_price() -> None:
    found = entries(EAST)["east", "claude-fable-5-2"]
    assert found.upstream_id == "global.anthropic.claude-fable-5-2"
    assert found.source == "table"
    assert found.surfaces
    assert (found.input_usd_per_mtok, found.output_usd_per_mtok) == (8.0, 40.0)


def test_a_regional_scope_costs_its_tenth_more() -> None:
    found = entries(EUROPE)["europe", "claude-fable-5-2"]
    assert (found.input_usd_per_mtok, found.output_usd_per_mtok) == (8.8, 44.0)


def test_every_bedrock_backend_has_its_own_rows_and_the_claude_api_none() -> None:
    assert {backend for backend, _ in entries(EAST, EUROPE)} == {"east", "europe"}


def test_a_model_that_bedrock_does_not_have_says_why() -> None:
    missing = [one for one in entries(EAST).values() if not one.upstream_id]
    assert all(one.note and one.input_usd_per_mtok is None for one in missing)


def test_what_was_learned_comes_along() -> None:
    learned = Learned("east", "claude-fable-5-2", "messages", "beta x", 5.0)
    assert model_table(Settings(backends=(CLAUDE, EAST)), CATALOG, PRICES, [learned]).learned == (learned,)
