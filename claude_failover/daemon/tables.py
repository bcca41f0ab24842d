"""The dated facts that come with the package: models and prices, read from its data files."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML was built with it: ten times faster, and the start is timed."""


def read_table(name: str) -> dict[str, Any]:
    """Read ``data/NAME.yaml``."""
    text = resources.files("claude_failover").joinpath("data", f"{name}.yaml").read_bytes()
    table = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, from our own package
    assert isinstance(table, dict), f"data/{name}.yaml is a mapping"
    return table
