"""The model table without a daemon: built-in data and the configuration file. Nothing is asked of the network."""

from __future__ import annotations

from pathlib import Path

from claude_failover.config import load
from claude_failover.control.api import Models
from claude_failover.control.model_table import model_table
from claude_failover.core.models import Catalog
from claude_failover.core.prices import PriceTable
from claude_failover.daemon.tables import read_table


def local_models(config: Path | None) -> Models:
    """Read the table for the settings in force.

    Raises:
        ConfigError: The configuration is wrong.
    """
    settings = load(config).settings
    catalog = Catalog.build(read_table("models"), settings.models)
    return model_table(settings, catalog, PriceTable.build(read_table("prices")))
