"""The configuration: where files live, what they say, and where each value came from.

Rule: nothing is silently ignored. A key that we do not know, a value that cannot be, a variable
that names nothing: each is an error that says where, and all of them are told at once.

The parts: :mod:`~claude_failover.config_paths` (places; the only part that ``status`` needs),
:mod:`~claude_failover.config_yaml` (text to a tree with line numbers),
:mod:`~claude_failover.config_rules` (what one value may be), :mod:`~claude_failover.config_schema`
(every key, with its words), :mod:`~claude_failover.config_load` (all of it together),
:mod:`~claude_failover.config_text` (back to text) and :mod:`~claude_failover.config_import`
(a LiteLLM file of the plan's shape). Other packages import from here.
"""

from __future__ import annotations

from claude_failover.config_load import Loaded, load, read_prices
from claude_failover.config_paths import (
    Paths,
    check_private_directory,
    find_paths,
    make_private_directory,
    write_private,
)

__all__ = [
    "Loaded",
    "Paths",
    "check_private_directory",
    "find_paths",
    "load",
    "make_private_directory",
    "read_prices",
    "write_private",
]
