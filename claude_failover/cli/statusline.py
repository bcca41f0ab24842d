"""statusline: one line for Claude Code's own status line."""

from __future__ import annotations

import typer

from claude_failover.cli import invocation as cli
from claude_failover.cli.glance import show_statusline


def statusline(context: typer.Context) -> int:
    """Print a line for Claude Code's status line.

    Backend, until when, spend today; never an error. In Claude Code's settings.json: "statusLine": {"type":
    "command", "command": "claude-failover statusline"}
    """
    return show_statusline(cli.of(context))
